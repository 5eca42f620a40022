//! Break-glass over the network: with a second factor only, and signed off by somebody else.

use mayfly::{
    api::proto::{
        BreakGlassRequest, CreateUserRequest, EnrolUserRequest, ListBreakGlassUsesRequest, RequestKind,
        SignInRequest, SignOffBreakGlassRequest, session_service_client::SessionServiceClient,
        user_service_client::UserServiceClient,
    },
    domain::Password,
    policy::{Policies, Rules, Source},
};
use tonic::{Code, Request, Status};

use super::{
    super::rig::{named, told, with},
    Office, seconds,
};
use crate::people::PASSWORD;

/// Those on call may, whatever the role says.
const GLASS: &str = "@id(\"test.glass\")\npermit (principal in Group::\"on-call\", action == Action::\"break_glass\", resource);";

fn wanted() -> BreakGlassRequest {
    BreakGlassRequest {
        role: "roles/shop-read".to_owned(),
        reason: "orders are stuck".to_owned(),
        ..BreakGlassRequest::default()
    }
}

fn denied() -> (Code, String) {
    (Code::PermissionDenied, "DENIED".to_owned())
}

impl Office {
    fn let_those_on_call(&self) {
        let sources = vec![Source { name: "glass.cedar".into(), text: GLASS.into() }];
        self.api.world.policies.replace(Policies::new(Rules { sources, ..Rules::default() }).unwrap());
    }

    /// The session of somebody on call who signs in with a second factor, over the network.
    async fn on_call(&self, name: &str) -> String {
        let (mut users, mut sessions) =
            (UserServiceClient::new(self.channel.clone()), SessionServiceClient::new(self.channel.clone()));
        let new = CreateUserRequest {
            user: name.to_owned(),
            groups: vec!["on-call".to_owned()],
            ..CreateUserRequest::default()
        };
        let made = users.create_user(with(&self.api.administrator, new)).await.unwrap().into_inner();
        let enrol =
            EnrolUserRequest { user: name.to_owned(), code: made.code, password: PASSWORD.to_owned() };
        users.enrol_user(Request::new(enrol)).await.unwrap();
        let (secret, _) = self.api.world.with_second_factor(name).await;
        let code = secret.code(mayfly::clock::Clock::now(&*self.api.world.clock));
        let sign_in = SignInRequest { user: name.to_owned(), password: PASSWORD.to_owned(), code };
        sessions.sign_in(Request::new(sign_in)).await.unwrap().into_inner().secret
    }

    async fn break_glass(&self, token: &str, wanted: BreakGlassRequest) -> Result<String, Status> {
        self.api.world.pass(1);
        let broken = self.glass().break_glass(with(token, wanted)).await?.into_inner();
        let (request, credential) = (broken.request.unwrap(), broken.credential.unwrap());
        assert_eq!(request.kind(), RequestKind::BreakGlass);
        let password = Password::new(credential.password.clone());
        self.database.login(&credential.username, &password).await.unwrap();
        Ok(request.name)
    }

    async fn sign_off(&self, token: &str, name: &str, comment: &str) -> Result<String, Status> {
        let request = SignOffBreakGlassRequest { name: name.to_owned(), comment: comment.to_owned() };
        let signed = self.glass().sign_off_break_glass(with(token, request)).await?.into_inner();
        Ok(signed.request.unwrap().signed_off_by)
    }

    async fn uses(&self, token: &str, all: bool) -> Vec<String> {
        let request = ListBreakGlassUsesRequest { all, ..ListBreakGlassUsesRequest::default() };
        let uses = self.glass().list_break_glass_uses(with(token, request)).await.unwrap().into_inner();
        uses.requests.into_iter().map(|request| request.name).collect()
    }
}

#[tokio::test]
async fn the_glass_is_broken_with_a_second_factor_and_signed_off_by_somebody_else() {
    let Some(office) = Office::open().await else { return };
    office.let_those_on_call();
    let (dora, root) = (office.on_call("dora").await, &*office.api.administrator);
    let first = office.break_glass(&dora, wanted()).await.unwrap();
    let second = office.break_glass(&dora, wanted()).await.unwrap();
    let third = office.break_glass(&dora, wanted()).await.unwrap_err();
    assert_eq!(third.code(), Code::ResourceExhausted, "{third:?}");
    assert_eq!(office.uses(&dora, false).await, [second.clone(), first.clone()]);
    assert!(office.uses(&office.alice, true).await.is_empty(), "others see nothing of it");

    assert_eq!(told(&office.sign_off(&dora, &first, "fine").await.unwrap_err()), denied());
    assert_eq!(named(&office.sign_off(root, &first, "").await.unwrap_err()), ["comment"]);
    assert_eq!(named(&office.sign_off(root, &first, &"x".repeat(1_001)).await.unwrap_err()), ["comment"]);
    assert_eq!(office.sign_off(root, &first, "looked at, fine").await.unwrap(), "administrator");
    let again = office.sign_off(root, &first, "once more").await.unwrap_err();
    assert_eq!(told(&again), (Code::FailedPrecondition, "REVIEWED_ALREADY".to_owned()));
    let missing = office.sign_off(root, "requests/06dp4f2h9c8x1k3m7q0r", "fine").await.unwrap_err();
    assert_eq!(told(&missing), (Code::NotFound, "NOT_FOUND".to_owned()));
    assert_eq!(office.uses(root, false).await, std::slice::from_ref(&second));
    assert_eq!(office.uses(root, true).await, [second, first]);

    let page = ListBreakGlassUsesRequest { page_size: 1, all: true, ..ListBreakGlassUsesRequest::default() };
    let page = office.glass().list_break_glass_uses(with(root, page)).await.unwrap().into_inner();
    assert_eq!(page.requests.len(), 1);
    let other = ListBreakGlassUsesRequest { page_size: -1, page_token: page.next_page_token, all: false };
    let status = office.glass().list_break_glass_uses(with(root, other)).await.unwrap_err();
    assert_eq!(named(&status), ["page_size", "page_token"]);
}

#[tokio::test]
async fn without_a_second_factor_a_policy_or_a_reason_the_glass_stays_whole() {
    let Some(office) = Office::open().await else { return };
    let dora = office.on_call("dora").await;
    let refused = async |token: &str, wanted| office.break_glass(token, wanted).await.unwrap_err();
    assert_eq!(told(&refused(&dora, wanted()).await), denied(), "no policy lets her");
    office.let_those_on_call();
    // A token was given no second factor, whatever its groups.
    let token = office.api.mint("dora", &["on-call"], &[]).await;
    let status = refused(token.secret.expose(), wanted()).await;
    assert_eq!(told(&status), denied());
    assert!(status.message().contains("second factor"), "{}", status.message());
    let wrong = BreakGlassRequest { role: "a b".to_owned(), ttl: Some(seconds(0)), ..wanted() };
    assert_eq!(named(&refused(&dora, wrong).await), ["role", "ttl"]);
    for (field, wrong) in [
        ("reason", BreakGlassRequest { reason: String::new(), ..wanted() }),
        ("reason", BreakGlassRequest { reason: "x".repeat(1_001), ..wanted() }),
        ("ticket", BreakGlassRequest { ticket: "x".repeat(201), ..wanted() }),
        ("ttl", BreakGlassRequest { ttl: Some(seconds(1_801)), ..wanted() }),
    ] {
        assert_eq!(named(&refused(&dora, wrong).await), [field]);
    }
    let unknown = BreakGlassRequest { role: "nothing".to_owned(), ..wanted() };
    assert_eq!(told(&refused(&dora, unknown).await), (Code::NotFound, "NOT_FOUND".to_owned()));
    assert!(office.api.world.leases().await.is_empty());
}
