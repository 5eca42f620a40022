//! [`ServerStore`] on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteStore,
    failure::write_failed,
    row::{moment, parsed},
};
use crate::{
    audit::Draft,
    domain::{InstanceId, TargetName},
    store::{KnownServer, ServerStore, StoreError},
};

/// Which installation a store belongs to.
pub(super) fn instance(connection: &Connection) -> rusqlite::Result<InstanceId> {
    connection.query_row("SELECT instance FROM installation", [], |row| parsed(row, 0))
}

#[async_trait]
impl ServerStore for SqliteStore {
    async fn known_server(&self, target: &TargetName) -> Result<Option<KnownServer>, StoreError> {
        let target = target.clone();
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT identity, since FROM known_server WHERE target = ?1")?
                    .query_row([target.as_str()], |row| {
                        Ok(KnownServer { identity: row.get(0)?, since: moment(row, 1)? })
                    })
                    .optional()
            })
            .await
    }

    async fn know_server(
        &self,
        target: &TargetName,
        server: KnownServer,
        audit: Draft,
    ) -> Result<(), StoreError> {
        let target = target.clone();
        self.writer
            .run(move |ledger| {
                let sql = "INSERT INTO known_server (target, identity, since) VALUES (?1, ?2, ?3)
                           ON CONFLICT DO UPDATE SET identity = excluded.identity, since = excluded.since";
                ledger
                    .connection
                    .prepare_cached(sql)
                    .and_then(|mut statement| {
                        statement.execute(params![
                            target.as_str(),
                            server.identity,
                            server.since.as_microsecond()
                        ])
                    })
                    .map_err(write_failed)?;
                ledger.append(audit)
            })
            .await
    }
}
