//! Second factors: set up, asked for, each code once; recovery codes; giving it again.

use mayfly::{
    clock::Clock as _,
    identity::people::{SessionSettings, TotpSecret},
    issuer::RefusalKind,
    sealing::KeyringHandle,
};

use super::{PASSWORD, password, refused, root, world};

#[tokio::test]
async fn with_a_second_factor_the_password_alone_is_not_enough() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (secret, codes) = world.with_second_factor("alice").await;
    assert_eq!(codes.len(), 10);
    let asked = world.sign_in("alice", PASSWORD, "").await.unwrap_err();
    assert_eq!(asked.kind, RefusalKind::SecondFactorRequired);
    // With a wrong password nothing is said of a second factor.
    refused(world.sign_in("alice", "wrong wrong wrong", "").await);
    let code = secret.code(world.clock.now());
    let begun = world.sign_in("alice", PASSWORD, &code).await.unwrap();
    let alice = world.calls(&begun.secret).await.unwrap();
    assert_eq!(alice.second_factor_at, Some(world.clock.now()));
}

#[tokio::test]
async fn a_code_is_not_accepted_twice() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (secret, _) = world.with_second_factor("alice").await;
    let code = secret.code(world.clock.now());
    world.sign_in("alice", PASSWORD, &code).await.unwrap();
    refused(world.sign_in("alice", PASSWORD, &code).await);
    world.pass(30);
    refused(world.sign_in("alice", PASSWORD, &code).await);
    let next = secret.code(world.clock.now());
    world.sign_in("alice", PASSWORD, &next).await.unwrap();
}

#[tokio::test]
async fn of_two_with_the_same_code_at_once_one_is_let_in() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (secret, _) = world.with_second_factor("alice").await;
    let code = secret.code(world.clock.now());
    let both = futures_util::future::join_all((0..2).map(|_| world.sign_in("alice", PASSWORD, &code))).await;
    assert_eq!(both.iter().filter(|one| one.is_ok()).count(), 1, "{both:?}");
}

#[tokio::test]
async fn a_code_of_another_step_or_no_code_at_all_is_refused() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (secret, _) = world.with_second_factor("alice").await;
    let stale = secret.code(world.clock.now());
    world.pass(120);
    let early = secret.code(world.clock.now() + jiff::SignedDuration::from_secs(90));
    for code in [&stale, &early, "000", "letter"] {
        refused(world.sign_in("alice", PASSWORD, code).await);
    }
    // One step either way is a telephone's clock that is off.
    let late = secret.code(world.clock.now() - jiff::SignedDuration::from_secs(30));
    world.sign_in("alice", PASSWORD, &late).await.unwrap();
}

#[tokio::test]
async fn guessing_at_codes_locks_out_also_for_who_knows_the_password() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (secret, _) = world.with_second_factor("alice").await;
    let right = secret.code(world.clock.now());
    let wrong = if right == "123456" { "654321" } else { "123456" };
    for _ in 0..5 {
        refused(world.sign_in("alice", PASSWORD, wrong).await);
        // Asking without a code between guesses forgives none.
        let _ = world.sign_in("alice", PASSWORD, "").await;
    }
    refused(world.sign_in("alice", PASSWORD, &right).await);
}

#[tokio::test]
async fn a_recovery_code_stands_in_once() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (_, codes) = world.with_second_factor("alice").await;
    world.sign_in("alice", PASSWORD, &codes[3].to_uppercase()).await.unwrap();
    refused(world.sign_in("alice", PASSWORD, &codes[3]).await);
    refused(world.sign_in("alice", PASSWORD, "0000-0000-0000-0000").await);
    world.sign_in("alice", PASSWORD, &codes[4]).await.unwrap();
    let alice = world.issuer.user(&root(), &"alice".parse().unwrap()).await.unwrap();
    assert_eq!(alice.recovery.len(), 8);
}

#[tokio::test]
async fn the_second_factor_is_given_again_in_a_session_and_its_time_moves() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (secret, _) = world.with_second_factor("alice").await;
    let begun = world.sign_in("alice", PASSWORD, &secret.code(world.clock.now())).await.unwrap();
    world.pass(1800);
    let before = world.calls(&begun.secret).await.unwrap();
    let wrong = world.issuer.step_up(&before, &password("000000")).await.unwrap_err();
    assert_eq!(wrong.kind, RefusalKind::SignInRefused);
    let code = password(&secret.code(world.clock.now()));
    world.issuer.step_up(&before, &code).await.unwrap();
    let after = world.calls(&begun.secret).await.unwrap();
    assert_eq!(after.second_factor_at, Some(world.clock.now()));
    assert!(before.second_factor_at < after.second_factor_at);
    assert!(world.issuer.step_up(&after, &code).await.is_err(), "the same code again");
}

#[tokio::test]
async fn who_has_no_second_factor_or_no_session_cannot_give_one() {
    let world = world().await;
    world.user("alice", &[]).await;
    let alice = world.calls(&world.signed_in("alice").await).await.unwrap();
    for caller in [alice, root()] {
        let refusal = world.issuer.step_up(&caller, &password("123456")).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Precondition, "{refusal}");
    }
}

#[tokio::test]
async fn setting_one_up_takes_the_password_and_replacing_one_takes_the_old_one() {
    let world = world().await;
    world.user("alice", &[]).await;
    let session = world.signed_in("alice").await;
    let alice = world.calls(&session).await.unwrap();
    let refusal = world.issuer.offer_second_factor(&alice, &password("wrong wrong wrong")).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::SignInRefused);
    let none = world.issuer.confirm_second_factor(&alice, &password("123456")).await.unwrap_err();
    assert_eq!(none.kind, RefusalKind::Precondition);
    world.with_second_factor("alice").await;
    let denied = world.issuer.offer_second_factor(&alice, &password(PASSWORD)).await.unwrap_err();
    assert_eq!(denied.kind, RefusalKind::Denied, "{denied}");
}

#[tokio::test]
async fn an_offer_is_good_for_ten_minutes_and_its_code_must_be_right() {
    let world = world().await;
    world.user("alice", &[]).await;
    let alice = world.calls(&world.signed_in("alice").await).await.unwrap();
    let offered = world.issuer.offer_second_factor(&alice, &password(PASSWORD)).await.unwrap();
    assert!(
        offered.url.expose().starts_with("otpauth://totp/Mayfly:alice?secret="),
        "{}",
        offered.url.expose()
    );
    let secret = TotpSecret::read(&offered.secret, "alice").unwrap();
    let wrong = world.issuer.confirm_second_factor(&alice, &password("000000")).await.unwrap_err();
    assert_eq!(wrong.kind, RefusalKind::SignInRefused);
    world.pass(600);
    let code = password(&secret.code(world.clock.now()));
    let late = world.issuer.confirm_second_factor(&alice, &code).await.unwrap_err();
    assert_eq!(late.kind, RefusalKind::Precondition, "{late}");
    world.sign_in("alice", PASSWORD, "").await.unwrap();
}

#[tokio::test]
async fn its_secret_is_nowhere_to_be_read_in_the_store() {
    let world = world().await;
    world.user("alice", &[]).await;
    let (secret, codes) = world.with_second_factor("alice").await;
    let alice = world.issuer.user(&root(), &"alice".parse().unwrap()).await.unwrap();
    let kept = serde_json::to_string(&alice).unwrap();
    assert!(!kept.contains(secret.to_text().expose()), "{kept}");
    for code in codes.iter().map(|code| code.replace('-', "")).chain([PASSWORD.to_owned()]) {
        assert!(!kept.contains(&code), "{kept}");
    }
    assert!(kept.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
}

#[tokio::test]
async fn without_a_sealing_key_none_can_be_set_up_and_that_is_said() {
    let world = world().await;
    world.user("alice", &[]).await;
    let alice = world.calls(&world.signed_in("alice").await).await.unwrap();
    let keyless = crate::support::world::issuer_over(&world)
        .with_people(std::sync::Arc::new(KeyringHandle::default()), SessionSettings::default());
    let refusal = keyless.offer_second_factor(&alice, &password(PASSWORD)).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotConfigured);
    assert!(refusal.to_string().contains("[sealing]"), "{refusal}");
    // One that was set up cannot be checked without its key either; a recovery code still works.
    let (secret, codes) = world.with_second_factor("alice").await;
    let attempt = |code: String| mayfly::issuer::Attempt {
        name: "alice".to_owned(),
        password: password(PASSWORD),
        code: password(&code),
        address: None,
    };
    let refusal = keyless.sign_in(attempt(secret.code(world.clock.now()))).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotConfigured, "{refusal}");
    keyless.sign_in(attempt(codes[0].clone())).await.unwrap();
}
