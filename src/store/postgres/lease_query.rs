//! Questions about leases, each one statement and so one snapshot, answered from ranges of an index.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    failure::Failure,
    lease_row::{self, lease_columns},
    readers::Readers,
    row::{moment_or_none, parsed, plain, unsigned},
};
use crate::{
    domain::{FURTHEST_ATTEMPT, Lease, LeaseId, PrincipalName, RoleName, StateName, TargetName},
    store::{LeaseFilter, Page, PageRequest, StoreError, Tally},
};

/// The most leases one question brings back, whatever was asked for.
const MOST: u32 = 10_000;

/// The most leases asked for by identifier at once.
const MOST_BY_ID: usize = 1_000;

/// Sorts above every identifier.
const ABOVE_ALL: &str = "~";

/// One lease.
pub(super) async fn by_id(readers: &Readers, id: LeaseId) -> Result<Option<Lease>, StoreError> {
    let sql = concat!("SELECT ", lease_columns!(), " FROM lease WHERE id = $1");
    Ok(readers.read(sql, &[&id.to_string()], lease_row::read).await?.pop())
}

/// Those that there are.
pub(super) async fn by_ids(readers: &Readers, ids: &[LeaseId]) -> Result<Vec<Lease>, StoreError> {
    let ids: Vec<String> = ids.iter().take(MOST_BY_ID).map(ToString::to_string).collect();
    let sql = concat!("SELECT ", lease_columns!(), " FROM lease WHERE id = ANY ($1)");
    readers.read(sql, &[&ids], lease_row::read).await
}

/// The statement that walks the index which narrows a filter down the most: a range for each state, merged. The state is part of the
/// order, so that no index without it will do: to a server that does not know how rare a state is, all leases in the order of their
/// identifiers seem as good.
fn walk(filter: &LeaseFilter) -> &'static str {
    macro_rules! walk {
        ($conditions:literal) => {
            concat!(
                "SELECT ",
                lease_columns!(),
                " FROM (SELECT part.id FROM unnest($1::text[]) AS wanted (state)
                    CROSS JOIN LATERAL (SELECT id FROM lease WHERE ",
                $conditions,
                " AND lease.state >= wanted.state AND (lease.state, id) < (wanted.state, $2)
                    ORDER BY lease.state DESC, id DESC LIMIT $3) AS part
                    ORDER BY part.id DESC LIMIT $3) AS picked
                JOIN lease ON lease.id = picked.id ORDER BY lease.id DESC"
            )
        };
    }
    match (&filter.principal, &filter.role, &filter.target) {
        (Some(_), _, _) => {
            walk!("principal = $4 AND ($5::text IS NULL OR role = $5) AND ($6::text IS NULL OR target = $6)")
        }
        (None, Some(_), _) => {
            walk!("$4::text IS NULL AND role = $5 AND ($6::text IS NULL OR target = $6)")
        }
        (None, None, Some(_)) => walk!("$4::text IS NULL AND $5::text IS NULL AND target = $6"),
        (None, None, None) => walk!("$4::text IS NULL AND $5::text IS NULL AND $6::text IS NULL"),
    }
}

/// A part of a listing.
pub(super) async fn page(
    readers: &Readers,
    filter: &LeaseFilter,
    page: PageRequest,
) -> Result<Page<Lease>, StoreError> {
    let size = page.size.clamp(1, MOST);
    let mut states = if filter.states.is_empty() { StateName::ALL.to_vec() } else { filter.states.clone() };
    states.sort_unstable();
    states.dedup();
    let states: Vec<&str> = states.into_iter().map(StateName::as_str).collect();
    let before = page.before.map_or_else(|| ABOVE_ALL.to_owned(), |id| id.to_string());
    let limit = i64::from(size) + 1;
    let principal = filter.principal.as_ref().map(PrincipalName::as_str);
    let role = filter.role.as_ref().map(RoleName::as_str);
    let target = filter.target.as_ref().map(TargetName::as_str);
    let mut items = readers
        .read(walk(filter), &[&states, &before, &limit, &principal, &role, &target], lease_row::read)
        .await?;
    let more = items.len() > size as usize;
    items.truncate(size as usize);
    let next = items.last().map(|lease| lease.id).filter(|_| more);
    Ok(Page { items, next })
}

/// Whether this process would be given anything as due on a target.
pub(super) async fn is_any_due(
    readers: &Readers,
    target: &TargetName,
    now: Timestamp,
    replica: &str,
) -> Result<bool, StoreError> {
    // Not EXISTS, by which the server, if it knows no values yet, expects one among the first rows of any, and reads all of them.
    let sql = "SELECT coalesce(
            (SELECT true FROM lease WHERE target = $1 AND due_at IS NOT NULL AND due_at <= $2
                AND (claimed_by IS NULL OR claimed_by = $4 OR claimed_until < clock_timestamp())
                ORDER BY due_at LIMIT 1),
            (SELECT true FROM lease WHERE target = $1 AND state = 'ending' AND due_at > $3
                AND (claimed_by IS NULL OR claimed_by = $4 OR claimed_until < clock_timestamp())
                ORDER BY due_at DESC LIMIT 1),
            false)";
    let furthest = now.saturating_add(FURTHEST_ATTEMPT).unwrap_or(Timestamp::MAX);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&target.as_str(), &now.as_microsecond(), &furthest.as_microsecond(), &replica];
    let found = readers.read(sql, &values, |row| plain::<bool>(row, 0)).await?;
    Ok(found.first().copied().unwrap_or(false))
}

/// When the next lease on a target is due, or is free to be taken over.
pub(super) async fn next_due(
    readers: &Readers,
    target: &TargetName,
    replica: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT min(at) FROM (
            (SELECT due_at AS at FROM lease WHERE target = $1 AND due_at IS NOT NULL
                AND (claimed_by IS NULL OR claimed_by = $2) ORDER BY due_at LIMIT 1)
            UNION ALL
            (SELECT min(greatest(due_at, (extract(epoch FROM claimed_until) * 1000000)::bigint)) FROM lease
                WHERE target = $1 AND claimed_by IS NOT NULL AND claimed_by <> $2 AND due_at IS NOT NULL)
        ) AS next";
    let found = readers.read(sql, &[&target.as_str(), &replica], |row| moment_or_none(row, 0)).await?;
    Ok(found.first().copied().flatten())
}

/// Targets with live leases, and how many.
pub(super) async fn live_by_target(readers: &Readers) -> Result<Vec<(TargetName, u64)>, StoreError> {
    let sql = "SELECT target, sum(live)::bigint FROM live_by_target GROUP BY target HAVING sum(live) > 0
        ORDER BY target";
    readers.read(sql, &[], |row| Ok((parsed(row, 0)?, unsigned(row, 1)?))).await
}

/// Live leases under a role: one principal's, and all.
pub(super) async fn live_under_role(
    readers: &Readers,
    role: &RoleName,
    principal: &PrincipalName,
) -> Result<(u32, u32), StoreError> {
    let sql = "SELECT (SELECT coalesce(sum(live), 0)::bigint FROM live_by_holder WHERE role = $1 AND principal = $2),
        (SELECT coalesce(sum(live), 0)::bigint FROM live_by_role WHERE role = $1)";
    let count = |live: i64| u32::try_from(live.max(0)).unwrap_or(u32::MAX);
    let found = readers
        .read(sql, &[&role.as_str(), &principal.as_str()], |row| {
            Ok((count(plain(row, 0)?), count(plain(row, 1)?)))
        })
        .await?;
    Ok(found.first().copied().unwrap_or_default())
}

/// Leases that changed since a moment, oldest first.
pub(super) async fn changed_since(readers: &Readers, since: Timestamp) -> Result<Vec<Lease>, StoreError> {
    let sql = concat!(
        "SELECT ",
        lease_columns!(),
        " FROM lease WHERE updated_at >= $1 ORDER BY updated_at, id LIMIT 4096"
    );
    readers.read(sql, &[&since.as_microsecond()], lease_row::read).await
}

/// How live leases stand, by target: looks at those that are not well only, as ACTIVE is what is live and nothing else.
pub(super) async fn tally(readers: &Readers, now: Timestamp) -> Result<Vec<Tally>, StoreError> {
    let sql = "SELECT live.target, live.live,
            (SELECT count(*) FROM lease WHERE target = live.target AND state = 'provisioning'),
            (SELECT count(*) FROM lease WHERE target = live.target AND state = 'ending'),
            (SELECT (extract(epoch FROM min((standing::json ->> 'since')::timestamptz)) * 1000000)::bigint FROM lease
                WHERE target = live.target AND state = 'ending'),
            (SELECT count(*) FROM lease WHERE target = live.target AND due_at <= $1 AND state <> 'ending'),
            (SELECT min(due_at) FROM lease WHERE target = live.target AND due_at <= $1 AND state <> 'ending')
        FROM (SELECT target, sum(live)::bigint AS live FROM live_by_target GROUP BY target HAVING sum(live) > 0) AS live
        ORDER BY live.target";
    readers.read(sql, &[&now.as_microsecond()], read_tally).await
}

fn read_tally(row: &Row) -> Result<Tally, Failure> {
    let (provisioning, ending) = (unsigned(row, 2)?, unsigned(row, 3)?);
    let since = [moment_or_none(row, 4)?, moment_or_none(row, 6)?];
    Ok(Tally {
        target: parsed(row, 0)?,
        provisioning,
        active: unsigned(row, 1)?.saturating_sub(provisioning + ending),
        ending,
        overdue: ending + unsigned(row, 5)?,
        overdue_since: since.into_iter().flatten().min(),
    })
}
