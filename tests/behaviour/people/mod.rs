//! People: accounts, sign-in, second factors, sessions, against the real store on a clock that the test moves.

mod accounts;
mod invitations;
mod second_factor;
mod sessions;
mod sign_in;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use mayfly::{
    clock::Clock,
    domain::Password,
    identity::{
        AuthenticationError, Authenticator, Caller, Presented,
        people::{SessionToken, TotpSecret},
    },
    issuer::{Attempt, Begun, Enrolling, NewPassword, NewUser, Refusal, RefusalKind},
    store::Store,
};

use crate::support::world::{World, caller};

/// Everybody's password here.
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

/// A world without databases.
pub(crate) async fn world() -> World {
    World::with(Vec::new(), Vec::new()).await
}

pub(crate) fn root() -> Caller {
    caller("root", &["administrators"])
}

pub(crate) fn new_user(name: &str, groups: &[&str]) -> NewUser {
    NewUser {
        name: name.parse().unwrap(),
        display_name: String::new(),
        mail: String::new(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        life: None,
    }
}

/// Where everybody here calls from.
pub(crate) const ADDRESS: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

impl World {
    /// Makes an account that has no password yet.
    pub(crate) async fn invited(&self, name: &str, groups: &[&str]) -> Enrolling {
        self.issuer.add_user(&root(), new_user(name, groups)).await.unwrap()
    }

    pub(crate) async fn enrol(&self, name: &str, code: &str, new: &str) -> Result<(), Refusal> {
        let new = NewPassword {
            name: name.to_owned(),
            code: password(code),
            password: password(new),
            address: ADDRESS,
        };
        self.issuer.enrol(new).await.map(|_| ())
    }

    /// Makes an account with the usual password.
    pub(crate) async fn user(&self, name: &str, groups: &[&str]) {
        let made = self.invited(name, groups).await;
        self.enrol(name, &made.code.expose(), PASSWORD).await.unwrap();
    }

    pub(crate) async fn sign_in(&self, name: &str, with: &str, code: &str) -> Result<Begun, Refusal> {
        let attempt = Attempt {
            name: name.to_owned(),
            password: password(with),
            code: password(code),
            address: ADDRESS,
        };
        self.issuer.sign_in(attempt).await
    }

    pub(crate) async fn signed_in(&self, name: &str) -> SessionToken {
        self.sign_in(name, PASSWORD, "").await.unwrap().secret
    }

    /// Who a session's token belongs to now.
    pub(crate) async fn calls(&self, token: &SessionToken) -> Result<Caller, AuthenticationError> {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let authenticator = Authenticator::new(store, Arc::clone(&self.clock) as Arc<dyn Clock>);
        let authenticator = authenticator.trusting(Arc::clone(&self.identities));
        authenticator.look_again(Presented { bearer: Some(token.expose()), certificate: None }, ADDRESS).await
    }

    /// Gives an account a second factor; returns its secret and the recovery codes.
    pub(crate) async fn with_second_factor(&self, name: &str) -> (TotpSecret, Vec<String>) {
        let own = self.calls(&self.signed_in(name).await).await.unwrap();
        let offered = self.issuer.offer_second_factor(&own, &password(PASSWORD)).await.unwrap();
        let secret = TotpSecret::read(&offered.secret, name).unwrap();
        let code = password(&secret.code(self.clock.now()));
        let codes = self.issuer.confirm_second_factor(&own, &code).await.unwrap();
        self.pass(30);
        (secret, codes.iter().map(mayfly::identity::people::RecoveryCode::expose).collect())
    }

    /// The actions on record, each with how it went.
    pub(crate) async fn told(&self) -> Vec<String> {
        let records = self.audit().await;
        records
            .iter()
            .map(|record| format!("{} {:?}", record.action, record.outcome).to_lowercase())
            .collect()
    }
}

/// The refusal that says nothing.
#[track_caller]
pub(crate) fn refused(result: Result<Begun, Refusal>) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::SignInRefused, "{refusal}");
    refusal.to_string()
}
