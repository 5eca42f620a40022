//! One target's lane.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use futures_util::{StreamExt as _, future, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    ReaperParts,
    backoff::{LEASE_BOUND, SHARED_BOUND, TARGET_BOUND, next_attempt},
    claims::{Claim, Claims},
    end::{Stopped, Unfinished, end_lease},
    strip::Books,
};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{EndCause, EndReport, Lease, LeaseEvent, LeaseState, Outcome, TargetName},
    store::{ApplyError, StoreError},
    target::{Target, TargetError, TargetErrorKind},
};

/// Leases read and worked on at once: small enough that a wake-up for something else is soon heard, and below what exhausts a
/// server's lock table when objects are dropped.
const BATCH: usize = 64;

/// A target that cannot be used from here may be within reach of the other replicas: what is due there is theirs this soon.
const LEFT_TO_OTHERS: SignedDuration = SignedDuration::from_secs(1);

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
    parts: LaneParts,
    sleeping_until: AtomicI64,
    earlier: Notify,
}

/// The target cannot be used at all right now.
struct TargetDown {
    message: String,
}

/// Why a batch was not worked through.
enum Halt {
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
    fn is_shared(&self) -> bool {
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

    /// Ends what may be ended now; how many were tried.
    async fn end_batch(
        &self,
        target: &Arc<dyn Target>,
        due: Vec<Lease>,
        claim: &Claim,
    ) -> Result<usize, Halt> {
        let ending = self.mark(due).await?;
        let tried = ending.len();
        let concurrency = target.settings().pool.ending.max(1);
        let mut outcomes = stream::iter(ending)
            .map(|lease| self.end_one(target, lease, claim))
            .buffer_unordered(concurrency);
        while let Some(outcome) = outcomes.next().await {
            outcome?;
            if self.parts.stop.is_cancelled() {
                break;
            }
        }
        Ok(tried)
    }

    /// Moves what is due to ENDING, without touching the target, and returns what may be ended now.
    async fn mark(&self, due: Vec<Lease>) -> Result<Vec<Lease>, StoreError> {
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

    async fn end_one(&self, target: &Arc<dyn Target>, lease: Lease, claim: &Claim) -> Result<(), Halt> {
        crash::here(Point::EndBegun);
        let ReaperParts { clock, store, turns, .. } = &self.parts.reaper;
        let books = Books { store: &**store, clock: &**clock, turns };
        let outcome = end_lease(&books, &**target, &lease, claim).await;
        let now = clock.now();
        match outcome {
            Ok(report) => {
                crash::here(Point::EndRemoved);
                let (draft, since) = (ended_draft(&lease, now, &report), lease.state.ending_since());
                let ended =
                    self.apply(lease, LeaseEvent::Ended { at: now, report }, now, Some(draft)).await?;
                let took = now.duration_since(since.unwrap_or(now));
                let names = (&ended.role, &ended.target);
                if !ended.state.name().is_live() {
                    self.parts.reaper.metrics.ended(names, ended.state.name(), took);
                }
                crash::here(Point::EndRecorded);
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

    /// Notes an attempt that failed, and says whether the target is at fault.
    async fn put_off(&self, lease: Lease, unfinished: Unfinished, now: Timestamp) -> Result<(), Halt> {
        let down = unfinished.is_the_targets();
        let Unfinished { progress, error, .. } = unfinished;
        tracing::warn!(
            lease = %lease.id, target_name = %lease.target, error = &error as &dyn std::error::Error,
            "a lease could not be ended yet"
        );
        self.parts.reaper.metrics.end_attempt_failed(&lease.target, error.kind.as_str());
        let message = told(&error);
        let attempts = match lease.state {
            LeaseState::Ending { attempts, .. } => attempts,
            _ => 0,
        };
        let passing = matches!(
            error.kind,
            TargetErrorKind::Busy | TargetErrorKind::TimedOut | TargetErrorKind::Overran
        );
        let bound = if down || passing { TARGET_BOUND } else { LEASE_BOUND };
        let next = if down && self.is_shared() {
            left_to_others(now)
        } else {
            next_attempt(now, attempts, bound, &*self.parts.reaper.random)
        };
        self.fail(lease, message.clone(), next, progress, now).await?;
        if down { Err(Halt::Target(TargetDown { message })) } else { Ok(()) }
    }

    /// Puts off everything due on the target, which lets go of the claims on it, so that each lease shows why it is not gone yet and when that is tried again.
    async fn postpone_due(&self, message: &str, next: Timestamp) -> Result<(), StoreError> {
        let ReaperParts { clock, store, .. } = &self.parts.reaper;
        loop {
            let now = clock.now();
            let due = store.due(&self.parts.target, now, BATCH).await?;
            if due.is_empty() || now >= next {
                return Ok(());
            }
            let ending = self.mark(due).await?;
            let progress = EndReport::default();
            let postponed =
                ending.into_iter().map(|lease| self.fail(lease, message.to_owned(), next, progress, now));
            future::join_all(postponed).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        }
    }

    async fn fail(
        &self,
        lease: Lease,
        error: String,
        next_attempt_at: Timestamp,
        progress: EndReport,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known =
            matches!(&lease.state, LeaseState::Ending { last_error: Some(last), .. } if *last == error);
        let draft = Draft::of_lease(now, Actor::System, "lease.end_failed", &lease).failed(error.as_str());
        let event = LeaseEvent::EndAttemptFailed { error, next_attempt_at, progress };
        self.apply(lease, event, now, (!known).then_some(draft)).await.map(drop)
    }

    /// Applies an event; a lease that moved on meanwhile is left as it is.
    async fn apply(
        &self,
        lease: Lease,
        event: LeaseEvent,
        at: Timestamp,
        audit: Option<Draft>,
    ) -> Result<Lease, StoreError> {
        match self.parts.reaper.store.apply(lease.id, event, at, audit).await {
            Ok(lease) => Ok(lease),
            Err(ApplyError::Store(error)) => Err(error),
            Err(error @ ApplyError::NotHeld(_)) => {
                tracing::info!(lease = %lease.id, "left alone: {error}");
                Ok(lease)
            }
            Err(error @ (ApplyError::Illegal { .. } | ApplyError::Unknown(_))) => {
                tracing::warn!(lease = %lease.id, error = &error as &dyn std::error::Error, "a lease moved on meanwhile");
                Ok(lease)
            }
        }
    }
}

fn left_to_others(now: Timestamp) -> Timestamp {
    now.saturating_add(LEFT_TO_OTHERS).unwrap_or(Timestamp::MAX)
}

/// The error as shown on the lease: what happened and, where there is one, what mends it.
fn told(error: &TargetError) -> String {
    match &error.remedy {
        Some(remedy) => format!("{error}; an administrator of the target can mend it: {remedy}"),
        None => error.to_string(),
    }
}

fn ended_draft(lease: &Lease, at: Timestamp, report: &EndReport) -> Draft {
    let cause = match &lease.state {
        LeaseState::Ending { cause, .. } => cause.clone(),
        _ => EndCause::Expired,
    };
    let action = match cause.outcome() {
        Outcome::Expired => "lease.expired",
        Outcome::Revoked => "lease.revoked",
        Outcome::Released => "lease.released",
        Outcome::Failed => "lease.failed",
    };
    Draft::of_lease(at, Actor::System, action, lease)
        .with("sessions_ended", report.sessions_ended.to_string())
        .with("objects_reassigned", report.objects.reassigned.to_string())
        .with("objects_dropped", report.objects.dropped.to_string())
        .with("objects_kept", report.objects.kept.to_string())
        .with("was_absent", report.was_absent.to_string())
        .with("account_kept", report.account_kept.to_string())
}
