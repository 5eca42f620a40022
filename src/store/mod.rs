//! Leases, tokens and audit records, durable.
//!
//! Traits stand beside their nouns; [`sqlite`] is the embedded store, [`postgres`] the one that several processes share. Every change carries the [`Draft`] of the audit
//! record that is written in the same transaction. A store knows the state machine (it applies [`LeaseEvent`]s within
//! its transaction) and nothing of targets, policy or callers.
//!
//! [`LeaseEvent`]: crate::domain::LeaseEvent
//! [`Draft`]: crate::audit::Draft

mod clock;
mod document;
mod entry;
mod error;
mod kept;
mod lease;
mod lock;
pub mod postgres;
mod retention;
mod secret;
mod server;
pub mod sqlite;
mod token;
pub mod transfer;

pub use clock::StoreClock;
pub use document::{Changes, Document, Kept, Listing, document, documents, due_documents};
pub use entry::{
    Committed, ENTRIES_LIMIT, ENTRY_TEXT_LIMIT, Entry, EntryChange, EntryKind, EntryStore, UnknownEntryKind,
};
pub use error::{ApplyError, BeginError, StoreError, StoreErrorKind};
pub use kept::{BREAK_GLASS, HELD_BY, LIVE, RequestKey, UNDECIDED_BY, UNDECIDED_EXTENSION};
pub use lease::{Begun, CLAIM, DueElsewhere, LeaseFilter, LeaseStore, NewLease, Page, PageRequest, Tally};
pub use retention::{
    ArchivedAudit, EndedLease, REMOVED_AT_ONCE, RemovedLeases, RetentionStore, chain_of,
    leases_removed_before,
};
pub use secret::{KeptSecret, PendingSecret, RotationEnd, SecretStore};
pub use server::{KnownServer, ServerStore};
pub use token::{StoredToken, TokenHash, TokenStore};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::{
    audit::{AuditLog, ChainHead, Draft, Record},
    domain::InstanceId,
    metrics::CommitMeter,
};

/// Everything Mayfly keeps.
#[async_trait]
pub trait Store:
    LeaseStore + EntryStore + TokenStore + ServerStore + SecretStore + RetentionStore + AuditLog
{
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

    /// How far the store's clock is ahead of this process's, as last measured. Whoever shares a store goes by its clock. `None`:
    /// the store has no clock of its own.
    fn clock_offset(&self) -> Option<watch::Receiver<SignedDuration>> {
        None
    }

    /// This process's name among those that share the store; `None` where there can be no other.
    fn replica(&self) -> Option<String> {
        None
    }

    /// The audit chains of the other processes that share the store, or once did: names and heads.
    ///
    /// # Errors
    /// When the store fails.
    async fn other_chains(&self) -> Result<Vec<(String, ChainHead)>, StoreError> {
        Ok(Vec::new())
    }

    /// Records of the chain of another process that shares the store, or once did, with sequence numbers above `after`, in
    /// ascending order.
    ///
    /// # Errors
    /// When the store fails.
    async fn read_chain(&self, replica: &str, after: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let (_, _, _) = (replica, after, limit);
        Ok(Vec::new())
    }

    /// Finishes what is under way and closes. Later calls fail.
    async fn close(&self);
}
