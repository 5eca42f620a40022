//! Dropping many accounts without keeping callers from theirs.
//!
//! The server has one lock for all its accounts. A statement that drops 64 holds it for some 32 ms, and each of the statements that create
//! an account waits for it in turn. So while accounts are created, few are dropped by a statement and one statement is under way. That is slower,
//! and is for a burst: where as much is asked for as can be, or much is dropped without end, many are dropped at once, lest ending falls behind.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{metrics::Stopwatch, target::PoolUse};

/// Accounts in a statement while somebody creates accounts.
const FEW: usize = 16;

/// For how long on end callers are given way to.
const PATIENCE: Duration = Duration::from_secs(15);

/// What begins later than this after the last is something new.
const PAUSE: Duration = Duration::from_secs(1);

/// Who drops, and since when somebody does without a pause.
#[derive(Default)]
struct Busy {
    droppers: usize,
    since: Option<Stopwatch>,
    paused: Option<Stopwatch>,
}

/// Turns at dropping accounts on one server.
pub(super) struct Turns {
    alone: Semaphore,
    busy: Mutex<Busy>,
}

/// Somebody who drops accounts, until it is dropped.
pub(super) struct Dropper<'t>(&'t Turns);

/// One statement's turn, until it is dropped.
pub(super) struct Turn<'t> {
    alone: Option<SemaphorePermit<'t>>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { alone: Semaphore::new(1), busy: Mutex::default() }
    }

    /// Somebody begins to drop accounts.
    pub(super) fn begin(&self) -> Dropper<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = busy.droppers > 0 || busy.paused.is_some_and(|paused| paused.elapsed() < PAUSE);
        if !goes_on {
            busy.since = Some(Stopwatch::start());
        }
        busy.droppers += 1;
        Dropper(self)
    }

    fn lasts(&self) -> Duration {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.since.map_or(Duration::ZERO, Stopwatch::elapsed)
    }
}

impl<'t> Dropper<'t> {
    /// A turn of one statement, given how much of the connections for issuing is in use.
    pub(super) async fn turn(&self, issuing: &PoolUse) -> Turn<'t> {
        let room_for_both = issuing.in_use > 0 && issuing.in_use < issuing.size;
        if !room_for_both || self.0.lasts() > PATIENCE {
            return Turn { alone: None };
        }
        // It is never closed; were it, dropping would not wait.
        Turn { alone: self.0.alone.acquire().await.ok() }
    }
}

impl Drop for Dropper<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.droppers -= 1;
        busy.paused = Some(Stopwatch::start());
    }
}

impl Turn<'_> {
    /// Accounts in one statement, at most.
    pub(super) fn at_once(&self) -> usize {
        if self.alone.is_some() { FEW } else { usize::MAX }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// A pool of sixteen for issuing.
    fn issuing(in_use: usize) -> PoolUse {
        PoolUse { pool: "issuing", size: 16, in_use, waiting: 0 }
    }

    #[tokio::test]
    async fn while_nobody_creates_accounts_or_all_that_can_do_all_are_dropped_at_once() {
        let turns = Turns::new();
        for issuing in [issuing(0), issuing(16)] {
            let (one, other) = (turns.begin(), turns.begin());
            let (one, other) = (one.turn(&issuing).await, other.turn(&issuing).await);
            assert_eq!((one.at_once(), other.at_once()), (usize::MAX, usize::MAX));
        }
    }

    #[tokio::test]
    async fn while_somebody_does_few_are_and_one_statement_waits_for_another() {
        let turns = Turns::new();
        let dropper = turns.begin();
        let one = dropper.turn(&issuing(8)).await;
        assert_eq!(one.at_once(), FEW);
        assert!(turns.begin().turn(&issuing(8)).now_or_never().is_none());
        drop(one);
        assert!(turns.begin().turn(&issuing(8)).now_or_never().is_some());
    }

    #[test]
    fn what_follows_soon_goes_on_and_does_not_begin_anew() {
        let turns = Turns::new();
        drop(turns.begin());
        std::thread::sleep(Duration::from_millis(5));
        let _next = turns.begin();
        assert!(turns.lasts() >= Duration::from_millis(5));
    }
}
