//! Accounts: made, enrolled with a code, reset, for administrators only.

use mayfly::issuer::{NewUser, Refusal, RefusalKind};

use super::{PASSWORD, new_user, refused, root, world};
use crate::support::world::caller;

fn is_refused(result: Result<(), Refusal>) {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::SignInRefused, "{refusal}");
}

#[tokio::test]
async fn a_code_sets_the_first_password_once() {
    let world = world().await;
    let code = world.invited("alice", &[]).await.code.expose();
    is_refused(world.enrol("alice", "0000-0000-0000-0000", PASSWORD).await);
    is_refused(world.enrol("alice", "no code", PASSWORD).await);
    is_refused(world.enrol("bob", &code, PASSWORD).await);
    world.enrol("alice", &code.to_uppercase(), PASSWORD).await.unwrap();
    is_refused(world.enrol("alice", &code, "another good password").await);
    world.sign_in("alice", PASSWORD, "").await.unwrap();
}

#[tokio::test]
async fn of_two_with_the_same_code_at_once_one_sets_the_password() {
    let world = world().await;
    let code = world.invited("alice", &[]).await.code.expose();
    let both = tokio::join!(
        world.enrol("alice", &code, "one good password"),
        world.enrol("alice", &code, "another good password"),
    );
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
}

#[tokio::test]
async fn a_code_that_is_late_or_guessed_at_opens_nothing() {
    let world = world().await;
    let late = world.invited("late", &[]).await.code.expose();
    let guessed = world.invited("guessed", &[]).await.code.expose();
    for _ in 0..5 {
        is_refused(world.enrol("guessed", "0000-0000-0000-0000", PASSWORD).await);
    }
    is_refused(world.enrol("guessed", &guessed, PASSWORD).await);
    world.pass(30);
    world.enrol("guessed", &guessed, PASSWORD).await.unwrap();
    world.pass(3 * 24 * 3600);
    is_refused(world.enrol("late", &late, PASSWORD).await);
}

#[tokio::test]
async fn a_password_that_is_no_good_is_refused_before_the_code_is_used_up() {
    let world = world().await;
    let code = world.invited("alice.the.great", &[]).await.code.expose();
    for bad in ["short", "Alice.The.Great", "aaaaaaaaaaaaaaa", &"long".repeat(200)] {
        let refusal = world.enrol("alice.the.great", &code, bad).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Invalid("password"), "{bad}");
    }
    world.enrol("alice.the.great", &code, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_reset_takes_the_password_away_at_once_and_the_second_factor_when_asked_to() {
    let world = world().await;
    world.user("alice", &[]).await;
    let name = "alice".parse().unwrap();
    let (_, codes) = world.with_second_factor("alice").await;
    let session = world.sign_in("alice", PASSWORD, &codes[0]).await.unwrap().secret;
    let reset = world.issuer.reset_user(&root(), &name, false, None).await.unwrap();
    assert!(world.calls(&session).await.is_err());
    refused(world.sign_in("alice", PASSWORD, &codes[1]).await);
    world.enrol("alice", &reset.code.expose(), "another good password").await.unwrap();
    let asked = world.sign_in("alice", "another good password", "").await.unwrap_err();
    assert_eq!(asked.kind, RefusalKind::SecondFactorRequired);
    let reset = world.issuer.reset_user(&root(), &name, true, None).await.unwrap();
    world.enrol("alice", &reset.code.expose(), PASSWORD).await.unwrap();
    world.sign_in("alice", PASSWORD, "").await.unwrap();
}

#[tokio::test]
async fn accounts_are_for_administrators() {
    let world = world().await;
    world.user("alice", &["payments"]).await;
    let (alice, bob) = ("alice".parse().unwrap(), caller("bob", &["payments"]));
    for refusal in [
        world.issuer.add_user(&bob, new_user("carol", &[])).await.err(),
        world.issuer.users(&bob, None, 10).await.err(),
        world.issuer.user(&bob, &alice).await.err(),
        world.issuer.disable_user(&bob, &alice, true).await.err(),
        world.issuer.set_groups(&bob, &alice, [].into()).await.err(),
        world.issuer.reset_user(&bob, &alice, true, None).await.err(),
        world.issuer.remove_user(&bob, &alice).await.err(),
    ] {
        assert_eq!(refusal.unwrap().kind, RefusalKind::Denied);
    }
    let own = world.calls(&world.signed_in("alice").await).await.unwrap();
    assert_eq!(world.issuer.user(&own, &alice).await.unwrap().name, alice);
    assert!(
        world
            .told()
            .await
            .iter()
            .filter(|told| told.starts_with("user.") && told.ends_with("refused"))
            .count()
            >= 7
    );
}

#[tokio::test]
async fn a_name_is_given_once_and_odd_fields_are_refused() {
    let world = world().await;
    world.invited("alice", &[]).await;
    let again = world.issuer.add_user(&root(), new_user("alice", &[])).await.unwrap_err();
    assert_eq!(again.kind, RefusalKind::Exists);
    let usual = new_user("bob", &[]);
    for (new, field) in [
        (NewUser { mail: "nowhere".to_owned(), ..usual.clone() }, "mail"),
        (NewUser { mail: "a@b\nc".to_owned(), ..usual.clone() }, "mail"),
        (NewUser { display_name: "x".repeat(1_000_000), ..usual.clone() }, "display_name"),
        (NewUser { life: Some(std::time::Duration::from_secs(1)), ..usual.clone() }, "ttl"),
        (
            NewUser { groups: (0..65).map(|n| format!("g{n}").parse().unwrap()).collect(), ..usual.clone() },
            "groups",
        ),
    ] {
        let refusal = world.issuer.add_user(&root(), new).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Invalid(field));
    }
    let none = world.issuer.remove_user(&root(), &"bob".parse().unwrap()).await.unwrap_err();
    assert_eq!(none.kind, RefusalKind::NotFound);
}
