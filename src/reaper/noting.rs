//! What a lane notes in the store: that a lease has ended, that an attempt failed, that everything is put off.

use futures_util::future;
use jiff::{SignedDuration, Timestamp};

use super::{
    ReaperParts,
    backoff::{LEASE_BOUND, TARGET_BOUND, next_attempt},
    end::Unfinished,
    lane::{Halt, Lane, TargetDown},
};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{EndCause, EndReport, Lease, LeaseEvent, LeaseState, Outcome},
    store::{ApplyError, StoreError},
    target::{TOGETHER, TargetError, TargetErrorKind},
};

/// A target that cannot be used from here may be within reach of the other replicas: what is due there is theirs this soon.
const LEFT_TO_OTHERS: SignedDuration = SignedDuration::from_secs(1);

impl Lane {
    /// Notes that a lease has ended.
    pub(super) async fn record(&self, lease: Lease, report: EndReport) -> Result<(), StoreError> {
        crash::here(Point::EndRemoved);
        let now = self.parts.reaper.clock.now();
        let (draft, since) = (ended_draft(&lease, now, &report), lease.state.ending_since());
        let ended = self.apply(lease, LeaseEvent::Ended { at: now, report }, now, Some(draft)).await?;
        if !ended.state.name().is_live() {
            let took = now.duration_since(since.unwrap_or(now));
            self.parts.reaper.metrics.ended((&ended.role, &ended.target), ended.state.name(), took);
        }
        crash::here(Point::EndRecorded);
        Ok(())
    }

    /// Notes an attempt that failed, and says whether the target is at fault.
    pub(super) async fn put_off(
        &self,
        lease: Lease,
        unfinished: Unfinished,
        now: Timestamp,
    ) -> Result<(), Halt> {
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
    pub(super) async fn postpone_due(&self, message: &str, next: Timestamp) -> Result<(), StoreError> {
        let ReaperParts { clock, store, .. } = &self.parts.reaper;
        loop {
            let now = clock.now();
            let due = store.due(&self.parts.target, now, TOGETHER).await?;
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
    pub(super) async fn apply(
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

pub(super) fn left_to_others(now: Timestamp) -> Timestamp {
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
