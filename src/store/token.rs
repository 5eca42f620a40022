//! Storing API tokens.

use async_trait::async_trait;
use ipnet::IpNet;
use jiff::Timestamp;

use super::StoreError;
use crate::{
    audit::Draft,
    domain::{Principal, TokenId},
};

/// The SHA-256 digest of a token; the token itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash([redacted])")
    }
}

/// An API token, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// Identity; not secret.
    pub id: TokenId,
    /// Digest of the token.
    pub hash: TokenHash,
    /// Whom it speaks for.
    pub principal: Principal,
    /// Where it may be used from; empty: from anywhere.
    pub cidrs: Vec<IpNet>,
    /// A line for people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; `None`: never by the clock.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Storing API tokens.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Keeps a new token.
    ///
    /// # Errors
    /// When the store fails; nothing is written then.
    async fn add_token(&self, token: StoredToken, audit: Draft) -> Result<(), StoreError>;

    /// The token with a digest, compared in constant time; revoked and expired ones too, so that a refusal can say which.
    ///
    /// # Errors
    /// When the store fails.
    async fn token_by_hash(&self, hash: &TokenHash) -> Result<Option<StoredToken>, StoreError>;

    /// Tokens, newest first; at most `limit`, below `before`.
    ///
    /// # Errors
    /// When the store fails.
    async fn tokens(&self, before: Option<TokenId>, limit: u32) -> Result<Vec<StoredToken>, StoreError>;

    /// Revokes a token; `None` when there is no such token. Revoking twice keeps the first moment and writes nothing.
    ///
    /// # Errors
    /// When the store fails.
    async fn revoke_token(
        &self,
        id: TokenId,
        at: Timestamp,
        audit: Draft,
    ) -> Result<Option<StoredToken>, StoreError>;

    /// Whether no token was ever kept.
    ///
    /// # Errors
    /// When the store fails.
    async fn has_no_tokens(&self) -> Result<bool, StoreError>;
}
