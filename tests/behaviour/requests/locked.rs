//! Principals, roles and targets that are locked while something of theirs is asked for, or was granted.

use mayfly::{
    domain::{GrantState, RequestState, StateName},
    identity::Caller,
    issuer::{ClaimRequest, Ended, NewLock, RefusalKind},
};

use super::{alice, asking, bob, database, reviewed, world, yes};
use crate::support::world::{World, caller};

fn root() -> Caller {
    caller("root", &["administrators"])
}

async fn lock(world: &World, subject: &str) -> Ended {
    let subject = subject.parse().unwrap();
    let new = NewLock { subject, reason: String::new(), life: None, force: false };
    world.issuer.lock(&root(), new).await.unwrap().1
}

#[tokio::test]
async fn a_lock_in_mid_request_cancels_it_and_lets_nobody_ask_or_approve() {
    let database = database().await;
    for subject in ["principal/alice", "role/shop-read", "target/shop"] {
        let world = world(&database, reviewed(&database)).await;
        let request = world.ask(&alice(), asking(300)).await.unwrap().request;
        let ended = lock(&world, subject).await;
        assert_eq!(ended, Ended { leases: 0, requests: 1, grants: 0 }, "{subject}");
        let RequestState::Cancelled { by, reason, .. } = world.request(request.id).await.state else {
            panic!("{subject}")
        };
        assert!(by.is_none() && reason.ends_with("is locked"), "{reason}");
        let late = world.issuer.review_request(&bob(), request.id, yes()).await.unwrap_err();
        assert_eq!(late.kind, RefusalKind::Decided);
        let again = world.ask(&alice(), asking(300)).await.unwrap_err();
        assert_eq!(again.kind, RefusalKind::Locked, "{subject}");
        world.issuer.unlock(&root(), &subject.parse().unwrap(), String::new()).await.unwrap();
        world.ask(&alice(), asking(300)).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_revokes_grants_and_ends_their_leases() {
    let database = database().await;
    for subject in ["principal/alice", "role/shop-read", "target/shop"] {
        let world = world(&database, reviewed(&database)).await;
        let grant = world.granted(asking(300)).await;
        let claim = ClaimRequest { grant: grant.id, ttl: None, idempotency_key: None };
        let issued = world.issuer.claim(&alice(), claim.clone()).await.unwrap();
        let ended = lock(&world, subject).await;
        assert_eq!(ended, Ended { leases: 1, requests: 0, grants: 1 }, "{subject}");
        let grant = world.grant(grant.id).await;
        assert!(matches!(grant.state, GrantState::Revoked { by: None, .. }), "{:?}", grant.state);
        assert_eq!(world.ended(issued.lease.id).await.state.name(), StateName::Revoked);
        let late = world.issuer.claim(&alice(), claim).await.unwrap_err();
        assert!(matches!(late.kind, RefusalKind::GrantEnded | RefusalKind::Locked), "{late:?}");
    }
}

#[tokio::test]
async fn what_others_asked_for_and_were_granted_stays() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let carol = caller("carol", &["readers"]);
    let request = world.ask(&carol, asking(300)).await.unwrap().request;
    let grant = world.granted(asking(300)).await;
    assert_eq!(lock(&world, "principal/bob").await, Ended::default());
    assert_eq!(world.request(request.id).await.state.as_str(), "pending");
    assert_eq!(world.grant(grant.id).await.state.as_str(), "scheduled");
    // The locked reviewer decides nothing, though he is named.
    let refused = world.issuer.review_request(&bob(), request.id, yes()).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Locked);
}
