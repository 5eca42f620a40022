//! What happened, as a hash chain anybody can verify.
//!
//! A [`Draft`] tells of one change of state or one refusal. The store seals it into a [`Record`] within the same
//! transaction as the change itself: no audit, no action. No secret may enter a record. [`FileSink`] copies the log to a
//! file; [`Verifier`] proves offline that it is whole; [`search`] answers who, what, when; [`OcsfEvent`] is a record as a SIEM reads it.

mod archives;
mod chain;
mod chains;
mod ocsf;
mod record;
mod search;
mod sink;
mod verify;

pub use archives::Archives;
pub use chain::{ChainHead, ChainHeadError};
pub use chains::{
    ChainVerifier, ChainsError, ChainsVerifier, OTHER_CHAINS, REPLICA, VerifiedChain, VerifiedChains,
};
pub use ocsf::OcsfEvent;
pub use record::{Actor, AuditOutcome, Digest, Draft, Record};
pub use search::{AuditFilter, Found, FoundRecord, Order, Position, PositionError, search};
pub use sink::{FileSink, Progress, Reopener, SinkError};
pub use verify::{Link, Verified, Verifier, VerifyError, verify_lines, verify_records};

use async_trait::async_trait;

/// The action of a record that tells of others which were archived.
pub const ARCHIVED: &str = "audit.archived";

/// The fact of such a record that names the last one archived: `SEQ:HASH`.
pub const THROUGH: &str = "through";

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

    /// All chains that can be read here, this process's own among them, each with the number of its last record.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn chain_ends(&self) -> Result<Vec<(String, u64)>, AuditReadError>;

    /// Records of a part of a chain.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn part(&self, part: ChainPart<'_>) -> Result<Vec<Record>, AuditReadError>;
}

/// Which records of a chain.
#[derive(Debug, Clone, Copy)]
pub struct ChainPart<'a> {
    /// The chain.
    pub chain: &'a str,
    /// From this number.
    pub first: u64,
    /// To this number, included.
    pub last: u64,
    /// In which order.
    pub order: Order,
    /// Only those whose JSON contains this.
    pub containing: &'a str,
    /// At most this many.
    pub limit: u32,
}

/// The audit log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be read")]
pub struct AuditReadError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
