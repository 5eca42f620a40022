//! Accounts that are handed out beside the books.

use mayfly::{
    domain::{Engine, StateName},
    issuer::{Answer, Catalogue, DiscrepancyKind, IssueRequest, Mode, ReconcileReport},
    store::{Entry, EntryChange, EntryKind, EntryStore as _},
};

use super::{Person, alice, handed, people};
use crate::support::{
    eventually,
    world::{World, request, target_name},
};

async fn reconcile(world: &World, mode: Mode) -> ReconcileReport {
    world.issuer.reconciler().run(&target_name("shop"), mode).await.unwrap()
}

impl Person {
    /// Lets the account log in, or not, behind Mayfly's back.
    async fn set_login(&self, enabled: bool) {
        let account = self.quoted();
        let statement = match (self.database.engine, enabled) {
            (Engine::Postgres, true) => format!("ALTER ROLE {account} LOGIN"),
            (Engine::Postgres, false) => format!("ALTER ROLE {account} NOLOGIN"),
            (_, true) => format!("ALTER USER {account} ACCOUNT UNLOCK"),
            (_, false) => format!("ALTER USER {account} ACCOUNT LOCK"),
        };
        self.superuser(&statement).await;
    }
}

#[tokio::test]
async fn target_and_store_agree_while_nobody_interferes() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        let report = reconcile(&world, Mode::Act).await;
        assert!(report.counts.agree(), "{report:?}");
        assert_eq!(world.lease(issued.lease.id).await.state.name(), StateName::Active);
        person.log_in_by(&issued.password).await.unwrap();
        world.give_back(issued.lease.id).await;
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
    }
}

#[tokio::test]
async fn an_account_at_rest_that_was_enabled_is_locked_again() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        world.give_back(issued.lease.id).await;
        person.set_login(true).await;
        let seen = reconcile(&world, Mode::DryRun).await;
        assert_eq!((seen.counts.reappeared, &seen.discrepancies[0].answer), (1, &Answer::Reported));
        let report = reconcile(&world, Mode::Act).await;
        assert_eq!(report.discrepancies[0].kind, DiscrepancyKind::Reappeared);
        assert_eq!(report.discrepancies[0].answer, Answer::PutRight);
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
        person.assert_locked(&[&issued.password]).await;
        assert!(world.audit().await.iter().any(|record| record.action == "checkout.locked_again"));
    }
}

#[tokio::test]
async fn an_account_that_was_locked_while_it_is_held_is_told_of_and_opened_by_asking_again() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let wish = IssueRequest { idempotency_key: Some("once".to_owned()), ..request("app") };
        let issued = world.issuer.issue(&alice(), wish.clone()).await.unwrap();
        person.set_login(false).await;
        let report = reconcile(&world, Mode::Act).await;
        assert_eq!(report.counts.drifted, 1, "{report:?}");
        let Answer::Failed { error, .. } = &report.discrepancies[0].answer else { panic!("{report:?}") };
        assert!(error.contains("asks once more with the same idempotency key"), "{error}");
        reconcile(&world, Mode::Act).await;
        let told = world.audit().await.into_iter().filter(|record| record.action == "lease.drifted");
        assert_eq!(told.count(), 1, "it is told once");
        let again = world.issuer.issue(&alice(), wish).await.unwrap();
        person.log_in_by(&again.password).await.unwrap();
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
        world.give_back(issued.lease.id).await;
    }
}

#[tokio::test]
async fn an_expiry_that_was_moved_is_moved_back() {
    for person in people("app").await.into_iter().filter(|p| p.database.engine == Engine::Postgres) {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        person.superuser(&format!("ALTER ROLE {} VALID UNTIL 'infinity'", person.quoted())).await;
        let report = reconcile(&world, Mode::Act).await;
        assert_eq!(report.discrepancies[0].answer, Answer::PutRight, "{report:?}");
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
        person.log_in_by(&issued.password).await.unwrap();
        world.give_back(issued.lease.id).await;
    }
}

#[tokio::test]
async fn an_account_that_vanished_closes_its_lease_and_is_free() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        person.drop_account().await;
        assert_eq!(reconcile(&world, Mode::Act).await.counts.vanished, 1);
        world.reaches(issued.lease.id, StateName::Revoked).await;
        assert_eq!(handed(&world).await[0].checkout.holder, None);
    }
}

#[tokio::test]
async fn an_account_that_is_held_for_a_lease_that_is_over_is_locked_and_free() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        let entries = async || world.store.entries(EntryKind::Checkout, None, None, 10).await.unwrap();
        let held = entries().await;
        world.give_back(issued.lease.id).await;
        // As a restored backup may have it.
        let stale = Entry { revision: entries().await[0].revision, ..held[0].clone() };
        let change = vec![EntryChange::Put(stale)];
        let _ = world.store.change_entries(change, Vec::new()).await.unwrap();
        person.set_login(true).await;
        let report = reconcile(&world, Mode::Act).await;
        assert_eq!(report.discrepancies[0].answer, Answer::Ending, "{report:?}");
        eventually("it is free", async || handed(&world).await[0].checkout.holder.is_none().then_some(()))
            .await;
        world.reaches(issued.lease.id, StateName::Released).await;
        person.assert_locked(&[&issued.password]).await;
    }
}

#[tokio::test]
async fn an_account_that_no_role_hands_out_any_more_is_left_to_its_administrators() {
    for person in people("app").await {
        let world = person.handing_out().await;
        let issued = world.elevate("app").await.unwrap();
        world.give_back(issued.lease.id).await;
        let targets = world.catalogue.current().targets.clone();
        world.catalogue.replace(Catalogue { targets, ..Catalogue::default() });
        person.set_login(true).await;
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
        assert!(handed(&world).await.is_empty());
    }
}
