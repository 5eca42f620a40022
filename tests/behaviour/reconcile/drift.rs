//! Accounts altered behind our back.

use mayfly::{
    domain::{Engine, LeaseState, OwnedObjects, StateName},
    issuer::{Answer, DiscrepancyKind},
    target::{OnDrift, TargetErrorKind},
};

use super::{Deed, meddled, places, world};
use crate::support::{
    meddler::{Moment, Step},
    slate::assert_books,
    world::{World, caller, ttl},
};

#[tokio::test]
async fn what_was_altered_is_put_right_and_audited() {
    for database in places().await {
        let world = world(&database, OnDrift::PutRight).await;
        let issued = world.issue().await.unwrap();
        let account = &issued.lease.account.name;
        let (read, write) = (&*database.sample.names.read, &*database.sample.names.write);
        for deed in [Deed::NeverExpire, Deed::Disable, Deed::Join(write), Deed::Leave(read), Deed::GivePower]
        {
            let (told, put) = (world.audited("lease.drifted").await, world.audited("lease.put_right").await);
            database.behind_our_back(account, deed).await;
            let dry = world.dry_run().await;
            assert_eq!((dry.counts.drifted, dry.counts.remaining), (1, 1), "{deed:?}: {dry:?}");
            assert_eq!(world.audited("lease.drifted").await.len(), told.len(), "a dry run writes nothing");
            let report = world.reconcile().await;
            let [found] = &report.discrepancies[..] else { panic!("{deed:?}: {report:?}") };
            assert_eq!(
                (found.kind, &found.answer),
                (DiscrepancyKind::Drifted, &Answer::PutRight),
                "{found:?}"
            );
            assert_eq!(report.counts.remaining, 0);
            assert_eq!(world.audited("lease.drifted").await.len(), told.len() + 1);
            assert_eq!(world.audited("lease.put_right").await.len(), put.len() + 1);
            world.agrees().await;
            let mut session = database.login(account.as_str(), &issued.password).await.unwrap();
            session.ask("SELECT id FROM orders").await.unwrap();
            session.ask("DELETE FROM orders").await.unwrap_err();
        }
        assert_eq!(world.lease(issued.lease.id).await, issued.lease);
        assert_books(&world).await;
    }
}

#[tokio::test]
async fn drift_is_reported_once_where_nothing_is_to_be_done_about_it() {
    for database in places().await {
        let world = world(&database, OnDrift::Report).await;
        let issued = world.issue().await.unwrap();
        let account = &issued.lease.account.name;
        database.behind_our_back(account, Deed::NeverExpire).await;
        for _ in 0..3 {
            let report = world.reconcile().await;
            assert_eq!((report.counts.drifted, report.counts.remaining), (1, 1));
            assert_eq!(report.discrepancies[0].answer, Answer::Reported);
        }
        assert_eq!(world.audited("lease.drifted").await.len(), 1);
        // Altered in another way, it is news.
        database.behind_our_back(account, Deed::GivePower).await;
        world.reconcile().await;
        assert_eq!(world.audited("lease.drifted").await.len(), 2);
        assert_eq!(world.lease(issued.lease.id).await, issued.lease);
    }
}

#[tokio::test]
async fn the_lease_of_an_altered_account_is_ended_where_that_is_configured() {
    for database in places().await {
        let world = world(&database, OnDrift::End).await;
        let issued = world.issue().await.unwrap();
        let account = &issued.lease.account.name;
        let mut session = database.login(account.as_str(), &issued.password).await.unwrap();
        database.behind_our_back(account, Deed::Join(&database.sample.names.write)).await;
        let report = world.reconcile().await;
        assert_eq!((report.counts.drifted, report.counts.remaining), (1, 0));
        assert_eq!(report.discrepancies[0].answer, Answer::Ending);
        world.reaches(issued.lease.id, StateName::Revoked).await;
        assert!(!database.exists(account).await);
        session.ask("SELECT id FROM orders").await.unwrap_err();
        world.agrees().await;
    }
}

#[tokio::test]
async fn a_lease_whose_account_cannot_be_put_right_is_ended_when_it_can_do_more_than_agreed() {
    for database in places().await {
        let (world, meddler) = meddled(&database).await;
        let (wider, narrower) = (world.issue().await.unwrap(), world.issue().await.unwrap());
        let (wide, narrow) = (&wider.lease.account.name, &narrower.lease.account.name);
        database.behind_our_back(narrow, Deed::Disable).await;
        meddler.fail(Step::PutRight, Moment::Before, TargetErrorKind::Denied);
        let report = world.reconcile().await;
        assert!(matches!(report.discrepancies[0].answer, Answer::Failed { .. }), "{report:?}");
        assert_eq!(report.counts.remaining, 1);
        assert_eq!(world.lease(narrower.lease.id).await.state.name(), StateName::Active);
        world.reconcile().await;

        database.behind_our_back(wide, Deed::GivePower).await;
        // That it did not answer in time says nothing about the account.
        meddler.fail(Step::PutRight, Moment::Before, TargetErrorKind::TimedOut);
        assert_eq!(world.reconcile().await.counts.remaining, 1);
        assert_eq!(world.lease(wider.lease.id).await.state.name(), StateName::Active);
        meddler.fail(Step::PutRight, Moment::Before, TargetErrorKind::Denied);
        let report = world.reconcile().await;
        assert_eq!((&report.discrepancies[0].answer, report.counts.remaining), (&Answer::Ending, 0));
        world.reaches(wider.lease.id, StateName::Revoked).await;
        assert_books(&world).await;
    }
}

#[tokio::test]
async fn an_account_made_superuser_is_told_of_with_the_statement_that_mends_it() {
    for database in places().await {
        if database.engine != Engine::Postgres {
            continue;
        }
        let world = world(&database, OnDrift::PutRight).await;
        let issued = world.issue().await.unwrap();
        let account = &issued.lease.account.name;
        database.behind_our_back(account, Deed::GiveSuperuser).await;
        let report = world.reconcile().await;
        assert_eq!(report.counts.drifted, 1);
        let records = world.audited("lease.put_right").await;
        assert_eq!(records.len(), 1);
        assert!(records[0].details["remedy"].contains("NOSUPERUSER"), "{:?}", records[0]);
        assert_eq!(world.lease(issued.lease.id).await.state.name(), StateName::Ending);
        // Only a superuser can take it back; then the lease ends.
        let demote = format!("ALTER ROLE {account} NOSUPERUSER");
        database.ask_superuser(database.server.unwrap(), &demote).await;
        world.reaches(issued.lease.id, StateName::Revoked).await;
        assert!(!database.exists(account).await);
    }
}

#[tokio::test]
async fn a_renewal_under_way_is_no_drift() {
    for database in places().await {
        let (world, meddler) = meddled(&database).await;
        let lease = world.issue().await.unwrap().lease;
        world.pass(200);
        let gate = meddler.hold(Step::Renew, Moment::After);
        let issuer = std::sync::Arc::clone(&world.issuer);
        let renewing = tokio::spawn(async move {
            issuer.renew(&caller("app", &["readers"]), lease.id, Some(ttl(1800))).await
        });
        gate.reached().await;
        world.agrees().await;
        gate.open();
        let renewed = renewing.await.unwrap().unwrap();
        world.agrees().await;
        assert_eq!(world.lease(lease.id).await, renewed);
    }
}

#[tokio::test]
async fn an_expiry_left_by_a_renewal_that_died_half_way_is_put_back() {
    for database in places().await {
        let (world, meddler) = meddled(&database).await;
        let lease = world.issue().await.unwrap().lease;
        world.pass(200);
        meddler.fail(Step::Renew, Moment::After, TargetErrorKind::TimedOut);
        let app = caller("app", &["readers"]);
        world.issuer.renew(&app, lease.id, Some(ttl(1800))).await.unwrap_err();
        let report = world.reconcile().await;
        let expected = u64::from(
            World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock))
                .keeps_expiry(),
        );
        assert_eq!((report.counts.drifted, report.counts.remaining), (expected, 0), "{report:?}");
        world.agrees().await;
    }
}

#[tokio::test]
async fn a_kept_account_that_may_log_in_again_is_disabled_again() {
    for database in places().await {
        if database.engine != Engine::Postgres {
            continue;
        }
        let mut role = database.reading_role("shop-read", "shop");
        role.owned_objects = OwnedObjects::Keep;
        let target =
            World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
        let world = World::with(vec![target], vec![role]).await;
        let issued = world.issue().await.unwrap();
        let account = &issued.lease.account.name;
        let own =
            format!("CREATE TABLE kept_{0} (); ALTER TABLE kept_{0} OWNER TO {account}", issued.lease.id);
        database.ask_superuser(database.server.unwrap(), &own).await;
        world.issuer.release(&caller("app", &["readers"]), issued.lease.id).await.unwrap();
        let kept = async || {
            let lease = world.reaches(issued.lease.id, StateName::Released).await;
            assert!(
                matches!(lease.state, LeaseState::Ended { report, .. } if report.account_kept),
                "{lease:?}"
            );
        };
        kept().await;
        world.agrees().await;
        database.behind_our_back(account, Deed::Enable).await;
        let report = world.reconcile().await;
        assert_eq!((report.counts.drifted, report.counts.remaining), (1, 0), "{report:?}");
        kept().await;
        world.agrees().await;
        assert!(database.exists(account).await);
    }
}
