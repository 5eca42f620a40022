//! Certifying, and taking back.

use mayfly::{
    domain::{RequestState, StateName},
    identity::Caller,
    issuer::{
        AccessDecision, ClaimRequest, Decided, Ended, NewRequest, NewReview, Refusal, RefusalKind, Ruling,
    },
};

use super::{auditor, database, world};
use crate::{
    people::root,
    support::world::{World, caller, request},
};

fn on(principal: &str, role: &str, ruling: Ruling) -> AccessDecision {
    AccessDecision {
        principal: principal.parse().unwrap(),
        role: role.parse().unwrap(),
        ruling,
        comment: "looked at it".to_owned(),
        etag: String::new(),
    }
}

const REVOKE: Ruling = Ruling::Revoke { lock: false };

async fn decide(world: &World, by: &Caller, what: Vec<AccessDecision>) -> Result<Vec<Decided>, Refusal> {
    world.issuer.decide_access(by, what, false).await
}

#[tokio::test]
async fn what_was_certified_is_on_record_shown_next_time_and_doubted_once_it_has_changed() {
    let database = database().await;
    let world = world(&database).await;
    world.token("app", &["readers", "writers"]).await;
    let decided = decide(&world, &auditor(), vec![on("app", "shop-read", Ruling::Certify)]).await.unwrap();
    assert_eq!(decided[0].item.certified.as_ref().unwrap().by.as_str(), "audrey");
    let item = world.item("app", "shop-read").await.unwrap();
    let certified = item.certified.as_ref().unwrap();
    assert_eq!((certified.by.as_str(), certified.comment.as_str()), ("audrey", "looked at it"));
    assert!(!item.changed());
    assert!(world.item("app", "shop-write").await.unwrap().certified.is_none());
    let told = world.audit().await.into_iter().find(|record| record.action == "access.certified").unwrap();
    assert_eq!(told.resource, "access/app shop-read");
    assert_eq!((told.details["principal"].as_str(), told.details["role"].as_str()), ("app", "shop-read"));
    assert_eq!(told.details["obtainable_by"], "roles/shop-read: allow group:readers");
    // A policy lets it break the glass as well: not what was looked at, unless it had the same at once anyway.
    world.policy("@id(\"more\") permit (principal, action in [Action::\"request\", Action::\"auto_approve\"], resource);");
    assert!(world.item("app", "shop-read").await.unwrap().changed());
    // Who looks at it again, certifies that.
    decide(&world, &root(), vec![on("app", "shop-read", Ruling::Certify)]).await.unwrap();
    assert!(!world.item("app", "shop-read").await.unwrap().changed());
}

#[tokio::test]
async fn revoking_ends_leases_grants_and_requests_and_says_what_can_still_be_obtained() {
    let database = database().await;
    let world = world(&database).await;
    world.token("app", &["readers", "writers"]).await;
    let (app, owen) = (caller("app", &["readers", "writers"]), caller("owen", &["owners"]));
    let by_rule = world.issuer.issue(&app, request("shop-read")).await.unwrap();
    let new = |start| NewRequest {
        role: "shop-write".parse().unwrap(),
        ttl: None,
        start,
        parallel: 1,
        justification: "to correct an order".to_owned(),
        ticket: None,
        idempotency_key: None,
    };
    let approve = NewReview {
        verdict: mayfly::domain::Verdict::Approve { ttl: None, start: None },
        comment: String::new(),
    };
    let asked = world.issuer.create_request(&app, new(None)).await.unwrap().request;
    let approved = world.issuer.review_request(&owen, asked.id, approve).await.unwrap();
    let RequestState::Approved { grant, .. } = approved.state else { panic!() };
    let claim = ClaimRequest { grant, ttl: None, idempotency_key: None };
    let claimed = world.issuer.claim(&app, claim.clone()).await.unwrap();
    let later = mayfly::clock::Clock::now(&*world.clock) + jiff::SignedDuration::from_hours(5);
    let waiting = world.issuer.create_request(&app, new(Some(later))).await.unwrap().request;
    assert_eq!(waiting.state.as_str(), "pending");

    let decided = decide(&world, &auditor(), vec![on("app", "shop-write", REVOKE)]).await.unwrap();
    // The lease under the grant ends with the grant.
    assert_eq!(decided[0].ended, Ended { leases: 0, requests: 1, grants: 1 });
    assert_eq!(decided[0].item.reach.by, "reviews: owners");
    assert!(!decided[0].item.holds() || !decided[0].item.leases.is_empty(), "{:?}", decided[0].item);
    let ended = world.ended(claimed.lease.id).await;
    assert_eq!(ended.state.name(), StateName::Revoked);
    assert_eq!(world.issuer.claim(&app, claim).await.unwrap_err().kind, RefusalKind::GrantEnded);
    // What is another role's stays.
    assert_eq!(world.lease(by_rule.lease.id).await.state.name(), StateName::Active);
    let decided = decide(&world, &auditor(), vec![on("app", "shop-read", REVOKE)]).await.unwrap();
    assert_eq!(decided[0].ended.leases, 1);
    assert_eq!(decided[0].item.reach.by, "roles/shop-read: allow group:readers");
    let again = decide(&world, &auditor(), vec![on("app", "shop-read", REVOKE)]).await.unwrap();
    assert_eq!(again[0].ended, Ended::default());
    let told = world.audit().await;
    let cancelled = told.iter().find(|record| record.action == "request.cancelled").unwrap();
    assert!(cancelled.details["reason"].contains("access review: looked at it"), "{cancelled:?}");
    assert_eq!(told.iter().filter(|record| record.action == "access.revoked").count(), 3);
}

#[tokio::test]
async fn a_revocation_takes_its_certification_away_and_locks_if_so_asked() {
    let database = database().await;
    let world = world(&database).await;
    world.token("app", &["readers"]).await;
    decide(&world, &auditor(), vec![on("app", "shop-read", Ruling::Certify)]).await.unwrap();
    let lock = on("app", "shop-read", Ruling::Revoke { lock: true });
    let decided = decide(&world, &auditor(), vec![lock]).await.unwrap();
    assert!(decided[0].locked && decided[0].item.certified.is_none());
    assert_eq!(decided[0].item.locked.len(), 1);
    let refused = world.issuer.issue(&caller("app", &["readers"]), request("shop-read")).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Locked);
}

#[tokio::test]
async fn all_decisions_are_checked_before_the_first_is_carried_out() {
    let database = database().await;
    let world = world(&database).await;
    world.token("app", &["readers"]).await;
    world.token("audrey", &["readers", "administrators"]).await;
    let app = caller("app", &["readers"]);
    let issued = world.issuer.issue(&app, request("shop-read")).await.unwrap();
    let good = || on("app", "shop-read", REVOKE);
    let stale = AccessDecision { etag: "0000000000000000".to_owned(), ..on("audrey", "shop-read", REVOKE) };
    let long = AccessDecision { comment: "x".repeat(1_001), ..on("audrey", "shop-read", REVOKE) };
    for (bad, kind) in [
        (on("audrey", "shop-read", Ruling::Certify), RefusalKind::Denied),
        (on("audrey", "shop-read", Ruling::Revoke { lock: true }), RefusalKind::Invalid("decisions")),
        (on("nobody", "shop-read", Ruling::Certify), RefusalKind::NotFound),
        (on("app", "shop-write", REVOKE), RefusalKind::NotFound),
        (on("app", "nothing", REVOKE), RefusalKind::NotFound),
        (good(), RefusalKind::Invalid("decisions")),
        (stale, RefusalKind::Precondition),
        (long, RefusalKind::Invalid("comment")),
    ] {
        let refused = decide(&world, &auditor(), vec![good(), bad.clone()]).await.unwrap_err();
        assert_eq!(refused.kind, kind, "{bad:?}: {refused}");
    }
    for many in [Vec::new(), vec![good(); 501]] {
        assert_eq!(
            decide(&world, &auditor(), many).await.unwrap_err().kind,
            RefusalKind::Invalid("decisions")
        );
    }
    // Checking alone carries nothing out either.
    let etag = world.item("app", "shop-read").await.unwrap().etag();
    let right = AccessDecision { etag, ..good() };
    world.issuer.decide_access(&auditor(), vec![right.clone()], true).await.unwrap();
    assert_eq!(world.lease(issued.lease.id).await.state.name(), StateName::Active);
    let decided = decide(&world, &auditor(), vec![right]).await.unwrap();
    assert_eq!(decided[0].ended.leases, 1);
}

#[tokio::test]
async fn who_may_only_look_decides_nothing() {
    let database = database().await;
    let world = world(&database).await;
    world.token("app", &["readers"]).await;
    world.policy("@id(\"audit\") permit (principal in Group::\"auditors\", action == Action::\"view_audit\", resource);");
    let reader = caller("reader", &["auditors"]);
    for ruling in [Ruling::Certify, REVOKE] {
        let refused = decide(&world, &reader, vec![on("app", "shop-read", ruling)]).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Denied);
    }
    let nobody = decide(&world, &caller("bob", &[]), vec![on("app", "shop-read", REVOKE)]).await.unwrap_err();
    assert_eq!(nobody.kind, RefusalKind::Denied);
}
