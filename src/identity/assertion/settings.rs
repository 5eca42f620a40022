//! An identity provider, as the configuration describes it.

use std::{path::PathBuf, time::Duration};

use jsonwebtoken::Algorithm;
use rustls::pki_types::CertificateDer;

use super::{KeyPlace, KeySet, Mapping};
use crate::identity::sign_in::SignInSettings;

/// An identity provider whose assertions are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// Exactly what its assertions say of who issued them.
    pub issuer: String,
    /// One of these must be among the audiences an assertion is meant for.
    pub audiences: Vec<String>,
    /// Its keys.
    pub keys: KeySettings,
    /// What it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may be off.
    pub leeway: Duration,
    /// How old an assertion may be, whatever its expiry; `None`: as old as that allows.
    pub max_age: Option<Duration>,
    /// Each assertion is good once.
    pub once: bool,
    /// Who its assertions make known.
    pub mapping: Mapping,
    /// How people sign in there; `None`: they do not.
    pub sign_in: Option<SignInSettings>,
}

/// Where a provider's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySettings {
    /// From a file, read with the configuration.
    Read {
        /// The file.
        file: PathBuf,
        /// What was in it.
        keys: KeySet,
    },
    /// From the provider.
    Fetched {
        /// Where.
        place: KeyPlace,
        /// Authorities trusted instead of the system's.
        authorities: Option<Vec<CertificateDer<'static>>>,
        /// How old they become before they are fetched again.
        refresh: Duration,
        /// How old they may become while they cannot be fetched.
        max_stale: Duration,
    },
}
