//! Whether this process may still work on what it was given.
//!
//! Where several processes share the store, what [`LeaseStore::due`] returns is claimed for a while. Here is kept until when, by
//! a clock that nobody sets and that goes on while the process is stopped: one that was stopped for longer, or could not reach
//! the store, finds that it holds nothing any more. A claim that may have lapsed is never taken to stand again, since another
//! process may have been given it meanwhile.
//!
//! [`LeaseStore::due`]: crate::store::LeaseStore::due

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    clock::Clock,
    store::{CLAIM, Store},
};

/// How often claims are prolonged while there are any.
const PROLONGED_EVERY: Duration = Duration::from_secs(1);

/// The claims of this process, for all lanes.
pub(super) struct Claims {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    held: Mutex<Vec<Weak<Claim>>>,
    taken: Notify,
}

/// The claim on one batch of leases.
pub(super) struct Claim {
    clock: Arc<dyn Clock>,
    /// Milliseconds of [`Clock::uptime`].
    until: AtomicU64,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Claim {
    fn new(clock: Arc<dyn Clock>, asked_at: Duration) -> Self {
        Self { clock, until: AtomicU64::new(milliseconds(asked_at + CLAIM)) }
    }

    /// No other process can share the store.
    pub(super) fn unshared(clock: Arc<dyn Clock>) -> Self {
        Self { clock, until: AtomicU64::new(u64::MAX) }
    }

    /// Whether nobody else can have been given these leases.
    pub(super) fn stands(&self) -> bool {
        milliseconds(self.clock.uptime()) < self.until.load(Ordering::SeqCst)
    }

    /// The store prolonged it, asked to at a moment. It must have stood until the answer came: else the store may have had
    /// nothing to prolong.
    fn prolong(&self, asked_at: Duration) {
        if self.stands() {
            self.until.fetch_max(milliseconds(asked_at + CLAIM), Ordering::SeqCst);
        }
    }
}

impl Claims {
    /// `None`: no other process can share the store.
    pub(super) fn of(clock: &Arc<dyn Clock>, store: &Arc<dyn Store>) -> Option<Arc<Self>> {
        store.replica()?;
        Some(Arc::new(Self {
            clock: Arc::clone(clock),
            store: Arc::clone(store),
            held: Mutex::default(),
            taken: Notify::new(),
        }))
    }

    /// Takes note of what the store gave, asked for at a moment of [`Clock::uptime`].
    pub(super) fn take(&self, asked_at: Duration) -> Arc<Claim> {
        let claim = Arc::new(Claim::new(Arc::clone(&self.clock), asked_at));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&claim));
        self.taken.notify_one();
        claim
    }

    fn held(&self) -> Vec<Arc<Claim>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|claim| claim.strong_count() > 0);
        held.iter().filter_map(Weak::upgrade).collect()
    }

    /// Prolongs what is held, for ever. Where nothing is held, nothing is done.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            if self.held().is_empty() {
                self.taken.notified().await;
            }
            tokio::time::sleep(PROLONGED_EVERY).await;
            self.prolong().await;
        }
    }

    async fn prolong(&self) {
        if self.held().is_empty() {
            return;
        }
        let asked_at = self.clock.uptime();
        match self.store.hold_claims().await {
            Ok(()) => self.held().iter().for_each(|claim| claim.prolong(asked_at)),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "claims on due leases could not be prolonged; what lapses is left to other replicas"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::clock::ManualClock;

    fn claim() -> (Arc<ManualClock>, Claim) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_000).unwrap()));
        let claim = Claim::new(Arc::clone(&clock) as Arc<dyn Clock>, clock.uptime());
        (clock, claim)
    }

    #[test]
    fn a_claim_stands_as_long_as_the_store_keeps_it_at_the_least() {
        let (clock, claim) = claim();
        clock.advance(SignedDuration::from_millis(2_999));
        assert!(claim.stands());
        let asked_at = clock.uptime().saturating_sub(Duration::from_millis(999));
        claim.prolong(asked_at);
        clock.advance(SignedDuration::from_millis(2_000));
        assert!(claim.stands());
        clock.advance(SignedDuration::from_millis(1));
        assert!(!claim.stands());
    }

    #[test]
    fn a_claim_that_lapsed_never_stands_again() {
        let (clock, claim) = claim();
        let asked_at = clock.uptime();
        clock.advance(SignedDuration::from_secs(3));
        claim.prolong(asked_at);
        claim.prolong(clock.uptime());
        assert!(!claim.stands());
    }
}
