//! Leases without accounts, and accounts without leases.

use mayfly::{
    domain::{EndCause, LeaseState, OwnedObjects, StateName},
    issuer::{Answer, Counts, DiscrepancyKind, Mode},
    policy,
    store::LeaseStore as _,
    target::OnDrift,
};

use super::{Deed, meddled, places, shop, stray, world};
use crate::support::{
    meddler::{Moment, Step},
    slate::assert_books,
    world::{World, caller, databases, request},
};

#[tokio::test]
async fn a_target_and_a_store_that_agree_are_left_as_they_are() {
    for database in places().await {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        let before = world.audit().await.len();
        let report = world.reconcile().await;
        assert!(report.counts.agree() && report.discrepancies.is_empty(), "{report:?}");
        assert_eq!((report.counts.leases, report.counts.remaining), (1, 0));
        assert!(report.counts.accounts >= 1);
        assert_eq!(world.audit().await.len(), before);
        assert_eq!(world.lease(issued.lease.id).await, issued.lease);
    }
}

#[tokio::test]
async fn a_lease_whose_account_vanished_is_closed_and_audited() {
    for database in places().await {
        let world = World::reading(&database).await;
        let (gone, stays) = (world.issue().await.unwrap(), world.issue().await.unwrap());
        database.behind_our_back(&gone.lease.account.name, Deed::Drop).await;

        let report = world.dry_run().await;
        assert_eq!((report.counts.vanished, report.counts.remaining), (1, 1));
        assert_eq!(world.lease(gone.lease.id).await.state.name(), StateName::Active);

        let report = world.reconcile().await;
        assert_eq!((report.counts.vanished, report.counts.remaining), (1, 0));
        let [found] = &report.discrepancies[..] else { panic!("{report:?}") };
        assert_eq!((found.kind, found.lease), (DiscrepancyKind::Vanished, gone.lease.id));
        assert_eq!(found.answer, Answer::Ending);
        let lease = world.reaches(gone.lease.id, StateName::Revoked).await;
        let LeaseState::Ended { cause: EndCause::Revoked { reason }, report, .. } = lease.state else {
            panic!("{lease:?}")
        };
        assert_eq!((reason.as_str(), report.was_absent), ("the account vanished from the target", true));
        assert_eq!(world.audited("lease.vanished").await.len(), 1);
        assert_eq!(world.lease(stays.lease.id).await.state.name(), StateName::Active);
        world.agrees().await;
        assert_books(&world).await;
    }
}

#[tokio::test]
async fn an_account_of_ours_without_a_lease_is_adopted_and_ended() {
    for database in places().await {
        let world = World::reading(&database).await;
        let role = database.reading_role("shop-read", "shop");
        let (id, account) = stray(&database, &role, mayfly::store::Store::instance(&*world.store)).await;

        assert_eq!(world.dry_run().await.counts.orphans, 1);
        assert_eq!(world.store.lease(id).await.unwrap(), None);
        assert!(database.exists(&account.name).await);

        let report = world.reconcile().await;
        assert_eq!((report.counts.orphans, report.counts.remaining), (1, 0));
        let lease = world.reaches(id, StateName::Revoked).await;
        assert_eq!((lease.role, lease.principal.name.as_str()), (role.name.clone(), "app"));
        assert_eq!(lease.end_plan.member_of, role.member_of);
        assert!(!database.exists(&account.name).await);
        let [adopted] = &world.audited("lease.adopted").await[..] else { panic!("adopted once") };
        assert_eq!(adopted.details["account"], account.name.as_str());
        world.agrees().await;
        assert_books(&world).await;
    }
}

#[tokio::test]
async fn an_orphan_of_a_role_that_is_gone_keeps_what_it_owns() {
    for database in places().await {
        let world = World::reading(&database).await;
        let role = database.reading_role("shop-former", "shop");
        let (id, account) = stray(&database, &role, mayfly::store::Store::instance(&*world.store)).await;
        world.reconcile().await;
        let lease = world.reaches(id, StateName::Revoked).await;
        assert_eq!(lease.end_plan.owned_objects, OwnedObjects::Keep);
        // It owned nothing.
        assert!(!database.exists(&account.name).await);
    }
}

#[tokio::test]
async fn the_account_of_a_lease_that_had_ended_is_ended_once_more() {
    for database in places().await {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        let app = caller("app", &["readers"]);
        world.issuer.release(&app, issued.lease.id).await.unwrap();
        let ended = world.reaches(issued.lease.id, StateName::Released).await;
        world.agrees().await;

        // As a creation does that was cut off and comes through long after, or a restored server.
        let role = database.reading_role("shop-read", "shop");
        let target =
            World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
        let secret = target.prepare(&role).await.unwrap();
        let new = mayfly::target::NewAccount {
            instance: mayfly::store::Store::instance(&*world.store),
            account: &ended.account,
            role: &role,
            lease: ended.id,
            principal: &ended.principal,
            expires_at: ended.updated_at + jiff::SignedDuration::from_secs(600),
        };
        target.create(new, &secret).await.unwrap();

        assert_eq!(world.dry_run().await.counts.reappeared, 1);
        assert_eq!(world.lease(ended.id).await, ended);
        assert_eq!(world.reconcile().await.counts.reappeared, 1);
        world.reaches(ended.id, StateName::Released).await;
        assert!(!database.exists(&ended.account.name).await);
        assert_eq!(world.audited("lease.reappeared").await.len(), 1);
        world.agrees().await;
        assert_books(&world).await;
    }
}

#[tokio::test]
async fn what_is_not_ours_is_never_touched() {
    for database in places().await {
        let (world, other) = (World::reading(&database).await, World::reading(&database).await);
        let role = database.reading_role("shop-read", "shop");
        let (_, foreign) = stray(&database, &role, "0123456789abcdef0123".parse().unwrap()).await;
        let ours = mayfly::store::Store::instance(&*world.store);
        let (_, unmarked) = stray(&database, &role, ours).await;
        database.behind_our_back(&unmarked.name, Deed::Unmark).await;
        let theirs = other.issue().await.unwrap();
        let before = world.audit().await.len();
        let report = world.reconcile().await;
        let Counts { foreign: others, unmarked: nobodys, .. } = report.counts;
        assert!(report.counts.agree() && others >= 2 && nobodys >= 1, "{report:?}");
        for account in [&foreign.name, &unmarked.name, &theirs.lease.account.name] {
            assert!(database.exists(account).await, "{account}");
        }
        assert_eq!(world.audit().await.len(), before);
        assert!(world.leases().await.is_empty());
        for account in [&foreign.name, &unmarked.name] {
            database.behind_our_back(account, Deed::Drop).await;
        }
    }
}

#[tokio::test]
async fn a_lease_whose_accounts_mark_was_removed_is_still_ours() {
    for database in places().await {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        let account = &issued.lease.account.name;
        database.behind_our_back(account, Deed::Unmark).await;
        world.agrees().await;
        database.behind_our_back(account, Deed::Join(&database.sample.names.write)).await;
        assert_eq!(world.reconcile().await.counts.drifted, 1);
        world.agrees().await;
    }
}

#[tokio::test]
async fn the_account_of_a_lease_that_another_installation_marked_is_reported_once_and_left_alone() {
    for database in places().await {
        if database.engine != mayfly::domain::Engine::Postgres {
            continue;
        }
        let world = world(&database, OnDrift::End).await;
        let issued = world.issue().await.unwrap();
        let lease = &issued.lease;
        let mark = mayfly::domain::Mark {
            instance: Some("0123456789abcdef0123".parse().unwrap()),
            lease: lease.id,
            role: lease.role.clone(),
            requester: lease.principal.clone(),
        };
        let comment = format!("COMMENT ON ROLE {} IS '{mark}'", lease.account.name);
        database.ask_superuser(database.server.unwrap(), &comment).await;
        for _ in 0..2 {
            let report = world.reconcile().await;
            assert_eq!((report.counts.disputed, report.counts.remaining), (1, 1), "{report:?}");
        }
        assert_eq!(world.audited("lease.disputed").await.len(), 1);
        assert_eq!(world.lease(lease.id).await.state.name(), StateName::Active);
    }
}

#[tokio::test]
async fn issuing_and_ending_meanwhile_is_not_mistaken_for_a_difference() {
    for database in places().await {
        let (world, meddler) = meddled(&database).await;
        // A lease whose account exists and that is not ACTIVE yet.
        let creating = meddler.hold(Step::Create, Moment::After);
        let issuer = std::sync::Arc::clone(&world.issuer);
        let issuing =
            tokio::spawn(
                async move { issuer.issue(&caller("app", &["readers"]), request("shop-read")).await },
            );
        creating.reached().await;
        world.agrees().await;
        creating.open();
        let lease = issuing.await.unwrap().unwrap().lease;
        // A lease that is ENDING and whose account is gone already.
        let removing = meddler.hold(Step::Remove, Moment::After);
        world.issuer.release(&caller("app", &["readers"]), lease.id).await.unwrap();
        removing.reached().await;
        world.agrees().await;
        removing.open();
        world.reaches(lease.id, StateName::Released).await;
        world.agrees().await;
    }
}

#[tokio::test]
async fn only_administrators_reconcile_and_what_they_did_is_audited() {
    for database in places().await {
        let world = World::reading(&database).await;
        let denied = world.issuer.reconcile_target(&caller("app", &["readers"]), &shop(), Mode::Act).await;
        assert_eq!(denied.unwrap_err().kind, mayfly::issuer::RefusalKind::Denied);
        let administrator = caller("root", &["administrators"]);
        assert!(policy::is_administrator(&administrator.principal));
        let before = world.audit().await.len();
        world.issuer.reconcile_target(&administrator, &shop(), Mode::DryRun).await.unwrap();
        assert_eq!(world.audit().await.len(), before);
        world.issuer.reconcile_target(&administrator, &shop(), Mode::Act).await.unwrap();
        let records = world.audited("target.reconciled").await;
        assert_eq!(records.len(), 2, "a denial and a run");
        assert_eq!(records[1].details["vanished"], "0");
        let nowhere = "nowhere".parse().unwrap();
        let refusal = world.issuer.reconcile_target(&administrator, &nowhere, Mode::Act).await.unwrap_err();
        assert_eq!(refusal.kind, mayfly::issuer::RefusalKind::NotFound);
    }
}

#[tokio::test]
async fn more_than_a_page_of_leases_is_compared_whole() {
    // 520 accounts, made by hand: on one engine, that is enough.
    let Some(database) =
        databases().await.into_iter().find(|it| it.engine == mayfly::domain::Engine::Postgres)
    else {
        return;
    };
    let world = World::reading(&database).await;
    let template = world.issue().await.unwrap().lease;
    let now = template.created_at;
    let mut some = Vec::new();
    for number in 0..780 {
        let id = mayfly::domain::LeaseId::new(now, number);
        let name = mayfly::domain::AccountName::compose(
            database.engine,
            &template.role,
            &template.principal.name,
            id,
        );
        let mut lease = template.clone();
        (lease.id, lease.account.name) = (id, name);
        let draft = || {
            mayfly::audit::Draft::new(
                now,
                mayfly::audit::Actor::System,
                "lease.requested",
                lease.resource_name(),
            )
        };
        // Every third account is missing; of every other third the lease is.
        if number % 3 != 1 {
            let new = mayfly::store::NewLease {
                lease: mayfly::domain::Lease {
                    state: LeaseState::Provisioning { deadline: now + jiff::SignedDuration::from_secs(3600) },
                    ..lease.clone()
                },
                limits: mayfly::domain::LeaseLimits { per_principal: 10_000, total: 10_000 },
                entries: Vec::new(),
            };
            world.store.begin(new, draft()).await.unwrap();
            let event = mayfly::domain::LeaseEvent::Activated {
                expires_at: now + jiff::SignedDuration::from_secs(300),
            };
            world.store.apply(id, event, now, Some(draft())).await.unwrap();
        }
        if number % 3 != 0 {
            let mark = mayfly::domain::Mark {
                instance: Some(mayfly::store::Store::instance(&*world.store)),
                lease: id,
                role: lease.role.clone(),
                requester: lease.principal.clone(),
            };
            let until = now + jiff::SignedDuration::from_secs(300);
            some.push(format!(
                "CREATE ROLE {0} LOGIN VALID UNTIL '{until}' IN ROLE {1}; COMMENT ON ROLE {0} IS '{mark}'",
                lease.account.name, database.sample.names.read
            ));
        }
    }
    database.ask_superuser(database.server.unwrap(), &some.join(";")).await;
    let report = world.dry_run().await;
    let counts = report.counts;
    assert_eq!((counts.leases, counts.vanished, counts.orphans, counts.drifted), (521, 260, 260, 0));
    assert!(report.discrepancies.len() <= 1_000);
    let counts = world.reconcile().await.counts;
    assert_eq!((counts.vanished, counts.orphans, counts.remaining), (260, 260, 0));
    let mut passed = 0;
    crate::support::eventually("all ended", async || {
        let live = world.store.live_by_target().await.unwrap();
        // An attempt may fail on a server that others use as well. None of those that live may expire meanwhile.
        if passed < 200 {
            world.pass(1);
            passed += 1;
        }
        (live == [(shop(), 261)]).then_some(())
    })
    .await;
    world.agrees().await;
    assert_books(&world).await;
}
