//! Rotating administration passwords on a schedule.
//!
//! What is due follows from the moment of the last rotation, which the store keeps, so a restart neither forgets nor hastens
//! one. One at a time; one that fails is tried again, less and less often. It sleeps until the next is due.

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
    issuer::Rotator,
    random::Random,
    store::{Store, StoreError},
};

/// A rotation that fails is tried once an hour at the least.
const BOUND: Duration = Duration::from_secs(3600);

/// Rotations come up to this part of their period early, so that those of many targets spread out.
const JITTER: u32 = 10;

/// A target that never was rotated has its turn within this time of the start at most.
const FIRST: Duration = Duration::from_secs(3600);

/// How often the administration passwords of which targets are rotated.
pub type Schedule = BTreeMap<TargetName, Duration>;

/// What [`Rotations`] need.
pub struct RotationParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
    /// Where it is kept when the last rotation was.
    pub store: Arc<dyn Store>,
    /// What rotates.
    pub rotator: Arc<Rotator>,
}

/// Rotates on schedule.
pub struct Rotations {
    parts: RotationParts,
    schedule: Mutex<Schedule>,
    changed: Notify,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// When a target's turn is, and what that was reckoned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    rotated_at: Option<Timestamp>,
    every: Duration,
    due: Timestamp,
    failures: u32,
}

/// The turns as reckoned so far.
type Plan = BTreeMap<TargetName, Turn>;

impl Rotations {
    /// Rotations by this schedule, not begun yet.
    pub fn new(parts: RotationParts, schedule: Schedule) -> Self {
        Self {
            parts,
            schedule: Mutex::new(schedule),
            changed: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Begins.
    pub fn start(self: &Arc<Self>) {
        self.tasks.spawn(Arc::clone(self).run());
    }

    /// Begins no other, and returns when the one under way is done.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Goes by another schedule from now on.
    pub fn reschedule(&self, schedule: Schedule) {
        *self.schedule.lock().unwrap_or_else(PoisonError::into_inner) = schedule;
        self.changed.notify_one();
    }

    async fn run(self: Arc<Self>) {
        let mut plan = Plan::new();
        while !self.stop.is_cancelled() {
            let next = match self.work_through(&mut plan).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the store does not say when to rotate"
                    );
                    Some(next_attempt(self.parts.clock.now(), 6, BOUND, &*self.parts.random))
                }
            };
            self.sleep(next).await;
        }
    }

    async fn sleep(&self, until: Option<Timestamp>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.changed.notified() => {}
            () = self.parts.clock.alarm(until) => {}
        }
    }

    /// Rotates what is due, and says when the next is.
    async fn work_through(&self, plan: &mut Plan) -> Result<Option<Timestamp>, StoreError> {
        loop {
            self.reckon(plan).await?;
            let next = plan.iter().min_by_key(|(_, turn)| turn.due);
            let Some((name, turn)) = next.map(|(name, turn)| (name.clone(), *turn)) else { return Ok(None) };
            if turn.due > self.parts.clock.now() || self.stop.is_cancelled() {
                return Ok(Some(turn.due));
            }
            match self.parts.rotator.rotate(&name, Actor::System).await {
                Ok(rotated) => {
                    tracing::info!(target_name = %name, resumed = rotated.resumed, "rotated on schedule");
                    plan.remove(&name);
                }
                Err(refusal) => {
                    tracing::warn!(
                        target_name = %name, error = &refusal as &dyn std::error::Error,
                        "the scheduled rotation failed; it will be tried again"
                    );
                    let now = self.parts.clock.now();
                    let due = next_attempt(now, turn.failures.saturating_add(3), BOUND, &*self.parts.random);
                    let failures = turn.failures.saturating_add(1);
                    plan.insert(name, Turn { due, failures, ..turn });
                }
            }
        }
    }

    /// Brings the plan up to date. A turn stays as it was reckoned while what it was reckoned from is the same.
    async fn reckon(&self, plan: &mut Plan) -> Result<(), StoreError> {
        let schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner).clone();
        plan.retain(|name, _| schedule.contains_key(name));
        for (name, every) in schedule {
            let rotated_at = self.parts.store.secret(&name).await?.and_then(|kept| kept.rotated_at);
            let known =
                plan.get(&name).is_some_and(|turn| (turn.rotated_at, turn.every) == (rotated_at, every));
            if !known {
                let due = due(rotated_at, every, self.parts.clock.now(), &*self.parts.random);
                plan.insert(name, Turn { rotated_at, every, due, failures: 0 });
            }
        }
        Ok(())
    }
}

/// When a rotation is due that comes `every` so often: up to a tenth of that early; the first one soon.
fn due(rotated_at: Option<Timestamp>, every: Duration, now: Timestamp, random: &dyn Random) -> Timestamp {
    let below = |bound: Duration| {
        let seconds = u32::try_from(bound.as_secs()).unwrap_or(u32::MAX);
        SignedDuration::from_secs(i64::from(random.below(seconds.saturating_add(1))))
    };
    let jitter = every / JITTER;
    let due = match rotated_at {
        Some(at) => {
            let every = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
            at.saturating_add(every).and_then(|due| due.saturating_sub(below(jitter)))
        }
        None => now.saturating_add(below(jitter.min(FIRST))),
    };
    due.unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_rotation_is_due_its_period_after_the_last_or_a_little_earlier() {
        let (now, random) = (Timestamp::UNIX_EPOCH, SeededRandom::new(5));
        let day = Duration::from_secs(86_400);
        for _ in 0..200 {
            let regular = due(Some(now), day * 30, now, &random).duration_since(now).as_secs();
            assert!((86_400 * 27..=86_400 * 30).contains(&regular), "{regular}");
            let first = due(None, day * 30, now, &random).duration_since(now).as_secs();
            assert!((0..=3600).contains(&first), "{first}");
        }
        assert!(due(Some(Timestamp::MAX), day, now, &random) > now);
    }
}
