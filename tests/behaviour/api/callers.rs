//! Who is let in.

use mayfly::{
    api::proto::{GetServerInfoRequest, ListLeasesRequest, WhoAmIRequest},
    audit::AuditOutcome,
};
use tonic::{Code, Request};

use super::rig::{Api, told, with, with_header};

#[tokio::test]
async fn server_info_needs_no_token_and_everything_else_does() {
    let api = Api::bare().await;
    let mut server = api.server().await;
    let info = server.get_server_info(Request::new(GetServerInfoRequest {})).await.unwrap().into_inner();
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    let status = server.who_am_i(Request::new(WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    let status =
        api.leases().await.list_leases(Request::new(ListLeasesRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_caller_learns_who_it_is() {
    let api = Api::bare().await;
    let minted = api.mint("ci", &["builders", "a"], &["127.0.0.0/8"]).await;
    let reply = api.server().await.who_am_i(with(minted.secret.expose(), WhoAmIRequest {})).await.unwrap();
    let me = reply.into_inner();
    assert_eq!((&*me.principal, me.groups.join(" ")), ("ci", "a builders".to_owned()));
    assert_eq!(me.token, format!("tokens/{}", minted.stored.id));
    assert_eq!((&*me.address, me.administrator), ("127.0.0.1", false));
    let reply = api.server().await.who_am_i(with(&api.administrator, WhoAmIRequest {})).await.unwrap();
    assert!(reply.into_inner().administrator);
}

#[tokio::test]
async fn malformed_truncated_foreign_and_oversized_tokens_are_refused() {
    let api = Api::bare().await;
    let mut server = api.server().await;
    let good = api.administrator.clone();
    let foreign = Api::bare().await.administrator;
    let long = format!("{good}{}", "a".repeat(10 * 1024));
    for (token, reason) in [
        ("", "TOKEN_MALFORMED"),
        ("mf_", "TOKEN_MALFORMED"),
        (&good[..good.len() - 1], "TOKEN_MALFORMED"),
        (&good.to_ascii_uppercase(), "TOKEN_MALFORMED"),
        (&format!("{good} "), "TOKEN_MALFORMED"),
        ("hvs.CAESIJ", "TOKEN_MALFORMED"),
        ("' or 1=1 --", "TOKEN_MALFORMED"),
        (&long, "TOKEN_MALFORMED"),
        (&foreign, "TOKEN_UNKNOWN"),
    ] {
        let status = server.who_am_i(with(token, WhoAmIRequest {})).await.unwrap_err();
        assert_eq!(told(&status), (Code::Unauthenticated, reason.to_owned()), "{token}");
        assert!(token.len() < 10 || !status.message().contains(token), "{}", status.message());
    }
}

#[tokio::test]
async fn headers_that_are_no_bearer_token_are_refused_in_words() {
    let api = Api::bare().await;
    let mut server = api.server().await;
    let bearer = format!("Bearer {}", api.administrator);
    for (header, words) in [
        (&b"Basic YWxpY2U6aHVudGVyMg=="[..], "is not of the form"),
        (api.administrator.as_bytes(), "is not of the form"),
        (b"Bearer mf_\xc3\xa9", "has characters beyond ASCII"),
    ] {
        let status = server.who_am_i(with_header(header, WhoAmIRequest {})).await.unwrap_err();
        assert_eq!(told(&status), (Code::Unauthenticated, "TOKEN_MALFORMED".to_owned()));
        assert!(status.message().contains(words), "{}", status.message());
    }
    let mut twice = with_header(bearer.as_bytes(), WhoAmIRequest {});
    twice.metadata_mut().append("authorization", bearer.parse().unwrap());
    let status = server.who_am_i(twice).await.unwrap_err();
    assert!(status.message().contains("is there more than once"), "{}", status.message());
    let lower = format!("bearer {}", api.administrator);
    server.who_am_i(with_header(lower.as_bytes(), WhoAmIRequest {})).await.unwrap();
}

#[tokio::test]
async fn revoked_expired_and_misplaced_tokens_are_refused_and_say_which() {
    let api = Api::bare().await;
    let mut server = api.server().await;
    let root = crate::support::world::caller("root", &["administrators"]);
    let revoked = api.mint("revoked", &[], &[]).await;
    server.who_am_i(with(revoked.secret.expose(), WhoAmIRequest {})).await.unwrap();
    api.world.issuer.revoke_token(&root, revoked.stored.id).await.unwrap();
    let misplaced = api.mint("misplaced", &[], &["10.0.0.0/8", "fd00::/8"]).await;
    let expiring = api.mint("expiring", &[], &[]).await;
    server.who_am_i(with(expiring.secret.expose(), WhoAmIRequest {})).await.unwrap();
    for (token, reason, seconds) in
        [(revoked, "TOKEN_REVOKED", 0), (misplaced, "TOKEN_ADDRESS", 0), (expiring, "TOKEN_EXPIRED", 3600)]
    {
        api.world.pass(seconds);
        let status = server.who_am_i(with(token.secret.expose(), WhoAmIRequest {})).await.unwrap_err();
        assert_eq!(told(&status), (Code::Unauthenticated, reason.to_owned()));
    }
}

#[tokio::test]
async fn a_flood_of_bad_tokens_does_not_flood_the_audit_log_nor_shut_out_good_ones() {
    let api = Api::bare().await;
    let mut server = api.server().await;
    let mut codes = Vec::new();
    for _ in 0..60 {
        codes.push(server.who_am_i(with("mf_x", WhoAmIRequest {})).await.unwrap_err().code());
    }
    assert_eq!(codes[0], Code::Unauthenticated);
    assert_eq!(codes[59], Code::ResourceExhausted);
    let refused =
        api.world.audit().await.into_iter().filter(|record| {
            record.action == "caller.authenticated" && record.outcome == AuditOutcome::Refused
        });
    assert_eq!(refused.count(), 20);
    server.who_am_i(with(&api.administrator, WhoAmIRequest {})).await.unwrap();
    api.world.pass(1);
    let status = server.who_am_i(with("mf_x", WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}
