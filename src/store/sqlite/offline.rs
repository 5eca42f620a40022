//! Looking into a store's file without opening the store: it may be in service.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{
    failure::read_failed,
    file,
    row::{signed, unsigned},
    secret, server,
};
use crate::{
    audit::{ChainHead, Digest, Verified, Verifier, VerifyError},
    domain::{InstanceId, TargetName},
    store::{KeptSecret, StoreError},
};

/// Records read at a time, so that a store in service is not kept from tidying up.
const STEP: u32 = 1_000;

/// Verifies the whole audit log in the file at `path`, which may be in service.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_audit(path: &Path, expected: Option<ChainHead>) -> Result<Verified, VerifyError> {
    let mut verifier = Verifier::new(expected);
    let connection = open(path).map_err(|error| verifier.unreadable(error))?;
    let mut after = None;
    while let Some(last) = step(&connection, after, &mut verifier)? {
        after = Some(last);
    }
    verifier.finish()
}

/// Which installation the file at `path` belongs to, and what is kept there of a target's administration password.
///
/// # Errors
/// When the file cannot be read, or is no store.
pub fn read_secret(path: &Path, target: &TargetName) -> Result<(InstanceId, Option<KeptSecret>), StoreError> {
    let connection = open(path)?;
    let read = || Ok((server::instance(&connection)?, secret::read_one(&connection, target)?));
    read().map_err(read_failed)
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = file::open_reader(path)?;
    file::check_identity(&connection, path)?;
    Ok(connection)
}

/// Takes some records; the last number among them, or `None` when there are no more.
fn step(
    connection: &Connection,
    after: Option<u64>,
    verifier: &mut Verifier,
) -> Result<Option<u64>, VerifyError> {
    let rows = rows(connection, after).map_err(|error| verifier.unreadable(read_failed(error)))?;
    let last = rows.last().map(|row| row.seq);
    for row in rows {
        let record = verifier.line(&row.record)?;
        // The columns beside the text must not contradict it: the store takes its place in the chain from them.
        if (record.seq, record.hash) != (row.seq, row.hash) {
            return Err(VerifyError::Edited { seq: record.seq });
        }
    }
    Ok(last)
}

struct AuditRow {
    seq: u64,
    record: String,
    hash: Digest,
}

fn rows(connection: &Connection, after: Option<u64>) -> rusqlite::Result<Vec<AuditRow>> {
    // From the very first row, also one that somebody moved below zero.
    let from = after.map_or(i64::MIN, |seq| signed(seq.saturating_add(1)));
    let row = |row: &rusqlite::Row<'_>| {
        Ok(AuditRow { seq: unsigned(row, 0)?, record: row.get(1)?, hash: Digest(row.get(2)?) })
    };
    connection
        .prepare_cached("SELECT seq, record, hash FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?
        .query_map(params![from, STEP], row)?
        .collect()
}
