//! Looking into a store's file without opening the store: it may be in service.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{
    failure::read_failed,
    file, retention,
    row::{signed, unsigned},
    secret, server,
};
use crate::{
    audit::{
        Archives, ChainHead, ChainVerifier, ChainsError, ChainsVerifier, Digest, Verified, VerifiedChains,
        Verifier, VerifyError,
    },
    domain::{InstanceId, TargetName},
    store::{KeptSecret, StoreError, transfer::EMBEDDED},
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
    let archived =
        archived(&connection, EMBEDDED).map_err(|error| verifier.unreadable(read_failed(error)))?;
    let mut after = archived;
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

/// Verifies all audit logs in the file at `path` against each other: its own, and those of processes whose shared store was
/// moved here; each behind what of it is in `archives`. The file may be in service.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_chains(
    path: &Path,
    known: &[(Option<String>, ChainHead)],
    mut archives: Archives,
) -> Result<VerifiedChains, ChainsError> {
    let unreadable = |error: StoreError| ChainVerifier::new(None).unreadable(error);
    let connection = open(path).map_err(unreadable)?;
    let names = former_chains(&connection).map_err(|error| unreadable(read_failed(error)))?;
    let mut all = ChainsVerifier::knowing(known);
    for name in &names {
        all.add(one_chain(&connection, name, archives.take(Some(name)), true)?)?;
    }
    let own = if names.is_empty() { None } else { Some(EMBEDDED) };
    all.add(one_chain(&connection, EMBEDDED, archives.take(own), false)?)?;
    archives.add_rest(&mut all)?;
    all.finish(true)
}

/// Chains that were moved here.
fn former_chains(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    if !connection.table_exists(None, "former_audit")? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT DISTINCT replica FROM former_audit ORDER BY replica")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The last record of a chain that is archived, should any be.
fn archived(connection: &Connection, chain: &str) -> rusqlite::Result<Option<u64>> {
    if !connection.table_exists(None, "entry")? {
        return Ok(None);
    }
    Ok(Some(retention::archived(connection, chain)?).filter(|seq| *seq > 0))
}

fn one_chain(
    connection: &Connection,
    name: &str,
    mut chain: ChainVerifier,
    is_former: bool,
) -> Result<ChainVerifier, ChainsError> {
    // Records that are archived may still be there, until they are removed.
    let mut after = match chain.last_seq() {
        0 => archived(connection, name).map_err(|error| chain.unreadable(read_failed(error)))?,
        taken => Some(taken),
    };
    loop {
        let rows = if is_former { former_rows(connection, name, after) } else { rows(connection, after) };
        let rows = rows.map_err(|error| chain.unreadable(read_failed(error)))?;
        let Some(last) = rows.last().map(|row| row.seq) else { return Ok(chain) };
        for row in rows {
            // The columns beside the text must not contradict it: the store takes its place in the chain from them.
            chain.stored(&row.record, row.seq, row.hash)?;
        }
        after = Some(last);
    }
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

/// From the very first row, also one that somebody moved below zero.
fn from(after: Option<u64>) -> i64 {
    after.map_or(i64::MIN, |seq| signed(seq.saturating_add(1)))
}

fn audit_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow { seq: unsigned(row, 0)?, record: row.get(1)?, hash: Digest(row.get(2)?) })
}

fn rows(connection: &Connection, after: Option<u64>) -> rusqlite::Result<Vec<AuditRow>> {
    connection
        .prepare_cached("SELECT seq, record, hash FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2")?
        .query_map(params![from(after), STEP], audit_row)?
        .collect()
}

fn former_rows(
    connection: &Connection,
    replica: &str,
    after: Option<u64>,
) -> rusqlite::Result<Vec<AuditRow>> {
    connection
        .prepare_cached(
            "SELECT seq, record, hash FROM former_audit WHERE replica = ?3 AND seq >= ?1 ORDER BY seq LIMIT ?2",
        )?
        .query_map(params![from(after), STEP, replica], audit_row)?
        .collect()
}
