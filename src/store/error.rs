//! What can go wrong in a store.

use std::error::Error;

use crate::domain::{IllegalTransition, Lease, LeaseId};

/// Sorts a [`StoreError`]; also the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// It cannot be written: full disk, read-only file system, lost permission.
    NotWritable,
    /// Too many writes are waiting already.
    Busy,
    /// It was closed.
    Closed,
    /// What is stored cannot be understood: corrupt, or written by a newer version.
    Corrupt,
    /// Another process holds it.
    Held,
    /// It cannot be reached, or did not answer in time. Nothing was written.
    Unavailable,
    /// Another process serves under this replica's name: this one may write no more.
    Fenced,
    /// Anything else.
    Other,
}

/// A store's failure. `Display` is fit for an operator; the source chain is for logs.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What the caller can do about it.
    pub kind: StoreErrorKind,
    /// What happened, in words.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error of a kind with a message.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Why a lease could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The principal holds as many leases under the role as it may.
    #[error("{live} leases under this role are live for this principal; at most {limit} are allowed at once")]
    PrincipalLimit {
        /// Live now.
        live: u32,
        /// Allowed.
        limit: u32,
    },
    /// The role has as many leases as it may.
    #[error("{live} leases under this role are live; at most {limit} are allowed at once")]
    RoleLimit {
        /// Live now.
        live: u32,
        /// Allowed.
        limit: u32,
    },
    /// The idempotency key was used for a request with other terms.
    #[error("this idempotency key was used before, for a request with other terms")]
    KeyReused(Box<Lease>),
    /// An entry was not what the lease's changes expect any more: read again, and decide again.
    #[error("what the request was decided on has changed meanwhile")]
    Conflict,
    /// The store failed; nothing was begun.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an event could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// No such lease.
    #[error("there is no lease {0}")]
    Unknown(LeaseId),
    /// The event does not apply to the lease's state. The lease as it is stands beside it.
    #[error(transparent)]
    Illegal {
        /// Why.
        #[from]
        error: IllegalTransition,
    },
    /// Another process works on the lease's end: this one's claim lapsed and was taken over.
    #[error("another process works on the end of the lease {0}")]
    NotHeld(LeaseId),
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
