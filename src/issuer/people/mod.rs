//! The use cases of people: accounts, sign-in, the second factor, sessions.
//!
//! An attempt to sign in is counted before it is looked at, and forgiven when it succeeds: of many at once, none goes
//! uncounted. Whatever is wrong with it, the answer is the same and takes the same time.

mod attempt;
mod departed;
mod elsewhere;
mod enrol;
mod exchange;
mod invitations;
mod pending;
mod second_factor;
mod sessions;
mod sign_in;
mod users;

use std::sync::Arc;

use crate::{
    identity::{
        IdentitiesHandle,
        people::{Hasher, PasswordError, Session, SessionSettings, SessionToken},
    },
    sealing::KeyringHandle,
};

pub use departed::Departure;
pub use elsewhere::{Brought, Completed, Completion};
pub use enrol::NewPassword;
pub use invitations::{Invited, NewInvitation};
pub use pending::{BegunElsewhere, NewSignIn, SignInOffer, SignInWay};
pub use second_factor::Offered;
pub use sign_in::Attempt;
pub use users::{Enrolling, NewUser};

use super::{Issuer, Refusal, RefusalKind};

/// How often a change is decided anew when something it was decided on has changed meanwhile.
const RETRIES: usize = 8;

/// What signing in takes beside the store.
pub(super) struct People {
    pub(super) hasher: Hasher,
    pub(super) keyring: Arc<KeyringHandle>,
    pub(super) sessions: SessionSettings,
    pub(super) identities: Arc<IdentitiesHandle>,
}

impl People {
    /// Without a sealing key, and with sessions as they are unless configured otherwise.
    pub(super) fn new() -> Self {
        Self {
            hasher: Hasher::default(),
            keyring: Arc::default(),
            sessions: SessionSettings::default(),
            identities: Arc::default(),
        }
    }
}

/// A session just begun, with the token that is shown once.
#[derive(Debug)]
pub struct Begun {
    /// As kept.
    pub session: Session,
    /// Its token.
    pub secret: SessionToken,
}

impl Issuer {
    /// Lets people have second factors, sealed with these keys, and sessions that last this long.
    #[must_use]
    pub fn with_people(mut self, keyring: Arc<KeyringHandle>, sessions: SessionSettings) -> Self {
        self.people = People { keyring, sessions, ..self.people };
        self
    }

    /// Lets people sign in at the providers among these.
    #[must_use]
    pub fn with_identities(mut self, identities: Arc<IdentitiesHandle>) -> Self {
        self.people.identities = identities;
        self
    }

    /// Something else changed it meanwhile, again and again.
    fn contended() -> Refusal {
        let message = "somebody else is changing the same; try again";
        Refusal::new(RefusalKind::InProgress, message).retry_after(std::time::Duration::from_millis(200))
    }
}

impl Refusal {
    /// One answer for whatever is wrong with a sign-in: it says nothing about which names there are.
    fn sign_in() -> Self {
        Self::new(
            RefusalKind::SignInRefused,
            "sign-in refused: the name, the password or the code is wrong, or the account is disabled or locked for a while \
             after failed attempts",
        )
    }

    /// The password was right, and the account has a second factor.
    fn second_factor() -> Self {
        Self::new(
            RefusalKind::SecondFactorRequired,
            "a second factor is needed: the code of your authenticator, or a recovery code",
        )
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::TooShort | PasswordError::TooLong | PasswordError::Guessable => {
                Refusal::invalid("password", error.to_string())
            }
            PasswordError::Exhausted => {
                let refusal =
                    Refusal::new(RefusalKind::StoreUnavailable, "sign-in is not possible right now");
                refusal.retry_after(std::time::Duration::from_secs(2)).caused_by(error)
            }
            PasswordError::Corrupt => Refusal::internal(error),
        }
    }
}
