//! Signing in over the network: no token is needed for it, and there is no guessing at a rate.

use mayfly::api::proto::{
    CreateUserRequest, EnrolUserRequest, ListSignInSessionsRequest, ListUsersRequest, SignInRequest,
    SignOutRequest, StepUpRequest, WhoAmIRequest, session_service_client::SessionServiceClient,
    user_service_client::UserServiceClient,
};
use tonic::{Code, Request};

use super::rig::{Api, named, told, with};

const PASSWORD: &str = "correct horse battery";

fn attempt(user: &str, password: &str) -> Request<SignInRequest> {
    Request::new(SignInRequest { user: user.to_owned(), password: password.to_owned(), code: String::new() })
}

/// Makes a user over the network; returns nothing but the effect.
async fn user(api: &Api, name: &str, groups: &[&str]) {
    let mut users = UserServiceClient::new(api.channel().await);
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let request = CreateUserRequest { user: name.to_owned(), groups, ..Default::default() };
    let made = users.create_user(with(&api.administrator, request)).await.unwrap().into_inner();
    let request = EnrolUserRequest { user: name.to_owned(), code: made.code, password: PASSWORD.to_owned() };
    users.enrol_user(Request::new(request)).await.unwrap();
}

#[tokio::test]
async fn a_session_begins_without_a_token_is_used_like_one_and_ends() {
    let api = Api::bare().await;
    user(&api, "alice", &["payments"]).await;
    let mut sessions = SessionServiceClient::new(api.channel().await);
    let begun = sessions.sign_in(attempt("alice", PASSWORD)).await.unwrap().into_inner();
    assert!(begun.secret.starts_with("mfs_"));
    let me = api.server().await.who_am_i(with(&begun.secret, WhoAmIRequest {})).await.unwrap().into_inner();
    let session = me.session.unwrap();
    assert_eq!((&*me.principal, &me.groups[..]), ("alice", &["payments".to_owned()][..]));
    assert_eq!((&me.token, &*session.origin), (&session.name, "user"));
    let listed =
        sessions.list_sign_in_sessions(with(&begun.secret, ListSignInSessionsRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().sessions.len(), 1);
    sessions.sign_out(with(&begun.secret, SignOutRequest {})).await.unwrap();
    let status = api.server().await.who_am_i(with(&begun.secret, WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unauthenticated, "SESSION_ENDED".to_owned()));
}

#[tokio::test]
async fn wrong_and_unknown_are_told_the_same_down_to_the_last_byte() {
    let api = Api::bare().await;
    user(&api, "alice", &[]).await;
    let mut sessions = SessionServiceClient::new(api.channel().await);
    let wrong = sessions.sign_in(attempt("alice", "wrong wrong wrong")).await.unwrap_err();
    let unknown = sessions.sign_in(attempt("nobody", PASSWORD)).await.unwrap_err();
    assert_eq!(told(&wrong), (Code::Unauthenticated, "SIGN_IN_REFUSED".to_owned()));
    assert_eq!((wrong.message(), wrong.details()), (unknown.message(), unknown.details()));
}

#[tokio::test]
async fn an_address_that_guesses_is_slowed_down_and_callers_with_tokens_are_not() {
    let api = Api::bare().await;
    let mut sessions = SessionServiceClient::new(api.channel().await);
    let mut codes = Vec::new();
    for _ in 0..22 {
        codes.push(sessions.sign_in(attempt("nobody", "x")).await.unwrap_err());
    }
    assert_eq!(told(&codes[19]).0, Code::Unauthenticated);
    assert_eq!(told(&codes[21]), (Code::ResourceExhausted, "SIGN_INS_LIMITED".to_owned()));
    let mut users = UserServiceClient::new(api.channel().await);
    let status = users.enrol_user(Request::new(EnrolUserRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "codes are guessed at the same rate");
    users.list_users(with(&api.administrator, ListUsersRequest::default())).await.unwrap();
    api.world.pass(1);
    assert_eq!(sessions.sign_in(attempt("nobody", "x")).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn only_signing_in_and_enrolling_need_no_token() {
    let api = Api::bare().await;
    let mut sessions = SessionServiceClient::new(api.channel().await);
    let mut users = UserServiceClient::new(api.channel().await);
    for status in [
        sessions.step_up(Request::new(StepUpRequest::default())).await.unwrap_err(),
        sessions.sign_out(Request::new(SignOutRequest {})).await.unwrap_err(),
        sessions.list_sign_in_sessions(Request::new(ListSignInSessionsRequest::default())).await.unwrap_err(),
        users.create_user(Request::new(CreateUserRequest::default())).await.unwrap_err(),
        users.list_users(Request::new(ListUsersRequest::default())).await.unwrap_err(),
    ] {
        assert_eq!(told(&status), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    }
    let status = sessions.sign_out(with(&api.administrator, SignOutRequest {})).await.unwrap_err();
    assert_eq!(named(&status), ["authorization"]);
    let bad =
        CreateUserRequest { user: "a b".to_owned(), groups: vec!["'".to_owned()], ..Default::default() };
    let status = users.create_user(with(&api.administrator, bad)).await.unwrap_err();
    assert_eq!(named(&status), ["user", "groups[0]"]);
}

#[tokio::test]
async fn a_session_that_is_cut_off_mistyped_or_from_elsewhere_is_refused() {
    let api = Api::bare().await;
    user(&api, "alice", &[]).await;
    let mut sessions = SessionServiceClient::new(api.channel().await);
    let token = sessions.sign_in(attempt("alice", PASSWORD)).await.unwrap().into_inner().secret;
    let other = Api::bare().await;
    let mut server = other.server().await;
    for (token, reason) in [
        (&*token, "SESSION_UNKNOWN"),
        (&token[..token.len() - 1], "TOKEN_MALFORMED"),
        (&token.to_ascii_uppercase(), "TOKEN_MALFORMED"),
        ("mfs_", "TOKEN_MALFORMED"),
    ] {
        let status = server.who_am_i(with(token, WhoAmIRequest {})).await.unwrap_err();
        assert_eq!(told(&status), (Code::Unauthenticated, reason.to_owned()), "{token}");
    }
}
