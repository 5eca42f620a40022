//! Signed assertions (JWTs) of identity providers: CI systems, clusters, sign-in servers.
//!
//! An assertion is accepted when one configured provider issued it: its `iss` and `aud` select whom to ask, and only what the
//! provider's key has signed counts. Algorithms are pinned per provider, keys are used as what they are, names are parsed and
//! never cleaned. Nothing here logs an assertion or repeats what is in it.

mod cache;
mod error;
mod fetch;
mod http;
mod jwt;
mod keys;
mod mapping;
mod provider;
mod replay;
mod settings;

use std::{collections::BTreeMap, sync::Arc};

pub use error::AssertionError;
pub(super) use fetch::description_url;
pub use fetch::{FetchError, KeyPlace, is_trustworthy};
pub(super) use http::{Answer, Http};
use jiff::Timestamp;
pub use jwt::{JWT_LIMIT, is_jwt};
pub use keys::{ALGORITHMS, KeySet, KeySetError};
pub use mapping::{ClaimPath, Mapping, MappingError, NameTemplate, TemplateError};
pub use provider::{Accepted, Once};
pub(super) use provider::{Provider, instant, later};
pub(super) use replay::remember;
pub use settings::{KeySettings, ProviderSettings};

use crate::clock::Clock;

/// The identity providers whose assertions are accepted.
#[derive(Debug, Default)]
pub struct Providers(Vec<Arc<Provider>>);

impl Providers {
    /// Providers by their names. What `previous` knows of the keys of those that stay the same is taken over.
    ///
    /// # Errors
    /// The provider whose keys can never be fetched this way, and why.
    pub fn new(
        settings: &BTreeMap<String, ProviderSettings>,
        clock: &Arc<dyn Clock>,
        previous: &Providers,
    ) -> Result<Self, (String, FetchError)> {
        let make = |(name, settings): (&String, &ProviderSettings)| {
            let before = previous.0.iter().find(|provider| provider.name == *name);
            let made = Provider::new(name, settings.clone(), clock, before.map(Arc::as_ref));
            made.map(Arc::new).map_err(|error| (name.clone(), error))
        };
        settings.iter().map(make).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is a provider of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|provider| provider.name == *name)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.iter()
    }

    /// Whom an assertion makes known. Of the providers it may be from, exactly one must accept it.
    ///
    /// # Errors
    /// [`AssertionError`].
    pub async fn accept(&self, jwt: &str, now: Timestamp) -> Result<Accepted, AssertionError> {
        let jwt = jwt::read(jwt)?;
        let issuers: Vec<&Arc<Provider>> =
            self.0.iter().filter(|provider| provider.is_issuer(&jwt.claims)).collect();
        if issuers.is_empty() {
            return Err(AssertionError::Issuer);
        }
        let mut refused = AssertionError::Audience;
        let mut accepted: Vec<Accepted> = Vec::new();
        for provider in issuers.into_iter().filter(|provider| provider.is_audience(&jwt.claims)) {
            match provider.accept(&jwt, now).await {
                Ok(one) => accepted.push(one),
                Err(error) => refused = error,
            }
        }
        match (accepted.pop(), accepted.is_empty()) {
            (None, _) => Err(refused),
            (Some(one), true) => Ok(one),
            (Some(last), false) => {
                let names = accepted.iter().chain([&last]).map(|one| one.provider.as_str());
                Err(AssertionError::Ambiguous(names.collect::<Vec<_>>().join(", ")))
            }
        }
    }
}
