//! Access without reviews: somebody on call signs in with a second factor and breaks the glass.

use mayfly::{
    api::proto::{
        BreakGlassRequest, ConfirmSecondFactorRequest, CreateUserRequest, EnrolUserRequest,
        IssueLeaseResponse, OfferSecondFactorRequest, SignInRequest,
        break_glass_service_client::BreakGlassServiceClient, session_service_client::SessionServiceClient,
        user_service_client::UserServiceClient,
    },
    clock::{Clock as _, SystemClock},
    domain::Password,
    identity::people::TotpSecret,
};
use tonic::{Request, Status};

use super::{
    caller::{Caller, Held, answer},
    scenario::{LONG, Story},
};
use crate::people::PASSWORD;

impl Caller {
    /// A person on call, fresh, who has just given a second factor.
    async fn on_call(&self, name: &str) -> Result<Caller, Status> {
        let mut users = UserServiceClient::new(self.channel.clone());
        let new = CreateUserRequest {
            user: name.to_owned(),
            groups: vec!["on-call".to_owned()],
            ..CreateUserRequest::default()
        };
        let made = answer(users.create_user(self.with(new))).await?;
        let enrol =
            EnrolUserRequest { user: name.to_owned(), code: made.code, password: PASSWORD.to_owned() };
        answer(users.enrol_user(Request::new(enrol))).await?;
        let own = self.signed_in(name, "").await?;
        let offer = OfferSecondFactorRequest { password: PASSWORD.to_owned() };
        let offered = answer(users.offer_second_factor(own.with(offer))).await?;
        let secret = TotpSecret::read(&Password::new(offered.secret), name).unwrap();
        let confirm = ConfirmSecondFactorRequest { code: secret.code(SystemClock.now()) };
        let confirmed = answer(users.confirm_second_factor(own.with(confirm))).await?;
        // A code of the authenticator is good once, and the next one is half a minute away.
        self.signed_in(name, &confirmed.recovery_codes[0]).await
    }

    async fn signed_in(&self, name: &str, code: &str) -> Result<Caller, Status> {
        let sign_in =
            SignInRequest { user: name.to_owned(), password: PASSWORD.to_owned(), code: code.to_owned() };
        let mut sessions = SessionServiceClient::new(self.channel.clone());
        let begun = answer(sessions.sign_in(Request::new(sign_in))).await?;
        Ok(Caller::new(&self.address, &begun.secret))
    }
}

impl Story<'_> {
    /// Broken, and the credential used.
    pub(super) async fn glass(&mut self, caller: &Caller, name: &str) -> Result<(), Status> {
        let on_call = caller.on_call(name).await?;
        let wanted = BreakGlassRequest {
            role: self.place.role.clone(),
            reason: "a test of crashes".to_owned(),
            ..BreakGlassRequest::default()
        };
        let mut glass = BreakGlassServiceClient::new(on_call.channel.clone());
        let broken = answer(glass.break_glass(on_call.with(wanted))).await?;
        let issued = IssueLeaseResponse { lease: broken.lease, credential: broken.credential };
        let mut held = Held::of(issued, "", LONG);
        let settled = held.settle_in(&self.place.database).await;
        assert!(settled.is_ok(), "{settled:?}");
        self.held.push(held);
        Ok(())
    }
}
