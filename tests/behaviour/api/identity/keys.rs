//! Keys of a provider: fetched, kept, rotated, and what happens when they cannot be had.

use std::fs;

use mayfly::sandbox::LocalIssuer;
use serde_json::json;
use tonic::Code;

use super::{
    super::rig::told,
    rig::{Ci, ISSUER, MAPPING},
};
use crate::support::{Answer, KeyServer, TestCertificates};

fn unavailable() -> (Code, String) {
    (Code::Unavailable, "IDENTITY_PROVIDER_UNAVAILABLE".to_owned())
}

/// A server over a key server that answers with the issuer's keys.
async fn fetching(lines: &str) -> (Ci, KeyServer) {
    let server = KeyServer::start(Answer::Nothing, None).await;
    let ci = Ci::fetching(&format!("http://{}/keys", server.address), lines).await;
    server.answer(Answer::Text(ci.issuer.key_set()));
    (ci, server)
}

#[tokio::test]
async fn keys_are_fetched_once_for_many_callers() {
    let (ci, server) = fetching("").await;
    let calls = futures_util::future::join_all((0..8).map(|_| ci.call_as_job())).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn keys_come_over_tls_from_a_server_of_the_authority_configured() {
    let (ours, theirs) = (TestCertificates::new(), TestCertificates::new());
    let server = KeyServer::start(Answer::Nothing, Some(&ours)).await;
    for (certificates, accepted) in [(&ours, true), (&theirs, false)] {
        let authority = certificates.file("authority.crt");
        let ca_file = format!("jwks_ca_file = \"{}\"", authority.display());
        let ci = Ci::fetching(&format!("https://{}/keys", server.address), &ca_file).await;
        server.answer(Answer::Text(ci.issuer.key_set()));
        assert_eq!(ci.call_as_job().await.is_ok(), accepted);
    }
}

#[tokio::test]
async fn keys_are_found_by_the_issuers_description_of_itself() {
    let server = KeyServer::start(Answer::Nothing, None).await;
    let issuer = format!("http://{}", server.address);
    let ci = Ci::configured(|_| format!("[identity.ci]\nissuer = \"{issuer}\"\n{MAPPING}")).await;
    let jwt = ci.assertion(&json!({"iss": issuer}));
    // Description and keys at once: each is read for what it is asked for.
    let mut answer = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    answer["keys"] = json!([ci.issuer.public_key()]);
    server.answer(Answer::Text(answer.to_string()));
    ci.call(&jwt).await.unwrap();
    assert_eq!(server.asked(), 2);
    // One that describes somebody else is not believed.
    let other = Ci::configured(|_| format!("[identity.ci]\nissuer = \"{issuer}\"\n{MAPPING}")).await;
    answer["issuer"] = json!("https://evil.example");
    server.answer(Answer::Text(answer.to_string()));
    let status = other.refused(&other.assertion(&json!({"iss": issuer}))).await;
    assert_eq!(told(&status), unavailable());
}

#[tokio::test]
async fn a_rotated_key_is_picked_up_and_the_one_it_replaces_is_forgotten() {
    let (ci, server) = fetching("").await;
    ci.call_as_job().await.unwrap();
    let next = LocalIssuer::generate(ISSUER, "two").unwrap();
    server.answer(Answer::Text(next.key_set()));
    ci.api.world.pass(11);
    ci.call(&next.sign(&ci.job("1")).unwrap()).await.unwrap();
    assert_eq!(server.asked(), 2);
    assert_eq!(told(&ci.refused(&ci.assertion(&json!({}))).await).1, "ASSERTION_REFUSED");
}

#[tokio::test]
async fn a_key_that_was_withdrawn_counts_no_longer_once_keys_are_refreshed() {
    let (ci, server) = fetching("jwks_refresh = \"5m\"").await;
    ci.call_as_job().await.unwrap();
    server.answer(Answer::Text(LocalIssuer::generate(ISSUER, "two").unwrap().key_set()));
    ci.call_as_job().await.unwrap();
    ci.api.world.pass(301);
    let status = ci.refused(&ci.assertion(&json!({}))).await;
    assert_eq!(status.message(), "the JWT is signed with a key that is not among those its issuer publishes");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_flood_the_provider() {
    let (ci, server) = fetching("").await;
    ci.call_as_job().await.unwrap();
    ci.api.world.pass(11);
    for index in 0..15 {
        let forger = LocalIssuer::generate(ISSUER, format!("forged-{index}")).unwrap();
        ci.refused(&forger.sign(&ci.job("1")).unwrap()).await;
    }
    assert_eq!(server.asked(), 2);
    ci.call_as_job().await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_is_asked_again_after_a_pause() {
    let server = KeyServer::start(Answer::Nothing, None).await;
    let ci = Ci::fetching(&format!("http://{}/keys", server.address), "").await;
    for _ in 0..3 {
        let status = ci.refused(&ci.assertion(&json!({}))).await;
        assert_eq!(told(&status), unavailable());
        assert_eq!(status.message(), "the keys of the identity provider ci cannot be had right now");
    }
    assert_eq!(server.asked(), 1);
    server.answer(Answer::Text(ci.issuer.key_set()));
    ci.api.world.pass(11);
    ci.call_as_job().await.unwrap();
}

#[tokio::test]
async fn keys_of_a_provider_that_is_down_later_are_used_until_they_are_too_old() {
    let (ci, server) = fetching("jwks_refresh = \"5m\"\njwks_max_stale = \"20m\"").await;
    ci.call_as_job().await.unwrap();
    server.answer(Answer::Nothing);
    ci.api.world.pass(600);
    ci.call_as_job().await.unwrap();
    ci.call_as_job().await.unwrap();
    assert_eq!(server.asked(), 2);
    ci.api.world.pass(601);
    assert_eq!(told(&ci.refused(&ci.assertion(&json!({}))).await), unavailable());
    server.answer(Answer::Text(ci.issuer.key_set()));
    ci.api.world.pass(61);
    ci.call_as_job().await.unwrap();
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_on() {
    let (ci, server) = fetching("").await;
    server.answer(Answer::Endless);
    assert_eq!(told(&ci.refused(&ci.assertion(&json!({}))).await), unavailable());
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_is_none() {
    let (ci, server) = fetching("").await;
    for text in [
        "<html>words</html>",
        "{}",
        "{\"keys\": []}",
        "{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0\"}]}",
    ] {
        server.answer(Answer::Text(text.to_owned()));
        assert_eq!(told(&ci.refused(&ci.assertion(&json!({}))).await), unavailable(), "{text}");
        ci.api.world.pass(61);
    }
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn a_redirection_to_keys_is_not_followed() {
    let (ci, server) = fetching("").await;
    let elsewhere = KeyServer::start(Answer::Text(ci.issuer.key_set()), None).await;
    server.answer(Answer::Redirect(format!("http://{}/keys", elsewhere.address)));
    assert_eq!(told(&ci.refused(&ci.assertion(&json!({}))).await), unavailable());
    assert_eq!((server.asked(), elsewhere.asked()), (1, 0));
}

#[tokio::test]
async fn a_reload_reads_the_file_of_keys_again_and_keeps_those_that_were_fetched() {
    let server = KeyServer::start(Answer::Nothing, None).await;
    let text = |directory: &std::path::Path| {
        let file = directory.join("keys.json");
        format!(
            "[identity.file]\nissuer = \"{ISSUER}\"\njwks_file = \"{}\"\n{MAPPING}\n\
             [identity.fetched]\nissuer = \"https://other.example\"\njwks_url = \"http://{}/\"\n{MAPPING}",
            file.display(),
            server.address
        )
    };
    let ci = Ci::configured(text).await;
    server.answer(Answer::Text(ci.issuer.key_set()));
    let fetched = ci.assertion(&json!({"iss": "https://other.example"}));
    ci.call(&fetched).await.unwrap();
    let next = LocalIssuer::generate(ISSUER, "two").unwrap();
    fs::write(ci.directory.path().join("keys.json"), next.key_set()).unwrap();
    ci.refused(&next.sign(&ci.job("1")).unwrap()).await;
    ci.reload(&text(ci.directory.path()));
    ci.call(&next.sign(&ci.job("1")).unwrap()).await.unwrap();
    ci.refused(&ci.assertion(&json!({}))).await;
    ci.call(&fetched).await.unwrap();
    assert_eq!(server.asked(), 1);
}
