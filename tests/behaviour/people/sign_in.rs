//! Signing in by name and password, and being locked out.

use mayfly::{
    audit::AuditOutcome,
    identity::{Credential, people::User},
    issuer::RefusalKind,
    store::document,
};

use super::{PASSWORD, refused, root, world};

#[tokio::test]
async fn who_knows_the_password_is_signed_in_and_is_who_the_account_says() {
    let world = world().await;
    world.user("alice", &["payments"]).await;
    let begun = world.sign_in("alice", PASSWORD, "").await.unwrap();
    let alice = world.calls(&begun.secret).await.unwrap();
    assert_eq!((alice.principal.name.as_str(), alice.principal.kind.as_str()), ("alice", "human"));
    assert!(alice.principal.belongs_to("payments"));
    assert_eq!(alice.credential, Credential::Session(begun.session.id));
    assert_eq!(alice.second_factor_at, None);
    let told = world.told().await;
    for expected in ["user.created done", "user.enrolled done", "session.started done"] {
        assert!(told.contains(&expected.to_owned()), "{expected} is not in {told:?}");
    }
    assert!(!format!("{:?}", world.audit().await).contains(begun.secret.expose()));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_on_record() {
    let world = world().await;
    world.user("alice", &[]).await;
    refused(world.sign_in("alice", "correct horse batterz", "").await);
    refused(world.sign_in("alice", "", "").await);
    let records = world.audit().await;
    let last = records.last().unwrap();
    assert_eq!(
        (&*last.action, last.outcome, &*last.resource),
        ("session.started", AuditOutcome::Refused, "users/alice")
    );
    assert_eq!(last.details.get("failures").map(String::as_str), Some("2"));
}

#[tokio::test]
async fn an_unknown_user_is_told_what_a_wrong_password_is_told_and_nothing_typed_is_kept() {
    let world = world().await;
    world.user("alice", &[]).await;
    let wrong = refused(world.sign_in("alice", "correct horse batterz", "").await);
    for name in ["nobody", "not a name", "", &"x".repeat(10_000), "' or 1=1 --"] {
        assert_eq!(refused(world.sign_in(name, PASSWORD, "").await), wrong, "{name}");
        assert_eq!(world.audit().await.last().unwrap().resource, "users/-");
    }
    let kept = format!("{:?}", world.audit().await);
    assert!(!kept.contains("nobody") && !kept.contains(PASSWORD));
}

#[tokio::test]
async fn an_account_without_a_password_or_a_disabled_one_is_told_the_same() {
    let world = world().await;
    world.invited("new", &[]).await;
    world.user("alice", &[]).await;
    world.issuer.disable_user(&root(), &"alice".parse().unwrap(), true).await.unwrap();
    let unknown = refused(world.sign_in("nobody", PASSWORD, "").await);
    assert_eq!(refused(world.sign_in("new", PASSWORD, "").await), unknown);
    assert_eq!(refused(world.sign_in("new", "", "").await), unknown);
    assert_eq!(refused(world.sign_in("alice", PASSWORD, "").await), unknown);
}

#[tokio::test]
async fn failures_lock_out_and_the_back_off_lets_in_again() {
    let world = world().await;
    world.user("alice", &[]).await;
    for _ in 0..5 {
        refused(world.sign_in("alice", "wrong wrong wrong", "").await);
    }
    // The right password is not even looked at now, and that is no failure.
    refused(world.sign_in("alice", PASSWORD, "").await);
    world.pass(29);
    refused(world.sign_in("alice", PASSWORD, "").await);
    world.pass(1);
    refused(world.sign_in("alice", "wrong wrong wrong", "").await);
    world.pass(59);
    refused(world.sign_in("alice", PASSWORD, "").await);
    world.pass(1);
    world.sign_in("alice", PASSWORD, "").await.unwrap();
    let alice = document::<User>(&*world.store, "alice").await.unwrap().unwrap().document;
    assert_eq!((alice.failures, alice.locked_until), (0, None));
}

#[tokio::test]
async fn a_lock_out_outlives_a_restart_and_an_administrator_ends_it() {
    let world = world().await;
    world.user("alice", &[]).await;
    for _ in 0..5 {
        refused(world.sign_in("alice", "wrong wrong wrong", "").await);
    }
    let (directory, clock) = world.stop().await;
    let world = crate::support::world::World::at(directory, clock, Vec::new(), Vec::new()).await;
    refused(world.sign_in("alice", PASSWORD, "").await);
    let name = "alice".parse().unwrap();
    // Disabled and enabled again: whoever may do that may also forgive.
    world.issuer.disable_user(&root(), &name, true).await.unwrap();
    world.issuer.disable_user(&root(), &name, false).await.unwrap();
    world.sign_in("alice", PASSWORD, "").await.unwrap();
}

#[tokio::test]
async fn of_many_guesses_at_once_no_more_are_looked_at_than_one_after_the_other() {
    let world = world().await;
    world.user("alice", &[]).await;
    let guesses = (0..12).map(|_| world.sign_in("alice", "wrong wrong wrong", ""));
    for guess in futures_util::future::join_all(guesses).await {
        let refusal = guess.unwrap_err();
        assert!(matches!(refusal.kind, RefusalKind::SignInRefused | RefusalKind::InProgress), "{refusal}");
    }
    let alice = document::<User>(&*world.store, "alice").await.unwrap().unwrap().document;
    assert!(alice.failures <= 5 && alice.failures > 0, "{}", alice.failures);
}
