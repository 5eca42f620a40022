//! Tokens that were looked up before, so that a call need not wait for a reading thread.
//!
//! The file belongs to this process alone, so the writing thread knows of every change. It bars the cache before the
//! transaction that changes a token is committed and opens it, empty, afterwards: whoever looks a token up after a
//! revocation was acknowledged sees it. Expiry is not decided here, but on each call, by whoever asks.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use crate::store::{StoredToken, TokenHash};

/// Tokens kept; beyond that they are all forgotten, which costs each its next look-up.
const MOST: usize = 4_096;

/// Tokens by digest. Absence is never kept.
#[derive(Default)]
pub(super) struct TokenCache(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    tokens: HashMap<[u8; 32], StoredToken>,
    barred: bool,
    /// Counts every barring and opening: what was read before one is not kept after it.
    generation: u64,
}

/// When a look-up in the file began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

impl TokenCache {
    /// The token with a digest, if it is kept.
    pub(super) fn find(&self, hash: &TokenHash) -> Option<StoredToken> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).tokens.get(&hash.0).cloned()
    }

    /// To be taken before the file is read.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.0.read().unwrap_or_else(PoisonError::into_inner).generation)
    }

    /// Keeps what the file says, unless tokens changed since the ticket was taken or are about to.
    pub(super) fn keep(&self, ticket: Ticket, token: &StoredToken) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.barred || kept.generation != ticket.0 {
            return;
        }
        if kept.tokens.len() >= MOST {
            kept.tokens.clear();
        }
        kept.tokens.insert(token.hash.0, token.clone());
    }

    /// Forgets everything and keeps nothing until [`TokenCache::open`].
    pub(super) fn bar(&self) {
        self.turn(true);
    }

    /// Keeps tokens again.
    pub(super) fn open(&self) {
        self.turn(false);
    }

    fn turn(&self, barred: bool) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.tokens.clear();
        kept.barred = barred;
        kept.generation = kept.generation.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{Principal, PrincipalKind, TokenId};

    fn token(n: u8) -> StoredToken {
        let name = "ada".parse().unwrap();
        StoredToken {
            id: TokenId::new(Timestamp::UNIX_EPOCH, u64::from(n)),
            hash: TokenHash([n; 32]),
            principal: Principal {
                name,
                kind: PrincipalKind::Human,
                groups: [].into(),
                attributes: [].into(),
            },
            cidrs: Vec::new(),
            description: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn keeps_what_was_read_while_nothing_changed() {
        let cache = TokenCache::default();
        cache.keep(cache.ticket(), &token(1));
        assert_eq!(cache.find(&token(1).hash), Some(token(1)));
        assert_eq!(cache.find(&token(2).hash), None);
    }

    #[test]
    fn nothing_read_before_or_during_a_change_is_found_after_it() {
        let cache = TokenCache::default();
        cache.keep(cache.ticket(), &token(1));
        let before = cache.ticket();
        cache.bar();
        assert_eq!(cache.find(&token(1).hash), None);
        let during = cache.ticket();
        for ticket in [before, during] {
            cache.keep(ticket, &token(2));
        }
        cache.open();
        for ticket in [before, during] {
            cache.keep(ticket, &token(3));
        }
        assert_eq!([1, 2, 3].map(|n| cache.find(&token(n).hash)), [None, None, None]);
        cache.keep(cache.ticket(), &token(3));
        assert_eq!(cache.find(&token(3).hash), Some(token(3)));
    }

    #[test]
    fn memory_is_bounded() {
        let cache = TokenCache::default();
        for n in 0..=MOST {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            cache.keep(cache.ticket(), &StoredToken { hash: TokenHash(hash), ..token(0) });
        }
        assert_eq!(cache.0.read().unwrap().tokens.len(), 1);
    }
}
