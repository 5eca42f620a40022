//! Questions about leases, each answered from one range of an index.

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, named_params, params};

use super::{
    lease_row::{self, lease_columns},
    row::{moment, parsed, unsigned},
};
use crate::{
    domain::{FURTHEST_ATTEMPT, Lease, LeaseId, PrincipalName, RoleName, StateName, TargetName},
    store::{LeaseFilter, Page, PageRequest},
};

/// The most leases one question brings back, whatever was asked for.
const MOST: u32 = 10_000;

/// Sorts above every identifier.
const ABOVE_ALL: &str = "~";

/// Due leases on a target, most overdue first.
pub(super) const DUE: &str = concat!(
    "SELECT ",
    lease_columns!(),
    " FROM lease INDEXED BY lease_by_due WHERE target = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3"
);

/// Leases on a target whose end is put off beyond a moment, furthest first.
pub(super) const PUT_OFF: &str = concat!(
    "SELECT ",
    lease_columns!(),
    " FROM lease INDEXED BY lease_ending WHERE target = ?1 AND state = 'ending' AND due_at > ?2
      ORDER BY due_at DESC LIMIT ?3"
);

/// The earliest due time on a target.
pub(super) const NEXT_DUE: &str = "SELECT due_at FROM lease INDEXED BY lease_by_due
    WHERE target = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1";

/// A part of a listing.
pub(super) fn page(
    connection: &Connection,
    filter: &LeaseFilter,
    page: PageRequest,
) -> rusqlite::Result<Page<Lease>> {
    // One snapshot, so that a lease that changes its state meanwhile is neither skipped nor shown twice.
    let snapshot = connection.unchecked_transaction()?;
    let size = page.size.clamp(1, MOST);
    let mut ids = candidates(&snapshot, filter, page.before, size.saturating_add(1))?;
    let more = ids.len() > size as usize;
    ids.truncate(size as usize);
    let mut items = Vec::with_capacity(ids.len());
    for id in &ids {
        items.extend(lease_row::by_id(&snapshot, *id)?);
    }
    Ok(Page { items, next: ids.last().copied().filter(|_| more) })
}

/// Newest first, the first `limit` identifiers that pass the filter: a range per state, merged.
fn candidates(
    connection: &Connection,
    filter: &LeaseFilter,
    before: Option<LeaseId>,
    limit: u32,
) -> rusqlite::Result<Vec<LeaseId>> {
    let mut statement = connection.prepare_cached(range(filter))?;
    let mut ids: Vec<LeaseId> = Vec::new();
    for state in states(filter) {
        ids.extend(in_state(&mut statement, filter, state, before, limit)?);
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.truncate(limit as usize);
    Ok(ids)
}

fn states(filter: &LeaseFilter) -> Vec<StateName> {
    let mut states = if filter.states.is_empty() { StateName::ALL.to_vec() } else { filter.states.clone() };
    states.sort_unstable();
    states.dedup();
    states
}

/// The statement that walks the index which narrows a filter down the most.
pub(super) fn range(filter: &LeaseFilter) -> &'static str {
    macro_rules! walk {
        ($index:literal, $conditions:literal) => {
            concat!(
                "SELECT id FROM lease INDEXED BY ",
                $index,
                " WHERE ",
                $conditions,
                " AND state = :state AND id < :before ORDER BY id DESC LIMIT :limit"
            )
        };
    }
    match (&filter.principal, &filter.role, &filter.target) {
        (Some(_), _, _) => walk!(
            "lease_by_principal",
            "principal = :principal AND (:role IS NULL OR role = :role) AND (:target IS NULL OR target = :target)"
        ),
        (None, Some(_), _) => walk!(
            "lease_by_role",
            ":principal IS NULL AND role = :role AND (:target IS NULL OR target = :target)"
        ),
        (None, None, Some(_)) => {
            walk!("lease_by_target", ":principal IS NULL AND :role IS NULL AND target = :target")
        }
        (None, None, None) => {
            walk!("lease_by_state", ":principal IS NULL AND :role IS NULL AND :target IS NULL")
        }
    }
}

fn in_state(
    statement: &mut CachedStatement<'_>,
    filter: &LeaseFilter,
    state: StateName,
    before: Option<LeaseId>,
    limit: u32,
) -> rusqlite::Result<Vec<LeaseId>> {
    let before = before.map_or_else(|| ABOVE_ALL.to_owned(), |id| id.to_string());
    let values = named_params! {
        ":principal": filter.principal.as_ref().map(PrincipalName::as_str),
        ":role": filter.role.as_ref().map(RoleName::as_str),
        ":target": filter.target.as_ref().map(TargetName::as_str),
        ":state": state.as_str(),
        ":before": before,
        ":limit": limit,
    };
    statement.query_map(values, |row| parsed(row, 0))?.collect()
}

/// Live leases on a target that are due, most overdue first; then those put off for longer than anything is.
pub(super) fn due(
    connection: &Connection,
    target: &TargetName,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Lease>> {
    let limit = u32::try_from(limit).unwrap_or(MOST).min(MOST);
    let read = |sql, moment: Timestamp, limit: u32| -> rusqlite::Result<Vec<Lease>> {
        connection
            .prepare_cached(sql)?
            .query_map(params![target.as_str(), moment.as_microsecond(), limit], lease_row::read)?
            .collect()
    };
    let mut leases = read(DUE, now, limit)?;
    let room = limit.saturating_sub(u32::try_from(leases.len()).unwrap_or(MOST));
    if room > 0 {
        let furthest = now.saturating_add(FURTHEST_ATTEMPT).unwrap_or(Timestamp::MAX);
        leases.extend(read(PUT_OFF, furthest, room)?);
    }
    Ok(leases)
}

/// When the next lease on a target is due.
pub(super) fn next_due(connection: &Connection, target: &TargetName) -> rusqlite::Result<Option<Timestamp>> {
    connection.prepare_cached(NEXT_DUE)?.query_row([target.as_str()], |row| moment(row, 0)).optional()
}

/// Targets with live leases, and how many.
pub(super) fn live_by_target(connection: &Connection) -> rusqlite::Result<Vec<(TargetName, u64)>> {
    connection
        .prepare_cached("SELECT target, live FROM live_by_target WHERE live > 0 ORDER BY target")?
        .query_map([], |row| Ok((parsed(row, 0)?, unsigned(row, 1)?)))?
        .collect()
}

/// Live leases under a role: one principal's, and all.
pub(super) fn live_under_role(
    connection: &Connection,
    role: &RoleName,
    principal: &PrincipalName,
) -> rusqlite::Result<(u32, u32)> {
    connection
        .prepare_cached(
            "SELECT coalesce((SELECT live FROM live_by_holder WHERE role = ?1 AND principal = ?2), 0),
                    coalesce((SELECT live FROM live_by_role WHERE role = ?1), 0)",
        )?
        .query_row([role.as_str(), principal.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
}
