//! ID tokens that are none for this sign-in, and what a provider says besides.

use mayfly::sandbox::LocalIssuer;
use serde_json::{Value, json};

use super::{
    Underway, by_browser,
    fake::{Fake, Reply},
    refused, world_of,
};
use crate::support::world::World;

/// Completes a sign-in with whatever the provider hands out, and expects a refusal with these words and nothing of the token.
async fn refuse(world: &World, fake: &Fake, make: impl Fn(&Underway) -> String, words: &str) {
    let underway = world.begin(by_browser(false)).await.unwrap();
    let token = make(&underway);
    fake.hands_out(&token);
    let told = refused(world.complete(underway.with("the-code")).await);
    assert!(told.contains(words), "{told}\nexpected {words}");
    let record = world.last_refusal().await;
    assert!(record.contains("providers/okta") && record.contains("Refused"), "{record}");
    let secrets =
        ["the-code", "SECRET", underway.begun.secret.expose(), &underway.told("state")].map(str::to_owned);
    for secret in token.split('.').map(str::to_owned).filter(|part| part.len() > 8).chain(secrets) {
        assert!(!told.contains(&secret) && !record.contains(&secret), "{secret}");
    }
    // It is over, whatever came of it.
    assert!(refused(world.complete(underway.with("the-code")).await).contains("is over"));
}

#[tokio::test]
async fn an_id_token_for_others_or_of_others_begins_nothing() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let now = world.now();
    let past = now.as_second() - 1_000;
    for (changes, words) in [
        (json!({"nonce": "another"}), "belongs to another sign-in (nonce)"),
        (json!({"nonce": null}), "belongs to another sign-in (nonce)"),
        (json!({"aud": "another"}), "meant for another client"),
        (json!({"aud": ["mayfly", "another"]}), "handed out to another client (azp)"),
        (json!({"azp": "another"}), "handed out to another client (azp)"),
        (json!({"iss": "https://evil.example"}), "issuer is none of the identity providers"),
        (json!({"exp": past}), "has expired"),
        (json!({"iat": past + 10_000}), "not valid yet"),
        (json!({"iat": past - 10_000}), "longer ago than"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "at_hash"),
        (json!({"sub": null}), "names nobody"),
        (json!({"groups": ["administrators"]}), "claims make nobody an administrator"),
        (json!({"sub": "alice smith"}), "principal's name has ' '"),
    ] {
        let make = |underway: &Underway| fake.id_token(now, &underway.told("nonce"), &changes);
        refuse(&world, &fake, make, words).await;
        world.pass(1);
    }
    let none = |_: &Underway| "e30.e30.".to_owned();
    refuse(&world, &fake, none, "algorithm is not among those accepted").await;
    refuse(&world, &fake, |_| "no token at all".to_owned(), "cannot be read").await;
}

#[tokio::test]
async fn an_id_token_that_the_provider_did_not_sign_begins_nothing() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let forger = LocalIssuer::generate(&fake.url, "one").unwrap();
    let claims = |underway: &Underway| {
        let second = world.now().as_second();
        json!({"iss": fake.url, "aud": "mayfly", "sub": "alice", "nonce": underway.told("nonce"), "iat": second, "exp": second + 60})
    };
    refuse(&world, &fake, |underway| forger.sign(&claims(underway)).unwrap(), "signature is not").await;
    let header = json!({"alg": "ES256", "kid": "other"});
    let unknown = |underway: &Underway| forger.sign_with(&header, &claims(underway)).unwrap();
    refuse(&world, &fake, unknown, "is not among those its issuer publishes").await;
    let logout = json!({"alg": "ES256", "kid": "one", "typ": "logout+jwt"});
    let another_kind = |underway: &Underway| fake.issuer.sign_with(&logout, &claims(underway)).unwrap();
    refuse(&world, &fake, another_kind, "something else than a JWT").await;
}

#[tokio::test]
async fn bound_claims_hold_for_people_as_well() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let bound =
        super::okta(&fake.url, "").replace("groups_claim", "bound_claims = { hd = \"acme\" }\ngroups_claim");
    world.trust(&bound);
    let make = |domain: Value| {
        let (fake, now) = (&fake, world.now());
        move |underway: &Underway| fake.id_token(now, &underway.told("nonce"), &json!({"hd": domain.clone()}))
    };
    refuse(&world, &fake, make(json!("other")), "the claim \"hd\" is not one that bound_claims allows").await;
    let underway = world.begin(by_browser(false)).await.unwrap();
    fake.hands_out(&make(json!("acme"))(&underway));
    world.complete(underway.with("code")).await.unwrap();
}

#[tokio::test]
async fn userinfo_adds_what_the_id_token_lacks_and_changes_nothing_in_it() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "user_info = true\nsecond_factor_amr = [\"mfa\"]").await;
    let thin = json!({"email": null, "groups": ["staff"]});
    let make = |underway: &Underway| fake.id_token(world.now(), &underway.told("nonce"), &thin);
    let second = world.now().as_second();
    let more = json!({"sub": "alice", "email": "a@b.example", "groups": ["other"], "amr": ["mfa"], "auth_time": second});
    fake.says("/me", Reply::Json(200, more));
    let underway = world.begin(by_browser(false)).await.unwrap();
    fake.hands_out(&make(&underway));
    let session = world.complete(underway.with("code")).await.unwrap().session;
    assert_eq!(session.principal.attributes["mail"], "a@b.example");
    assert!(session.principal.belongs_to("staff") && !session.principal.belongs_to("other"));
    assert_eq!(session.second_factor_at, None, "a second factor is told by the ID token alone");
    assert!(fake.asked("/me")[0].headers.contains("authorization: Bearer access"));

    fake.says("/me", Reply::Json(200, json!({"sub": "mallory", "email": "m@b.example"})));
    refuse(&world, &fake, make, "about somebody else").await;
    fake.says("/me", Reply::Json(200, json!(["alice"])));
    refuse(&world, &fake, make, "userinfo is no JSON object").await;
}
