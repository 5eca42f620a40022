//! [`EntryStore`] on SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::broadcast;

use super::{
    SqliteStore,
    failure::write_failed,
    row::{moment_or_none, signed, unsigned},
    writer::Ledger,
};
use crate::{
    audit::Draft,
    store::{Committed, ENTRIES_LIMIT, Entry, EntryChange, EntryKind, EntryStore, StoreError},
};

/// Sorts above every identifier.
const ABOVE_ALL: &str = "\u{10FFFF}";

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT entry.id, revision, due_at, body FROM entry ", $rest)
    };
}

#[async_trait]
impl EntryStore for SqliteStore {
    async fn entry(&self, kind: EntryKind, id: &str) -> Result<Option<Entry>, StoreError> {
        let id = id.to_owned();
        self.readers
            .read(move |connection| {
                let found = connection
                    .prepare_cached(select!("WHERE kind = ?1 AND id = ?2"))?
                    .query_row(params![kind.as_str(), id], |row| read(kind, row))
                    .optional()?;
                found.map(|entry| with_keys(connection, entry)).transpose()
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
        let (before, limit) = (before.unwrap_or(ABOVE_ALL).to_owned(), limit.min(ENTRIES_LIMIT));
        self.readers
            .read(move |connection| {
                let (kind_name, reader) = (kind.as_str(), |row: &Row<'_>| read(kind, row));
                let found: rusqlite::Result<Vec<Entry>> = match by {
                    None => connection
                        .prepare_cached(select!("WHERE kind = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"))?
                        .query_map(params![kind_name, before, limit], reader)?
                        .collect(),
                    Some((name, value)) => connection
                        .prepare_cached(select!(
                            "JOIN entry_key USING (kind, id)
                             WHERE kind = ?1 AND name = ?2 AND value = ?3 AND entry_key.id < ?4
                             ORDER BY entry_key.id DESC LIMIT ?5"
                        ))?
                        .query_map(params![kind_name, name, value, before, limit], reader)?
                        .collect(),
                };
                found?.into_iter().map(|entry| with_keys(connection, entry)).collect()
            })
            .await
    }

    async fn due_entries(
        &self,
        kind: EntryKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.readers
            .read(move |connection| {
                let found: rusqlite::Result<Vec<Entry>> = connection
                    .prepare_cached(select!("WHERE kind = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3"))?
                    .query_map(
                        params![kind.as_str(), now.as_microsecond(), limit.min(ENTRIES_LIMIT)],
                        |row| read(kind, row),
                    )?
                    .collect();
                found?.into_iter().map(|entry| with_keys(connection, entry)).collect()
            })
            .await
    }

    async fn next_due_entry(&self, kinds: &[EntryKind]) -> Result<Option<Timestamp>, StoreError> {
        let kinds = kinds.to_vec();
        self.readers
            .read(move |connection| {
                let mut next: Option<Timestamp> = None;
                let sql = "SELECT min(due_at) FROM entry WHERE kind = ?1 AND due_at IS NOT NULL";
                let mut statement = connection.prepare_cached(sql)?;
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
            EntryChange::Put(entry) => put(ledger.connection, entry).map_err(write_failed)?,
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

fn put(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let kind = entry.kind.as_str();
    connection
        .prepare_cached(
            "INSERT INTO entry (kind, id, revision, due_at, body) VALUES (?1, ?2, ?3 + 1, ?4, ?5)
             ON CONFLICT DO UPDATE SET revision = excluded.revision, due_at = excluded.due_at, body = excluded.body",
        )?
        .execute(params![
            kind,
            entry.id,
            signed(entry.revision),
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

fn read(kind: EntryKind, row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        kind,
        id: row.get(0)?,
        revision: unsigned(row, 1)?,
        keys: Vec::new(),
        due_at: moment_or_none(row, 2)?,
        body: row.get(3)?,
    })
}

fn with_keys(connection: &Connection, entry: Entry) -> rusqlite::Result<Entry> {
    let sql = "SELECT name, value FROM entry_key WHERE kind = ?1 AND id = ?2 ORDER BY name, value";
    let keys = connection
        .prepare_cached(sql)?
        .query_map(params![entry.kind.as_str(), entry.id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Entry { keys, ..entry })
}
