//! Signing in at an identity provider over the network: fields, bounds, and who may.

use mayfly::api::proto::{
    BeginSignInRequest, CompleteSignInRequest, ListSignInProvidersRequest,
    session_service_client::SessionServiceClient,
};
use tonic::{Code, Request};

use super::rig::{Api, named, told};

#[tokio::test]
async fn it_needs_no_token_and_every_bad_field_is_named() {
    let api = Api::bare().await;
    let mut sessions = SessionServiceClient::new(api.channel().await);
    let known = sessions.list_sign_in_providers(Request::new(ListSignInProvidersRequest {})).await.unwrap();
    assert!(known.into_inner().providers.is_empty());
    let begin = |provider: &str, redirect_port: i32, device: bool| {
        let provider = provider.to_owned();
        Request::new(BeginSignInRequest { provider, redirect_port, device, fresh: false })
    };
    for (redirect_port, device) in [(0, false), (-1, false), (80, false), (65_536, false), (7_000, true)] {
        let status = sessions.begin_sign_in(begin("okta", redirect_port, device)).await.unwrap_err();
        assert_eq!(named(&status), ["redirect_port"], "{redirect_port}");
    }
    for provider in ["okta", "providers/okta", "", "\u{1b}[2J"] {
        let status = sessions.begin_sign_in(begin(provider, 7_000, false)).await.unwrap_err();
        assert_eq!(named(&status), ["provider"]);
        assert!(!status.message().contains('\u{1b}'));
    }
    let status = sessions.complete_sign_in(Request::new(CompleteSignInRequest::default())).await.unwrap_err();
    assert_eq!(named(&status), ["name"]);
    let unknown =
        CompleteSignInRequest { name: "signIns/06dp4f2h9c8x1k3m7q0r".to_owned(), ..Default::default() };
    let status = sessions.complete_sign_in(Request::new(unknown)).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unauthenticated, "SIGN_IN_REFUSED".to_owned()));
}

#[tokio::test]
async fn an_address_that_begins_one_after_another_is_slowed_down() {
    let api = Api::bare().await;
    let mut sessions = SessionServiceClient::new(api.channel().await);
    let mut last = None;
    for _ in 0..22 {
        let begin =
            BeginSignInRequest { provider: "okta".to_owned(), redirect_port: 7_000, ..Default::default() };
        last = sessions.begin_sign_in(Request::new(begin)).await.err();
    }
    assert_eq!(told(&last.unwrap()), (Code::ResourceExhausted, "SIGN_INS_LIMITED".to_owned()));
    // To know where one could sign in costs nobody anything.
    sessions.list_sign_in_providers(Request::new(ListSignInProvidersRequest {})).await.unwrap();
}
