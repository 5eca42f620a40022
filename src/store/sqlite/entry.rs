//! [`EntryStore`] on SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use tokio::sync::broadcast;

use super::{
    SqliteStore,
    failure::write_failed,
    row::{from_json, moment_or_none, parsed, signed, unsigned},
    writer::Ledger,
};
use crate::{
    audit::Draft,
    store::{
        Committed, ENTRIES_LIMIT, Entry, EntryChange, EntryKind, EntryStore, StoreError,
        entry::{above_all, check_changes},
    },
};

/// An entry with what it is found by, as of one moment: by one statement.
macro_rules! select_entries {
    ($rest:literal) => {
        concat!(
            "SELECT entry.kind, entry.id, entry.revision, entry.due_at, entry.body,
                (SELECT json_group_array(json_array(own.name, own.value) ORDER BY own.name, own.value)
                 FROM entry_key AS own WHERE own.kind = entry.kind AND own.id = entry.id)
             FROM entry ",
            $rest
        )
    };
}
pub(super) use select_entries;

/// One entry.
pub(super) const ONE: &str = select_entries!("WHERE entry.kind = ?1 AND entry.id = ?2");

/// Those of a kind.
pub(super) const OF_A_KIND: &str =
    select_entries!("WHERE entry.kind = ?1 AND entry.id < ?2 ORDER BY entry.id DESC LIMIT ?3");

/// Those found by a name and a value.
pub(super) const FOUND_BY: &str = select_entries!(
    "JOIN entry_key AS found ON found.kind = entry.kind AND found.id = entry.id
     WHERE found.kind = ?1 AND found.name = ?4 AND found.value = ?5 AND found.id < ?2
     ORDER BY found.id DESC LIMIT ?3"
);

/// Those that are due.
pub(super) const DUE: &str =
    select_entries!("WHERE entry.kind = ?1 AND entry.due_at <= ?2 ORDER BY entry.due_at, entry.id LIMIT ?3");

/// When the next is due.
pub(super) const NEXT_DUE: &str = "SELECT min(due_at) FROM entry WHERE kind = ?1 AND due_at IS NOT NULL";

#[async_trait]
impl EntryStore for SqliteStore {
    async fn entry(&self, kind: EntryKind, id: &str) -> Result<Option<Entry>, StoreError> {
        let id = id.to_owned();
        self.readers
            .read(move |connection| {
                connection.prepare_cached(ONE)?.query_row(params![kind.as_str(), id], read).optional()
            })
            .await
    }

    async fn entries(
        &self,
        kind: EntryKind,
        by: Option<(&str, &str)>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let by = by.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (before, limit) = (before.map_or_else(above_all, str::to_owned), limit.min(ENTRIES_LIMIT));
        self.readers
            .read(move |connection| match &by {
                None => all(connection, OF_A_KIND, params![kind.as_str(), before, limit]),
                Some((name, value)) => {
                    all(connection, FOUND_BY, params![kind.as_str(), before, limit, name, value])
                }
            })
            .await
    }

    async fn due_entries(
        &self,
        kind: EntryKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let (now, limit) = (now.as_microsecond(), limit.min(ENTRIES_LIMIT));
        self.readers.read(move |connection| all(connection, DUE, params![kind.as_str(), now, limit])).await
    }

    async fn next_due_entry(&self, kinds: &[EntryKind]) -> Result<Option<Timestamp>, StoreError> {
        let kinds = kinds.to_vec();
        self.readers
            .read(move |connection| {
                let mut next: Option<Timestamp> = None;
                let mut statement = connection.prepare_cached(NEXT_DUE)?;
                for kind in kinds {
                    let due = statement.query_row([kind.as_str()], |row| moment_or_none(row, 0))?;
                    next = [next, due].into_iter().flatten().min();
                }
                Ok(next)
            })
            .await
    }

    async fn change_entries(
        &self,
        changes: Vec<EntryChange>,
        audit: Vec<Draft>,
    ) -> Result<Committed, StoreError> {
        check_changes(&changes)?;
        self.writer
            .run(move |ledger| {
                if !stand(ledger.connection, &changes).map_err(write_failed)? {
                    return Ok(Committed::Conflict);
                }
                carry_out(ledger, &changes)?;
                for draft in audit {
                    ledger.append(draft)?;
                }
                Ok(Committed::Yes)
            })
            .await
    }

    fn entry_changes(&self) -> broadcast::Receiver<(EntryKind, String)> {
        self.announcements.entries.subscribe()
    }
}

/// Whether every entry still has the revision that the changes expect.
pub(super) fn stand(connection: &Connection, changes: &[EntryChange]) -> rusqlite::Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT revision FROM entry WHERE kind = ?1 AND id = ?2")?;
    for change in changes {
        let (kind, id, expected) = change.expects();
        let found = statement.query_row(params![kind.as_str(), id], |row| unsigned(row, 0)).optional()?;
        if found.unwrap_or(0) != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes changes whose expectations stand.
pub(super) fn carry_out(ledger: &mut Ledger<'_>, changes: &[EntryChange]) -> Result<(), StoreError> {
    for change in changes {
        match change {
            EntryChange::Put(entry) => {
                let revision = entry.revision.saturating_add(1);
                put(ledger.connection, entry, revision).map_err(write_failed)?;
            }
            EntryChange::Remove { kind, id, .. } => {
                remove(ledger.connection, *kind, id).map_err(write_failed)?;
            }
            EntryChange::Require { .. } => continue,
        }
        let (kind, id, _) = change.expects();
        ledger.announce_entry(kind, id);
    }
    Ok(())
}

/// Writes an entry with a revision, in the place of whatever was there.
pub(super) fn put(connection: &Connection, entry: &Entry, revision: u64) -> rusqlite::Result<()> {
    let kind = entry.kind.as_str();
    connection
        .prepare_cached(
            "INSERT INTO entry (kind, id, revision, due_at, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET revision = excluded.revision, due_at = excluded.due_at, body = excluded.body",
        )?
        .execute(params![
            kind,
            entry.id,
            signed(revision),
            entry.due_at.map(Timestamp::as_microsecond),
            entry.body
        ])?;
    forget_keys(connection, entry.kind, &entry.id)?;
    let mut insert = connection
        .prepare_cached("INSERT OR IGNORE INTO entry_key (kind, name, value, id) VALUES (?1, ?2, ?3, ?4)")?;
    for (name, value) in &entry.keys {
        insert.execute(params![kind, name, value, entry.id])?;
    }
    Ok(())
}

fn remove(connection: &Connection, kind: EntryKind, id: &str) -> rusqlite::Result<()> {
    forget_keys(connection, kind, id)?;
    connection
        .prepare_cached("DELETE FROM entry WHERE kind = ?1 AND id = ?2")?
        .execute(params![kind.as_str(), id])?;
    Ok(())
}

fn forget_keys(connection: &Connection, kind: EntryKind, id: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM entry_key WHERE kind = ?1 AND id = ?2")?
        .execute(params![kind.as_str(), id])?;
    Ok(())
}

fn all(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<Entry>> {
    connection.prepare_cached(sql)?.query_map(values, read)?.collect()
}

/// The entry in a row of `select_entries`.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        kind: parsed(row, 0)?,
        id: row.get(1)?,
        revision: unsigned(row, 2)?,
        due_at: moment_or_none(row, 3)?,
        body: row.get(4)?,
        keys: from_json(row, 5)?,
    })
}
