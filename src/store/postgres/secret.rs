//! [`SecretStore`] on PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};

use super::{
    PostgresStore,
    failure::Failure,
    ledger::{Ledger, Needs},
    row::{foreign, moment, moment_or_none, parsed, plain, signed, unsigned},
    writer::Work,
};
use crate::{
    audit::Draft,
    domain::TargetName,
    sealing::Sealed,
    store::{KeptSecret, PendingSecret, RotationEnd, SecretStore, StoreError},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT target, account, sealed, rotated_at, pending, pending_since, ended_at, failure, revision
             FROM administration_secret ",
            $rest
        )
    };
}

pub(super) use select as select_secrets;

fn sealed_or_none(row: &Row, column: usize) -> Result<Option<Sealed>, Failure> {
    plain::<Option<&str>>(row, column)?
        .map(|text| text.parse().map_err(|error| foreign(column, error)))
        .transpose()
}

/// What is kept for a target, from a row.
pub(super) fn read(row: &Row) -> Result<(TargetName, KeptSecret), Failure> {
    let pending = match sealed_or_none(row, 4)? {
        Some(sealed) => Some(PendingSecret { sealed, since: moment(row, 5)? }),
        None => None,
    };
    let failure: Option<String> = plain(row, 7)?;
    let secret = KeptSecret {
        account: plain(row, 1)?,
        current: sealed_or_none(row, 2)?,
        rotated_at: moment_or_none(row, 3)?,
        pending,
        ended: moment_or_none(row, 6)?.map(|at| RotationEnd { at, failure }),
        revision: unsigned(row, 8)?,
    };
    Ok((parsed(row, 0)?, secret))
}

#[async_trait]
impl SecretStore for PostgresStore {
    async fn secret(&self, target: &TargetName) -> Result<Option<KeptSecret>, StoreError> {
        let found = self.readers.read(select!("WHERE target = $1"), &[&target.as_str()], read).await?;
        Ok(found.into_iter().next().map(|(_, secret)| secret))
    }

    async fn secrets(&self) -> Result<Vec<(TargetName, KeptSecret)>, StoreError> {
        self.readers.read(select!("ORDER BY target"), &[], read).await
    }

    async fn keep_secret(
        &self,
        target: &TargetName,
        secret: KeptSecret,
        audit: Draft,
    ) -> Result<bool, StoreError> {
        self.writer.run(Keep { target: target.clone(), secret, audit }).await
    }
}

struct Keep {
    target: TargetName,
    secret: KeptSecret,
    audit: Draft,
}

impl Work for Keep {
    type Output = bool;
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.secrets.insert(self.target.as_str().to_owned());
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<bool, StoreError> {
        let kept = ledger.facts.secrets.get(&self.target).copied().unwrap_or(0);
        if kept != self.secret.revision {
            return Ok(false);
        }
        let record = ledger.seal(self.audit.clone())?;
        let revision = kept.saturating_add(1);
        ledger.facts.secrets.insert(self.target.clone(), revision);
        ledger.changes.secrets.insert(self.target.clone(), KeptSecret { revision, ..self.secret.clone() });
        ledger.append(record);
        Ok(true)
    }
}

/// A secret's columns but for its target's name.
pub(super) struct Columns {
    sealed: Option<String>,
    rotated_at: Option<i64>,
    pending: Option<String>,
    pending_since: Option<i64>,
    ended_at: Option<i64>,
    failure: Option<String>,
    revision: i64,
}

impl Columns {
    pub(super) fn of(secret: &KeptSecret) -> Self {
        let (pending, ended) = (secret.pending.as_ref(), secret.ended.as_ref());
        Self {
            sealed: secret.current.as_ref().map(ToString::to_string),
            rotated_at: secret.rotated_at.map(Timestamp::as_microsecond),
            pending: pending.map(|pending| pending.sealed.to_string()),
            pending_since: pending.map(|pending| pending.since.as_microsecond()),
            ended_at: ended.map(|ended| ended.at.as_microsecond()),
            failure: ended.and_then(|ended| ended.failure.clone()),
            revision: signed(secret.revision),
        }
    }

    /// As the statement takes them.
    pub(super) fn values<'a>(
        &'a self,
        target: &'a (dyn ToSql + Sync),
        account: &'a (dyn ToSql + Sync),
    ) -> [&'a (dyn ToSql + Sync); 9] {
        [
            target,
            account,
            &self.sealed,
            &self.rotated_at,
            &self.pending,
            &self.pending_since,
            &self.ended_at,
            &self.failure,
            &self.revision,
        ]
    }
}
