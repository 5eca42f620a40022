//! Dropping many accounts without keeping callers from theirs.
//!
//! The server has one lock for all its accounts. A statement that drops 64 holds it for some 32 ms, and each of the statements that create
//! an account waits for it in turn. So while anybody creates accounts, few are dropped by a statement and one statement is under way;
//! while nobody does, many and as many as the pool has room for.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Accounts in a statement while somebody creates accounts.
const FEW: usize = 16;

/// How accounts are dropped right now; over when it is dropped.
pub(super) struct Turn<'t> {
    alone: Option<SemaphorePermit<'t>>,
}

impl Turn<'_> {
    /// Accounts in one statement, at most.
    pub(super) fn at_once(&self) -> usize {
        if self.alone.is_some() { FEW } else { usize::MAX }
    }
}

/// Who may drop.
pub(super) struct Turns {
    alone: Semaphore,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { alone: Semaphore::new(1) }
    }

    /// A turn of one statement: at once while nobody creates accounts, else when no other is under way.
    pub(super) async fn next(&self, somebody_creates: bool) -> Turn<'_> {
        if !somebody_creates {
            return Turn { alone: None };
        }
        // It is never closed; were it, dropping would not wait.
        Turn { alone: self.alone.acquire().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn while_nobody_creates_accounts_all_are_dropped_at_once() {
        let turns = Turns::new();
        let (one, other) = (turns.next(false).await, turns.next(false).await);
        assert_eq!((one.at_once(), other.at_once()), (usize::MAX, usize::MAX));
    }

    #[tokio::test]
    async fn while_somebody_does_few_are_and_one_statement_waits_for_another() {
        let turns = Turns::new();
        let one = turns.next(true).await;
        assert_eq!(one.at_once(), FEW);
        assert!(turns.next(true).now_or_never().is_none());
        drop(one);
        assert!(turns.next(true).now_or_never().is_some());
    }
}
