//! A sign-in that is under way, as it is kept until it is completed or over.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    domain::SignInId,
    store::{Document, EntryKind},
};

/// A sign-in that is under way. Nothing in it is of use without the secret of whoever began it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingSignIn {
    /// Identity; no secret.
    pub id: SignInId,
    /// The digest of the secret.
    pub hash: String,
    /// At which provider.
    pub provider: String,
    /// The network it was begun from.
    pub network: String,
    /// Whether the person is to be asked again, whoever is signed in at the provider.
    pub fresh: bool,
    /// When it began.
    pub began_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
    /// How it is completed.
    pub way: Way,
}

/// How a sign-in is completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Way {
    /// The browser is sent back with a code.
    Browser {
        /// Where to.
        redirect_uri: String,
    },
    /// Somebody types a code on another device, and the provider is asked whether that happened.
    Device {
        /// The device's code, sealed with the secret.
        sealed: String,
        /// Seconds between two questions.
        interval: u32,
        /// When the provider may be asked next.
        poll_at: Timestamp,
    },
}

impl PendingSignIn {
    /// Its resource name.
    pub fn name(&self) -> String {
        format!("signIns/{}", self.id)
    }
}

impl Document for PendingSignIn {
    const KIND: EntryKind = EntryKind::SignIn;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("network", self.network.clone()), ("stage", "pending".to_owned())]
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}
