//! What begins when a provider vouches for somebody, and what ends it.

use std::sync::Arc;

use jiff::SignedDuration;
use mayfly::{
    clock::Clock,
    domain::PrincipalKind,
    identity::{AuthenticationError, IdentitiesHandle, people::Origin},
    issuer::{Begun, Issuer, IssuerParts, KnownServers, RefusalKind},
    random::SystemRandom,
    store::Store,
};
use serde_json::{Value, json};

use super::{by_browser, fake::Fake, okta, refused, world_of};
use crate::{
    people::root,
    support::world::{World, databases, request},
};

/// A session of alice.
async fn signed_in(world: &World, fake: &Fake) -> Begun {
    vouched(world, fake, &json!({})).await
}

/// A session of alice, of whom the provider claims something else.
async fn vouched(world: &World, fake: &Fake, changes: &Value) -> Begun {
    let underway = world.begin(by_browser(false)).await.unwrap();
    fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), changes));
    world.complete(underway.with("code")).await.unwrap()
}

#[tokio::test]
async fn whom_a_provider_vouches_for_is_issued_leases_and_an_account_of_the_name_ends_that_in_mid_call() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let (fake, world) = (Fake::start().await, World::reading(&database).await);
    world.trust(&okta(&fake.url, ""));
    let begun = vouched(&world, &fake, &json!({"groups": ["readers"]})).await;
    let alice = world.calls(&begun.secret).await.unwrap();
    let issued = world.issuer.issue(&alice, request("shop-read")).await.unwrap();
    database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
    world.user("okta:alice", &[]).await;
    let refusal = world.issuer.issue(&alice, request("shop-read")).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied, "{refusal}");
}

#[tokio::test]
async fn a_provider_vouches_for_somebody_who_then_is_who_its_claims_make() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "scopes = [\"email\", \"groups\"]").await;
    let underway = world.begin(by_browser(false)).await.unwrap();
    assert!(underway.url.starts_with(&format!("{}/auth?", fake.url)));
    let told = [
        ("response_type", "code"),
        ("client_id", "mayfly"),
        ("redirect_uri", "http://127.0.0.1:40000/callback"),
        ("scope", "openid email groups"),
        ("code_challenge_method", "S256"),
        ("prompt", ""),
        ("max_age", ""),
    ];
    for (name, value) in told {
        assert_eq!(underway.told(name), value, "{name}");
    }
    fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &json!({})));
    let begun = world.complete(underway.with("the code")).await.unwrap();
    let alice = world.calls(&begun.secret).await.unwrap();
    assert_eq!((alice.principal.name.as_str(), alice.principal.kind), ("okta:alice", PrincipalKind::Human));
    assert!(alice.principal.belongs_to("staff") && alice.second_factor_at.is_none());
    assert_eq!(alice.principal.attributes["mail"], "alice@example.com");
    let origin = Origin::Provider { provider: "okta".to_owned(), subject: Some("alice".to_owned()) };
    assert_eq!(begun.session.origin, origin);
    let life = begun.session.expires_at.duration_since(begun.session.created_at);
    assert_eq!(life, SignedDuration::from_hours(8), "as [sessions] says, whatever the ID token's expiry");

    let asked = &fake.asked("/token")[0];
    assert!(asked.body.contains("code=the%20code") && asked.body.contains("client_id=mayfly"), "{asked:?}");
    assert!(asked.body.contains("code_verifier=") && !asked.headers.contains("authorization"), "{asked:?}");
    let last = world.audit().await.into_iter().last().unwrap();
    assert_eq!((&*last.action, &*last.resource), ("session.started", &*begun.session.name()));
    assert!(format!("{last:?}").contains("okta"), "{last:?}");
}

#[tokio::test]
async fn a_client_with_a_secret_proves_it_in_the_way_the_provider_takes() {
    for (methods, in_form) in [(json!(["client_secret_basic"]), false), (json!(["client_secret_post"]), true)]
    {
        let fake = Fake::start().await;
        fake.describes(&json!({"token_endpoint_auth_methods_supported": methods}));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "s3cret+").unwrap();
        let world = world_of(&fake.url, &format!("client_secret_file = \"{}\"", file.display())).await;
        signed_in(&world, &fake).await;
        let asked = &fake.asked("/token")[0];
        assert_eq!(asked.body.contains("client_secret=s3cret%2B"), in_form);
        // mayfly:s3cret%2B
        assert_eq!(asked.headers.contains("authorization: Basic bWF5Zmx5OnMzY3JldCUyQg=="), !in_form);
    }
}

#[tokio::test]
async fn a_session_ends_with_the_trust_in_its_provider() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let begun = signed_in(&world, &fake).await;
    world.calls(&begun.secret).await.unwrap();
    for changed in ["", &okta(&fake.url, "").replace("okta", "other")] {
        world.trust(changed);
        let error = world.calls(&begun.secret).await.unwrap_err();
        assert!(matches!(error, AuthenticationError::SessionEnded), "{error}");
    }
    // Its JWTs are still taken, but nobody signs in there any more.
    let issuing = format!(
        "[identity.okta]\nissuer = \"{}\"\naudiences = [\"a\"]\nprincipal = \"okta:{{sub}}\"\n",
        fake.url
    );
    world.trust(&issuing);
    assert!(world.calls(&begun.secret).await.is_err());
}

#[tokio::test]
async fn whoever_has_a_local_account_of_the_name_is_somebody_else() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let begun = signed_in(&world, &fake).await;
    world.user("okta:alice", &["administrators"]).await;
    let error = world.calls(&begun.secret).await.unwrap_err();
    assert!(matches!(error, AuthenticationError::SessionEnded), "{error}");
    let underway = world.begin(by_browser(false)).await.unwrap();
    fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &json!({})));
    let words = refused(world.complete(underway.with("code")).await);
    assert!(words.contains("a local account named okta:alice"), "{words}");
    world.issuer.remove_user(&root(), &"okta:alice".parse().unwrap()).await.unwrap();
    signed_in(&world, &fake).await;
}

#[tokio::test]
async fn a_second_factor_counts_in_the_words_configured_and_since_the_provider_says() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "second_factor_amr = [\"mfa\"]\nsecond_factor_acr = [\"gold\"]").await;
    let at = world.now().as_second() - 100;
    for (claims, given) in [
        (json!({"amr": ["pwd", "mfa"], "auth_time": at}), true),
        (json!({"acr": "gold", "auth_time": at}), true),
        (json!({"amr": ["pwd"], "auth_time": at}), false),
        (json!({"amr": ["mfa"]}), false),
    ] {
        let underway = world.begin(by_browser(false)).await.unwrap();
        fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &claims));
        let begun = world.complete(underway.with("code")).await.unwrap();
        let since = world.calls(&begun.secret).await.unwrap().second_factor_at;
        assert_eq!(since.map(jiff::Timestamp::as_second), given.then_some(at), "{claims}");
    }
    // Unless configured, nothing counts.
    world.trust(&okta(&fake.url, ""));
    let underway = world.begin(by_browser(false)).await.unwrap();
    let claims = json!({"acr": "gold", "amr": ["mfa"], "auth_time": at});
    fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &claims));
    assert_eq!(world.complete(underway.with("code")).await.unwrap().session.second_factor_at, None);
}

#[tokio::test]
async fn who_is_to_be_asked_again_must_have_been() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "second_factor_acr = [\"gold\", \"silver\"]\nmax_age = \"1h\"").await;
    assert_eq!(world.begin(by_browser(false)).await.unwrap().told("max_age"), "3600");
    for (ago, accepted) in [(0, true), (60, false)] {
        let underway = world.begin(by_browser(true)).await.unwrap();
        let told = ["prompt", "max_age", "acr_values"].map(|name| underway.told(name));
        assert_eq!(told, ["login", "0", "gold silver"]);
        let claims = json!({"acr": "gold", "auth_time": world.now().as_second() - ago});
        fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &claims));
        let completed = world.complete(underway.with("code")).await;
        if accepted {
            assert!(completed.unwrap().session.second_factor_at.is_some());
        } else {
            assert!(refused(completed).contains("did not ask who you are again"));
        }
    }
}

#[tokio::test]
async fn a_sign_in_outlives_the_server_it_was_begun_on() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let underway = world.begin(by_browser(false)).await.unwrap();
    let (directory, clock) = world.stop().await;
    let world = World::at(directory, clock, Vec::new(), Vec::new()).await;
    world.trust(&okta(&fake.url, ""));
    fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &json!({})));
    let begun = world.complete(underway.with("code")).await.unwrap();
    world.calls(&begun.secret).await.unwrap();
}

#[tokio::test]
async fn what_one_replica_began_another_completes_and_only_one() {
    let fake = Fake::start().await;
    let world = world_of(&fake.url, "").await;
    let other = another(&world, &okta(&fake.url, ""));
    let underway = world.begin(by_browser(false)).await.unwrap();
    fake.hands_out(&fake.id_token(world.now(), &underway.told("nonce"), &json!({})));
    let (here, there) = tokio::join!(
        world.issuer.complete_sign_in(underway.with("code")),
        other.complete_sign_in(underway.with("code")),
    );
    assert_eq!(usize::from(here.is_ok()) + usize::from(there.is_ok()), 1, "{here:?} {there:?}");
    assert_eq!(fake.asked("/token").len(), 1);
    assert_eq!(world.issuer.signed_in(&root(), None, true, None, 10).await.unwrap().len(), 1);
}

/// Another issuer on the store of a world: it shares nothing else that sign-ins are about.
fn another(world: &World, text: &str) -> Issuer {
    let issuer = Issuer::new(IssuerParts {
        turns: Arc::default(),
        policies: Arc::clone(&world.policies),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        random: Arc::new(SystemRandom),
        store: Arc::clone(&world.store) as Arc<dyn Store>,
        catalogue: Arc::clone(&world.catalogue),
        servers: Arc::new(KnownServers::new(
            Arc::clone(&world.clock) as Arc<dyn Clock>,
            Arc::clone(&world.store) as Arc<dyn Store>,
            Arc::clone(&world.health),
        )),
        health: Arc::clone(&world.health),
        metrics: Arc::clone(&world.metrics),
        reaper: Arc::clone(&world.reaper) as Arc<_>,
    });
    issuer.with_identities(Arc::new(IdentitiesHandle::new(world.identities_of(text))))
}
