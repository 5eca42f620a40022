//! Identities that others vouch for: providers that sign assertions, authorities that sign certificates.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    assertion::{FetchError, ProviderSettings, Providers},
    certificate::CertificateSettings,
};
use crate::clock::Clock;

/// Whose word is taken for who calls, as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Providers of assertions, by name.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// Mappings of client certificates, by name.
    pub certificates: BTreeMap<String, CertificateSettings>,
}

/// A provider's keys can never be had as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("identity.{provider}: its keys cannot be fetched")]
pub struct IdentityError {
    provider: String,
    source: FetchError,
}

/// Whose word is taken for who calls.
#[derive(Debug, Default)]
pub struct Identities {
    pub(super) providers: Providers,
    pub(super) certificates: BTreeMap<String, CertificateSettings>,
}

impl Identities {
    /// Identities as configured. Keys that `previous` has of providers that stay the same are taken over.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn new(
        settings: &IdentitySettings,
        clock: &Arc<dyn Clock>,
        previous: &Identities,
    ) -> Result<Self, IdentityError> {
        let providers = Providers::new(&settings.providers, clock, &previous.providers)
            .map_err(|(provider, source)| IdentityError { provider, source })?;
        Ok(Self { providers, certificates: settings.certificates.clone() })
    }
}

/// The identities in force, replaced as a whole.
#[derive(Debug, Default)]
pub struct IdentitiesHandle(RwLock<Arc<Identities>>);

impl IdentitiesHandle {
    /// Holds identities.
    pub fn new(identities: Identities) -> Self {
        Self(RwLock::new(Arc::new(identities)))
    }

    /// Those in force now.
    pub fn current(&self) -> Arc<Identities> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in force.
    pub fn replace(&self, identities: Identities) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identities);
    }
}
