//! [`SecretStore`] on SQLite.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

use super::{
    SqliteStore,
    failure::write_failed,
    row::{moment, moment_or_none, parsed, signed, unsigned},
};
use crate::{
    audit::Draft,
    domain::TargetName,
    sealing::Sealed,
    store::{KeptSecret, PendingSecret, RotationEnd, SecretStore, StoreError},
};

const COLUMNS: &str =
    "target, account, sealed, rotated_at, pending, pending_since, ended_at, failure, revision";

fn sealed_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Sealed>> {
    let absent = row.get_ref(column)? == rusqlite::types::ValueRef::Null;
    if absent { Ok(None) } else { parsed(row, column).map(Some) }
}

/// What is kept for a target, from a row.
pub(super) fn kept(row: &Row<'_>) -> rusqlite::Result<(TargetName, KeptSecret)> {
    let pending = match sealed_or_none(row, 4)? {
        Some(sealed) => Some(PendingSecret { sealed, since: moment(row, 5)? }),
        None => None,
    };
    let failure: Option<String> = row.get(7)?;
    let secret = KeptSecret {
        account: row.get(1)?,
        current: sealed_or_none(row, 2)?,
        rotated_at: moment_or_none(row, 3)?,
        pending,
        ended: moment_or_none(row, 6)?.map(|at| RotationEnd { at, failure }),
        revision: unsigned(row, 8)?,
    };
    Ok((parsed(row, 0)?, secret))
}

/// The question for all of them.
pub(super) fn all() -> String {
    format!("SELECT {COLUMNS} FROM administration_secret ORDER BY target")
}

/// Adds what is kept for a target, with the revision it has.
pub(super) fn insert(
    connection: &rusqlite::Connection,
    target: &TargetName,
    secret: &KeptSecret,
) -> rusqlite::Result<()> {
    let before = KeptSecret { revision: 0, ..secret.clone() };
    write(connection, target, &before)?;
    let sql = "UPDATE administration_secret SET revision = ?2 WHERE target = ?1";
    connection.execute(sql, params![target.as_str(), signed(secret.revision)]).map(drop)
}

#[async_trait]
impl SecretStore for SqliteStore {
    async fn secret(&self, target: &TargetName) -> Result<Option<KeptSecret>, StoreError> {
        let target = target.clone();
        self.readers.read(move |connection| read_one(connection, &target)).await
    }

    async fn secrets(&self) -> Result<Vec<(TargetName, KeptSecret)>, StoreError> {
        self.readers
            .read(|connection| connection.prepare_cached(&all())?.query_map([], kept)?.collect())
            .await
    }

    async fn keep_secret(
        &self,
        target: &TargetName,
        secret: KeptSecret,
        audit: Draft,
    ) -> Result<bool, StoreError> {
        let target = target.clone();
        self.writer
            .run(move |ledger| {
                if write(ledger.connection, &target, &secret).map_err(write_failed)? == 0 {
                    return Ok(false);
                }
                ledger.append(audit).map(|()| true)
            })
            .await
    }
}

/// What is kept for a target.
pub(super) fn read_one(
    connection: &rusqlite::Connection,
    target: &TargetName,
) -> rusqlite::Result<Option<KeptSecret>> {
    let sql = format!("SELECT {COLUMNS} FROM administration_secret WHERE target = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([target.as_str()], kept).optional()?;
    Ok(found.map(|(_, secret)| secret))
}

/// Rows written: one, or none when what is stored has another revision.
fn write(
    connection: &rusqlite::Connection,
    target: &TargetName,
    secret: &KeptSecret,
) -> rusqlite::Result<usize> {
    let sql = if secret.revision == 0 {
        format!(
            "INSERT INTO administration_secret ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 + 1)
             ON CONFLICT DO NOTHING"
        )
    } else {
        "UPDATE administration_secret SET account = ?2, sealed = ?3, rotated_at = ?4, pending = ?5, pending_since = ?6,
             ended_at = ?7, failure = ?8, revision = ?9 + 1
         WHERE target = ?1 AND revision = ?9"
            .to_owned()
    };
    let pending = secret.pending.as_ref();
    let ended = secret.ended.as_ref();
    connection.prepare_cached(&sql)?.execute(params![
        target.as_str(),
        secret.account,
        secret.current.as_ref().map(ToString::to_string),
        secret.rotated_at.map(jiff::Timestamp::as_microsecond),
        pending.map(|pending| pending.sealed.to_string()),
        pending.map(|pending| pending.since.as_microsecond()),
        ended.map(|ended| ended.at.as_microsecond()),
        ended.and_then(|ended| ended.failure.as_deref()),
        signed(secret.revision),
    ])
}
