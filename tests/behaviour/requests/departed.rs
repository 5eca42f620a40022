//! People whose account is disabled or removed, or whose invitation is revoked, while they ask, decide or hold something.

use std::time::Duration;

use jiff::SignedDuration;
use mayfly::{
    clock::Clock as _,
    domain::{Grant, GrantState, RequestState, StateName},
    identity::Caller,
    issuer::{ClaimRequest, Departure, IssueRequest, NewInvitation, RefusalKind},
    store::{Changes, Committed},
};

use super::{asking, bob, database, reviewed, world, yes};
use crate::{
    people::{ADDRESS, password, root},
    support::world::{World, caller},
};

/// Alice, signed in with an account of her own.
async fn alice(world: &World) -> Caller {
    world.user("alice", &["readers"]).await;
    world.calls(&world.signed_in("alice").await).await.unwrap()
}

async fn disable(world: &World, name: &str) {
    world.issuer.disable_user(&root(), &name.parse().unwrap(), true).await.unwrap();
}

async fn granted(world: &World, who: &Caller) -> Grant {
    let request = world.ask(who, asking(300)).await.unwrap().request;
    let request = world.issuer.review_request(&bob(), request.id, yes()).await.unwrap();
    world.grant_of(&request).await
}

fn claim(grant: &Grant) -> ClaimRequest {
    ClaimRequest { grant: grant.id, ttl: None, idempotency_key: None }
}

#[tokio::test]
async fn disabled_in_mid_request_nothing_of_it_is_left_to_approve() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let alice = alice(&world).await;
    let others = world.ask(&caller("carol", &["readers"]), asking(300)).await.unwrap().request;
    let request = world.ask(&alice, asking(300)).await.unwrap().request;
    disable(&world, "alice").await;
    let RequestState::Cancelled { by, reason, .. } = world.request(request.id).await.state else { panic!() };
    assert_eq!((by, reason.as_str()), (None, "the account alice was disabled"));
    let late = world.issuer.review_request(&bob(), request.id, yes()).await.unwrap_err();
    assert_eq!(late.kind, RefusalKind::Decided);
    assert_eq!(world.request(others.id).await.state.as_str(), "pending");
    let told = world.audit().await.into_iter().find(|record| record.action == "access.withdrawn").unwrap();
    assert_eq!((told.resource.as_str(), told.details["requests"].as_str()), ("principals/alice", "1"));
}

#[tokio::test]
async fn disabled_with_access_on_a_target_it_ends_with_its_grant() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let alice = alice(&world).await;
    let grant = granted(&world, &alice).await;
    let issued = world.issuer.claim(&alice, claim(&grant)).await.unwrap();
    disable(&world, "alice").await;
    let state = world.grant(grant.id).await.state;
    assert!(matches!(state, GrantState::Revoked { by: None, .. }), "{state:?}");
    assert_eq!(world.ended(issued.lease.id).await.state.name(), StateName::Revoked);
}

#[tokio::test]
async fn removed_between_approval_and_claim_the_grant_is_nobodys_not_even_of_a_namesake() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let before = alice(&world).await;
    let grant = granted(&world, &before).await;
    world.issuer.remove_user(&root(), &"alice".parse().unwrap()).await.unwrap();
    assert_eq!(world.grant(grant.id).await.state.as_str(), "revoked");
    let late = world.issuer.claim(&before, claim(&grant)).await.unwrap_err();
    assert!(matches!(late.kind, RefusalKind::Denied | RefusalKind::GrantEnded), "{late:?}");
    let namesake = alice(&world).await;
    let late = world.issuer.claim(&namesake, claim(&grant)).await.unwrap_err();
    assert_eq!(late.kind, RefusalKind::GrantEnded);
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn a_call_under_way_when_its_account_goes_comes_to_nothing() {
    let database = database().await;
    let mut by_rule = database.reading_role("shop-peek", "shop");
    by_rule.allow = vec!["*".parse().unwrap()];
    let target = World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
    let world = World::with(vec![target], vec![reviewed(&database), by_rule]).await;
    let alice = alice(&world).await;
    world.user("owen", &["owners"]).await;
    let owen = world.calls(&world.signed_in("owen").await).await.unwrap();
    let request = world.ask(&caller("carol", &["readers"]), asking(300)).await.unwrap().request;
    // Both are recognised already when this happens.
    disable(&world, "alice").await;
    world.issuer.remove_user(&root(), &"owen".parse().unwrap()).await.unwrap();
    let peek = IssueRequest {
        role: "shop-peek".parse().unwrap(),
        ttl: None,
        purpose: String::new(),
        idempotency_key: None,
    };
    for refusal in [
        world.ask(&alice, asking(300)).await.unwrap_err(),
        world.issuer.issue(&alice, peek).await.unwrap_err(),
        world.issuer.review_request(&owen, request.id, yes()).await.unwrap_err(),
    ] {
        assert_eq!(refusal.kind, RefusalKind::Denied);
        assert!(refusal.to_string().contains("session was ended"), "{refusal}");
    }
    assert_eq!(world.request(request.id).await.state.as_str(), "pending");
    assert!(world.leases().await.is_empty());
}

#[tokio::test]
async fn what_an_interruption_left_of_it_is_done_later_and_what_began_since_stays() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let token = caller("alice", &["readers"]);
    let before = world.ask(&token, asking(300)).await.unwrap().request;
    let at = world.clock.now();
    world.pass(1);
    let since = world.ask(&token, asking(600)).await.unwrap().request;
    // As a crash right after the account was disabled leaves it.
    let departure = Departure {
        principal: "alice".parse().unwrap(),
        at: at.checked_add(SignedDuration::from_millis(1)).unwrap(),
        why: "the account alice was disabled".to_owned(),
    };
    let left = Changes::new().insert(&departure).unwrap().commit(&*world.store).await.unwrap();
    assert_eq!(left, Committed::Yes);
    world.pass(2);
    world.request_becomes(before.id, "cancelled").await;
    crate::support::eventually("it is on record", async || {
        (world.recorded("access.withdrawn").await == 1).then_some(())
    })
    .await;
    assert_eq!(world.request(since.id).await.state.as_str(), "pending");
}

#[tokio::test]
async fn a_revoked_invitation_takes_its_contractors_requests_with_it() {
    let database = database().await;
    let mut role = reviewed(&database);
    role.allow = vec!["kind:contractor".parse().unwrap()];
    let world = world(&database, role).await;
    let new = NewInvitation {
        label: "kim@agency.example".parse().unwrap(),
        mail: String::new(),
        roles: ["shop-read".parse().unwrap()].into(),
        groups: [].into(),
        purpose: "moving the orders".to_owned(),
        cidrs: Vec::new(),
        start: None,
        window: Some(Duration::from_secs(3600)),
    };
    let made = world.issuer.invite(&root(), new).await.unwrap();
    let begun = world.issuer.claim_invitation(&password(&made.code.expose()), ADDRESS).await.unwrap();
    let kim = world.calls(&begun.secret).await.unwrap();
    let request = world.ask(&kim, asking(300)).await.unwrap().request;
    world.issuer.revoke_invitation(&root(), made.invitation.id).await.unwrap();
    let RequestState::Cancelled { reason, .. } = world.request(request.id).await.state else { panic!() };
    assert_eq!(reason, "the invitation was revoked");
    assert_eq!(world.ask(&kim, asking(300)).await.unwrap_err().kind, RefusalKind::Denied);
}
