//! What a run found and did.

use crate::domain::{LeaseId, TargetName};

/// Findings a report tells one by one; all are counted.
const TOLD: usize = 1_000;

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// ACTIVE leases looked for on the target.
    pub leases: u64,
    /// Accounts seen on the target whose names are of Mayfly's form.
    pub accounts: u64,
    /// ACTIVE leases whose account was gone.
    pub vanished: u64,
    /// Accounts with this installation's mark and no lease.
    pub orphans: u64,
    /// Accounts of leases that had ended.
    pub reappeared: u64,
    /// Accounts altered behind Mayfly's back.
    pub drifted: u64,
    /// Accounts that claim to be what they cannot be: left alone.
    pub disputed: u64,
    /// Accounts with another installation's mark: left alone.
    pub foreign: u64,
    /// Accounts without a mark and without a lease: left alone.
    pub unmarked: u64,
    /// Of all these: still to be seen to by somebody.
    pub remaining: u64,
}

impl Counts {
    /// Whether the target and the store agree.
    pub fn agree(&self) -> bool {
        self.vanished + self.orphans + self.reappeared + self.drifted + self.disputed == 0
    }
}

/// In what way target and store differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscrepancyKind {
    /// An ACTIVE lease has no account.
    Vanished,
    /// An account of ours has no lease.
    Orphan,
    /// The account of a lease that had ended is there, or may log in though nobody holds it.
    Reappeared,
    /// An account is not as its lease says.
    Drifted,
    /// An account claims to be what it cannot be.
    Disputed,
}

impl DiscrepancyKind {
    /// Lower case, for texts and audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            DiscrepancyKind::Vanished => "vanished",
            DiscrepancyKind::Orphan => "orphan",
            DiscrepancyKind::Reappeared => "reappeared",
            DiscrepancyKind::Drifted => "drifted",
            DiscrepancyKind::Disputed => "disputed",
        }
    }
}

/// What was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: a dry run, or the configuration says so.
    Reported,
    /// The lease is ending.
    Ending,
    /// The account is as its lease says again.
    PutRight,
    /// It was tried in vain.
    Failed {
        /// Why, fit for an operator.
        error: String,
        /// The statement that mends it.
        remedy: Option<String>,
    },
}

impl Answer {
    /// Lower case, for texts.
    pub fn as_str(&self) -> &'static str {
        match self {
            Answer::Reported => "reported",
            Answer::Ending => "ending",
            Answer::PutRight => "put right",
            Answer::Failed { .. } => "failed",
        }
    }

    /// Whether somebody must still see to it.
    pub fn remains(&self) -> bool {
        matches!(self, Answer::Reported | Answer::Failed { .. })
    }
}

/// One difference between target and store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discrepancy {
    /// In what way.
    pub kind: DiscrepancyKind,
    /// The account's name.
    pub account: String,
    /// The lease it is or would be of.
    pub lease: LeaseId,
    /// In words.
    pub what: String,
    /// What was done.
    pub answer: Answer,
}

/// What a run found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileReport {
    /// The target.
    pub target: TargetName,
    /// Nothing was changed.
    pub dry_run: bool,
    /// How many of what.
    pub counts: Counts,
    /// The differences, as many as fit: at most 1,000.
    pub discrepancies: Vec<Discrepancy>,
}

impl ReconcileReport {
    pub(super) fn new(target: TargetName, dry_run: bool) -> Self {
        Self { target, dry_run, counts: Counts::default(), discrepancies: Vec::new() }
    }

    pub(super) fn note(&mut self, discrepancy: Discrepancy) {
        let counts = &mut self.counts;
        *match discrepancy.kind {
            DiscrepancyKind::Vanished => &mut counts.vanished,
            DiscrepancyKind::Orphan => &mut counts.orphans,
            DiscrepancyKind::Reappeared => &mut counts.reappeared,
            DiscrepancyKind::Drifted => &mut counts.drifted,
            DiscrepancyKind::Disputed => &mut counts.disputed,
        } += 1;
        counts.remaining += u64::from(discrepancy.answer.remains());
        if self.discrepancies.len() < TOLD {
            self.discrepancies.push(discrepancy);
        }
    }
}
