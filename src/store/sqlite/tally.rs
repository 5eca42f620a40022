//! How live leases stand, without looking at those that are well: ACTIVE is what is live and nothing else.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    lease_query,
    row::{moment_or_none, unsigned},
};
use crate::{domain::TargetName, store::Tally};

/// Leases on a target in a state, from the index alone.
pub(super) const IN_STATE: &str =
    "SELECT count(*) FROM lease INDEXED BY lease_by_target WHERE target = ?1 AND state = ?2";

/// When the first end under way on a target began.
pub(super) const ENDING_SINCE: &str =
    "SELECT min(json_extract(standing, '$.since')) FROM lease INDEXED BY lease_ending
    WHERE target = ?1 AND state = 'ending'";

/// Leases on a target whose end is due and not under way yet, and when the first was due.
pub(super) const DUE: &str = "SELECT count(*), min(due_at) FROM lease INDEXED BY lease_by_due
    WHERE target = ?1 AND due_at <= ?2 AND state <> 'ending'";

/// Every target with live leases.
pub(super) fn of_all(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Tally>> {
    // One snapshot: the numbers belong together.
    let snapshot = connection.unchecked_transaction()?;
    let live = lease_query::live_by_target(&snapshot)?;
    live.into_iter().map(|(target, live)| of_one(&snapshot, target, live, now)).collect()
}

fn of_one(connection: &Connection, target: TargetName, live: u64, now: Timestamp) -> rusqlite::Result<Tally> {
    let name = target.as_str();
    let count = |state: &str| -> rusqlite::Result<u64> {
        connection.prepare_cached(IN_STATE)?.query_row(params![name, state], |row| unsigned(row, 0))
    };
    let (provisioning, ending) = (count("provisioning")?, count("ending")?);
    let since: Option<String> =
        connection.prepare_cached(ENDING_SINCE)?.query_row([name], |row| row.get(0))?;
    let since: Option<Timestamp> = since.and_then(|since| since.parse().ok());
    let (due, due_since) =
        connection.prepare_cached(DUE)?.query_row(params![name, now.as_microsecond()], |row| {
            Ok((unsigned(row, 0)?, moment_or_none(row, 1)?))
        })?;
    Ok(Tally {
        target,
        provisioning,
        active: live.saturating_sub(provisioning + ending),
        ending,
        overdue: ending + due,
        overdue_since: [since, due_since].into_iter().flatten().min(),
    })
}
