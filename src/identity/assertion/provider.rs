//! One identity provider: what makes an assertion one of its, and good now.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, crypto};
use serde_json::Value;

use super::{
    AssertionError, ProviderSettings,
    cache::KeySource,
    fetch::FetchError,
    jwt::{self, Unverified},
    replay::fingerprint,
};
use crate::{clock::Clock, domain::Principal};

/// A principal that a provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The provider, by the name the configuration gives it.
    pub provider: String,
    /// Whom it vouches for.
    pub principal: Principal,
    /// What must be remembered of the assertion so that it is good once; `None`: it is good until it expires.
    pub once: Option<Once>,
}

/// What is remembered of an assertion that is good once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    pub(super) fingerprint: String,
    pub(super) until: Timestamp,
}

/// A provider.
#[derive(Debug)]
pub(in crate::identity) struct Provider {
    pub(in crate::identity) name: String,
    pub(in crate::identity) settings: ProviderSettings,
    keys: KeySource,
}

impl Provider {
    pub(super) fn new(
        name: &str,
        settings: ProviderSettings,
        clock: &Arc<dyn Clock>,
        previous: Option<&Provider>,
    ) -> Result<Self, FetchError> {
        let keys = KeySource::new(name, &settings.keys, clock, previous.map(|provider| &provider.keys))?;
        Ok(Self { name: name.to_owned(), settings, keys })
    }

    /// Whether an assertion says that this provider issued it.
    pub(super) fn is_issuer(&self, claims: &Value) -> bool {
        claims.get("iss").and_then(Value::as_str) == Some(&self.settings.issuer)
    }

    /// Whether an assertion is meant for an audience of this provider's.
    pub(super) fn is_audience(&self, claims: &Value) -> bool {
        let ours = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|audience| self.settings.audiences.iter().any(|own| own == audience))
        };
        match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(ours),
            Some(audience) => ours(audience),
            None => false,
        }
    }

    /// Whom an assertion makes known. The signature comes first: nothing an unverified assertion says is told about.
    pub(super) async fn accept(
        &self,
        jwt: &Unverified<'_>,
        now: Timestamp,
    ) -> Result<Accepted, AssertionError> {
        let expiry = self.verify(jwt, now).await?;
        if !self.is_audience(&jwt.claims) {
            return Err(AssertionError::Audience);
        }
        let once = self.settings.once.then(|| self.once(&jwt.claims, expiry)).transpose()?;
        let principal = self.settings.mapping.principal(&jwt.claims)?;
        Ok(Accepted { provider: self.name.clone(), principal, once })
    }

    /// What a JWT claims that this provider signed and that is good now, and what it is signed with. Whom it is for is not asked.
    pub(in crate::identity) async fn claims(
        &self,
        jwt: &str,
        now: Timestamp,
    ) -> Result<(Value, Algorithm), AssertionError> {
        let jwt = jwt::read(jwt)?;
        self.verify(&jwt, now).await?;
        Ok((jwt.claims, jwt.algorithm))
    }

    /// Whether it is this provider's and good now; when it expires, leeway included.
    async fn verify(&self, jwt: &Unverified<'_>, now: Timestamp) -> Result<Timestamp, AssertionError> {
        if !self.settings.algorithms.contains(&jwt.algorithm) {
            return Err(AssertionError::Algorithm);
        }
        let key = self.keys.key(jwt.key.as_deref(), jwt.algorithm).await?;
        let verified = crypto::verify(jwt.signature, jwt.message.as_bytes(), &key, jwt.algorithm);
        if !matches!(verified, Ok(true)) {
            return Err(AssertionError::Signature);
        }
        if !self.is_issuer(&jwt.claims) {
            return Err(AssertionError::Issuer);
        }
        self.check_times(&jwt.claims, now)
    }

    /// When it expires, leeway included.
    fn check_times(&self, claims: &Value, now: Timestamp) -> Result<Timestamp, AssertionError> {
        let leeway = self.settings.leeway;
        let expiry = later(instant(claims, "exp")?.ok_or(AssertionError::Missing("exp"))?, leeway);
        if expiry <= now {
            return Err(AssertionError::Expired);
        }
        if instant(claims, "nbf")?.is_some_and(|start| start > later(now, leeway)) {
            return Err(AssertionError::NotYet);
        }
        let issued_at = instant(claims, "iat")?;
        if issued_at.is_some_and(|at| at > later(now, leeway)) {
            return Err(AssertionError::NotYet);
        }
        if let Some(max_age) = self.settings.max_age {
            let issued_at = issued_at.ok_or(AssertionError::Missing("iat"))?;
            if later(issued_at, max_age.saturating_add(leeway)) <= now {
                return Err(AssertionError::TooOld);
            }
        }
        Ok(expiry)
    }

    fn once(&self, claims: &Value, until: Timestamp) -> Result<Once, AssertionError> {
        let id = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.ok_or(AssertionError::Missing("jti"))?;
        Ok(Once { fingerprint: fingerprint(&self.settings.issuer, id), until })
    }
}

/// A moment some time later; the last there is, when there is none.
pub(in crate::identity) fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// A claim that is a time, in seconds; `None` when it is not claimed.
pub(in crate::identity) fn instant(
    claims: &Value,
    name: &'static str,
) -> Result<Option<Timestamp>, AssertionError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(AssertionError::Missing(name))?;
    let since = SignedDuration::try_from_secs_f64(seconds).map_err(|_| AssertionError::Missing(name))?;
    let at = Timestamp::UNIX_EPOCH.checked_add(since).map_err(|_| AssertionError::Missing(name))?;
    Ok(Some(at))
}
