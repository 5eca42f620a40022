//! Storing leases.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{ApplyError, BeginError, EntryChange, StoreError};
use crate::{
    audit::Draft,
    domain::{Lease, LeaseEvent, LeaseId, LeaseLimits, PrincipalName, RoleName, StateName, TargetName},
};

/// A lease about to begin: PROVISIONING, with its final account name.
#[derive(Debug, Clone)]
pub struct NewLease {
    /// The lease.
    pub lease: Lease,
    /// How many may be live at once; checked in the same transaction.
    pub limits: LeaseLimits,
    /// What else changes with it, all or nothing; see [`EntryChange`].
    pub entries: Vec<EntryChange>,
}

/// What came of beginning a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is durable now.
    Fresh(Lease),
    /// The same principal asked for the same terms under the same idempotency key before: that lease, as it is now. Nothing
    /// was written. A lease that is FAILED delivered nothing and does not count: the request is made anew.
    Repeated(Lease),
}

impl NewLease {
    /// What came of an earlier request under the same idempotency key.
    ///
    /// # Errors
    /// [`BeginError::KeyReused`] when its terms were others.
    pub(super) fn repeats(&self, earlier: Lease) -> Result<Begun, BeginError> {
        let (one, other) = (&earlier.terms, &self.lease.terms);
        let same = earlier.role == self.lease.role && one.ttl == other.ttl && one.purpose == other.purpose;
        if same { Ok(Begun::Repeated(earlier)) } else { Err(BeginError::KeyReused(Box::new(earlier))) }
    }

    /// Whether there is room for it beside those that are live: of its principal under its role, and in all.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn fits(&self, (own, all): (u32, u32)) -> Result<(), BeginError> {
        let LeaseLimits { per_principal, total } = self.limits;
        if own >= per_principal {
            return Err(BeginError::PrincipalLimit { live: own, limit: per_principal });
        }
        if all >= total {
            return Err(BeginError::RoleLimit { live: all, limit: total });
        }
        Ok(())
    }
}

/// Which leases; an empty filter means all of them. Conditions are joined by "and".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseFilter {
    /// In one of these states; empty: in any.
    pub states: Vec<StateName>,
    /// Of this principal.
    pub principal: Option<PrincipalName>,
    /// Under this role.
    pub role: Option<RoleName>,
    /// On this target.
    pub target: Option<TargetName>,
}

impl LeaseFilter {
    /// Whether a lease passes.
    pub fn matches(&self, lease: &Lease) -> bool {
        (self.states.is_empty() || self.states.contains(&lease.state.name()))
            && self.principal.as_ref().is_none_or(|principal| *principal == lease.principal.name)
            && self.role.as_ref().is_none_or(|role| *role == lease.role)
            && self.target.as_ref().is_none_or(|target| *target == lease.target)
    }
}

/// Which part of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many.
    pub size: u32,
    /// Continue below this lease (newest first); `None`: from the newest.
    pub before: Option<LeaseId>,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where to continue; `None`: this was the last part.
    pub next: Option<LeaseId>,
}

/// How the live leases on a target stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The target.
    pub target: TargetName,
    /// Leases that are PROVISIONING.
    pub provisioning: u64,
    /// Leases that are ACTIVE.
    pub active: u64,
    /// Leases that are ENDING.
    pub ending: u64,
    /// Of all of them, those whose end is due or under way.
    pub overdue: u64,
    /// When the end of the first of those was due or began.
    pub overdue_since: Option<Timestamp>,
}

impl Tally {
    /// Of a target without leases.
    pub fn none(target: TargetName) -> Self {
        Self { target, provisioning: 0, active: 0, ending: 0, overdue: 0, overdue_since: None }
    }
}

/// For how long a claim on a due lease stands (see [`LeaseStore::due`]).
pub const CLAIM: Duration = Duration::from_secs(3);

/// Another process that shares the store changed when a lease is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueElsewhere {
    /// On this target, at this moment.
    Lease(TargetName, Timestamp),
    /// Anything may have changed: word from the others was interrupted.
    Anything,
}

/// Storing leases.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Makes a lease durable as PROVISIONING, unless limits or an earlier use of its idempotency key (per principal; terms
    /// that must agree: role, TTL, purpose) say otherwise.
    ///
    /// # Errors
    /// [`BeginError`]; nothing is written then.
    async fn begin(&self, new: NewLease, audit: Draft) -> Result<Begun, BeginError>;

    /// Applies an event within one transaction: reads the lease, asks the state machine, writes the result and the audit
    /// record. An event that changes nothing (asking a lease to end that is ending or ended) writes nothing at all. `audit`
    /// is `None` only for [`LeaseEvent::EndAttemptFailed`] repeated with the same error, which would flood the log.
    ///
    /// [`LeaseEvent::Ended`] and [`LeaseEvent::EndAttemptFailed`] are refused on a lease that another process has claimed since
    /// (see [`LeaseStore::due`]); whatever moves the moment at which a lease is due again, and its end, releases its claim.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing is written then.
    async fn apply(
        &self,
        id: LeaseId,
        event: LeaseEvent,
        at: Timestamp,
        audit: Option<Draft>,
    ) -> Result<Lease, ApplyError>;

    /// One lease.
    ///
    /// # Errors
    /// When the store fails.
    async fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError>;

    /// Those of these leases that there are, in no order. At most 1,000 are asked for at once.
    ///
    /// # Errors
    /// When the store fails.
    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, StoreError>;

    /// Makes a lease durable that is ENDING from its first moment: that of an account which bears this installation's mark
    /// and has no lease. No limit applies. When there is a lease of this identifier already, that one is returned and nothing
    /// is written.
    ///
    /// # Errors
    /// When the store fails.
    async fn adopt(&self, lease: Lease, audit: Draft) -> Result<Lease, StoreError>;

    /// Leases, newest first, a page at a time.
    ///
    /// # Errors
    /// When the store fails.
    async fn list(&self, filter: &LeaseFilter, page: PageRequest) -> Result<Page<Lease>, StoreError>;

    /// Live leases on a target that are due at `now`, most overdue first; then those whose end is put off beyond
    /// [`FURTHEST_ATTEMPT`], which happens when the clock is set back.
    ///
    /// Where several processes share the store, this claims what it returns for the calling process: for [`CLAIM`], which
    /// [`LeaseStore::hold_claims`] prolongs, no other process is given these leases. What others hold is left out.
    ///
    /// [`FURTHEST_ATTEMPT`]: crate::domain::FURTHEST_ATTEMPT
    ///
    /// # Errors
    /// When the store fails.
    async fn due(&self, target: &TargetName, now: Timestamp, limit: usize) -> Result<Vec<Lease>, StoreError>;

    /// Prolongs the claims of this process on what [`LeaseStore::due`] returned to it, to [`CLAIM`] from now. Claims that were
    /// taken over stay lost. A store of a single process has nothing to do here.
    ///
    /// # Errors
    /// When the store fails; the claims lapse in their time.
    async fn hold_claims(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// When the next live lease on a target is due; `None`: never. One that another process has claimed is due when that claim
    /// lapses, so that a process which survives it wakes in time.
    ///
    /// # Errors
    /// When the store fails.
    async fn next_due(&self, target: &TargetName) -> Result<Option<Timestamp>, StoreError>;

    /// Targets that have live leases, with how many.
    ///
    /// # Errors
    /// When the store fails.
    async fn live_by_target(&self) -> Result<Vec<(TargetName, u64)>, StoreError>;

    /// How the live leases stand at `now`, by target; targets without any are left out. Costs little when few are overdue.
    ///
    /// # Errors
    /// When the store fails.
    async fn tally(&self, now: Timestamp) -> Result<Vec<Tally>, StoreError>;

    /// How many leases are live under a role: for one principal, and in all.
    ///
    /// # Errors
    /// When the store fails.
    async fn live_under_role(
        &self,
        role: &RoleName,
        principal: &PrincipalName,
    ) -> Result<(u32, u32), StoreError>;

    /// Every change from now on, after it is durable. A receiver that falls behind is told so and must read again. Changes made
    /// by other processes that share the store come a moment later, and may be told as one where several followed closely.
    fn changes(&self) -> broadcast::Receiver<Lease>;

    /// What other processes that share the store made due, or due earlier. A hint to wake up by and nothing more: it may be
    /// late or missing. `None` where no other process can share the store.
    fn due_elsewhere(&self) -> Option<broadcast::Receiver<DueElsewhere>> {
        None
    }
}
