//! What was kept long enough, and leaves the store.
//!
//! Nothing leaves by itself: whoever has it removed says so on record, in the same transaction, and the store looks once more
//! whether it may go. Live leases never do; of an audit chain only what [`ArchivedAudit`] says is durable elsewhere.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Document, EntryKind, Store, StoreError, document, transfer::EMBEDDED};
use crate::{
    audit::{ChainHead, Digest, Draft},
    domain::{Lease, LeaseId, LeaseState, StateName},
};

/// Leases removed at once.
pub const REMOVED_AT_ONCE: u32 = 500;

/// Where a chain continues: everything up to this record is in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedAudit {
    /// The chain.
    pub chain: String,
    /// The number of the last record that is archived.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// When it was archived.
    pub at: Timestamp,
    /// The name of the file that it is in.
    pub file: String,
}

impl ArchivedAudit {
    /// The identity of a chain's.
    pub fn id_of(chain: &str) -> String {
        format!("audit/{chain}")
    }

    /// The last record that is archived.
    pub fn head(&self) -> ChainHead {
        ChainHead { seq: self.seq, hash: self.hash }
    }
}

impl Document for ArchivedAudit {
    const KIND: EntryKind = EntryKind::Retention;

    fn id(&self) -> String {
        Self::id_of(&self.chain)
    }
}

/// Since when ended leases are here, as far as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedLeases {
    /// Leases that ended before this were removed.
    pub before: Timestamp,
}

impl RemovedLeases {
    /// The identity of the only one.
    pub const ID: &str = "leases";
}

impl Document for RemovedLeases {
    const KIND: EntryKind = EntryKind::Retention;

    fn id(&self) -> String {
        Self::ID.to_owned()
    }
}

/// Before when ended leases were removed; `None`: none ever was.
///
/// # Errors
/// When the store fails.
pub async fn leases_removed_before(store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
    let removed = document::<RemovedLeases>(store, RemovedLeases::ID).await?;
    Ok(removed.map(|removed| removed.document.before))
}

/// What the audit chain of this process is called.
pub fn chain_of(store: &dyn Store) -> String {
    store.replica().unwrap_or_else(|| EMBEDDED.to_owned())
}

/// A lease that has ended, as far as it matters to whoever may remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedLease {
    /// Which.
    pub id: LeaseId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its account is still on the target, disabled: the lease is what tells whose it was.
    pub account_kept: bool,
}

impl EndedLease {
    /// Whether it may be removed, when leases that ended before a moment may be.
    pub fn is_removable(&self, before: Timestamp) -> bool {
        self.ended_at < before && !self.account_kept
    }
}

/// Whether a lease may be removed, when leases that ended before a moment may be.
pub(super) fn is_removable(lease: &Lease, before: Timestamp) -> bool {
    match &lease.state {
        LeaseState::Ended { report, .. } => lease.updated_at < before && !report.account_kept,
        LeaseState::Provisioning { .. } | LeaseState::Active { .. } | LeaseState::Ending { .. } => false,
    }
}

/// Removing what was kept long enough.
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Leases in a final state, oldest first, beyond `after`; at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    async fn ended(
        &self,
        state: StateName,
        after: Option<LeaseId>,
        limit: u32,
    ) -> Result<Vec<EndedLease>, StoreError>;

    /// Removes those of these leases (at most [`REMOVED_AT_ONCE`]) that ended before a moment and whose account is gone. Returns how many;
    /// the draft is recorded with that number as `leases`, and when there are none nothing is written at all.
    ///
    /// # Errors
    /// When the store fails; nothing is removed then.
    async fn remove_ended(&self, ids: &[LeaseId], before: Timestamp, audit: Draft)
    -> Result<u64, StoreError>;

    /// Removes records of this process's chain up to a number, as far as they are archived (see [`ArchivedAudit`]).
    ///
    /// # Errors
    /// When the store fails; nothing is removed then.
    async fn remove_archived(&self, through: u64) -> Result<(), StoreError>;
}
