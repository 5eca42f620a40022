//! One target's lane.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use futures_util::{StreamExt as _, future, stream};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    ReaperParts,
    backoff::{SHARED_BOUND, TARGET_BOUND, next_attempt},
    claims::{Claim, Claims},
    end::{Stopped, end_lease},
    noting::left_to_others,
    strip::Books,
    together::{Closed, Together, close_together},
};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{EndReport, Lease, LeaseEvent, LeaseState, TargetName},
    store::StoreError,
    target::{TOGETHER, Target},
};

/// Leases read at once: all of them lose their access before the first of their accounts is removed.
const BATCH: usize = 32 * TOGETHER;

/// What a lane shows while it is awake: whatever comes is earlier than that.
const AWAKE: i64 = i64::MAX;

/// What a lane needs.
pub(super) struct LaneParts {
    pub(super) reaper: ReaperParts,
    /// `None`: no other process can share the store.
    pub(super) claims: Option<Arc<Claims>>,
    pub(super) target: TargetName,
    pub(super) stop: CancellationToken,
}

/// One target's lane.
pub(super) struct Lane {
    pub(super) parts: LaneParts,
    sleeping_until: AtomicI64,
    earlier: Notify,
}

/// The target cannot be used at all right now.
pub(super) struct TargetDown {
    pub(super) message: String,
}

/// Why a batch was not worked through.
pub(super) enum Halt {
    Target(TargetDown),
    Store(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Halt::Store(error)
    }
}

impl Lane {
    pub(super) fn new(parts: LaneParts) -> Self {
        Self { parts, sleeping_until: AtomicI64::new(AWAKE), earlier: Notify::new() }
    }

    /// Something is due at `at`: wakes the lane if that is earlier than it would wake by itself.
    pub(super) fn notice(&self, at: Timestamp) {
        if at.as_microsecond() < self.sleeping_until.load(Ordering::SeqCst) {
            self.earlier.notify_one();
        }
    }

    pub(super) async fn run(self: Arc<Self>) {
        let (mut target_failures, mut store_failures) = (0, 0);
        while !self.parts.stop.is_cancelled() {
            // From here to `sleep`, every notice is kept for the next sleep: nothing that becomes due meanwhile is missed.
            self.sleeping_until.store(AWAKE, Ordering::SeqCst);
            let next = match self.work_through(&mut target_failures).await {
                Ok(next) => {
                    store_failures = 0;
                    next
                }
                Err(error) => {
                    tracing::error!(
                        target_name = %self.parts.target, error = &error as &dyn std::error::Error,
                        "the store failed the reaper; trying again"
                    );
                    let now = self.parts.reaper.clock.now();
                    let bound = if self.is_shared() { SHARED_BOUND } else { TARGET_BOUND };
                    let next = next_attempt(now, store_failures, bound, &*self.parts.reaper.random);
                    store_failures = store_failures.saturating_add(1);
                    Some(next)
                }
            };
            self.sleep(next).await;
        }
    }

    /// Whether other processes may share the store.
    pub(super) fn is_shared(&self) -> bool {
        self.parts.claims.is_some()
    }

    async fn sleep(&self, until: Option<Timestamp>) {
        let deadline = until.unwrap_or(Timestamp::MAX);
        self.sleeping_until.store(deadline.as_microsecond(), Ordering::SeqCst);
        tokio::select! {
            () = self.parts.stop.cancelled() => {}
            () = self.earlier.notified() => {}
            () = self.parts.reaper.clock.alarm(until) => {}
        }
    }

    /// Works on what is due until nothing is, and says when the next is.
    async fn work_through(&self, failures: &mut u32) -> Result<Option<Timestamp>, StoreError> {
        let ReaperParts { clock, random, store, catalogue, health, .. } = &self.parts.reaper;
        let name = &self.parts.target;
        while !self.parts.stop.is_cancelled() {
            let target = catalogue.current().targets.get(name).map(Arc::clone);
            if target.is_none() && self.is_shared() {
                // Left to the replicas that have it. A configuration that has it wakes this lane.
                return Ok(None);
            }
            let (due, claim) = self.due().await?;
            if due.is_empty() {
                break;
            }
            let outcome = match target {
                Some(target) => self.end_batch(&target, due, &claim).await,
                None => {
                    Err(Halt::Target(TargetDown { message: "the target is no longer configured".to_owned() }))
                }
            };
            match outcome {
                // Nothing was asked of the target, so nothing is known of it.
                Ok(0) => {}
                Ok(_) => {
                    *failures = 0;
                    health.well(name);
                }
                Err(Halt::Store(error)) => return Err(error),
                Err(Halt::Target(TargetDown { message })) => {
                    let next = next_attempt(clock.now(), *failures, TARGET_BOUND, &**random);
                    *failures = failures.saturating_add(1);
                    tracing::warn!(target_name = %name, %message, next = %next, "target cannot be used");
                    health.ill(name, clock.now(), &message, Some(next));
                    if self.is_shared() {
                        self.postpone_due(&message, left_to_others(clock.now())).await?;
                        self.rest(next).await;
                    } else {
                        self.postpone_due(&message, next).await?;
                    }
                }
            }
        }
        store.next_due(name).await
    }

    /// Leaves the target alone until then, whatever becomes due on it.
    async fn rest(&self, until: Timestamp) {
        let clock = &self.parts.reaper.clock;
        let rest = async {
            while clock.now() < until {
                clock.sleep_until(until).await;
            }
        };
        self.parts.stop.run_until_cancelled(rest).await;
    }

    /// What is due on the target and nobody else's, with this process's claim on it.
    async fn due(&self) -> Result<(Vec<Lease>, Arc<Claim>), StoreError> {
        let ReaperParts { clock, store, .. } = &self.parts.reaper;
        let asked_at = clock.uptime();
        let due = store.due(&self.parts.target, clock.now(), BATCH).await?;
        let claim = match &self.parts.claims {
            Some(claims) if !due.is_empty() => claims.take(asked_at),
            _ => Arc::new(Claim::unshared(Arc::clone(clock))),
        };
        Ok((due, claim))
    }

    /// Ends what may be ended now, in groups, and what cannot be ended in a group on its own; how many were tried. First all lose their
    /// access; then the groups' accounts are removed, which may take a server longer.
    async fn end_batch(
        &self,
        target: &Arc<dyn Target>,
        due: Vec<Lease>,
        claim: &Claim,
    ) -> Result<usize, Halt> {
        let concurrency = target.settings().pool.ending.max(1);
        let goes_on = || future::ready(!self.parts.stop.is_cancelled());
        let (mut tried, mut closed, mut apart, mut left) = (0, Vec::new(), Vec::new(), Vec::new());
        {
            let groups = stream::iter(groups(due)).take_while(|_| goes_on());
            let mut groups = pin!(
                groups.map(|group| self.close_group(target, group, claim)).buffer_unordered(concurrency)
            );
            while let Some(outcome) = groups.next().await {
                let (of_group, mut group) = outcome?;
                tried += of_group;
                apart.extend(group.take_apart());
                closed.push(group);
            }
        }
        self.end_each(target, apart, claim).await?;
        {
            let closed = stream::iter(closed).take_while(|_| goes_on());
            let mut removed = pin!(
                closed.map(|group| self.remove_group(target, group, claim)).buffer_unordered(concurrency)
            );
            while let Some(outcome) = removed.next().await {
                left.extend(outcome?);
            }
        }
        self.end_each(target, left, claim).await?;
        Ok(tried)
    }

    /// Ends leases on their own, several at a time.
    async fn end_each(
        &self,
        target: &Arc<dyn Target>,
        leases: Vec<(Lease, EndReport)>,
        claim: &Claim,
    ) -> Result<(), Halt> {
        let concurrency = target.settings().pool.ending.max(1);
        let leases = stream::iter(leases).take_while(|_| future::ready(!self.parts.stop.is_cancelled()));
        let mut ending = pin!(
            leases
                .map(|(lease, before)| self.end_one(target, lease, before, claim))
                .buffer_unordered(concurrency)
        );
        while let Some(outcome) = ending.next().await {
            outcome?;
        }
        Ok(())
    }

    /// Ends together the access of those of whom that can be done; how many were tried.
    async fn close_group(
        &self,
        target: &Arc<dyn Target>,
        due: Vec<Lease>,
        claim: &Claim,
    ) -> Result<(usize, Closed), StoreError> {
        let ending = self.mark(due).await?;
        let tried = ending.len();
        for _ in &ending {
            crash::here(Point::EndBegun);
        }
        Ok((tried, close_together(&**target, ending, claim).await))
    }

    /// Removes together the accounts of those of whom that can be done; those that are to be ended on their own.
    async fn remove_group(
        &self,
        target: &Arc<dyn Target>,
        closed: Closed,
        claim: &Claim,
    ) -> Result<Vec<(Lease, EndReport)>, StoreError> {
        let Together { ended, left } = closed.remove(&**target, claim).await;
        let recorded = ended.into_iter().map(|(lease, report)| self.record(lease, report));
        future::join_all(recorded).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(left)
    }

    /// Moves what is due to ENDING, without touching the target, and returns what may be ended now.
    pub(super) async fn mark(&self, due: Vec<Lease>) -> Result<Vec<Lease>, StoreError> {
        crash::here(Point::EndDue);
        let now = self.parts.reaper.clock.now();
        let marked = future::join_all(due.into_iter().map(|lease| self.mark_one(lease, now))).await;
        let marked: Vec<Lease> = marked.into_iter().collect::<Result<_, _>>()?;
        let ready = |lease: &Lease| lease.state.may_be_attempted(now);
        Ok(marked.into_iter().filter(ready).collect())
    }

    async fn mark_one(&self, lease: Lease, now: Timestamp) -> Result<Lease, StoreError> {
        let cause = match lease.state {
            LeaseState::Provisioning { .. } => "failed",
            LeaseState::Active { .. } => "expired",
            _ => return Ok(lease),
        };
        let draft = Draft::of_lease(now, Actor::System, "lease.ending", &lease).with("cause", cause);
        self.apply(lease, LeaseEvent::Due { at: now }, now, Some(draft)).await
    }

    async fn end_one(
        &self,
        target: &Arc<dyn Target>,
        lease: Lease,
        before: EndReport,
        claim: &Claim,
    ) -> Result<(), Halt> {
        let ReaperParts { clock, store, turns, .. } = &self.parts.reaper;
        let books = Books { store: &**store, clock: &**clock, turns };
        let outcome = end_lease(&books, &**target, (&lease, before), claim).await;
        let now = clock.now();
        match outcome {
            Ok(report) => {
                self.record(lease, report).await?;
                Ok(())
            }
            Err(Stopped::NotHeld) => {
                tracing::info!(
                    lease = %lease.id, target_name = %lease.target,
                    "the claim on a lease lapsed; whoever has it now goes on with its end"
                );
                Ok(())
            }
            Err(Stopped::Store(error)) => Err(error.into()),
            Err(Stopped::Unfinished(unfinished)) => self.put_off(lease, unfinished, now).await,
        }
    }
}

/// In their order, as many together as may be ended together.
fn groups(leases: Vec<Lease>) -> Vec<Vec<Lease>> {
    let mut groups = Vec::with_capacity(leases.len().div_ceil(TOGETHER));
    let mut leases = leases.into_iter().peekable();
    while leases.peek().is_some() {
        groups.push(leases.by_ref().take(TOGETHER).collect());
    }
    groups
}
