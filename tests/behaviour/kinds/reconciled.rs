//! Elevated accounts beside the books.

use mayfly::{
    domain::{LeaseState, StateName},
    issuer::{DiscrepancyKind, Mode},
};

use super::{Person, people};
use crate::support::world::{World, target_name};

async fn reconcile(world: &World, mode: Mode) -> mayfly::issuer::ReconcileReport {
    world.issuer.reconciler().run(&target_name("shop"), mode).await.unwrap()
}

async fn revoke(person: &Person, group: &str) {
    person.superuser(&revocation(person, group)).await;
}

fn revocation(person: &Person, group: &str) -> String {
    let by = match person.database.engine {
        mayfly::domain::Engine::Postgres => {
            format!(" GRANTED BY \"{}\"", person.database.sample.names.administrator)
        }
        _ => String::new(),
    };
    let (group, account) = (person.group(group), person.quoted());
    // Up to 15 a grant is known without its grantor.
    if person.database.engine == mayfly::domain::Engine::Postgres {
        format!(
            "DO $$ BEGIN REVOKE {group} FROM {account}; \
             IF current_setting('server_version_num')::int >= 160000 THEN REVOKE {group} FROM {account}{by}; END IF; END $$"
        )
    } else {
        format!("REVOKE {group} FROM {account}")
    }
}

#[tokio::test]
async fn target_and_store_agree_while_nobody_interferes() {
    for person in people("alice").await {
        let world = person.world().await;
        let lease = world.elevate("writer").await.unwrap().lease;
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
        assert_eq!(world.lease(lease.id).await.state.name(), StateName::Active);
        world.give_back(lease.id).await;
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
    }
}

#[tokio::test]
async fn a_group_that_was_taken_behind_our_back_is_given_again() {
    for person in people("alice").await {
        let world = person.world().await;
        let lease = world.elevate("reader").await.unwrap().lease;
        revoke(&person, person.read()).await;
        assert_eq!(person.groups().await, [].into());
        let seen = reconcile(&world, Mode::DryRun).await;
        assert_eq!((seen.counts.drifted, person.groups().await.len()), (1, 0));
        let report = reconcile(&world, Mode::Act).await;
        assert_eq!(report.counts.drifted, 1);
        assert_eq!(report.discrepancies[0].kind, DiscrepancyKind::Drifted);
        assert_eq!(person.groups().await, [person.read().to_owned()].into());
        assert!(reconcile(&world, Mode::Act).await.counts.agree());
        world.give_back(lease.id).await;
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn an_account_that_vanished_closes_its_elevations() {
    for person in people("alice").await {
        let world = person.world().await;
        let lease = world.elevate("reader").await.unwrap().lease;
        person.drop_account().await;
        assert_eq!(reconcile(&world, Mode::Act).await.counts.vanished, 1);
        let ended = world.reaches(lease.id, StateName::Revoked).await;
        let LeaseState::Ended { report, .. } = ended.state else { panic!("{ended:?}") };
        assert!(report.was_absent);
    }
}
