//! [`ServerStore`] on PostgreSQL.

use async_trait::async_trait;

use super::{
    PostgresStore, lease_query,
    ledger::{Ledger, Needs},
    writer::Work,
};
use crate::{
    audit::Draft,
    domain::TargetName,
    store::{KnownServer, ServerStore, StoreError},
};

#[async_trait]
impl ServerStore for PostgresStore {
    async fn known_server(&self, target: &TargetName) -> Result<Option<KnownServer>, StoreError> {
        lease_query::known_server(&self.readers, target).await
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
