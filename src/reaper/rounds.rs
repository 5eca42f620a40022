//! Going the rounds: each target compared with the store by itself, from time to time.
//!
//! One task a target, so that a slow one delays no other, and a run never overlaps itself. The first round begins shortly after
//! the start, since what a crash or a restored backup left is found only by looking; then one every so often, as configured. A
//! target that cannot be used waits for the next try with back-off. Between rounds nothing wakes up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::backoff::next_attempt;
use crate::{
    audit::Actor,
    clock::Clock,
    domain::TargetName,
    issuer::{CatalogueHandle, Counts, Mode, ReconcileError, Reconciler},
    random::Random,
    target::HealthBoard,
};

/// How long after the start the first round begins, at the most: what is due goes first.
const FIRST: Duration = Duration::from_secs(2);

/// What [`Rounds`] need.
#[derive(Clone)]
pub struct RoundsParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
    /// Targets as configured now.
    pub catalogue: Arc<CatalogueHandle>,
    /// How targets fare.
    pub health: Arc<HealthBoard>,
    /// What compares.
    pub reconciler: Arc<Reconciler>,
}

/// Compares every target with the store from time to time.
pub struct Rounds {
    parts: RoundsParts,
    changed: Mutex<BTreeMap<TargetName, Arc<Notify>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One target's rounds.
struct Round {
    parts: RoundsParts,
    name: TargetName,
    changed: Arc<Notify>,
    stop: CancellationToken,
}

impl Rounds {
    /// Rounds of no target yet.
    pub fn new(parts: RoundsParts) -> Self {
        Self { parts, changed: Mutex::default(), tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Begins the rounds of targets that have none yet, and has all look at their settings again. Call at start and after every change
    /// of the configuration.
    pub fn open(&self) {
        let names: Vec<TargetName> = self.parts.catalogue.current().targets.keys().cloned().collect();
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        for known in changed.values() {
            known.notify_one();
        }
        for name in names {
            changed.entry(name).or_insert_with_key(|name| {
                let changed = Arc::new(Notify::new());
                let round = Round {
                    parts: self.parts.clone(),
                    name: name.clone(),
                    changed: Arc::clone(&changed),
                    stop: self.stop.clone(),
                };
                self.tasks.spawn(round.go());
                changed
            });
        }
    }

    /// Begins no other round and returns when the steps under way are done.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.parts.reconciler.stop();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Round {
    async fn go(self) {
        let RoundsParts { clock, random, health, .. } = &self.parts;
        let mut failures = 0;
        let mut next = within(clock.now(), Duration::ZERO, FIRST, &**random);
        while !self.stop.is_cancelled() {
            let due = self.every().map(|every| {
                // A period that was made shorter counts from now.
                let latest = within(clock.now(), every, every, &**random);
                next = next.min(latest);
                next
            });
            if due.is_none_or(|due| due > clock.now()) {
                self.sleep(due).await;
                continue;
            }
            let every = self.every().unwrap_or(FIRST);
            match self.parts.reconciler.run_for(Actor::System, &self.name, Mode::Act).await {
                Ok(report) => {
                    failures = 0;
                    health.well(&self.name);
                    tell(&self.name, &report.counts);
                    next = within(clock.now(), every, every / 10, &**random);
                }
                Err(ReconcileError::Stopped) => return,
                Err(error) => {
                    next = next_attempt(clock.now(), failures, every, &**random);
                    failures = failures.saturating_add(1);
                    self.failed(&error, failures, next);
                }
            }
        }
    }

    /// How often, as configured now; `None`: never, or the target is not there any more.
    fn every(&self) -> Option<Duration> {
        let catalogue = self.parts.catalogue.current();
        catalogue.targets.get(&self.name)?.settings().reconcile.every
    }

    async fn sleep(&self, until: Option<Timestamp>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.changed.notified() => {}
            () = self.parts.clock.alarm(until) => {}
        }
    }

    /// Says so once an outage: the target's state is on the board for whoever asks.
    fn failed(&self, error: &ReconcileError, failures: u32, next: Timestamp) {
        let cause: &dyn std::error::Error = error;
        if failures == 1 {
            tracing::warn!(target_name = %self.name, error = cause, %next, "a target could not be compared with the store");
        } else {
            tracing::debug!(target_name = %self.name, error = cause, failures, %next, "a target still cannot be compared");
        }
        let down = matches!(error, ReconcileError::Target(error) if error.kind.concerns_whole_target());
        if down && self.parts.health.of(&self.name).last_error.is_none() {
            self.parts.health.ill(&self.name, self.parts.clock.now(), &error.to_string(), None);
        }
    }
}

fn tell(name: &TargetName, counts: &Counts) {
    if counts.agree() {
        tracing::debug!(target_name = %name, leases = counts.leases, accounts = counts.accounts, "target and store agree");
    } else {
        tracing::warn!(
            target_name = %name, vanished = counts.vanished, orphans = counts.orphans, reappeared = counts.reappeared,
            drifted = counts.drifted, disputed = counts.disputed, remaining = counts.remaining,
            "target and store differed"
        );
    }
}

/// A moment `wait` from now, and up to `jitter` later.
fn within(now: Timestamp, wait: Duration, jitter: Duration, random: &dyn Random) -> Timestamp {
    let jitter = u32::try_from(jitter.as_millis()).unwrap_or(u32::MAX);
    let wait = wait + Duration::from_millis(u64::from(random.below(jitter.saturating_add(1))));
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_round_is_never_early_and_late_by_its_jitter_at_the_most() {
        let (now, random) = (Timestamp::UNIX_EPOCH, SeededRandom::new(5));
        let (wait, jitter) = (Duration::from_secs(900), Duration::from_secs(90));
        for _ in 0..1000 {
            let at = within(now, wait, jitter, &random).duration_since(now).unsigned_abs();
            assert!(at >= wait && at <= wait + jitter, "{at:?}");
        }
        assert_eq!(within(now, wait, Duration::ZERO, &random).as_second(), 900);
    }
}
