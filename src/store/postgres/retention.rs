//! [`RetentionStore`] on PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    PostgresStore,
    ledger::{Ledger, Needs},
    row::{moment, parsed, plain},
    writer::Work,
};
use crate::{
    audit::Draft,
    domain::{LeaseId, StateName},
    store::{EndedLease, REMOVED_AT_ONCE, RetentionStore, StoreError, retention::is_removable},
};

#[async_trait]
impl RetentionStore for PostgresStore {
    async fn ended(
        &self,
        state: StateName,
        after: Option<LeaseId>,
        limit: u32,
    ) -> Result<Vec<EndedLease>, StoreError> {
        let sql = "SELECT id, created_at, updated_at,
                coalesce((standing::json -> 'report' ->> 'account_kept')::bool, false)
            FROM lease WHERE state = $1 AND id > $2 ORDER BY id LIMIT $3";
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.readers
            .read(sql, &[&state.as_str(), &after, &i64::from(limit)], |row| {
                Ok(EndedLease {
                    id: parsed(row, 0)?,
                    created_at: moment(row, 1)?,
                    ended_at: moment(row, 2)?,
                    account_kept: plain(row, 3)?,
                })
            })
            .await
    }

    async fn remove_ended(
        &self,
        ids: &[LeaseId],
        before: Timestamp,
        audit: Draft,
    ) -> Result<u64, StoreError> {
        let ids = ids.iter().copied().take(REMOVED_AT_ONCE as usize).collect();
        self.writer.run(Remove { ids, before, audit }).await
    }

    async fn remove_archived(&self, through: u64) -> Result<(), StoreError> {
        self.writer.run(Forget { through }).await
    }
}

struct Remove {
    ids: Vec<LeaseId>,
    before: Timestamp,
    audit: Draft,
}

impl Work for Remove {
    type Output = u64;
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.leases.extend(self.ids.iter().map(ToString::to_string));
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<u64, StoreError> {
        let may_go =
            |id: &LeaseId| ledger.lease(*id).is_some_and(|(lease, _)| is_removable(lease, self.before));
        let going: Vec<LeaseId> = self.ids.iter().copied().filter(may_go).collect();
        let removed = u64::try_from(going.len()).unwrap_or(u64::MAX);
        if removed > 0 {
            let record = ledger.seal(self.audit.clone().with("leases", removed.to_string()))?;
            ledger.remove(going);
            ledger.append(record);
        }
        Ok(removed)
    }
}

struct Forget {
    through: u64,
}

impl Work for Forget {
    type Output = ();
    type Error = StoreError;

    fn needs(&self, _needs: &mut Needs) {}

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        let through = ledger.changes.archived.unwrap_or(0).max(self.through);
        ledger.changes.archived = Some(through);
        Ok(())
    }
}
