//! Claiming: leases under a grant, no more and no longer than it allows.

use futures_util::future;
use jiff::SignedDuration;
use mayfly::{
    clock::Clock as _,
    domain::{Grant, LeaseState, Role, StateName},
    identity::Caller,
    issuer::{
        Catalogue, ClaimRequest, GrantFilter, IssueRequest, Issued, NewExtension, NewRequest, Refusal,
        RefusalKind,
    },
};

use super::{alice, asking, bob, database, reviewed, world, yes};
use crate::support::world::{World, caller, expiry, request, ttl};

fn claim_of(grant: &Grant) -> ClaimRequest {
    ClaimRequest { grant: grant.id, ttl: None, idempotency_key: None }
}

async fn claim(world: &World, who: &Caller, grant: &Grant) -> Result<Issued, Refusal> {
    world.issuer.claim(who, claim_of(grant)).await
}

fn extension(grant: &Grant, seconds: u64) -> NewExtension {
    NewExtension {
        grant: grant.id,
        ttl: Some(ttl(seconds)),
        justification: "not done yet".to_owned(),
        ticket: None,
        idempotency_key: None,
    }
}

/// The catalogue with the role as it is to be from now on; `None`: it is gone.
fn change_role(world: &World, role: Option<Role>) {
    let current = world.catalogue.current();
    let mut catalogue = Catalogue { targets: current.targets.clone(), ..Catalogue::default() };
    catalogue.roles = role.into_iter().map(|role| (role.name.clone(), role.into())).collect();
    world.catalogue.replace(catalogue);
}

#[tokio::test]
async fn asked_approved_claimed_used_and_over_with_its_grant() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    world.pass(3_600);
    let issued = claim(&world, &alice(), &grant).await.unwrap();
    let mut session = database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
    assert!(!session.ask("SELECT id FROM orders").await.unwrap().is_empty());
    let active = world.grant(grant.id).await;
    assert_eq!(
        active.until(),
        Some(world.clock.now() + SignedDuration::from_secs(600)),
        "its clock starts at the claim"
    );
    assert_eq!(expiry(&issued.lease), active.until().unwrap());
    assert_eq!((issued.lease.terms.grant, active.leases), (Some(grant.id), vec![issued.lease.id]));
    world.pass(600);
    world.reaches(issued.lease.id, StateName::Expired).await;
    world.grant_becomes(grant.id, "ended").await;
    session.ask("SELECT id FROM orders").await.unwrap_err();
    assert_eq!(claim(&world, &alice(), &grant).await.unwrap_err().kind, RefusalKind::GrantEnded);
}

#[tokio::test]
async fn a_grant_is_claimed_by_its_holder_alone() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    for who in [bob(), caller("carol", &["readers"]), caller("root", &["administrators", "readers"])] {
        assert_eq!(claim(&world, &who, &grant).await.unwrap_err().kind, RefusalKind::NotFound);
    }
    let admin = caller("root", &["administrators"]);
    assert_eq!(world.issuer.grant(&admin, grant.id).await.unwrap().id, grant.id);
    assert_eq!(world.issuer.grants(&bob(), GrantFilter::default(), (10, None)).await.unwrap().0.len(), 0);
    assert_eq!(world.issuer.grants(&alice(), GrantFilter::default(), (10, None)).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn issuing_under_the_role_uses_the_grant_that_there_is() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    let issued = world.issuer.issue(&alice(), request("shop-read")).await.unwrap();
    assert_eq!(issued.lease.terms.grant, Some(grant.id));
    assert_eq!(issued.lease.terms.allowed_by, grant.basis);
    world.pass(300);
    let long = IssueRequest { ttl: Some(ttl(301)), ..request("shop-read") };
    assert_eq!(world.issuer.issue(&alice(), long).await.unwrap_err().kind, RefusalKind::Invalid("ttl"));
}

#[tokio::test]
async fn a_claim_used_twice_at_once_gives_as_many_leases_as_allowed() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    for parallel in [1, 3] {
        let grant = world.granted(NewRequest { parallel, ..asking(600) }).await;
        let alice = alice();
        let claims = future::join_all((0..6).map(|_| claim(&world, &alice, &grant))).await;
        let (issued, refused): (Vec<_>, Vec<_>) = claims.into_iter().partition(Result::is_ok);
        assert_eq!(issued.len(), usize::try_from(parallel).unwrap());
        for refusal in refused {
            assert_eq!(refusal.unwrap_err().kind, RefusalKind::LimitReached);
        }
        // One that is given back makes room for another.
        let first = issued.into_iter().next().unwrap().unwrap().lease.id;
        world.issuer.release(&alice, first).await.unwrap();
        world.ended(first).await;
        claim(&world, &alice, &grant).await.unwrap();
        world.issuer.revoke_grant(&alice, grant.id, String::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_repeated_claim_is_the_same_lease_with_a_fresh_password() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    let keyed = ClaimRequest { idempotency_key: Some("again".to_owned()), ..claim_of(&grant) };
    let first = world.issuer.claim(&alice(), keyed.clone()).await.unwrap();
    world.pass(10);
    let second = world.issuer.claim(&alice(), keyed).await.unwrap();
    assert_eq!(first.lease.id, second.lease.id);
    assert!(database.login(first.lease.account.name.as_str(), &first.password).await.is_err());
    database.login(second.lease.account.name.as_str(), &second.password).await.unwrap();
    assert_eq!(world.grant(grant.id).await.leases, [first.lease.id]);
}

#[tokio::test]
async fn a_renewal_reaches_to_the_end_of_the_grant_and_an_extension_moves_that() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    let half = ClaimRequest { ttl: Some(ttl(300)), ..claim_of(&grant) };
    let lease = world.issuer.claim(&alice(), half).await.unwrap().lease;
    let begun = world.clock.now();
    world.pass(200);
    let beyond = world.issuer.renew(&alice(), lease.id, Some(ttl(401))).await.unwrap_err();
    assert_eq!(beyond.kind, RefusalKind::Invalid("ttl"));
    let renewed = world.issuer.renew(&alice(), lease.id, Some(ttl(400))).await.unwrap();
    assert_eq!(expiry(&renewed), begun + SignedDuration::from_secs(600));
    // Decided anew, by somebody else.
    let asked = world.issuer.extend_grant(&alice(), extension(&grant, 900)).await.unwrap();
    assert!(asked.request.is_pending());
    let other = world.issuer.extend_grant(&alice(), extension(&grant, 1_000)).await.unwrap_err();
    assert_eq!(other.kind, RefusalKind::InProgress, "one at a time");
    let refused =
        world.issuer.review_request(&caller("alice", &["owners", "readers"]), asked.request.id, yes()).await;
    assert_eq!(refused.unwrap_err().kind, RefusalKind::Denied);
    world.issuer.review_request(&bob(), asked.request.id, yes()).await.unwrap();
    let extended = world.grant(grant.id).await;
    assert_eq!(extended.until(), Some(begun + SignedDuration::from_secs(1_500)));
    let renewed = world.issuer.renew(&alice(), lease.id, Some(ttl(1_300))).await.unwrap();
    assert_eq!(expiry(&renewed), begun + SignedDuration::from_secs(1_500));
    assert_eq!(world.recorded("grant.extended").await, 1);
}

#[tokio::test]
async fn of_extensions_asked_for_at_once_one_waits() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    claim(&world, &alice(), &grant).await.unwrap();
    let alice = alice();
    let asked = (0..8).map(|more| world.issuer.extend_grant(&alice, extension(&grant, 60 + more)));
    let outcomes = future::join_all(asked).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    for refusal in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.kind, RefusalKind::InProgress, "{refusal}");
    }
    assert_eq!(world.recorded("request.created").await, 2 + 7, "refusals are on record");
    // The same asked for again is the same.
    let same =
        future::join_all((0..4).map(|_| world.issuer.extend_grant(&alice, extension(&grant, 60)))).await;
    let ids: std::collections::BTreeSet<_> =
        same.into_iter().flatten().map(|asked| asked.request.id).collect();
    assert!(ids.len() <= 1, "{ids:?}");
}

#[tokio::test]
async fn an_extension_that_nobody_decides_is_over_with_its_grant() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    assert_eq!(
        world.issuer.extend_grant(&alice(), extension(&grant, 60)).await.unwrap_err().kind,
        RefusalKind::GrantEnded,
        "it has not begun"
    );
    claim(&world, &alice(), &grant).await.unwrap();
    let first = world.issuer.extend_grant(&alice(), extension(&grant, 60)).await.unwrap().request;
    world.issuer.revoke_grant(&alice(), grant.id, String::new()).await.unwrap();
    assert_eq!(world.request(first.id).await.state.as_str(), "cancelled");
    let late = world.issuer.review_request(&bob(), first.id, yes()).await.unwrap_err();
    assert_eq!(late.kind, RefusalKind::Decided);
}

#[tokio::test]
async fn a_revoked_grant_takes_its_leases_with_it() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(NewRequest { parallel: 2, ..asking(600) }).await;
    let one = claim(&world, &alice(), &grant).await.unwrap();
    let two = claim(&world, &alice(), &grant).await.unwrap();
    let mut session = database.login(one.lease.account.name.as_str(), &one.password).await.unwrap();
    let stranger = world.issuer.revoke_grant(&bob(), grant.id, String::new()).await.unwrap_err();
    assert_eq!(stranger.kind, RefusalKind::NotFound);
    let admin = caller("root", &["administrators"]);
    let revoked = world.issuer.revoke_grant(&admin, grant.id, "left the team".to_owned()).await.unwrap();
    assert_eq!(revoked.state.as_str(), "revoked");
    for lease in [one.lease.id, two.lease.id] {
        let ended = world.ended(lease).await;
        assert_eq!(ended.state.name(), StateName::Revoked);
    }
    session.ask("SELECT 1").await.unwrap_err();
    assert_eq!(claim(&world, &alice(), &grant).await.unwrap_err().kind, RefusalKind::GrantEnded);
    world.issuer.revoke_grant(&admin, grant.id, String::new()).await.unwrap();
    assert_eq!(world.recorded("grant.revoked").await, 2, "one of them refused");
}

#[tokio::test]
async fn who_lost_the_right_to_ask_claims_nothing_and_loses_the_grant() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    let former = caller("alice", &["strangers"]);
    assert_eq!(claim(&world, &former, &grant).await.unwrap_err().kind, RefusalKind::Denied);
    assert_eq!(world.grant(grant.id).await.state.as_str(), "revoked");
    assert_eq!(claim(&world, &alice(), &grant).await.unwrap_err().kind, RefusalKind::GrantEnded);
}

#[tokio::test]
async fn a_role_that_is_gone_or_elsewhere_takes_its_grants_with_it() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    change_role(&world, None);
    assert_eq!(claim(&world, &alice(), &grant).await.unwrap_err().kind, RefusalKind::Denied);
    assert_eq!(world.grant(grant.id).await.state.as_str(), "revoked");
    change_role(&world, Some(reviewed(&database)));
    assert_eq!(claim(&world, &alice(), &grant).await.unwrap_err().kind, RefusalKind::GrantEnded);
}

#[tokio::test]
async fn a_grant_survives_a_restart_and_so_does_the_list_of_its_leases() {
    let database = database().await;
    let first = world(&database, reviewed(&database)).await;
    let grant = first.granted(asking(600)).await;
    let lease = claim(&first, &alice(), &grant).await.unwrap().lease;
    let targets: Vec<_> = first.catalogue.current().targets.values().cloned().collect();
    let (directory, clock) = first.stop().await;
    let world = World::at(directory, clock, targets, vec![reviewed(&database)]).await;
    assert_eq!(claim(&world, &alice(), &grant).await.unwrap_err().kind, RefusalKind::LimitReached);
    assert!(matches!(world.lease(lease.id).await.state, LeaseState::Active { .. }));
    world.pass(600);
    world.reaches(lease.id, StateName::Expired).await;
    assert!(
        world.grant_becomes(grant.id, "ended").await.leases_ended || world.recorded("grant.ended").await == 1
    );
}
