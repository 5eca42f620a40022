//! [`TokenStore`] on SQLite.

use async_trait::async_trait;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::{
    SqliteStore,
    failure::write_failed,
    row::{from_json, moment, moment_or_none, parsed, to_json},
};
use crate::{
    audit::Draft,
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

/// All of them.
pub(super) const ALL: &str = select!("ORDER BY id");

/// Adds a token, off the writer.
pub(super) fn add(connection: &Connection, token: &StoredToken) -> Result<(), StoreError> {
    let (principal, cidrs) = (to_json(&token.principal)?, to_json(&token.cidrs)?);
    insert(connection, token, &principal, &cidrs).map_err(write_failed)
}

#[async_trait]
impl TokenStore for SqliteStore {
    async fn add_token(&self, token: StoredToken, audit: Draft) -> Result<(), StoreError> {
        let (principal, cidrs) = (to_json(&token.principal)?, to_json(&token.cidrs)?);
        self.writer
            .run(move |ledger| {
                ledger.change_tokens();
                insert(ledger.connection, &token, &principal, &cidrs).map_err(write_failed)?;
                ledger.append(audit)
            })
            .await
    }

    async fn token_by_hash(&self, hash: &TokenHash) -> Result<Option<StoredToken>, StoreError> {
        let hash = *hash;
        if let Some(token) = self.tokens.find(&hash) {
            return Ok(Some(token));
        }
        let ticket = self.tokens.ticket();
        let found = self
            .readers
            .read(move |connection| {
                connection.prepare_cached(select!("WHERE hash = ?1"))?.query_row([hash.0], read).optional()
            })
            .await?;
        // The index finds it by the digest of a random token, which tells an observer of time nothing about the token.
        let found = found.filter(|token| verify_slices_are_equal(&token.hash.0, &hash.0).is_ok());
        if let Some(token) = &found {
            self.tokens.keep(ticket, token);
        }
        Ok(found)
    }

    async fn tokens(&self, before: Option<TokenId>, limit: u32) -> Result<Vec<StoredToken>, StoreError> {
        let before = before.map_or_else(|| ABOVE_ALL.to_owned(), |id| id.to_string());
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached(select!("WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?
                    .query_map(params![before, limit.min(MOST)], read)?
                    .collect()
            })
            .await
    }

    async fn revoke_token(
        &self,
        id: TokenId,
        at: Timestamp,
        audit: Draft,
    ) -> Result<Option<StoredToken>, StoreError> {
        self.writer
            .run(move |ledger| {
                let Some(token) = by_id(ledger.connection, id).map_err(write_failed)? else {
                    return Ok(None);
                };
                if token.revoked_at.is_some() {
                    return Ok(Some(token));
                }
                ledger.change_tokens();
                revoke(ledger.connection, id, at).map_err(write_failed)?;
                ledger.append(audit)?;
                Ok(Some(StoredToken { revoked_at: Some(at), ..token }))
            })
            .await
    }

    async fn has_no_tokens(&self) -> Result<bool, StoreError> {
        self.readers
            .read(|connection| {
                connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM token)", [], |row| row.get(0))
            })
            .await
    }
}

fn insert(
    connection: &Connection,
    token: &StoredToken,
    principal: &str,
    cidrs: &str,
) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO token (id, hash, principal, cidrs, description, created_at, expires_at, revoked_at)
               VALUES (:id, :hash, :principal, :cidrs, :description, :created_at, :expires_at, :revoked_at)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": token.id.to_string(),
        ":hash": token.hash.0,
        ":principal": principal,
        ":cidrs": cidrs,
        ":description": token.description,
        ":created_at": token.created_at.as_microsecond(),
        ":expires_at": token.expires_at.map(Timestamp::as_microsecond),
        ":revoked_at": token.revoked_at.map(Timestamp::as_microsecond),
    })?;
    Ok(())
}

fn revoke(connection: &Connection, id: TokenId, at: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE token SET revoked_at = ?2 WHERE id = ?1")?
        .execute(params![id.to_string(), at.as_microsecond()])?;
    Ok(())
}

fn by_id(connection: &Connection, id: TokenId) -> rusqlite::Result<Option<StoredToken>> {
    connection.prepare_cached(select!("WHERE id = ?1"))?.query_row([id.to_string()], read).optional()
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    Ok(StoredToken {
        id: parsed(row, 0)?,
        hash: TokenHash(row.get(1)?),
        principal: from_json(row, 2)?,
        cidrs: from_json(row, 3)?,
        description: row.get(4)?,
        created_at: moment(row, 5)?,
        expires_at: moment_or_none(row, 6)?,
        revoked_at: moment_or_none(row, 7)?,
    })
}
