//! Leases, tokens and audit records, durable.
//!
//! Traits stand beside their nouns; [`sqlite`] is the embedded store. Every change carries the [`Draft`] of the audit
//! record that is written in the same transaction. A store knows the state machine (it applies [`LeaseEvent`]s within
//! its transaction) and nothing of targets, policy or callers.
//!
//! [`LeaseEvent`]: crate::domain::LeaseEvent
//! [`Draft`]: crate::audit::Draft

mod error;
mod lease;
mod secret;
mod server;
pub mod sqlite;
mod token;

pub use error::{ApplyError, BeginError, StoreError, StoreErrorKind};
pub use lease::{Begun, LeaseFilter, LeaseStore, NewLease, Page, PageRequest, Tally};
pub use secret::{KeptSecret, PendingSecret, RotationEnd, SecretStore};
pub use server::{KnownServer, ServerStore};
pub use token::{StoredToken, TokenHash, TokenStore};

use async_trait::async_trait;

use crate::{
    audit::{AuditLog, Draft},
    domain::InstanceId,
    metrics::CommitMeter,
};

/// Everything Mayfly keeps.
#[async_trait]
pub trait Store: LeaseStore + TokenStore + ServerStore + SecretStore + AuditLog {
    /// Which installation this is: drawn when the store was made, kept by backups, shared by all who share the store.
    fn instance(&self) -> InstanceId;

    /// Writes an audit record that accompanies no change of state: a refusal, a start, a stop.
    ///
    /// # Errors
    /// When it is not durable. Then the caller must refuse as well, with an error of its own: no audit, no action.
    async fn record(&self, draft: Draft) -> Result<(), StoreError>;

    /// Whether a write would succeed right now (a read-only or full disk refuses).
    ///
    /// # Errors
    /// When it would not.
    async fn check_writable(&self) -> Result<(), StoreError>;

    /// How it commits, where it keeps count of that.
    fn commits(&self) -> Option<&CommitMeter> {
        None
    }

    /// Finishes what is under way and closes. Later calls fail.
    async fn close(&self);
}
