//! Reviewing: who may, how often, for how much.

use jiff::SignedDuration;
use mayfly::{
    clock::Clock as _,
    domain::{RequestState, ReviewStep, Verdict},
    issuer::{NewRequest, NewReview, RefusalKind},
};

use super::{alice, asking, bob, database, hour, no, reviewed, step, world, yes};
use crate::support::world::{caller, ttl};

fn narrowed(seconds: u64) -> NewReview {
    let verdict = Verdict::Approve { ttl: Some(ttl(seconds)), start: None };
    NewReview { verdict, comment: "shorter will do".to_owned() }
}

#[tokio::test]
async fn nobody_reviews_a_request_of_his_own_not_even_an_administrator() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let owner = caller("alice", &["readers", "owners", "administrators"]);
    let request = world.ask(&owner, asking(60)).await.unwrap().request;
    let refusal = world.issuer.review_request(&owner, request.id, yes()).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
    assert!(world.request(request.id).await.reviews.is_empty());
    let refused = world.audit().await;
    assert!(refused.iter().any(|record| record.action == "review.recorded"), "a refusal is on record");
}

#[tokio::test]
async fn who_is_no_reviewer_is_told_of_no_request_and_an_administrator_that_he_is_none() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    for (who, kind) in [
        (caller("mallory", &["readers"]), RefusalKind::NotFound),
        (caller("root", &["administrators"]), RefusalKind::Denied),
    ] {
        let refusal = world.issuer.review_request(&who, request.id, yes()).await.unwrap_err();
        assert_eq!(refusal.kind, kind);
    }
}

#[tokio::test]
async fn steps_are_taken_in_order_and_each_reviewer_counts_once() {
    let database = database().await;
    let mut role = reviewed(&database);
    role.approval = vec![step("two owners", &["group:owners"], 2), step("security", &["group:security"], 1)];
    let world = world(&database, role).await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    let review = async |who, review| world.issuer.review_request(&who, request.id, review).await;
    let both = caller("bob", &["owners", "security"]);
    let security = caller("sam", &["security"]);
    assert_eq!(review(security.clone(), yes()).await.unwrap_err().kind, RefusalKind::Denied, "not his turn");
    review(both.clone(), yes()).await.unwrap();
    assert_eq!(review(both.clone(), yes()).await.unwrap_err().kind, RefusalKind::Reviewed);
    let next = review(caller("carol", &["owners"]), yes()).await.unwrap();
    assert!(matches!(next.state, RequestState::Pending { step: 1, .. }), "{:?}", next.state);
    assert_eq!(review(both, yes()).await.unwrap_err().kind, RefusalKind::Reviewed, "in whichever step");
    let approved = review(security, yes()).await.unwrap();
    let grant = world.grant_of(&approved).await;
    assert_eq!(grant.basis, format!("requests/{} approved by bob, carol, sam", request.id));
    assert_eq!(world.recorded("review.recorded").await, 6, "three of them refused");
}

#[tokio::test]
async fn as_many_denials_as_the_step_says_end_it() {
    let database = database().await;
    let mut role = reviewed(&database);
    role.approval = vec![ReviewStep { denials: 2, ..step("owners", &["group:owners"], 2) }];
    let world = world(&database, role).await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    let first = world.issuer.review_request(&bob(), request.id, no()).await.unwrap();
    assert!(first.is_pending());
    let denied = world.issuer.review_request(&caller("carol", &["owners"]), request.id, no()).await.unwrap();
    assert!(matches!(denied.state, RequestState::Denied { ref by, .. } if by.as_str() == "carol"));
    let late = world.issuer.review_request(&caller("dave", &["owners"]), request.id, yes()).await;
    assert_eq!(late.unwrap_err().kind, RefusalKind::Decided);
    assert_eq!(world.recorded("request.denied").await, 1);
    assert_eq!(world.recorded("grant.opened").await, 0);
}

#[tokio::test]
async fn a_review_after_the_end_does_not_count_even_before_the_clerk_has_been_there() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    world.clerk.stop().await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    world.clock.advance(SignedDuration::try_from(hour(24)).unwrap());
    let late = world.issuer.review_request(&bob(), request.id, yes()).await.unwrap_err();
    assert_eq!(late.kind, RefusalKind::Decided);
    assert!(world.request(request.id).await.is_pending());
}

#[tokio::test]
async fn who_lost_the_group_in_between_reviews_no_more() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    assert!(world.issuer.request(&bob(), request.id).await.unwrap().reviewable);
    let former = caller("bob", &["readers"]);
    let refusal = world.issuer.review_request(&former, request.id, yes()).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    assert!(world.request(request.id).await.is_pending());
}

#[tokio::test]
async fn reviewers_narrow_and_never_widen() {
    let database = database().await;
    let mut role = reviewed(&database);
    role.approval = vec![step("owners", &["group:owners"], 3)];
    let world = world(&database, role).await;
    let start = world.clock.now() + SignedDuration::from_hours(1);
    let request =
        world.ask(&alice(), NewRequest { start: Some(start), ..asking(600) }).await.unwrap().request;
    let review = async |name: &str, review| {
        world.issuer.review_request(&caller(name, &["owners"]), request.id, review).await
    };
    let starting =
        |at| NewReview { verdict: Verdict::Approve { ttl: None, start: Some(at) }, comment: String::new() };
    assert_eq!(review("a", narrowed(601)).await.unwrap_err().kind, RefusalKind::Invalid("ttl"));
    let sooner = review("a", starting(start - SignedDuration::from_secs(1))).await.unwrap_err();
    assert_eq!(sooner.kind, RefusalKind::Invalid("start_time"));
    review("a", narrowed(300)).await.unwrap();
    assert_eq!(
        review("b", narrowed(301)).await.unwrap_err().kind,
        RefusalKind::Invalid("ttl"),
        "nor what was narrowed"
    );
    review("b", starting(start + SignedDuration::from_secs(60))).await.unwrap();
    let approved = review("c", yes()).await.unwrap();
    assert_eq!(approved.terms.ttl, ttl(600), "what was asked for stays as it was");
    let grant = world.grant_of(&approved).await;
    assert_eq!(grant.ttl, ttl(300));
    world.clock.advance(SignedDuration::from_secs(3_660));
    let active = world.grant_becomes(grant.id, "active").await;
    assert_eq!(active.until(), Some(start + SignedDuration::from_secs(360)));
}

#[tokio::test]
async fn two_reviews_at_once_both_count_and_open_one_grant() {
    let database = database().await;
    let mut role = reviewed(&database);
    role.approval = vec![step("owners", &["group:owners"], 2)];
    let world = world(&database, role).await;
    let request = world.ask(&alice(), asking(60)).await.unwrap().request;
    let (bob, carol, dave) = (bob(), caller("carol", &["owners"]), caller("dave", &["owners"]));
    let outcomes = tokio::join!(
        world.issuer.review_request(&bob, request.id, yes()),
        world.issuer.review_request(&carol, request.id, yes()),
        world.issuer.review_request(&dave, request.id, yes()),
    );
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "the third comes too late");
    assert_eq!(world.recorded("grant.opened").await, 1);
}
