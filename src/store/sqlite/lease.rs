//! [`LeaseStore`] on SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::broadcast;

use super::{
    SqliteStore, entry,
    failure::write_failed,
    lease_query,
    lease_row::{self, Encoded, lease_columns},
    row::to_json,
    tally,
    writer::Ledger,
};
use crate::{
    audit::Draft,
    domain::{Lease, LeaseEvent, LeaseId, LeaseState, PrincipalName, RoleName, TargetName},
    store::{
        ApplyError, BeginError, Begun, LeaseFilter, LeaseStore, NewLease, Page, PageRequest, StoreError,
        Tally, entry::check_changes,
    },
};

/// The most leases asked for by identifier at once.
const MOST: usize = 1_000;

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn begin(&self, new: NewLease, audit: Draft) -> Result<Begun, BeginError> {
        let encoded = Encoded::of(&new.lease)?;
        check_changes(&new.entries)?;
        self.writer.run(move |ledger| begin(ledger, new, &encoded, audit)).await
    }

    async fn apply(
        &self,
        id: LeaseId,
        event: LeaseEvent,
        at: Timestamp,
        audit: Option<Draft>,
    ) -> Result<Lease, ApplyError> {
        self.writer.run(move |ledger| apply(ledger, id, event, at, audit)).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        self.readers.read(move |connection| lease_row::by_id(connection, id)).await
    }

    async fn leases(&self, ids: &[LeaseId]) -> Result<Vec<Lease>, StoreError> {
        let ids = ids.to_vec();
        self.readers
            .read(move |connection| {
                let found = ids.iter().take(MOST).map(|id| lease_row::by_id(connection, *id));
                found.filter_map(Result::transpose).collect()
            })
            .await
    }

    async fn adopt(&self, lease: Lease, audit: Draft) -> Result<Lease, StoreError> {
        let encoded = Encoded::of(&lease)?;
        self.writer
            .run(move |ledger| {
                if let Some(known) = lease_row::by_id(ledger.connection, lease.id).map_err(write_failed)? {
                    return Ok(known);
                }
                lease_row::insert(ledger.connection, &lease, &encoded).map_err(write_failed)?;
                ledger.append(audit)?;
                ledger.announce(&lease);
                Ok(lease)
            })
            .await
    }

    async fn list(&self, filter: &LeaseFilter, page: PageRequest) -> Result<Page<Lease>, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |connection| lease_query::page(connection, &filter, page)).await
    }

    async fn due(&self, target: &TargetName, now: Timestamp, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let target = target.clone();
        self.readers.read(move |connection| lease_query::due(connection, &target, now, limit)).await
    }

    async fn next_due(&self, target: &TargetName) -> Result<Option<Timestamp>, StoreError> {
        let target = target.clone();
        self.readers.read(move |connection| lease_query::next_due(connection, &target)).await
    }

    async fn live_by_target(&self) -> Result<Vec<(TargetName, u64)>, StoreError> {
        self.readers.read(lease_query::live_by_target).await
    }

    async fn tally(&self, now: Timestamp) -> Result<Vec<Tally>, StoreError> {
        self.readers.read(move |connection| tally::of_all(connection, now)).await
    }

    async fn live_under_role(
        &self,
        role: &RoleName,
        principal: &PrincipalName,
    ) -> Result<(u32, u32), StoreError> {
        let (role, principal) = (role.clone(), principal.clone());
        self.readers.read(move |connection| lease_query::live_under_role(connection, &role, &principal)).await
    }

    fn changes(&self) -> broadcast::Receiver<Lease> {
        self.announcements.leases.subscribe()
    }
}

fn begin(
    ledger: &mut Ledger<'_>,
    new: NewLease,
    encoded: &Encoded,
    audit: Draft,
) -> Result<Begun, BeginError> {
    let lease = &new.lease;
    if let Some(earlier) = by_key(ledger.connection, lease).map_err(write_failed)? {
        return new.repeats(earlier);
    }
    if !entry::stand(ledger.connection, &new.entries).map_err(write_failed)? {
        return Err(BeginError::Conflict);
    }
    let live = lease_query::live_under_role(ledger.connection, &lease.role, &lease.principal.name);
    new.fits(live.map_err(write_failed)?)?;
    entry::carry_out(ledger, &new.entries)?;
    lease_row::insert(ledger.connection, lease, encoded).map_err(write_failed)?;
    ledger.append(audit)?;
    ledger.announce(lease);
    ledger.under_way += 1;
    Ok(Begun::Fresh(new.lease))
}

fn by_key(connection: &Connection, lease: &Lease) -> rusqlite::Result<Option<Lease>> {
    let Some(key) = &lease.idempotency_key else { return Ok(None) };
    connection
        .prepare_cached(concat!(
            "SELECT ",
            lease_columns!(),
            " FROM lease WHERE principal = ?1 AND idempotency_key = ?2 AND state <> 'failed'"
        ))?
        .query_row(params![lease.principal.name.as_str(), key], lease_row::read)
        .optional()
}

fn apply(
    ledger: &mut Ledger<'_>,
    id: LeaseId,
    event: LeaseEvent,
    at: Timestamp,
    audit: Option<Draft>,
) -> Result<Lease, ApplyError> {
    let before =
        lease_row::by_id(ledger.connection, id).map_err(write_failed)?.ok_or(ApplyError::Unknown(id))?;
    let (state, updated_at) = (before.state.clone(), before.updated_at);
    let had_key = before.idempotency_key.is_some();
    let after = before.after(event, at)?;
    if after.state == state {
        return Ok(Lease { updated_at, ..after });
    }
    if had_key && after.idempotency_key.is_none() {
        lease_row::forget_key(ledger.connection, id).map_err(write_failed)?;
    }
    lease_row::update(ledger.connection, &after, &to_json(&after.state)?).map_err(write_failed)?;
    if let Some(draft) = audit {
        ledger.append(draft)?;
    }
    if matches!(state, LeaseState::Provisioning { .. }) {
        ledger.under_way = ledger.under_way.saturating_sub(1);
    }
    ledger.announce(&after);
    Ok(after)
}
