//! [`ServerStore`] on PostgreSQL.

use async_trait::async_trait;

use tokio_postgres::Row;

use super::{
    PostgresStore,
    failure::Failure,
    ledger::{Ledger, Needs},
    row::{moment, parsed, plain},
    session::Session,
    writer::Work,
};
use crate::{
    audit::Draft,
    domain::{InstanceId, TargetName},
    store::{KnownServer, ServerStore, StoreError},
};

/// Those after one, by target.
pub(super) const AFTER: &str =
    "SELECT target, identity, since FROM known_server WHERE target > $1 ORDER BY target LIMIT $2";

/// A server known to answer for a target, from a row.
pub(super) fn read(row: &Row) -> Result<(TargetName, KnownServer), Failure> {
    Ok((parsed(row, 0)?, KnownServer { identity: plain(row, 1)?, since: moment(row, 2)? }))
}

/// Which installation the store belongs to.
pub(super) async fn instance(session: &Session) -> Result<InstanceId, Failure> {
    let found = session.query("SELECT instance FROM installation", &[]).await?;
    found.first().map(|row| parsed(row, 0)).transpose()?.ok_or_else(Failure::disconnected)
}

#[async_trait]
impl ServerStore for PostgresStore {
    async fn known_server(&self, target: &TargetName) -> Result<Option<KnownServer>, StoreError> {
        let sql = "SELECT target, identity, since FROM known_server WHERE target = $1";
        let found = self.readers.read(sql, &[&target.as_str()], read).await?;
        Ok(found.into_iter().next().map(|(_, server)| server))
    }

    async fn know_server(
        &self,
        target: &TargetName,
        server: KnownServer,
        audit: Draft,
    ) -> Result<(), StoreError> {
        self.writer.run(Know { target: target.clone(), server, audit }).await
    }
}

struct Know {
    target: TargetName,
    server: KnownServer,
    audit: Draft,
}

impl Work for Know {
    type Output = ();
    type Error = StoreError;

    fn needs(&self, _needs: &mut Needs) {}

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        let record = ledger.seal(self.audit.clone())?;
        ledger.changes.servers.insert(self.target.clone(), self.server.clone());
        ledger.append(record);
        Ok(())
    }
}
