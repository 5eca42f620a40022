//! Assertions: what is accepted, and each way in which one is not.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use mayfly::{
    api::proto::{ExchangeRequest, session_service_client::SessionServiceClient},
    clock::Clock as _,
    sandbox::LocalIssuer,
};
use serde_json::{Value, json};
use tonic::Code;

use super::{
    super::rig::{told, with},
    rig::{Ci, ISSUER, MAPPING},
};

/// Claims under a header, with a signature made somehow.
fn forge(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
}

fn refusal() -> (Code, String) {
    (Code::Unauthenticated, "ASSERTION_REFUSED".to_owned())
}

#[tokio::test]
async fn a_job_is_who_its_claims_say_by_the_mapping() {
    let ci = Ci::with("").await;
    let me = ci.call_as_job().await.unwrap();
    assert_eq!(me.principal, "repo:acme/shop:refs/heads/main");
    assert_eq!((me.groups, me.token), (vec!["ci".to_owned()], "providers/ci".to_owned()));
    assert!(!me.administrator);
}

#[tokio::test]
async fn rsa_keys_verify_too() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let (modulus, exponent) = (rsa.public_key().modulus(), rsa.public_key().exponent());
    let key = json!({
        "kty": "RSA", "kid": "rsa",
        "n": BASE64URL_NOPAD.encode(modulus.big_endian_without_leading_zero()),
        "e": BASE64URL_NOPAD.encode(exponent.big_endian_without_leading_zero()),
    });
    let ci = Ci::configured(|directory| {
        let file = directory.join("rsa.json");
        std::fs::write(&file, json!({"keys": [key]}).to_string()).unwrap();
        format!("[identity.ci]\nissuer = \"{ISSUER}\"\njwks_file = \"{}\"\n{MAPPING}", file.display())
    })
    .await;
    let sign = |message: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    ci.call(&forge(&json!({"alg": "RS256", "kid": "rsa"}), &ci.job("1"), sign)).await.unwrap();
    let status = ci.refused(&forge(&json!({"alg": "RS512", "kid": "rsa"}), &ci.job("1"), sign)).await;
    assert!(status.message().contains("algorithm is not among those accepted"), "{status:?}");
}

#[tokio::test]
async fn a_forged_signature_is_refused() {
    let ci = Ci::with("").await;
    let forger = LocalIssuer::generate(ISSUER, "one").unwrap();
    let status = ci.refused(&forger.sign(&ci.job("1")).unwrap()).await;
    assert_eq!(told(&status), refusal());
    assert_eq!(status.message(), "the JWT's signature is not its issuer's");
    let good = ci.assertion(&json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let claims = BASE64URL_NOPAD.encode(ci.job("1").to_string().replace("main", "evil").as_bytes());
    for forged in [format!("{header}.{claims}.{signature}"), format!("{message}."), format!("{message}.AAAA")]
    {
        assert_eq!(told(&ci.refused(&forged).await), refusal());
    }
}

#[tokio::test]
async fn an_expired_assertion_is_refused() {
    let ci = Ci::with("leeway = \"10s\"").await;
    let jwt = ci.assertion(&json!({}));
    ci.api.world.pass(305);
    ci.call(&jwt).await.unwrap();
    ci.api.world.pass(6);
    assert_eq!(told(&ci.refused(&jwt).await), (Code::Unauthenticated, "ASSERTION_EXPIRED".to_owned()));
}

#[tokio::test]
async fn an_assertion_that_is_not_valid_yet_is_refused() {
    let ci = Ci::with("").await;
    let now = ci.api.world.clock.now().as_second();
    for changes in [json!({"nbf": now + 60}), json!({"iat": now + 60})] {
        let status = ci.refused(&ci.assertion(&changes)).await;
        assert!(status.message().contains("not valid yet"), "{status:?}");
    }
    ci.call(&ci.assertion(&json!({"nbf": now + 20, "iat": now + 20}))).await.unwrap();
}

#[tokio::test]
async fn an_assertion_that_is_too_old_is_refused_whatever_its_expiry() {
    let ci = Ci::with("max_age = \"1m\"").await;
    let now = ci.api.world.clock.now().as_second();
    let status = ci.refused(&ci.assertion(&json!({"iat": now - 100, "exp": now + 1_000_000}))).await;
    assert!(status.message().contains("issued longer ago"), "{status:?}");
    let status = ci.refused(&ci.assertion(&json!({"iat": null}))).await;
    assert_eq!(status.message(), "the JWT has no usable claim \"iat\"");
}

#[tokio::test]
async fn an_assertion_for_another_audience_is_refused() {
    let ci = Ci::with("").await;
    for audience in [
        json!("other"),
        json!(["a", "b"]),
        json!("mayfly2"),
        json!("Mayfly"),
        Value::Null,
        json!({"mayfly": 1}),
    ] {
        let status = ci.refused(&ci.assertion(&json!({"aud": audience}))).await;
        assert!(status.message().contains("its audience is another"), "{status:?}");
    }
    ci.call(&ci.assertion(&json!({"aud": ["other", "mayfly"]}))).await.unwrap();
}

#[tokio::test]
async fn an_assertion_of_another_issuer_is_refused() {
    let ci = Ci::with("").await;
    for issuer in [
        json!("https://evil.example"),
        json!("https://ci.example/"),
        json!(["https://ci.example"]),
        Value::Null,
    ] {
        let status = ci.refused(&ci.assertion(&json!({"iss": issuer}))).await;
        assert!(status.message().contains("none of the identity providers"), "{status:?}");
    }
}

#[tokio::test]
async fn an_assertion_that_nobody_signed_is_refused() {
    let ci = Ci::with("").await;
    for algorithm in ["none", "None", "NONE", ""] {
        let status =
            ci.refused(&forge(&json!({"alg": algorithm, "kid": "one"}), &ci.job("1"), |_| Vec::new())).await;
        assert!(status.message().contains("algorithm is not among those accepted"), "{status:?}");
    }
}

#[tokio::test]
async fn a_public_key_used_as_a_shared_secret_is_refused() {
    let ci = Ci::with("").await;
    let keys = ci.issuer.key_set();
    let key = ci.issuer.public_key();
    let coordinates = [key["x"].as_str().unwrap(), key["y"].as_str().unwrap()].concat();
    for secret in [keys, key.to_string(), coordinates] {
        let sign = |message: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message).as_ref().to_vec()
        };
        let status = ci.refused(&forge(&json!({"alg": "HS256", "kid": "one"}), &ci.job("1"), sign)).await;
        assert!(status.message().contains("algorithm is not among those accepted"), "{status:?}");
    }
}

#[tokio::test]
async fn an_rsa_signature_under_an_elliptic_curve_key_is_refused() {
    let ci = Ci::with("").await;
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let sign = |message: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let status = ci.refused(&forge(&json!({"alg": "RS256", "kid": "one"}), &ci.job("1"), sign)).await;
    assert_eq!(status.message(), "the JWT's algorithm does not fit the key it names");
}

#[tokio::test]
async fn keys_and_addresses_of_keys_in_a_header_count_for_nothing() {
    let ci = Ci::with("").await;
    let forger = LocalIssuer::generate(ISSUER, "one").unwrap();
    let header = json!({
        "alg": "ES256", "kid": "one", "jwk": forger.public_key(), "jku": "https://evil.example/keys", "x5u": "https://evil.example",
    });
    let status = ci.refused(&forger.sign_with(&header, &ci.job("1")).unwrap()).await;
    assert_eq!(status.message(), "the JWT's signature is not its issuer's");
}

#[tokio::test]
async fn an_assertion_without_an_expiry_is_refused() {
    let ci = Ci::with("").await;
    for expiry in [Value::Null, json!("tomorrow"), json!(-1), json!(1e300)] {
        let status = ci.refused(&ci.assertion(&json!({"exp": expiry}))).await;
        assert_eq!(status.message(), "the JWT has no usable claim \"exp\"");
    }
}

#[tokio::test]
async fn an_assertion_that_is_good_once_is_refused_when_it_is_replayed() {
    let ci = Ci::with("replay = \"once\"").await;
    let jwt = ci.assertion(&json!({}));
    ci.call(&jwt).await.unwrap();
    assert_eq!(told(&ci.refused(&jwt).await), (Code::Unauthenticated, "ASSERTION_REPLAYED".to_owned()));
    let again = ci.assertion(&json!({"sub": "something else"}));
    assert_eq!(told(&ci.refused(&again).await).1, "ASSERTION_REPLAYED");
    ci.call(&ci.assertion(&json!({"jti": "job-2"}))).await.unwrap();
    let used = ci.api.world.audit().await.into_iter().filter(|record| record.action == "assertion.used");
    assert_eq!(used.count(), 2);
}

#[tokio::test]
async fn an_assertion_used_many_times_at_once_is_good_once() {
    let ci = Ci::with("replay = \"once\"").await;
    let jwt = ci.assertion(&json!({}));
    let calls = futures_util::future::join_all((0..8).map(|_| ci.call(&jwt))).await;
    assert_eq!(calls.iter().filter(|call| call.is_ok()).count(), 1);
}

#[tokio::test]
async fn used_assertions_are_forgotten_when_they_have_expired() {
    let ci = Ci::with("replay = \"once\"").await;
    for index in 0..20 {
        ci.call(&ci.assertion(&json!({"jti": format!("early-{index}")}))).await.unwrap();
    }
    ci.api.world.pass(1_000);
    for index in 0..4 {
        ci.call(&ci.assertion(&json!({"jti": format!("late-{index}")}))).await.unwrap();
    }
    let kind = mayfly::store::EntryKind::UsedAssertion;
    let kept = ci.api.world.store.as_ref();
    let kept = mayfly::store::EntryStore::entries(kept, kind, None, None, 100).await.unwrap();
    assert_eq!(kept.len(), 4);
}

#[tokio::test]
async fn an_assertion_without_an_identifier_is_refused_where_each_is_good_once() {
    let ci = Ci::with("replay = \"once\"").await;
    for id in [Value::Null, json!(""), json!(7)] {
        let status = ci.refused(&ci.assertion(&json!({"jti": id}))).await;
        assert_eq!(status.message(), "the JWT has no usable claim \"jti\"");
    }
}

#[tokio::test]
async fn a_huge_assertion_is_refused() {
    let ci = Ci::with("").await;
    let status = ci.refused(&ci.assertion(&json!({"padding": "x".repeat(13_000)}))).await;
    assert_eq!(status.message(), "the JWT is longer than 16384 bytes");
    // What is longer still does not pass the transport.
    assert!(ci.call(&ci.assertion(&json!({"padding": "x".repeat(1_000_000)}))).await.is_err());
    ci.call_as_job().await.unwrap();
}

#[tokio::test]
async fn names_that_are_none_are_refused_and_not_cleaned() {
    let ci = Ci::with("").await;
    for (repository, words) in [
        ("acme/'; DROP ROLE postgres; --", "the principal's name has '\\''"),
        ("acme/a b", "the principal's name has ' '"),
        ("acme/a:b", "has ':' in it"),
        ("acme/\u{0}", "control characters"),
        ("evil/shop", "bound_claims"),
    ] {
        let status = ci.refused(&ci.assertion(&json!({"repository": repository}))).await;
        assert!(status.message().contains(words), "{status:?}");
    }
}

#[tokio::test]
async fn of_several_providers_with_one_issuer_exactly_one_must_accept() {
    let provider = |name: &str, file: &str, bound: &str| {
        format!(
            "[identity.{name}]\nissuer = \"{ISSUER}\"\njwks_file = \"{file}\"\naudiences = [\"mayfly\"]\n\
             principal = \"{name}:{{repository}}\"\nbound_claims = {{ repository = {bound} }}\n"
        )
    };
    let ci = Ci::configured(|directory| {
        let file = directory.join("keys.json").display().to_string();
        let bound = ["[\"acme/shop\", \"acme/both\"]", "\"acme/site\"", "\"acme/both\""];
        ["shop", "site", "both"].iter().zip(bound).map(|(name, bound)| provider(name, &file, bound)).collect()
    })
    .await;
    let of = |repository: &str| ci.assertion(&json!({"repository": repository}));
    assert_eq!(ci.call(&of("acme/shop")).await.unwrap().principal, "shop:acme/shop");
    assert_eq!(ci.call(&of("acme/site")).await.unwrap().principal, "site:acme/site");
    let status = ci.refused(&of("acme/both")).await;
    assert!(status.message().contains("(both, shop)") || status.message().contains("both"), "{status:?}");
    assert!(ci.refused(&of("acme/none")).await.message().contains("bound_claims"));
}

#[tokio::test]
async fn an_assertion_vouches_for_itself_only_as_long_as_its_provider_is_configured() {
    let ci = Ci::with("").await;
    ci.call_as_job().await.unwrap();
    ci.reload("");
    let status = ci.refused(&ci.assertion(&json!({}))).await;
    assert!(status.message().contains("none of the identity providers"), "{status:?}");
}

#[tokio::test]
async fn a_flood_of_forged_assertions_is_limited_like_one_of_bad_tokens() {
    let ci = Ci::with("").await;
    let forged = LocalIssuer::generate(ISSUER, "one").unwrap().sign(&ci.job("1")).unwrap();
    let mut last = Code::Ok;
    for _ in 0..40 {
        last = ci.call(&forged).await.unwrap_err().code();
    }
    assert_eq!(last, Code::ResourceExhausted);
    ci.call_as_job().await.unwrap();
}

#[tokio::test]
async fn an_assertion_is_exchanged_once_for_a_session_that_makes_many_calls() {
    let ci = Ci::with("replay = \"once\"").await;
    let mut sessions = SessionServiceClient::new(ci.api.channel().await);
    let jwt = ci.assertion(&json!({}));
    let begun = sessions.exchange(with(&jwt, ExchangeRequest {})).await.unwrap().into_inner();
    let session = begun.session.unwrap();
    assert_eq!((&*session.origin, &*session.principal), ("providers/ci", "repo:acme/shop:refs/heads/main"));
    let life = session.expire_time.unwrap().seconds - session.create_time.unwrap().seconds;
    assert_eq!(life, 3600);
    for _ in 0..3 {
        let me = ci.call(&begun.secret).await.unwrap();
        assert_eq!((&*me.principal, me.groups), ("repo:acme/shop:refs/heads/main", vec!["ci".to_owned()]));
    }
    let status = sessions.exchange(with(&jwt, ExchangeRequest {})).await.unwrap_err();
    assert_eq!(told(&status).1, "ASSERTION_REPLAYED");
    ci.api.world.pass(3601);
    assert_eq!(ci.call(&begun.secret).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn only_an_assertion_is_exchanged_for_a_session() {
    let ci = Ci::with("").await;
    let mut sessions = SessionServiceClient::new(ci.api.channel().await);
    let begun =
        sessions.exchange(with(&ci.assertion(&json!({})), ExchangeRequest {})).await.unwrap().into_inner();
    for bearer in [begun.secret, ci.api.administrator.clone()] {
        let status = sessions.exchange(with(&bearer, ExchangeRequest {})).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
    }
}

#[tokio::test]
async fn a_session_does_not_outlive_the_provider_it_came_from() {
    let ci = Ci::with("").await;
    let mut sessions = SessionServiceClient::new(ci.api.channel().await);
    let begun =
        sessions.exchange(with(&ci.assertion(&json!({})), ExchangeRequest {})).await.unwrap().into_inner();
    ci.call(&begun.secret).await.unwrap();
    ci.reload("");
    assert_eq!(ci.call(&begun.secret).await.unwrap_err().code(), Code::Unauthenticated);
}
