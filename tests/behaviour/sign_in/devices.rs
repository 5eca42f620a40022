//! Sign-ins with another device.

use std::time::Duration;

use mayfly::{
    domain::Password,
    issuer::{BegunElsewhere, Brought, Completed, Completion, Refusal, RefusalKind},
};
use serde_json::{Value, json};

use super::{
    by_device,
    fake::{Fake, Reply},
    refused, world_of,
};
use crate::{people::ADDRESS, support::world::World};

/// A provider that offers devices a code for ten minutes, and changes of that.
async fn offering(changes: &Value) -> (World, Fake) {
    let fake = Fake::start().await;
    let mut offer = json!({
        "device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": format!("{}/activate", fake.url),
        "expires_in": 600, "interval": 5,
    });
    for (name, value) in changes.as_object().unwrap() {
        offer[name] = value.clone();
    }
    fake.says("/device", Reply::Json(200, offer));
    fake.refuses("/token", "authorization_pending");
    (world_of(&fake.url, "").await, fake)
}

async fn poll(world: &World, begun: &BegunElsewhere) -> Result<Completed, Refusal> {
    world.issuer.complete_sign_in(completion(begun)).await
}

fn completion(begun: &BegunElsewhere) -> Completion {
    Completion {
        id: begun.pending.id,
        secret: Password::new(begun.secret.expose().to_owned()),
        brought: Brought::Nothing,
        address: ADDRESS,
    }
}

/// How long somebody is to wait who asked whether it is done.
async fn wait(world: &World, begun: &BegunElsewhere) -> u64 {
    match poll(world, begun).await.unwrap() {
        Completed::Pending(wait) => wait.as_secs(),
        Completed::Begun(begun) => panic!("{begun:?}"),
    }
}

#[tokio::test]
async fn the_provider_is_asked_as_often_as_it_likes_until_somebody_signed_in() {
    let (world, fake) = offering(&json!({})).await;
    let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
    assert_eq!(wait(&world, &begun).await, 5);
    assert_eq!(fake.asked("/token").len(), 0, "it is too early to ask");
    world.pass(5);
    assert_eq!(wait(&world, &begun).await, 5);
    world.pass(2);
    assert_eq!(wait(&world, &begun).await, 3);
    assert_eq!(fake.asked("/token").len(), 1);
    world.pass(3);
    fake.refuses("/token", "slow_down");
    assert_eq!(wait(&world, &begun).await, 10);
    fake.hands_out(&fake.id_token(world.now(), "", &json!({"nonce": null})));
    world.pass(9);
    assert_eq!(wait(&world, &begun).await, 1);
    world.pass(1);
    let Completed::Begun(session) = poll(&world, &begun).await.unwrap() else { panic!("it is done") };
    assert_eq!(world.calls(&session.secret).await.unwrap().principal.name.as_str(), "okta:alice");
    let asked = fake.asked("/token").pop().unwrap().body;
    assert!(
        asked.contains("device_code=the-device-code") && asked.contains("grant-type%3Adevice_code"),
        "{asked}"
    );
    assert!(refused(poll(&world, &begun).await).contains("completed already"));
    assert!(world.pending().await.is_empty());
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_question() {
    let (world, fake) = offering(&json!({"interval": 1})).await;
    let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
    world.pass(1);
    let polls = futures_util::future::join_all((0..8).map(|_| poll(&world, &begun))).await;
    assert!(polls.iter().all(|polled| matches!(polled, Ok(Completed::Pending(_)))), "{polls:?}");
    assert_eq!(fake.asked("/token").len(), 1);
    fake.hands_out(&fake.id_token(world.now(), "", &json!({})));
    world.pass(1);
    let polls = futures_util::future::join_all((0..8).map(|_| poll(&world, &begun))).await;
    assert_eq!(
        polls.iter().filter(|polled| matches!(polled, Ok(Completed::Begun(_)))).count(),
        1,
        "{polls:?}"
    );
    assert_eq!(fake.asked("/token").len(), 2);
}

#[tokio::test]
async fn a_code_that_expired_or_was_denied_is_over() {
    for (code, words) in [
        ("expired_token", "nobody signed in with the code in time"),
        ("access_denied", "was refused at the identity provider"),
    ] {
        let (world, fake) = offering(&json!({})).await;
        let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
        fake.refuses("/token", code);
        world.pass(5);
        assert!(refused(poll(&world, &begun).await).contains(words));
        assert!(world.last_refusal().await.contains(code));
        assert!(world.pending().await.is_empty());
    }
    let (world, _fake) = offering(&json!({"expires_in": 7})).await;
    let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
    world.pass(7);
    assert!(refused(poll(&world, &begun).await).contains("is over"));
}

#[tokio::test]
async fn a_provider_that_is_down_meanwhile_is_asked_again_and_an_id_token_of_others_ends_it() {
    let (world, fake) = offering(&json!({})).await;
    let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
    fake.says("/token", Reply::Break);
    world.pass(5);
    assert_eq!(wait(&world, &begun).await, 5);
    fake.hands_out(&fake.id_token(world.now(), "", &json!({"aud": "another"})));
    world.pass(5);
    assert!(refused(poll(&world, &begun).await).contains("meant for another client"));
    assert!(world.pending().await.is_empty());
}

#[tokio::test]
async fn only_whoever_began_it_is_told_whether_it_is_done() {
    let (world, fake) = offering(&json!({})).await;
    let (hers, his) = (
        world.issuer.begin_sign_in(by_device()).await.unwrap(),
        world.issuer.begin_sign_in(by_device()).await.unwrap(),
    );
    fake.hands_out(&fake.id_token(world.now(), "", &json!({})));
    world.pass(5);
    let stolen = Completion { id: hers.pending.id, ..completion(&his) };
    assert!(refused(world.issuer.complete_sign_in(stolen).await).contains("begun by somebody else"));
    let odd = Brought::Error { error: "x".to_owned(), state: Password::new(String::new()) };
    let refusal =
        world.issuer.complete_sign_in(Completion { brought: odd, ..completion(&hers) }).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Invalid("code"));
    assert!(matches!(poll(&world, &hers).await.unwrap(), Completed::Begun(_)));
}

#[tokio::test]
async fn what_a_provider_offers_is_looked_at() {
    let (world, fake) = offering(&json!({"expires_in": 1_000_000})).await;
    let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
    let life = begun.pending.expires_at.duration_since(begun.pending.began_at);
    assert_eq!(life.unsigned_abs(), Duration::from_secs(1800));
    let (odd, _fake) = offering(&json!({"verification_uri": "javascript:alert(1)"})).await;
    assert!(refused(odd.issuer.begin_sign_in(by_device()).await).contains("what it offers to a device"));
    fake.refuses("/device", "unauthorized_client");
    assert!(refused(world.issuer.begin_sign_in(by_device()).await).contains("does not know this Mayfly"));
    fake.describes(&json!({"device_authorization_endpoint": null}));
    world.trust(&super::okta(&fake.url, ""));
    let refusal = world.issuer.begin_sign_in(by_device()).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Precondition, "{refusal}");
}
