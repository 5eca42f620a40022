//! What the clerk does when time passes.

use std::time::Duration;

use jiff::SignedDuration;
use mayfly::{
    clock::Clock as _,
    domain::{GrantState, RequestState, ReviewStep, StateName},
    issuer::{Catalogue, ClaimRequest, NewRequest, RefusalKind, RequestSettings},
};

use super::{alice, asking, bob, database, hour, reviewed, step, world, yes};
use crate::support::{eventually, world::caller};

#[tokio::test]
async fn a_request_that_nobody_decides_expires() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    world.clock.advance(SignedDuration::try_from(hour(24)).unwrap());
    world.request_becomes(request.id, "expired").await;
    assert_eq!(world.recorded("request.expired").await, 1);
}

#[tokio::test]
async fn a_step_that_nobody_answers_escalates_and_others_may_review() {
    let database = database().await;
    let mut role = reviewed(&database);
    role.approval = vec![ReviewStep {
        escalate_after: Some(hour(1)),
        escalate_to: vec!["group:on-call".parse().unwrap()],
        ..step("owners", &["group:owners"], 1)
    }];
    let world = world(&database, role).await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    let dora = caller("dora", &["on-call"]);
    let early = world.issuer.review_request(&dora, request.id, yes()).await.unwrap_err();
    assert_eq!(early.kind, RefusalKind::Denied);
    world.pass(3_600);
    eventually("it is escalated", async || {
        let state = world.request(request.id).await.state;
        matches!(state, RequestState::Pending { escalated: true, .. }).then_some(())
    })
    .await;
    assert_eq!(world.recorded("request.escalated").await, 1);
    world.issuer.review_request(&dora, request.id, yes()).await.unwrap();
    world.request_becomes(request.id, "approved").await;
}

#[tokio::test]
async fn a_request_that_waits_is_recalled_from_time_to_time() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let settings =
        RequestSettings { remind_every: Some(Duration::from_secs(600)), ..RequestSettings::default() };
    world.issuer.request_settings().replace(settings);
    world.ask(&alice(), asking(60)).await.unwrap();
    for times in 1..=3 {
        world.pass(600);
        eventually("it is recalled", async || {
            (world.recorded("request.reminded").await == times).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_grant_that_nobody_claims_lapses() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(60)).await;
    world.clock.advance(SignedDuration::try_from(hour(24)).unwrap());
    let ended = world.grant_becomes(grant.id, "ended").await;
    assert!(matches!(ended.state, GrantState::Ended { lapsed: true, .. }));
    assert!(ended.leases_ended);
}

#[tokio::test]
async fn scheduled_access_begins_and_ends_by_itself_whether_or_not_it_is_claimed() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let start = world.clock.now() + SignedDuration::from_hours(30);
    let grant = world.granted(NewRequest { start: Some(start), ..asking(600) }).await;
    let claim = ClaimRequest { grant: grant.id, ttl: None, idempotency_key: None };
    let early = world.issuer.claim(&alice(), claim.clone()).await.unwrap_err();
    assert_eq!(early.kind, RefusalKind::NotBegun);
    assert!(early.retry_after.is_some());
    world.clock.advance(start.duration_since(world.clock.now()));
    world.grant_becomes(grant.id, "active").await;
    world.pass(200);
    let lease = world.issuer.claim(&alice(), claim).await.unwrap().lease;
    assert_eq!(lease.expires_at(), Some(start + SignedDuration::from_secs(600)));
    world.pass(400);
    world.grant_becomes(grant.id, "ended").await;
    world.reaches(lease.id, StateName::Expired).await;
    assert_eq!(world.recorded("grant.activated").await, 1);
}

#[tokio::test]
async fn at_its_start_what_is_allowed_no_longer_is_taken_back() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let start = world.clock.now() + SignedDuration::from_hours(1);
    let grant = world.granted(NewRequest { start: Some(start), ..asking(600) }).await;
    let mut role = reviewed(&database);
    role.allow = vec!["group:nobody".parse().unwrap()];
    let mut catalogue =
        Catalogue { targets: world.catalogue.current().targets.clone(), ..Catalogue::default() };
    catalogue.roles.insert(role.name.clone(), role.into());
    world.catalogue.replace(catalogue);
    world.pass(3_600);
    let revoked = world.grant_becomes(grant.id, "revoked").await;
    assert!(matches!(revoked.state, GrantState::Revoked { by: None, .. }));
    assert_eq!(world.recorded("grant.activated").await, 0);
}

#[tokio::test]
async fn what_became_due_while_nobody_served_is_seen_to_at_the_next_start() {
    let database = database().await;
    let first = world(&database, reviewed(&database)).await;
    let start = first.clock.now() + SignedDuration::from_hours(1);
    let scheduled = first.granted(NewRequest { start: Some(start), ..asking(600) }).await;
    let pending = first.ask(&alice(), asking(61)).await.unwrap().request;
    let targets: Vec<_> = first.catalogue.current().targets.values().cloned().collect();
    let (directory, clock) = first.stop().await;
    clock.advance(SignedDuration::try_from(hour(25)).unwrap());
    let world = super::World::at(directory, clock, targets, vec![reviewed(&database)]).await;
    world.grant_becomes(scheduled.id, "ended").await;
    world.request_becomes(pending.id, "expired").await;
    assert_eq!(
        world.issuer.review_request(&bob(), pending.id, yes()).await.unwrap_err().kind,
        RefusalKind::Decided
    );
}
