//! Sign-ins with a browser that come to nothing: another's, over, used already, denied; and providers that do not answer.

use std::time::Duration;

use mayfly::{
    domain::Password,
    issuer::{Brought, Completion, RefusalKind},
};
use serde_json::json;

use super::{
    Underway, by_browser,
    fake::{Fake, Reply},
    refused, world_of,
};
use crate::support::world::World;

async fn begun(world: &World, fake: &Fake) -> Underway {
    let underway = world.begin(by_browser(false)).await.unwrap();
    fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &json!({})));
    underway
}

#[tokio::test]
async fn a_code_is_taken_once() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let underway = begun(&world, &fake).await;
    world.complete(underway.with("code")).await.unwrap();
    assert!(refused(world.complete(underway.with("code")).await).contains("completed already"));
    assert_eq!(fake.asked("/token").len(), 1, "a code that came twice is not even redeemed");
}

#[tokio::test]
async fn only_whoever_began_a_sign_in_completes_it() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let (hers, his) = (begun(&world, &fake).await, begun(&world, &fake).await);
    for secret in [his.begun.secret.expose(), "", "mfi_x", &hers.told("state")] {
        let stolen = Completion { secret: Password::new(secret.to_owned()), ..hers.with("code") };
        assert!(refused(world.complete(stolen).await).contains("begun by somebody else"));
    }
    // Somebody made her browser come back from a sign-in of his own.
    let planted = Brought::Code {
        code: Password::new("his code".to_owned()),
        state: Password::new(his.told("state")),
        issuer: String::new(),
    };
    assert!(refused(world.complete(hers.bringing(planted)).await).contains("(state)"));
    assert_eq!(fake.asked("/token").len(), 0);
    // Nothing of that keeps her from completing it.
    fake.hands_out(&fake.id_token(world.now(), &hers.told("nonce"), &json!({})));
    world.complete(hers.with("code")).await.unwrap();
}

#[tokio::test]
async fn a_sign_in_is_over_after_ten_minutes_and_forgotten_with_the_next() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let underway = begun(&world, &fake).await;
    world.pass(599);
    let another = begun(&world, &fake).await;
    world.pass(1);
    assert!(refused(world.complete(underway.with("code")).await).contains("is over"));
    fake.hands_out(&fake.id_token(world.now(), &another.told("nonce"), &json!({})));
    world.complete(another.with("code")).await.unwrap();
    assert_eq!(world.pending().await.len(), 1);
    begun(&world, &fake).await;
    assert_eq!(world.pending().await.len(), 1);
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_plainly() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let denied = |underway: &Underway, state: String| {
        underway.bringing(Brought::Error { error: "access_denied".to_owned(), state: Password::new(state) })
    };
    let underway = begun(&world, &fake).await;
    let forged = world.complete(denied(&underway, "guess".to_owned())).await;
    assert!(refused(forged).contains("(state)"));
    let words = refused(world.complete(denied(&underway, underway.told("state"))).await);
    assert_eq!(words, "the sign-in was refused at the identity provider (access_denied)");
    assert!(world.last_refusal().await.contains("access_denied"));
    assert!(refused(world.complete(underway.with("code")).await).contains("is over"));
    for (code, words) in [
        ("invalid_grant", "does not take what came back from it"),
        ("invalid_client", "does not know this Mayfly"),
        ("<b>", "it gives no reason"),
    ] {
        let underway = begun(&world, &fake).await;
        fake.refuses("/token", code);
        let told = refused(world.complete(underway.with("code")).await);
        assert!(told.contains(words) && !told.contains("SECRET") && !told.contains('<'), "{told}");
    }
}

#[tokio::test]
async fn who_sends_the_browser_back_is_the_provider_as_far_as_it_says() {
    let fake = Fake::start().await;
    fake.describes(&json!({"authorization_response_iss_parameter_supported": true}));
    let world = world_of(&fake.url, "").await;
    for (issuer, words) in
        [("https://evil.example", "another provider (iss)"), ("", "does not say from whom")]
    {
        let underway = begun(&world, &fake).await;
        let told = refused(world.complete(from(&underway, issuer)).await);
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(fake.asked("/token").len(), 0);
    let underway = begun(&world, &fake).await;
    world.complete(from(&underway, &fake.url)).await.unwrap();
}

fn from(underway: &Underway, issuer: &str) -> Completion {
    underway.bringing(Brought::Code {
        code: Password::new("code".to_owned()),
        state: Password::new(underway.told("state")),
        issuer: issuer.to_owned(),
    })
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_told_apart_and_asked_again_after_a_pause() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let description = "/.well-known/openid-configuration";
    let elsewhere = json!({"issuer": "https://evil.example"});
    for reply in [Reply::Break, Reply::Huge, Reply::Json(503, json!({})), Reply::Json(200, elsewhere)] {
        fake.says(description, reply);
        let asked = fake.asked(description).len();
        for _ in 0..3 {
            let refusal = world.begin(by_browser(false)).await.err().unwrap();
            assert_eq!(refusal.kind, RefusalKind::ProviderUnavailable, "{refusal}");
            assert_eq!(refusal.retry_after, Some(Duration::from_secs(5)));
        }
        assert_eq!(
            fake.asked(description).len(),
            asked + 1,
            "whoever comes within the pause is told at once"
        );
        world.pass(5);
    }
    fake.describes(&json!({}));
    begun(&world, &fake).await;
    // What is known of it is good for a while.
    fake.says(description, Reply::Break);
    world.pass(2 * 3600);
    begun(&world, &fake).await;
    world.pass(24 * 3600);
    assert!(world.begin(by_browser(false)).await.is_err());
}

#[tokio::test]
async fn a_provider_that_fails_when_a_code_is_redeemed_lets_nobody_in() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    for reply in [Reply::Break, Reply::Huge, Reply::Json(500, json!({}))] {
        let underway = begun(&world, &fake).await;
        fake.says("/token", reply);
        let refusal = world.complete(underway.with("code")).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::ProviderUnavailable, "{refusal}");
    }
    for answer in [json!([]), json!({"access_token": "a"}), json!({"id_token": 7})] {
        let underway = begun(&world, &fake).await;
        fake.says("/token", Reply::Json(200, answer));
        assert!(refused(world.complete(underway.with("code")).await).contains("not what it should be"));
    }
    assert!(world.pending().await.is_empty());
}

#[tokio::test]
async fn a_provider_that_keeps_silent_is_not_waited_for() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let underway = begun(&world, &fake).await;
    fake.says("/token", Reply::Silence);
    let answered = tokio::time::timeout(Duration::from_secs(9), world.complete(underway.with("code"))).await;
    assert_eq!(answered.unwrap().unwrap_err().kind, RefusalKind::ProviderUnavailable);
}

#[tokio::test]
async fn only_so_many_are_under_way_from_one_network() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    for _ in 0..20 {
        begun(&world, &fake).await;
    }
    let refusal = world.begin(by_browser(false)).await.err().unwrap();
    assert_eq!(refusal.kind, RefusalKind::TooManySignIns);
    let elsewhere = mayfly::issuer::NewSignIn { address: "192.0.2.99".parse().ok(), ..by_browser(false) };
    world.begin(elsewhere).await.unwrap();
    world.pass(600);
    for _ in 0..2 {
        begun(&world, &fake).await;
    }
}

#[tokio::test]
async fn a_provider_that_is_none_and_a_port_that_it_does_not_know_are_named() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "redirect_port = 8250").await;
    assert_eq!(world.issuer.sign_in_providers(), [("okta".to_owned(), Some(8250))]);
    let refusal = world.begin(by_browser(false)).await.err().unwrap();
    assert_eq!(refusal.kind, RefusalKind::Invalid("redirect_port"));
    assert!(refusal.to_string().contains("8250"));
    let other = mayfly::issuer::NewSignIn { provider: "entra".to_owned(), ..by_browser(false) };
    let refusal = world.begin(other).await.err().unwrap();
    assert_eq!(refusal.kind, RefusalKind::Invalid("provider"));
    assert!(refusal.to_string().contains("known are okta"));
    world.trust("");
    let refusal = world.begin(by_browser(false)).await.err().unwrap();
    assert!(refusal.to_string().contains("nobody signs in at an identity provider here"), "{refusal}");
}
