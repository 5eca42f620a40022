//! Storing which server is known to answer for a target.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::{audit::Draft, domain::TargetName};

/// The server known to answer for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// What it calls itself, which no other server does: PostgreSQL's system identifier, a server's UUID.
    pub identity: String,
    /// Since when it is known.
    pub since: Timestamp,
}

/// Storing which server is known to answer for a target.
#[async_trait]
pub trait ServerStore: Send + Sync {
    /// The server known to answer for a target; `None`: none ever did.
    ///
    /// # Errors
    /// When the store fails.
    async fn known_server(&self, target: &TargetName) -> Result<Option<KnownServer>, StoreError>;

    /// Takes a server for the one that answers for a target from now on.
    ///
    /// # Errors
    /// When the store fails; nothing is written then.
    async fn know_server(
        &self,
        target: &TargetName,
        server: KnownServer,
        audit: Draft,
    ) -> Result<(), StoreError>;
}
