//! At a real provider, in a browser that fills in its forms.

use mayfly::{
    domain::Password,
    issuer::{Brought, Completed, Completion, SignInOffer},
};

use super::{Underway, by_browser, by_device, query, refused, world_of};
use crate::{
    people::ADDRESS,
    support::{
        provider::{Browser, Person, openid_provider},
        world::World,
    },
};

const FACTORS: &str = "second_factor_amr = [\"mfa\"]\nsecond_factor_acr = [\"gold\"]";

/// What a browser that was sent back brings.
fn brought(underway: &Underway, back: &str) -> Completion {
    assert!(back.starts_with("http://127.0.0.1:40000/callback?"), "{back}");
    let state = Password::new(query(back, "state"));
    let error = query(back, "error");
    underway.bringing(if error.is_empty() {
        Brought::Code { code: Password::new(query(back, "code")), state, issuer: query(back, "iss") }
    } else {
        Brought::Error { error, state }
    })
}

#[tokio::test]
async fn somebody_signs_in_with_a_browser_and_again_with_a_second_factor() {
    let Some(provider) = openid_provider(false).await else { return };
    let world = world_of(&provider.issuer, FACTORS).await;
    let mut browser = Browser::new();
    let underway = world.begin(by_browser(false)).await.unwrap();
    let back = browser.sign_in(&underway.url, Person::Named("alice")).await;
    assert_eq!(query(&back, "iss"), provider.issuer);
    let session = world.complete(brought(&underway, &back)).await.unwrap().session;
    assert_eq!(session.principal.name.as_str(), "okta:alice");
    assert!(session.principal.belongs_to("staff") && session.second_factor_at.is_none());
    assert_eq!(session.principal.attributes["mail"], "alice@example.com");

    // The browser is signed in there, and is asked again all the same.
    let again = world.begin(by_browser(true)).await.unwrap();
    let back = browser.sign_in(&again.url, Person::Named("alice+mfa")).await;
    let session = world.complete(brought(&again, &back)).await.unwrap().session;
    assert!(session.second_factor_at.is_some());

    let denied = world.begin(by_browser(true)).await.unwrap();
    let back = browser.sign_in(&denied.url, Person::Unwilling).await;
    assert!(refused(world.complete(brought(&denied, &back)).await).contains("(access_denied)"));
}

#[tokio::test]
async fn the_provider_takes_the_verifier_of_this_sign_in_and_no_other() {
    let Some(provider) = openid_provider(false).await else { return };
    let world = world_of(&provider.issuer, "").await;
    let mut browser = Browser::new();
    let (hers, his) =
        (world.begin(by_browser(false)).await.unwrap(), world.begin(by_browser(false)).await.unwrap());
    // Her code, brought to his sign-in: the state fits, the verifier does not.
    let back = browser.sign_in(&hers.url, Person::Named("alice")).await;
    let stolen = Brought::Code {
        code: Password::new(query(&back, "code")),
        state: Password::new(his.told("state")),
        issuer: query(&back, "iss"),
    };
    let words = refused(world.complete(his.bringing(stolen)).await);
    assert!(words.contains("(invalid_grant)"), "{words}");
}

#[tokio::test]
async fn a_client_with_a_secret_of_any_letters_is_known_and_userinfo_fills_a_thin_id_token() {
    let Some(provider) = openid_provider(true).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "a secret, of Mayfly\n").unwrap();
    let lines = format!(
        "client_id = \"mayfly:sealed\"\nclient_secret_file = \"{}\"\nuser_info = true",
        file.display()
    );
    let world = world_of(&provider.issuer, &lines).await;
    let underway = world.begin(by_browser(false)).await.unwrap();
    let back = Browser::new().sign_in(&underway.url, Person::Named("alice")).await;
    let session = world.complete(brought(&underway, &back)).await.unwrap().session;
    assert!(session.principal.belongs_to("staff"), "{session:?}");
    assert_eq!(session.principal.attributes["mail"], "alice@example.com");

    std::fs::write(&file, "another secret\n").unwrap();
    world.trust(&super::okta(&provider.issuer, &lines));
    let underway = world.begin(by_browser(false)).await.unwrap();
    let back = Browser::new().sign_in(&underway.url, Person::Named("alice")).await;
    assert!(refused(world.complete(brought(&underway, &back)).await).contains("(invalid_client)"));
}

#[tokio::test]
async fn somebody_signs_in_with_another_device() {
    let Some(provider) = openid_provider(false).await else { return };
    let world = world_of(&provider.issuer, FACTORS).await;
    let begun = world.issuer.begin_sign_in(by_device()).await.unwrap();
    let SignInOffer::Device(offer) = &begun.offer else { panic!("{begun:?}") };
    let poll = async |world: &World| {
        world.pass(5);
        let completion = Completion {
            id: begun.pending.id,
            secret: Password::new(begun.secret.expose().to_owned()),
            brought: Brought::Nothing,
            address: ADDRESS,
        };
        world.issuer.complete_sign_in(completion).await
    };
    assert!(matches!(poll(&world).await.unwrap(), Completed::Pending(_)));
    let mut browser = Browser::new();
    let page = browser.type_code(&offer.verification_uri, &offer.user_code, Person::Named("bob+mfa")).await;
    assert_eq!(page, "done");
    let Completed::Begun(begun) = poll(&world).await.unwrap() else { panic!("bob signed in") };
    assert_eq!(begun.session.principal.name.as_str(), "okta:bob");
    assert!(begun.session.second_factor_at.is_some());
    assert!(world.calls(&begun.secret).await.is_ok());
}
