//! Identities that others vouch for: providers that sign assertions, authorities that sign certificates.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    assertion::{FetchError, ProviderSettings, Providers},
    certificate::CertificateSettings,
    people::Origin,
    sign_in::SignInProvider,
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

/// A provider can never be asked for its keys, or to sign anybody in, as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("identity.{provider}: it cannot be asked for anything")]
pub struct IdentityError {
    provider: String,
    source: FetchError,
}

/// Whose word is taken for who calls.
#[derive(Debug, Default)]
pub struct Identities {
    pub(super) providers: Providers,
    pub(super) certificates: BTreeMap<String, CertificateSettings>,
    sign_ins: BTreeMap<String, Arc<SignInProvider>>,
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
        let failed = |(provider, source)| IdentityError { provider, source };
        let providers = Providers::new(&settings.providers, clock, &previous.providers).map_err(failed)?;
        let mut sign_ins = BTreeMap::new();
        for provider in providers.all() {
            if let Some(settings) = &provider.settings.sign_in {
                let made = SignInProvider::new(provider, settings, clock);
                let made = made.map_err(|error| failed((provider.name.clone(), error)))?;
                sign_ins.insert(provider.name.clone(), Arc::new(made));
            }
        }
        Ok(Self { providers, certificates: settings.certificates.clone(), sign_ins })
    }

    /// The provider of a name that people sign in at.
    pub fn sign_in(&self, name: &str) -> Option<&Arc<SignInProvider>> {
        self.sign_ins.get(name)
    }

    /// All providers that people sign in at, by their names.
    pub fn sign_ins(&self) -> &BTreeMap<String, Arc<SignInProvider>> {
        &self.sign_ins
    }

    /// Whether who vouched for a session's principal is still asked for its word. Local accounts and invitations need nobody's.
    pub fn vouch_for(&self, origin: &Origin) -> bool {
        match origin {
            Origin::Provider { provider, subject: Some(_) } => self.sign_ins.contains_key(provider),
            Origin::Provider { provider, subject: None } => self.providers.has(provider),
            Origin::User { .. } | Origin::Invitation { .. } => true,
        }
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
