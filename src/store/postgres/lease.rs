//! [`LeaseStore`] on PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{
    PostgresStore, lease_query,
    lease_row::{Encoded, due_at},
    ledger::{DueNeed, Holder, Key, LeaseChange, Ledger, Needs},
    row::to_json,
    writer::Work,
};
use crate::{
    audit::Draft,
    domain::{Lease, LeaseEvent, LeaseId, LeaseLimits, PrincipalName, RoleName, TargetName},
    store::{
        ApplyError, BeginError, Begun, DueElsewhere, LeaseFilter, LeaseStore, NewLease, Page, PageRequest,
        StoreError, Tally, entry::check_changes,
    },
};

/// The most leases one question brings back, whatever was asked for.
const MOST: u32 = 10_000;

#[async_trait]
impl LeaseStore for PostgresStore {
    async fn begin(&self, new: NewLease, audit: Draft) -> Result<Begun, BeginError> {
        let encoded = Encoded::of(&new.lease)?;
        check_changes(&new.entries)?;
        self.writer.run(Begin { new, encoded, audit }).await
    }

    async fn apply(
        &self,
        id: LeaseId,
        event: LeaseEvent,
        at: Timestamp,
        audit: Option<Draft>,
    ) -> Result<Lease, ApplyError> {
        self.writer.run(Apply { id, event, at, audit }).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        lease_query::by_id(&self.readers, id).await
    }

    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, StoreError> {
        lease_query::by_ids(&self.readers, ids).await
    }

    async fn adopt(&self, lease: Lease, audit: Draft) -> Result<Lease, StoreError> {
        let encoded = Encoded::of(&lease)?;
        self.writer.run(Adopt { lease, encoded, audit }).await
    }

    async fn list(&self, filter: &LeaseFilter, page: PageRequest) -> Result<Page<Lease>, StoreError> {
        lease_query::page(&self.readers, filter, page).await
    }

    async fn due(&self, target: &TargetName, now: Timestamp, limit: usize) -> Result<Vec<Lease>, StoreError> {
        // Most of the time nothing is: a question costs the server less than a transaction.
        if !lease_query::is_any_due(&self.readers, target, now, &self.writing.replica).await? {
            return Ok(Vec::new());
        }
        let limit = u32::try_from(limit).unwrap_or(MOST).min(MOST);
        self.writer.run(Claim(DueNeed { target: target.clone(), now, limit })).await
    }

    async fn hold_claims(&self) -> Result<(), StoreError> {
        self.writer.run(Hold).await
    }

    async fn next_due(&self, target: &TargetName) -> Result<Option<Timestamp>, StoreError> {
        lease_query::next_due(&self.readers, target, &self.writing.replica).await
    }

    async fn live_by_target(&self) -> Result<Vec<(TargetName, u64)>, StoreError> {
        lease_query::live_by_target(&self.readers).await
    }

    async fn tally(&self, now: Timestamp) -> Result<Vec<Tally>, StoreError> {
        lease_query::tally(&self.readers, now).await
    }

    async fn live_under_role(
        &self,
        role: &RoleName,
        principal: &PrincipalName,
    ) -> Result<(u32, u32), StoreError> {
        lease_query::live_under_role(&self.readers, role, principal).await
    }

    fn changes(&self) -> broadcast::Receiver<Lease> {
        self.announcements.leases.subscribe()
    }

    fn due_elsewhere(&self) -> Option<broadcast::Receiver<DueElsewhere>> {
        Some(self.due_elsewhere.subscribe())
    }
}

struct Begin {
    new: NewLease,
    encoded: Encoded,
    audit: Draft,
}

impl Begin {
    fn key(&self) -> Option<Key> {
        let lease = &self.new.lease;
        let key = lease.idempotency_key.clone()?;
        Some((lease.principal.name.as_str().to_owned(), key))
    }

    /// Whose limits are to be looked at; `None`: there are none, so nobody need wait for anybody.
    fn limited(&self) -> Option<Holder> {
        let NewLease { lease, limits: LeaseLimits { per_principal, total }, .. } = &self.new;
        let holder = || (lease.role.as_str().to_owned(), lease.principal.name.as_str().to_owned());
        (*per_principal < u32::MAX || *total < u32::MAX).then(holder)
    }
}

impl Work for Begin {
    type Output = Begun;
    type Error = BeginError;

    fn needs(&self, needs: &mut Needs) {
        needs.keys.extend(self.key());
        needs.limited.extend(self.limited());
        needs.entries_of(&self.new.entries);
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<Begun, BeginError> {
        if let Some(earlier) = self.key().and_then(|key| ledger.by_key(&key)) {
            return self.new.repeats(earlier.clone());
        }
        if !ledger.stand(&self.new.entries) {
            return Err(BeginError::Conflict);
        }
        if let Some(holder) = self.limited() {
            self.new.fits(ledger.live(&holder))?;
        }
        let record = ledger.seal(self.audit.clone())?;
        ledger.insert(&self.new.lease, self.encoded.clone());
        ledger.change_entries(&self.new.entries);
        ledger.append(record);
        Ok(Begun::Fresh(self.new.lease.clone()))
    }
}

struct Apply {
    id: LeaseId,
    event: LeaseEvent,
    at: Timestamp,
    audit: Option<Draft>,
}

impl Apply {
    /// Whether only whoever holds the lease may say so.
    fn is_the_holders(&self) -> bool {
        matches!(self.event, LeaseEvent::Ended { .. } | LeaseEvent::EndAttemptFailed { .. })
    }
}

impl Work for Apply {
    type Output = Lease;
    type Error = ApplyError;

    fn needs(&self, needs: &mut Needs) {
        needs.leases.insert(self.id.to_string());
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<Lease, ApplyError> {
        let (before, holder) = ledger.lease(self.id).cloned().ok_or(ApplyError::Unknown(self.id))?;
        let elsewhere = holder.is_some_and(|holder| holder != ledger.replica);
        if elsewhere && self.is_the_holders() && before.state.due_at().is_some() {
            return Err(ApplyError::NotHeld(self.id));
        }
        let after = before.clone().after(self.event.clone(), self.at)?;
        if after.state == before.state {
            return Ok(before);
        }
        let standing = to_json(&after.state)?;
        let record = self.audit.clone().map(|draft| ledger.seal(draft)).transpose()?;
        let forget_key = before.idempotency_key.is_some() && after.idempotency_key.is_none();
        let release = releases(&self.event) || due_at(&after.state).is_none();
        ledger.update(&before, LeaseChange { lease: after.clone(), standing, forget_key, release });
        if let Some(record) = record {
            ledger.append(record);
        }
        Ok(after)
    }
}

/// Whether an event makes the lease due at another moment, at which it is anybody's again. One that begins an end leaves the
/// lease to whoever was given it as due.
fn releases(event: &LeaseEvent) -> bool {
    match event {
        LeaseEvent::Activated { .. }
        | LeaseEvent::Renewed { .. }
        | LeaseEvent::EndAttemptFailed { .. }
        | LeaseEvent::Ended { .. } => true,
        LeaseEvent::Due { .. } | LeaseEvent::EndRequested { .. } | LeaseEvent::Reappeared { .. } => false,
    }
}

struct Adopt {
    lease: Lease,
    encoded: Encoded,
    audit: Draft,
}

impl Work for Adopt {
    type Output = Lease;
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.leases.insert(self.lease.id.to_string());
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<Lease, StoreError> {
        if let Some((known, _)) = ledger.lease(self.lease.id) {
            return Ok(known.clone());
        }
        let record = ledger.seal(self.audit.clone())?;
        ledger.insert(&self.lease, self.encoded.clone());
        ledger.append(record);
        Ok(self.lease.clone())
    }
}

struct Claim(DueNeed);

impl Work for Claim {
    type Output = Vec<Lease>;
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.due.push(self.0.clone());
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<Vec<Lease>, StoreError> {
        Ok(ledger.facts.due.pop_front().unwrap_or_default())
    }
}

struct Hold;

impl Work for Hold {
    type Output = ();
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.hold = true;
    }

    fn run(&self, _ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}
