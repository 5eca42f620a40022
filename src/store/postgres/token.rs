//! [`TokenStore`] on PostgreSQL. Nothing is kept in memory: a revocation on another replica counts at once.

use async_trait::async_trait;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};

use super::{
    PostgresStore,
    failure::Failure,
    ledger::{Ledger, Needs},
    row::{digest, from_json, moment, moment_or_none, parsed, plain, to_json},
    writer::Work,
};
use crate::{
    audit::{Digest, Draft},
    domain::TokenId,
    store::{StoreError, StoredToken, TokenHash, TokenStore},
};

/// The most tokens one question brings back.
const MOST: u32 = 1_000;

/// Sorts above every identifier.
const ABOVE_ALL: &str = "~";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, hash, principal, cidrs, description, created_at, expires_at, revoked_at FROM token ",
            $rest
        )
    };
}

/// Those after one, by identifier.
pub(super) const AFTER: &str = select!("WHERE id > $1 ORDER BY id LIMIT $2");

/// A token's columns that are made for the purpose.
pub(super) struct Columns {
    id: String,
    hash: Vec<u8>,
    moments: [Option<i64>; 3],
}

impl Columns {
    pub(super) fn of(token: &StoredToken) -> Self {
        let moments = [Some(token.created_at), token.expires_at, token.revoked_at];
        Self {
            id: token.id.to_string(),
            hash: token.hash.0.to_vec(),
            moments: moments.map(|at| at.map(Timestamp::as_microsecond)),
        }
    }

    /// As the statement takes them.
    pub(super) fn values<'a>(
        &'a self,
        token: &'a StoredToken,
        principal: &'a String,
        cidrs: &'a String,
    ) -> [&'a (dyn ToSql + Sync); 8] {
        let [created, expires, revoked] = &self.moments;
        [&self.id, &self.hash, principal, cidrs, &token.description, created, expires, revoked]
    }
}

#[async_trait]
impl TokenStore for PostgresStore {
    async fn add_token(&self, token: StoredToken, audit: Draft) -> Result<(), StoreError> {
        let (principal, cidrs) = (to_json(&token.principal)?, to_json(&token.cidrs)?);
        self.writer.run(Add { token, principal, cidrs, audit }).await
    }

    async fn token_by_hash(&self, hash: &TokenHash) -> Result<Option<StoredToken>, StoreError> {
        let found = self.readers.read(select!("WHERE hash = $1"), &[&hash.0.as_slice()], read).await?;
        // The index finds it by the digest of a random token, which tells an observer of time nothing about the token.
        Ok(found.into_iter().find(|token| verify_slices_are_equal(&token.hash.0, &hash.0).is_ok()))
    }

    async fn tokens(&self, before: Option<TokenId>, limit: u32) -> Result<Vec<StoredToken>, StoreError> {
        let before = before.map_or_else(|| ABOVE_ALL.to_owned(), |id| id.to_string());
        let limit = i64::from(limit.min(MOST));
        self.readers.read(select!("WHERE id < $1 ORDER BY id DESC LIMIT $2"), &[&before, &limit], read).await
    }

    async fn revoke_token(
        &self,
        id: TokenId,
        at: Timestamp,
        audit: Draft,
    ) -> Result<Option<StoredToken>, StoreError> {
        self.writer.run(Revoke { id, at, audit }).await
    }

    async fn has_no_tokens(&self) -> Result<bool, StoreError> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM token)";
        let found = self.readers.read(sql, &[], |row| plain::<bool>(row, 0)).await?;
        Ok(found.first().copied().unwrap_or(true))
    }
}

/// The token in a row.
pub(super) fn read(row: &Row) -> Result<StoredToken, Failure> {
    let Digest(hash) = digest(row, 1)?;
    Ok(StoredToken {
        id: parsed(row, 0)?,
        hash: TokenHash(hash),
        principal: from_json(row, 2)?,
        cidrs: from_json(row, 3)?,
        description: plain(row, 4)?,
        created_at: moment(row, 5)?,
        expires_at: moment_or_none(row, 6)?,
        revoked_at: moment_or_none(row, 7)?,
    })
}

struct Add {
    token: StoredToken,
    principal: String,
    cidrs: String,
    audit: Draft,
}

impl Work for Add {
    type Output = ();
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.new_tokens.push((self.token.id.to_string(), self.token.hash.0.to_vec()));
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        let record = ledger.seal(self.audit.clone())?;
        ledger.add_token(&self.token, &self.principal, &self.cidrs)?;
        ledger.append(record);
        Ok(())
    }
}

struct Revoke {
    id: TokenId,
    at: Timestamp,
    audit: Draft,
}

impl Work for Revoke {
    type Output = Option<StoredToken>;
    type Error = StoreError;

    fn needs(&self, needs: &mut Needs) {
        needs.tokens.insert(self.id.to_string());
    }

    fn run(&self, ledger: &mut Ledger<'_>) -> Result<Option<StoredToken>, StoreError> {
        let Some(token) = ledger.facts.tokens.get(&self.id).cloned() else { return Ok(None) };
        if token.revoked_at.is_some() {
            return Ok(Some(token));
        }
        let record = ledger.seal(self.audit.clone())?;
        let revoked = StoredToken { revoked_at: Some(self.at), ..token };
        ledger.revoke_token(revoked.clone(), self.at);
        ledger.append(record);
        Ok(Some(revoked))
    }
}
