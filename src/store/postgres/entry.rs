//! [`EntryStore`] on PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio_postgres::{Row, types::ToSql};

use super::{
    PostgresStore,
    failure::Failure,
    ledger::{Ledger, Needs},
    row::{from_json, moment_or_none, parsed, plain, unsigned},
    writer::Work,
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
                (SELECT coalesce(json_agg(json_build_array(own.name, own.value) ORDER BY own.name, own.value), '[]')::text
                 FROM entry_key own WHERE own.kind = entry.kind AND own.id = entry.id)
             FROM entry ",
            $rest
        )
    };
}
pub(super) use select_entries;

#[async_trait]
impl EntryStore for PostgresStore {
    async fn entry(&self, kind: EntryKind, id: &str) -> Result<Option<Entry>, StoreError> {
        let sql = select_entries!("WHERE entry.kind = $1 AND entry.id = $2");
        Ok(self.readers.read(sql, &[&kind.as_str(), &id], read).await?.pop())
    }

    async fn entries(
        &self,
        kind: EntryKind,
        by: Option<(&str, &str)>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let kind = kind.as_str();
        let (before, limit) =
            (before.map_or_else(above_all, str::to_owned), i64::from(limit.min(ENTRIES_LIMIT)));
        let Some((name, value)) = by else {
            let sql =
                select_entries!("WHERE entry.kind = $1 AND entry.id < $2 ORDER BY entry.id DESC LIMIT $3");
            return self.readers.read(sql, &[&kind, &before, &limit], read).await;
        };
        let sql = select_entries!(
            "JOIN entry_key found ON found.kind = entry.kind AND found.id = entry.id
             WHERE found.kind = $1 AND found.name = $2 AND found.value = $3 AND found.id < $4
             ORDER BY found.id DESC LIMIT $5"
        );
        let values: [&(dyn ToSql + Sync); 5] = [&kind, &name, &value, &before, &limit];
        self.readers.read(sql, &values, read).await
    }

    async fn due_entries(
        &self,
        kind: EntryKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let limit = i64::from(limit.min(ENTRIES_LIMIT));
        let sql = select_entries!(
            "WHERE entry.kind = $1 AND entry.due_at IS NOT NULL AND entry.due_at <= $2
             ORDER BY entry.due_at, entry.id LIMIT $3"
        );
        self.readers.read(sql, &[&kind.as_str(), &now.as_microsecond(), &limit], read).await
    }

    async fn next_due_entry(&self, kinds: &[EntryKind]) -> Result<Option<Timestamp>, StoreError> {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let sql = "SELECT min((SELECT min(due_at) FROM entry WHERE kind = asked AND due_at IS NOT NULL))
            FROM unnest($1::text[]) AS asked";
        let found = self.readers.read(sql, &[&kinds], |row| moment_or_none(row, 0)).await?;
        Ok(found.first().copied().flatten())
    }

    async fn change_entries(
        &self,
        changes: Vec<EntryChange>,
        audit: Vec<Draft>,
    ) -> Result<Committed, StoreError> {
        check_changes(&changes)?;
        self.writer.run(Change { changes, audit }).await
    }

    fn entry_changes(&self) -> broadcast::Receiver<(EntryKind, String)> {
        self.announcements.entries.subscribe()
    }
}

/// The entry in a row of `select_entries`.
pub(super) fn read(row: &Row) -> Result<Entry, Failure> {
    Ok(Entry {
        kind: parsed(row, 0)?,
        id: plain(row, 1)?,
        revision: unsigned(row, 2)?,
        due_at: moment_or_none(row, 3)?,
        body: plain(row, 4)?,
        keys: from_json(row, 5)?,
    })
}

struct Change {
    changes: Vec<EntryChange>,
    audit: Vec<Draft>,
}

impl Work for Change {
    type Output = Committed;
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.entries_of(&self.changes);
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<Committed, StoreError> {
        if !ledger.stand(&self.changes) {
            return Ok(Committed::Conflict);
        }
        let head = ledger.head;
        let appended = ledger.changes.records.len();
        for draft in &self.audit {
            match ledger.seal(draft.clone()) {
                Ok(sealed) => ledger.append(sealed),
                Err(error) => {
                    ledger.head = head;
                    ledger.changes.records.truncate(appended);
                    return Err(error);
                }
            }
        }
        ledger.change_entries(&self.changes);
        Ok(Committed::Yes)
    }
}
