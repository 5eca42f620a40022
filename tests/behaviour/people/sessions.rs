//! Sessions: how long they last, and what ends them.

use mayfly::{
    identity::{AuthenticationError, people::Session},
    issuer::RefusalKind,
    store::{Listing, documents},
};

use super::{PASSWORD, password, root, world};
use crate::support::world::caller;

#[tokio::test]
async fn a_session_expires_when_its_time_is_over_however_it_is_used() {
    let world = world().await;
    world.user("alice", &[]).await;
    let token = world.signed_in("alice").await;
    for _ in 0..15 {
        world.pass(1800);
        world.calls(&token).await.unwrap();
    }
    world.pass(1800);
    let error = world.calls(&token).await.unwrap_err();
    assert!(matches!(error, AuthenticationError::SessionExpired), "{error}");
    let last = world.audit().await.into_iter().last().unwrap();
    assert!(last.action == "caller.authenticated" && last.resource.starts_with("sessions/"), "{last:?}");
}

#[tokio::test]
async fn a_session_nobody_uses_expires_earlier() {
    let world = world().await;
    world.user("alice", &[]).await;
    let token = world.signed_in("alice").await;
    world.pass(3599);
    world.calls(&token).await.unwrap();
    world.pass(3600);
    assert!(matches!(world.calls(&token).await.unwrap_err(), AuthenticationError::SessionExpired));
}

#[tokio::test]
async fn a_revoked_session_is_refused_at_once_and_others_stay() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (one, other) = (world.signed_in("alice").await, world.signed_in("alice").await);
    let alice = world.calls(&one).await.unwrap();
    let found = world.issuer.signed_in(&alice, None, false, None, 10).await.unwrap();
    assert_eq!(found.len(), 2);
    let id = found.iter().find(|session| session.hash == other.hash()).unwrap().id;
    world.issuer.end_session(&alice, id).await.unwrap();
    world.issuer.end_session(&alice, id).await.unwrap();
    assert!(matches!(world.calls(&other).await.unwrap_err(), AuthenticationError::SessionEnded));
    world.calls(&one).await.unwrap();
}

#[tokio::test]
async fn sessions_of_others_are_for_administrators() {
    let world = world().await;
    world.user("alice", &[]).await;
    let token = world.signed_in("alice").await;
    let (alice, bob) = ("alice".parse().unwrap(), caller("bob", &[]));
    let id = world.issuer.signed_in(&root(), Some(&alice), false, None, 10).await.unwrap()[0].id;
    for refusal in [
        world.issuer.signed_in(&bob, Some(&alice), false, None, 10).await.err(),
        world.issuer.signed_in(&bob, None, true, None, 10).await.err(),
        world.issuer.end_session(&bob, id).await.err(),
        world
            .issuer
            .end_session(&bob, mayfly::domain::SessionId::new(jiff::Timestamp::UNIX_EPOCH, 1))
            .await
            .err(),
    ] {
        assert_eq!(refusal.unwrap().kind, RefusalKind::Denied);
    }
    assert_eq!(world.issuer.signed_in(&root(), None, true, None, 10).await.unwrap().len(), 1);
    world.issuer.end_session(&root(), id).await.unwrap();
    assert!(world.calls(&token).await.is_err());
}

#[tokio::test]
async fn a_user_disabled_in_mid_session_is_out_at_once() {
    let world = world().await;
    world.user("alice", &[]).await;
    let token = world.signed_in("alice").await;
    let name = "alice".parse().unwrap();
    world.issuer.disable_user(&root(), &name, true).await.unwrap();
    assert!(matches!(world.calls(&token).await.unwrap_err(), AuthenticationError::SessionEnded));
    // Enabled again: the old session stays over.
    world.issuer.disable_user(&root(), &name, false).await.unwrap();
    assert!(world.calls(&token).await.is_err());
    world.sign_in("alice", PASSWORD, "").await.unwrap();
}

#[tokio::test]
async fn a_group_taken_away_or_given_in_mid_session_counts_at_once() {
    let world = world().await;
    world.user("alice", &["administrators"]).await;
    let token = world.signed_in("alice").await;
    let alice = world.calls(&token).await.unwrap();
    world.issuer.users(&alice, None, 10).await.unwrap();
    let groups = [String::from("payments")].map(|group| group.parse().unwrap());
    world.issuer.set_groups(&root(), &"alice".parse().unwrap(), groups.into()).await.unwrap();
    let alice = world.calls(&token).await.unwrap();
    assert!(alice.principal.belongs_to("payments") && !alice.principal.belongs_to("administrators"));
    assert_eq!(world.issuer.users(&alice, None, 10).await.unwrap_err().kind, RefusalKind::Denied);
}

#[tokio::test]
async fn a_user_removed_in_mid_session_is_out_and_a_new_one_of_the_name_does_not_revive_it() {
    let world = world().await;
    world.user("alice", &[]).await;
    let token = world.signed_in("alice").await;
    world.issuer.remove_user(&root(), &"alice".parse().unwrap()).await.unwrap();
    assert!(world.calls(&token).await.is_err());
    world.user("alice", &["administrators"]).await;
    assert!(matches!(world.calls(&token).await.unwrap_err(), AuthenticationError::SessionEnded));
}

#[tokio::test]
async fn another_password_ends_all_sessions_but_the_one_it_was_set_in() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (own, other) = (world.signed_in("alice").await, world.signed_in("alice").await);
    let alice = world.calls(&own).await.unwrap();
    let new = password("another good password");
    let refusal =
        world.issuer.change_password(&alice, &password("wrong wrong wrong"), &new).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::SignInRefused);
    let refusal =
        world.issuer.change_password(&alice, &password(PASSWORD), &password("short")).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Invalid("password"));
    world.issuer.change_password(&alice, &password(PASSWORD), &new).await.unwrap();
    world.calls(&own).await.unwrap();
    assert!(world.calls(&other).await.is_err());
    assert!(world.sign_in("alice", PASSWORD, "").await.is_err());
    world.sign_in("alice", new.expose(), "").await.unwrap();
}

#[tokio::test]
async fn sessions_that_are_over_are_forgotten_with_the_next_sign_in() {
    let world = world().await;
    world.user("alice", &[]).await;
    for _ in 0..3 {
        world.signed_in("alice").await;
    }
    world.pass(8 * 3600);
    world.signed_in("alice").await;
    let listing = Listing { limit: 10, ..Listing::default() };
    assert_eq!(documents::<Session>(&*world.store, listing).await.unwrap().len(), 1);
    assert_eq!(world.told().await.iter().filter(|told| *told == "session.forgotten done").count(), 3);
}
