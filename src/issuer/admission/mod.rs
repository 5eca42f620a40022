//! Who may begin to issue now, who waits for it, and who is told to come back: target by target.
//!
//! A target gets only so many issues at once: what its connections can use, and as many again that are at the store. Others
//! wait for their turn, each principal's in turn with those of others ([`queue`] has the rules), but never long: whoever would have to
//! wait longer than a bound, or finds the queue full, is told at once when to come back. Nothing is decided, written or
//! put on record for such a call, so turning calls away costs next to nothing however many there are; they are counted.
//!
//! Calls of the same target only are in each other's way: one that is slow has its own queue.

mod queue;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::oneshot;

use self::queue::{Arrival, Limits, Queue, Ticket};
use super::{Refusal, RefusalKind};
use crate::{
    clock::Clock,
    domain::{PrincipalName, TargetName},
    metrics::{Metrics, Stopwatch},
    random::Random,
    target::PoolSettings,
};

/// Of how many issues, about, the usual time of one is the mean.
const MEMORY: u32 = 32;

/// Nothing that takes longer tells how long others will take: it hung.
const LONGEST: Duration = Duration::from_secs(30);

/// The least and the longest time after which somebody is told to come back.
const COME_BACK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The queues of all targets.
pub(super) struct Admissions {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    metrics: Arc<Metrics>,
    doors: Mutex<BTreeMap<TargetName, Arc<Door>>>,
}

/// How things are at one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Issues under way.
    pub under_way: usize,
    /// Issues waiting for their turn.
    pub waiting: usize,
}

/// The queue of one target.
struct Door {
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
}

struct Inside {
    queue: Queue<PrincipalName>,
    limits: Limits,
    waiting: BTreeMap<Ticket, oneshot::Sender<Turn>>,
    /// How long an issue takes from the beginning of its turn, as a rule.
    usual: Option<Duration>,
}

/// What somebody waited for.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Come,
    /// Its place in the queue is another's, who has fewer in it.
    GoAway,
}

/// Leave to issue; whoever is next is let in when it is dropped.
pub(super) struct Place {
    door: Arc<Door>,
    since: Timestamp,
}

/// A call in the queue, which it leaves when this is dropped.
struct Waiting<'d> {
    door: &'d Arc<Door>,
    who: &'d PrincipalName,
    ticket: Ticket,
    turn: oneshot::Receiver<Turn>,
}

impl Admissions {
    pub(super) fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>, metrics: Arc<Metrics>) -> Self {
        Self { clock, random, metrics, doors: Mutex::default() }
    }

    /// Waits for a turn to issue on a target.
    ///
    /// # Errors
    /// [`RefusalKind::Overloaded`]: it would take too long, or took too long.
    pub(super) async fn enter(
        &self,
        target: &TargetName,
        who: &PrincipalName,
        bounds: &PoolSettings,
    ) -> Result<Place, Refusal> {
        let door = self.door(target);
        let (arrival, turn) = door.arrive(who, bounds);
        let ticket = match arrival {
            Arrival::Go => return Ok(Place::at(&door)),
            Arrival::Full => return Err(self.come_back(target, &door)),
            Arrival::Wait { ticket, .. } => ticket,
        };
        let watch = Stopwatch::start();
        let mut waiting = Waiting { door: &door, who, ticket, turn };
        if let Ok(Ok(Turn::Come)) = tokio::time::timeout(bounds.turn, &mut waiting.turn).await {
            self.metrics.turn_came(target, watch.elapsed());
            return Ok(Place::at(&door));
        }
        drop(waiting);
        Err(self.come_back(target, &door))
    }

    /// How things are at a target.
    pub(super) fn crowd(&self, target: &TargetName) -> Crowd {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(door) = doors.get(target) else { return Crowd { under_way: 0, waiting: 0 } };
        let inside = door.inside();
        Crowd { under_way: inside.queue.under_way(), waiting: inside.queue.waiting() }
    }

    fn door(&self, target: &TargetName) -> Arc<Door> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = doors.get(target) {
            return Arc::clone(door);
        }
        // Targets are named by the configuration, which may have lost some since.
        doors.retain(|_, door| Arc::strong_count(door) > 1 || !door.inside().queue.is_idle());
        let door = Arc::new(Door::new(Arc::clone(&self.clock)));
        doors.insert(target.clone(), Arc::clone(&door));
        door
    }

    /// Told to come back after about as long as the queue takes to become empty, and up to twice that, so that those who are
    /// told so at the same time do not come at the same time.
    fn come_back(&self, target: &TargetName, door: &Door) -> Refusal {
        let inside = door.inside();
        let backlog = inside.expected(inside.queue.waiting()).clamp(COME_BACK.0, COME_BACK.1 / 2);
        drop(inside);
        let spread = u32::try_from(backlog.as_millis()).unwrap_or(u32::MAX);
        let wait = backlog + Duration::from_millis(u64::from(self.random.below(spread)));
        let message =
            format!("more is asked for on the target {target} than can be issued right now; come back later");
        Refusal::new(RefusalKind::Overloaded, message).retry_after(wait)
    }
}

impl Door {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let limits = Limits { under_way: 1, waiting: 0 };
        let inside = Inside { queue: Queue::new(limits), limits, waiting: BTreeMap::new(), usual: None };
        Self { clock, inside: Mutex::new(inside) }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call comes: it goes, waits, or finds that waiting is in vain.
    fn arrive(&self, who: &PrincipalName, bounds: &PoolSettings) -> (Arrival, oneshot::Receiver<Turn>) {
        let (sender, receiver) = oneshot::channel();
        let mut inside = self.inside();
        inside.limit(Limits { under_way: bounds.under_way(), waiting: bounds.queue });
        if inside.expected(inside.queue.ahead_of(who)) > bounds.turn {
            return (Arrival::Full, receiver);
        }
        let arrival = inside.queue.arrive(who);
        if let Arrival::Wait { ticket, displaced } = &arrival {
            inside.waiting.insert(*ticket, sender);
            if let Some(displaced) = displaced.and_then(|ticket| inside.waiting.remove(&ticket)) {
                // Whoever does not wait any more has left, or is about to.
                let _ = displaced.send(Turn::GoAway);
            }
        }
        (arrival, receiver)
    }

    fn over(&self, took: Option<Duration>) {
        let mut inside = self.inside();
        if let Some(took) = took {
            inside.learn(took);
        }
        inside.queue.over();
        inside.let_in();
    }
}

impl Inside {
    fn limit(&mut self, limits: Limits) {
        if self.limits != limits {
            self.limits = limits;
            self.queue.limit(limits);
            self.let_in();
        }
    }

    /// How long it takes until so many have gone and a place is free again.
    fn expected(&self, ahead: usize) -> Duration {
        if self.queue.waiting() == 0 && self.queue.under_way() < self.limits.under_way {
            return Duration::ZERO;
        }
        let calls = u32::try_from(ahead.saturating_add(1)).unwrap_or(u32::MAX);
        let at_once = u32::try_from(self.limits.under_way).unwrap_or(u32::MAX).max(1);
        self.usual.unwrap_or_default().saturating_mul(calls) / at_once
    }

    fn learn(&mut self, took: Duration) {
        let took = took.min(LONGEST);
        self.usual = Some(match self.usual {
            None => took,
            Some(usual) => (usual * (MEMORY - 1) + took) / MEMORY,
        });
    }

    /// Lets in whoever may go.
    fn let_in(&mut self) {
        while let Some(ticket) = self.queue.next() {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Should it have been given up this very moment: it is under way, and says so when it leaves.
                let _ = waiting.send(Turn::Come);
            }
        }
    }
}

impl Place {
    fn at(door: &Arc<Door>) -> Self {
        Self { door: Arc::clone(door), since: door.clock.now() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A clock that was set back says nothing.
        let took = Duration::try_from(self.door.clock.now().duration_since(self.since)).ok();
        self.door.over(took);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        if inside.queue.leave(self.who, self.ticket) {
            inside.waiting.remove(&self.ticket);
            return;
        }
        drop(inside);
        // Its turn came, and nobody is there to take it. A turn that was taken, or taken away, is not found here.
        if self.turn.try_recv() == Ok(Turn::Come) {
            self.door.over(None);
        }
    }
}
