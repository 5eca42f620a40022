//! From what a caller presents to who it is.

use std::{fmt, net::IpAddr, sync::Arc};

use jiff::Timestamp;

use super::{
    ApiToken, IdentitiesHandle,
    assertion::{AssertionError, is_jwt},
    certificate::{CertificateError, ClientCertificate},
    people,
};
use crate::{
    audit::{Actor, Draft},
    clock::Clock,
    domain::{Principal, SessionId, TokenId},
    store::{Store, StoreError, StoredToken},
};

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// What it proved that by.
    pub credential: Credential,
    /// Where the call comes from.
    pub address: Option<IpAddr>,
    /// When it last gave a second factor; `None`: it has none, or gave none.
    pub second_factor_at: Option<Timestamp>,
}

/// What a caller proved by who it is. Its text form is fit for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API token.
    Token(TokenId),
    /// A session of somebody who signed in.
    Session(SessionId),
    /// An assertion of an identity provider, by the name the configuration gives that.
    Assertion {
        /// The provider.
        provider: String,
    },
    /// A client certificate, by the SHA-256 digest of it, in hexadecimal digits.
    Certificate {
        /// The digest.
        fingerprint: String,
    },
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Token(id) => write!(f, "tokens/{id}"),
            Credential::Session(id) => write!(f, "sessions/{id}"),
            Credential::Assertion { provider } => write!(f, "providers/{provider}"),
            Credential::Certificate { fingerprint } => write!(f, "certificates/{fingerprint}"),
        }
    }
}

impl Caller {
    /// The caller as the actor of an audit record.
    pub fn actor(&self) -> Actor {
        Actor::principal(&self.principal.reference(), self.address)
    }
}

/// Whether a credential is presented for a call, or looked at again while that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    First,
    Again,
}

/// Why a caller was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Nothing was presented.
    #[error(
        "no token: send \"authorization: Bearer …\" with a token made here or a JWT of a configured identity provider"
    )]
    Missing,
    /// What was presented is not a token.
    #[error("{0}")]
    Malformed(#[from] super::TokenFormatError),
    /// The header it would be in cannot be used.
    #[error("the authorization header {0}")]
    Header(&'static str),
    /// Nobody here made this token.
    #[error("unknown token: it was not issued here")]
    Unknown,
    /// It is past its time.
    #[error("the token has expired")]
    Expired,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// It may not be used from here.
    #[error("the token may not be used from this address")]
    Address,
    /// An identity provider's assertion is not accepted.
    #[error("{0}")]
    Assertion(#[from] AssertionError),
    /// A client certificate is not accepted.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// Nobody here began this session.
    #[error("unknown session: it was not begun here, or is long over; sign in with `mayfly login`")]
    UnknownSession,
    /// The session's time is over, or nobody used it for too long.
    #[error("the session has expired; sign in again with `mayfly login`")]
    SessionExpired,
    /// The session was ended: signed out, revoked, its account was disabled, removed or given another password, or its provider is
    /// trusted no more.
    #[error("the session was ended; sign in again with `mayfly login`")]
    SessionEnded,
    /// The store cannot be asked, or cannot record the refusal.
    #[error("sign-in is not possible right now")]
    Store(#[from] StoreError),
}

/// A caller that was not accepted, not audited yet.
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub error: AuthenticationError,
    /// The credential it presented, when it is one known here.
    pub credential: Option<Credential>,
}

/// What a caller presents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'p> {
    /// The bearer token of the call.
    pub bearer: Option<&'p str>,
    /// The client certificate of the connection, which TLS has verified. Who calls is said by the bearer token, if there is one.
    pub certificate: Option<&'p ClientCertificate>,
}

impl From<AuthenticationError> for Rejected {
    fn from(error: AuthenticationError) -> Self {
        Self { error, credential: None }
    }
}

/// Authenticates callers.
pub struct Authenticator {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) identities: Arc<IdentitiesHandle>,
}

impl Authenticator {
    /// An authenticator that asks a store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, identities: Arc::default() }
    }

    /// Likewise, taking the word of identity providers and authorities.
    #[must_use]
    pub fn trusting(self, identities: Arc<IdentitiesHandle>) -> Self {
        Self { identities, ..self }
    }

    /// Authenticates again, by what it presented, a caller whose call lasts. A refusal is audited. What is good for one use was
    /// used by the call.
    ///
    /// # Errors
    /// [`AuthenticationError`]; its text is fit for the caller.
    pub async fn look_again(
        &self,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<Caller, AuthenticationError> {
        match self.identify(presented, address, Use::Again).await {
            Ok(caller) => Ok(caller),
            Err(rejected) => Err(self.record(rejected, address).await),
        }
    }

    /// Audits a rejection. When even that fails, that is the error.
    pub async fn record(&self, rejected: Rejected, address: Option<IpAddr>) -> AuthenticationError {
        let Rejected { error, credential } = rejected;
        if matches!(error, AuthenticationError::Store(_)) {
            return error;
        }
        let resource = credential.map_or_else(|| "tokens/-".to_owned(), |credential| credential.to_string());
        let actor = Actor::Unauthenticated { address };
        let draft =
            Draft::new(self.clock.now(), actor, "caller.authenticated", resource).refused(error.to_string());
        match self.store.record(draft).await {
            Ok(()) => error,
            Err(error) => error.into(),
        }
    }

    /// Authenticates without auditing a refusal: for a face that bounds how many refusals it has audited.
    ///
    /// # Errors
    /// [`Rejected`]; to be handed to [`Authenticator::record`].
    pub async fn recognise(
        &self,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<Caller, Rejected> {
        self.identify(presented, address, Use::First).await
    }

    /// By what a bearer token looks like it is known what it is: tokens made here have a prefix and no points.
    async fn identify(
        &self,
        presented: Presented<'_>,
        address: Option<IpAddr>,
        usage: Use,
    ) -> Result<Caller, Rejected> {
        match (presented.bearer, presented.certificate) {
            (Some(jwt), _) if is_jwt(jwt) => self.by_assertion(jwt, address, usage).await,
            (None, Some(certificate)) => self.by_certificate(certificate, address),
            (Some(session), _) if people::is_session(session) => self.of_session(session, address).await,
            (bearer, _) => self.by_token(bearer, address).await,
        }
    }

    async fn by_token(&self, bearer: Option<&str>, address: Option<IpAddr>) -> Result<Caller, Rejected> {
        match self.stored(bearer, address).await {
            Ok(token) => Ok(Caller {
                principal: token.principal,
                credential: Credential::Token(token.id),
                address,
                second_factor_at: None,
            }),
            Err((error, token)) => Err(Rejected { error, credential: token.map(Credential::Token) }),
        }
    }

    async fn stored(
        &self,
        presented: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<StoredToken, (AuthenticationError, Option<TokenId>)> {
        let presented = presented.ok_or((AuthenticationError::Missing, None))?;
        let token: ApiToken =
            presented.parse().map_err(|error| (AuthenticationError::Malformed(error), None))?;
        let stored = self.store.token_by_hash(&token.hash()).await.map_err(|error| (error.into(), None))?;
        let stored = stored.ok_or((AuthenticationError::Unknown, None))?;
        let refuse = |error| Err((error, Some(stored.id)));
        if stored.revoked_at.is_some() {
            return refuse(AuthenticationError::Revoked);
        }
        if stored.expires_at.is_some_and(|expiry| expiry <= self.clock.now()) {
            return refuse(AuthenticationError::Expired);
        }
        // A listener behind a path without addresses gives none; a token tied to networks then fits nowhere.
        let inside = |address: IpAddr| stored.cidrs.iter().any(|cidr| cidr.contains(&address.to_canonical()));
        if !stored.cidrs.is_empty() && !address.is_some_and(inside) {
            return refuse(AuthenticationError::Address);
        }
        Ok(stored)
    }
}
