//! What happened, as a hash chain anybody can verify.
//!
//! A [`Draft`] tells of one change of state or one refusal. The store seals it into a [`Record`] within the same
//! transaction as the change itself: no audit, no action. No secret may enter a record. [`FileSink`] copies the log to a
//! file; [`Verifier`] proves offline that it is whole.

mod chain;
mod chains;
mod record;
mod sink;
mod verify;

pub use chain::{ChainHead, ChainHeadError};
pub use chains::{
    ChainVerifier, ChainsError, ChainsVerifier, OTHER_CHAINS, REPLICA, VerifiedChain, VerifiedChains,
};
pub use record::{Actor, AuditOutcome, Digest, Draft, Record};
pub use sink::{FileSink, Progress, Reopener, SinkError};
pub use verify::{Link, Verified, Verifier, VerifyError, verify_lines, verify_records};

use async_trait::async_trait;

/// Reading the audit log in order.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Records with a sequence number above `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn read_after(&self, after: u64, limit: usize) -> Result<Vec<Record>, AuditReadError>;

    /// The sequence number of the last record; 0 when there is none.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn last_seq(&self) -> Result<u64, AuditReadError>;

    /// Returns when a record with a sequence number above `after` may exist.
    async fn appended(&self, after: u64);
}

/// The audit log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be read")]
pub struct AuditReadError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
