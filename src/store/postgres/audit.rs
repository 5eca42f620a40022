//! [`AuditLog`] on PostgreSQL: the chain of this process, and the heads of the others'.

use async_trait::async_trait;

use super::{
    PostgresStore,
    ledger::{Ledger, Needs},
    readers::Readers,
    row::{digest, from_json, parsed, signed, unsigned},
    settings::ReplicaName,
    writer::Work,
};
use crate::{
    audit::{AuditLog, AuditReadError, ChainHead, ChainPart, Draft, Order, Record},
    store::StoreError,
};

/// The most records one question brings back.
const MOST: usize = 10_000;

#[async_trait]
impl AuditLog for PostgresStore {
    async fn read_after(&self, after: u64, limit: usize) -> Result<Vec<Record>, AuditReadError> {
        let records = read(&self.readers, &self.writing.replica, after, limit).await;
        records.map_err(|error| AuditReadError(Box::new(error)))
    }

    async fn last_seq(&self) -> Result<u64, AuditReadError> {
        Ok(*self.announcements.appended.borrow())
    }

    async fn appended(&self, after: u64) {
        // It cannot fail: the store itself keeps the sending half.
        let _ = self.announcements.appended.subscribe().wait_for(|last| *last > after).await;
    }

    async fn chain_ends(&self) -> Result<Vec<(String, u64)>, AuditReadError> {
        let chains = chains(&self.readers).await.map_err(|error| AuditReadError(Box::new(error)))?;
        Ok(chains.into_iter().map(|(replica, head)| (replica.as_str().to_owned(), head.seq)).collect())
    }

    async fn part(&self, part: ChainPart<'_>) -> Result<Vec<Record>, AuditReadError> {
        let sql = match part.order {
            Order::OldestFirst => {
                "SELECT record FROM audit WHERE replica = $1 AND seq BETWEEN $2 AND $3 AND strpos(record, $4) > 0
                ORDER BY seq LIMIT $5"
            }
            Order::NewestFirst => {
                "SELECT record FROM audit WHERE replica = $1 AND seq BETWEEN $2 AND $3 AND strpos(record, $4) > 0
                ORDER BY seq DESC LIMIT $5"
            }
        };
        let limit = i64::from(part.limit).min(i64::try_from(MOST).unwrap_or(i64::MAX));
        let (first, last) = (signed(part.first), signed(part.last));
        self.readers
            .read(sql, &[&part.chain, &first, &last, &part.containing, &limit], |row| from_json(row, 0))
            .await
            .map_err(|error| AuditReadError(Box::new(error)))
    }
}

/// Records of one chain above a number.
pub(super) async fn read(
    readers: &Readers,
    replica: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let limit = i64::try_from(limit.min(MOST)).unwrap_or(i64::MAX);
    let sql = "SELECT record FROM audit WHERE replica = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    readers.read(sql, &[&replica, &signed(after), &limit], |row| from_json(row, 0)).await
}

/// All chains and their heads, by name.
pub(super) async fn chains(readers: &Readers) -> Result<Vec<(ReplicaName, ChainHead)>, StoreError> {
    let sql = "SELECT replica, seq, hash FROM chain ORDER BY replica";
    readers
        .read(sql, &[], |row| {
            Ok((parsed(row, 0)?, ChainHead { seq: unsigned(row, 1)?, hash: digest(row, 2)? }))
        })
        .await
}

/// A record that accompanies no change of state.
pub(super) struct Note(pub(super) Draft);

impl Work for Note {
    type Output = ();
    type Error = StoreError;

    fn needs(&self, _needs: &mut Needs) {}

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        let record = ledger.seal(self.0.clone())?;
        ledger.append(record);
        Ok(())
    }
}

/// Nothing, durably: every transaction writes at least its own number.
pub(super) struct Probe;

impl Work for Probe {
    type Output = ();
    type Error = StoreError;

    fn needs(&self, _needs: &mut Needs) {}

    fn run(&self, _ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}
