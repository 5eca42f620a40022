//! [`RetentionStore`] on SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    SqliteStore,
    failure::write_failed,
    lease_row,
    row::{moment, parsed, signed, unsigned},
};
use crate::{
    audit::Draft,
    domain::{LeaseId, StateName},
    store::{
        ArchivedAudit, EndedLease, EntryKind, REMOVED_AT_ONCE, RetentionStore, StoreError,
        retention::is_removable, transfer::EMBEDDED,
    },
};

/// Leases in a final state, oldest first.
pub(super) const ENDED: &str =
    "SELECT id, created_at, updated_at, coalesce(json_extract(standing, '$.report.account_kept'), 0)
    FROM lease INDEXED BY lease_by_state WHERE state = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

/// The last record of a chain that is archived; 0 when none is.
pub(super) fn archived(connection: &Connection, chain: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT json_extract(body, '$.seq') FROM entry WHERE kind = ?1 AND id = ?2";
    let (kind, id) = (EntryKind::Retention.as_str(), ArchivedAudit::id_of(chain));
    let seq = connection.prepare_cached(sql)?.query_row([kind, &id], |row| unsigned(row, 0)).optional()?;
    Ok(seq.unwrap_or(0))
}

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn ended(
        &self,
        state: StateName,
        after: Option<LeaseId>,
        limit: u32,
    ) -> Result<Vec<EndedLease>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.readers
            .read(move |connection| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok(EndedLease {
                        id: parsed(row, 0)?,
                        created_at: moment(row, 1)?,
                        ended_at: moment(row, 2)?,
                        account_kept: row.get(3)?,
                    })
                };
                connection
                    .prepare_cached(ENDED)?
                    .query_map(params![state.as_str(), after, limit], read)?
                    .collect()
            })
            .await
    }

    async fn remove_ended(
        &self,
        ids: &[LeaseId],
        before: Timestamp,
        audit: Draft,
    ) -> Result<u64, StoreError> {
        let ids: Vec<LeaseId> = ids.iter().copied().take(REMOVED_AT_ONCE as usize).collect();
        self.writer
            .run(move |ledger| {
                let mut removed = 0;
                for id in ids {
                    // Looked at anew: one whose account was found again is live once more.
                    let found = lease_row::by_id(ledger.connection, id).map_err(write_failed)?;
                    if found.is_some_and(|lease| is_removable(&lease, before)) {
                        remove(ledger.connection, id).map_err(write_failed)?;
                        removed += 1;
                    }
                }
                if removed > 0 {
                    ledger.append(audit.with("leases", removed.to_string()))?;
                }
                Ok::<u64, StoreError>(removed)
            })
            .await
    }

    async fn remove_archived(&self, through: u64) -> Result<(), StoreError> {
        self.writer
            .run(move |ledger| {
                let through = archived(ledger.connection, EMBEDDED).map_err(write_failed)?.min(through);
                ledger
                    .connection
                    .prepare_cached("DELETE FROM audit WHERE seq <= ?1")
                    .and_then(|mut statement| statement.execute([signed(through)]))
                    .map(drop)
                    .map_err(write_failed)
            })
            .await
    }
}

fn remove(connection: &Connection, id: LeaseId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM lease WHERE id = ?1 AND due_at IS NULL")?
        .execute([id.to_string()])
        .map(drop)
}
