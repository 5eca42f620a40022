//! [`AuditLog`] on SQLite: sealing within the transaction, and reading.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteStore,
    failure::write_failed,
    row::{from_json, no_json, signed, unsigned},
    writer::Ledger,
};
use crate::{
    audit::{AuditLog, AuditReadError, ChainHead, ChainPart, Digest, Draft, Order, Record},
    store::{StoreError, transfer::EMBEDDED},
};

/// The most records one question brings back.
const MOST: u32 = 10_000;

/// A part of a chain: a range of its numbers, so that no more than those are looked at.
macro_rules! part_of {
    ($table:literal, $order:literal) => {
        concat!(
            "SELECT record FROM ",
            $table,
            " AND seq BETWEEN ?1 AND ?2 AND instr(record, ?3) > 0 ORDER BY seq ",
            $order,
            " LIMIT ?4"
        )
    };
}

impl Ledger<'_> {
    /// Gives a draft its place at the end of the chain.
    pub(super) fn append(&mut self, draft: Draft) -> Result<(), StoreError> {
        let sealed = Record::seal_as_json(draft, self.head.seq.saturating_add(1), self.head.hash);
        let (head, json) = sealed.map_err(no_json)?;
        self.connection
            .prepare_cached("INSERT INTO audit (seq, record, hash) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![signed(head.seq), json, head.hash.0]))
            .map_err(write_failed)?;
        self.head = head;
        Ok(())
    }
}

/// The end of the chain, as stored.
pub(super) fn read_head(connection: &Connection) -> rusqlite::Result<ChainHead> {
    let last = connection
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok(ChainHead { seq: unsigned(row, 0)?, hash: Digest(row.get(1)?) }))
        .optional()?;
    Ok(last.unwrap_or(ChainHead::GENESIS))
}

/// The ends of chains that were moved here, by name.
pub(super) fn former_heads(connection: &Connection) -> rusqlite::Result<Vec<(String, ChainHead)>> {
    let sql = "SELECT replica, seq, hash FROM former_audit AS last
        WHERE seq = (SELECT max(seq) FROM former_audit WHERE replica = last.replica) ORDER BY replica";
    let head = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, ChainHead { seq: unsigned(row, 1)?, hash: Digest(row.get(2)?) }))
    };
    connection.prepare(sql)?.query_map([], head)?.collect()
}

#[async_trait]
impl AuditLog for SqliteStore {
    async fn read_after(&self, after: u64, limit: usize) -> Result<Vec<Record>, AuditReadError> {
        let limit = u32::try_from(limit).unwrap_or(MOST).min(MOST);
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT record FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2")?
                    .query_map(params![signed(after), limit], |row| from_json(row, 0))?
                    .collect()
            })
            .await
            .map_err(|error| AuditReadError(Box::new(error)))
    }

    async fn last_seq(&self) -> Result<u64, AuditReadError> {
        Ok(*self.announcements.appended.borrow())
    }

    async fn appended(&self, after: u64) {
        // It cannot fail: the store itself keeps the sending half.
        let _ = self.announcements.appended.subscribe().wait_for(|last| *last > after).await;
    }

    async fn chain_ends(&self) -> Result<Vec<(String, u64)>, AuditReadError> {
        let former = self.former.iter().map(|(name, head)| (name.clone(), head.seq));
        let own = (EMBEDDED.to_owned(), *self.announcements.appended.borrow());
        Ok(former.chain([own]).collect())
    }

    async fn part(&self, part: ChainPart<'_>) -> Result<Vec<Record>, AuditReadError> {
        let (chain, containing) = (part.chain.to_owned(), part.containing.to_owned());
        let (first, last, limit) = (signed(part.first), signed(part.last), part.limit.min(MOST));
        let sql = match (chain == EMBEDDED, part.order) {
            (true, Order::OldestFirst) => part_of!("audit WHERE ?5 <> ''", "ASC"),
            (true, Order::NewestFirst) => part_of!("audit WHERE ?5 <> ''", "DESC"),
            (false, Order::OldestFirst) => part_of!("former_audit WHERE replica = ?5", "ASC"),
            (false, Order::NewestFirst) => part_of!("former_audit WHERE replica = ?5", "DESC"),
        };
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached(sql)?
                    .query_map(params![first, last, containing, limit, chain], |row| from_json(row, 0))?
                    .collect()
            })
            .await
            .map_err(|error| AuditReadError(Box::new(error)))
    }
}
