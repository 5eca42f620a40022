//! Invitations: made by who may, claimed once, from where and when they say; nothing else comes of a code.

use std::{net::IpAddr, time::Duration};

use mayfly::{
    identity::AuthenticationError,
    issuer::{Begun, Invited, NewInvitation, Refusal, RefusalKind},
};

use super::{ADDRESS, password, root};
use crate::support::world::{World, caller, databases, request};

/// For `shop-read`, from the network that [`ADDRESS`] is in.
fn new(label: &str) -> NewInvitation {
    NewInvitation {
        label: label.parse().unwrap(),
        mail: String::new(),
        roles: ["shop-read".parse().unwrap()].into(),
        groups: [].into(),
        purpose: "moving the orders".to_owned(),
        cidrs: vec!["192.0.2.0/24".parse().unwrap()],
        start: None,
        window: Some(Duration::from_secs(3600)),
    }
}

/// A world with roles on a target nobody reaches: what is asked here ends before it.
async fn world() -> Option<World> {
    let database = databases().await.into_iter().next()?;
    let target = World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
    let mut roles =
        vec![database.reading_role("shop-read", "shop"), database.reading_role("shop-audit", "shop")];
    for role in &mut roles {
        role.allow = vec!["kind:contractor".parse().unwrap(), "group:readers".parse().unwrap()];
    }
    Some(World::with(vec![target], roles).await)
}

async fn invited(world: &World) -> Invited {
    world.issuer.invite(&root(), new("kim@agency.example")).await.unwrap()
}

async fn claim(world: &World, code: &str) -> Result<Begun, Refusal> {
    world.issuer.claim_invitation(&password(code), ADDRESS).await
}

#[track_caller]
fn refused(result: Result<Begun, Refusal>) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::SignInRefused, "{refusal}");
    refusal.to_string()
}

#[tokio::test]
async fn a_code_gives_one_session_for_the_window_that_names_its_sponsor_and_roles() {
    let Some(world) = world().await else { return };
    let made = invited(&world).await;
    let begun = claim(&world, &made.code.expose()).await.unwrap();
    let kim = world.calls(&begun.secret).await.unwrap();
    let principal = &kim.principal;
    assert_eq!(principal.kind.as_str(), "contractor");
    assert_eq!(principal.name.as_str(), format!("contractor:kim@agency.example/{}", made.invitation.id));
    assert_eq!(principal.attributes["sponsor"], "root");
    assert_eq!(principal.attributes["invited_roles"], "shop-read");
    assert_eq!(principal.attributes["invitation"], made.invitation.id.to_string());
    assert_eq!(begun.session.expires_at, made.invitation.valid_until);
    world.pass(3599);
    world.calls(&begun.secret).await.unwrap();
    world.pass(1);
    assert!(matches!(world.calls(&begun.secret).await.unwrap_err(), AuthenticationError::SessionExpired));
    let told = world.told().await;
    assert!(
        told.contains(&"invitation.created done".to_owned())
            && told.contains(&"invitation.claimed done".to_owned())
    );
    assert!(!format!("{:?}", world.audit().await).contains(&made.code.secret.expose()));
}

#[tokio::test]
async fn only_the_roles_invited_to_can_be_had_or_even_seen() {
    let Some(world) = world().await else { return };
    let begun = claim(&world, &invited(&world).await.code.expose()).await.unwrap();
    let kim = world.calls(&begun.secret).await.unwrap();
    world.issuer.issue(&kim, request("shop-read")).await.unwrap();
    let refusal = world.issuer.issue(&kim, request("shop-audit")).await.unwrap_err();
    assert!(matches!(refusal.kind, RefusalKind::Denied | RefusalKind::NotFound), "{refusal}");
    let seen: Vec<String> =
        world.issuer.roles(&kim).iter().map(|offer| offer.role.name.to_string()).collect();
    assert_eq!(seen, ["shop-read"]);
}

#[tokio::test]
async fn it_is_claimed_once() {
    let Some(world) = world().await else { return };
    let made = invited(&world).await;
    claim(&world, &made.code.expose()).await.unwrap();
    refused(claim(&world, &made.code.expose()).await);
}

#[tokio::test]
async fn of_many_who_claim_it_at_once_exactly_one_is_let_in() {
    let Some(world) = world().await else { return };
    let code = invited(&world).await.code.expose();
    let all = futures_util::future::join_all((0..4).map(|_| claim(&world, &code))).await;
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1, "{all:?}");
}

#[tokio::test]
async fn from_another_network_it_is_refused_and_so_is_its_session() {
    let Some(world) = world().await else { return };
    let made = invited(&world).await;
    let elsewhere: IpAddr = "198.51.100.1".parse().unwrap();
    for address in [Some(elsewhere), None] {
        refused(world.issuer.claim_invitation(&password(&made.code.expose()), address).await);
    }
    let begun = claim(&world, &made.code.expose()).await.unwrap();
    assert_eq!(begun.session.cidrs, made.invitation.cidrs);
}

#[tokio::test]
async fn before_and_after_its_window_it_is_refused() {
    let Some(world) = world().await else { return };
    let start = jiff::SignedDuration::from_hours(1);
    let later = NewInvitation { start: Some(mayfly::clock::Clock::now(&*world.clock) + start), ..new("kim") };
    let later = world.issuer.invite(&root(), later).await.unwrap().code.expose();
    let now = invited(&world).await.code.expose();
    refused(claim(&world, &later).await);
    world.pass(3600);
    refused(claim(&world, &now).await);
    claim(&world, &later).await.unwrap();
}

#[tokio::test]
async fn revoked_it_opens_nothing_and_its_session_is_over() {
    let Some(world) = world().await else { return };
    let (one, other) = (invited(&world).await, invited(&world).await);
    let begun = claim(&world, &one.code.expose()).await.unwrap();
    for made in [&one, &other] {
        world.issuer.revoke_invitation(&root(), made.invitation.id).await.unwrap();
        world.issuer.revoke_invitation(&root(), made.invitation.id).await.unwrap();
    }
    refused(claim(&world, &other.code.expose()).await);
    assert!(matches!(world.calls(&begun.secret).await.unwrap_err(), AuthenticationError::SessionEnded));
}

#[tokio::test]
async fn guesses_are_told_nothing_and_lock_the_invitation_for_longer_and_longer() {
    let Some(world) = world().await else { return };
    let made = invited(&world).await;
    let guess = format!("{}-0000-0000-0000-0000", made.invitation.id);
    let unknown = refused(claim(&world, "00000000000000000000-0000-0000-0000-0000").await);
    for _ in 0..5 {
        assert_eq!(refused(claim(&world, &guess).await), unknown);
    }
    // Now not even the right code is looked at.
    assert_eq!(refused(claim(&world, &made.code.expose()).await), unknown);
    world.pass(30);
    claim(&world, &made.code.expose()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_code_is_refused_like_a_wrong_one() {
    let Some(world) = world().await else { return };
    let made = invited(&world).await;
    let code = made.code.expose();
    let long = "a".repeat(100_000);
    let wrong = refused(claim(&world, &format!("{}-0000-0000-0000-0000", made.invitation.id)).await);
    for bad in ["", "-", &code[..code.len() - 1], &code[1..], "' or 1=1 --", "mfs_", &long] {
        assert_eq!(refused(claim(&world, bad).await), wrong, "{bad}");
    }
}

#[tokio::test]
async fn who_may_not_invite_does_not_and_nobody_passes_on_what_he_is_not_in() {
    let Some(world) = world().await else { return };
    let refusal = world.issuer.invite(&caller("bob", &["payments"]), new("kim")).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
    let administrators = NewInvitation { groups: ["administrators".parse().unwrap()].into(), ..new("kim") };
    let refusal = world.issuer.invite(&root(), administrators).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied, "{refusal}");
    let made = invited(&world).await;
    let bob = caller("bob", &[]);
    assert_eq!(
        world.issuer.revoke_invitation(&bob, made.invitation.id).await.unwrap_err().kind,
        RefusalKind::Denied
    );
    assert_eq!(world.issuer.invitations(&bob, true, None, 10).await.unwrap_err().kind, RefusalKind::Denied);
    assert_eq!(world.issuer.invitations(&bob, false, None, 10).await.unwrap(), []);
    assert_eq!(world.issuer.invitations(&root(), false, None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn odd_invitations_are_refused() {
    let Some(world) = world().await else { return };
    let now = mayfly::clock::Clock::now(&*world.clock);
    for (odd, kind) in [
        (NewInvitation { roles: [].into(), ..new("kim") }, RefusalKind::Invalid("roles")),
        (NewInvitation { roles: ["gone".parse().unwrap()].into(), ..new("kim") }, RefusalKind::NotFound),
        (NewInvitation { purpose: " ".to_owned(), ..new("kim") }, RefusalKind::Invalid("purpose")),
        (NewInvitation { purpose: "x".repeat(1_000_000), ..new("kim") }, RefusalKind::Invalid("purpose")),
        (
            NewInvitation { window: Some(Duration::from_secs(1)), ..new("kim") },
            RefusalKind::Invalid("window"),
        ),
        (
            NewInvitation { window: Some(Duration::from_secs(31 * 86_400)), ..new("kim") },
            RefusalKind::Invalid("window"),
        ),
        (
            NewInvitation { start: Some(now + jiff::SignedDuration::from_hours(91 * 24)), ..new("kim") },
            RefusalKind::Invalid("start_time"),
        ),
        (new(&"k".repeat(200)), RefusalKind::Invalid("contractor")),
    ] {
        assert_eq!(world.issuer.invite(&root(), odd).await.unwrap_err().kind, kind);
    }
}
