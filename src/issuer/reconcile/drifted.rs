//! Accounts altered behind our back.

use jiff::SignedDuration;

use super::{
    Answer, Discrepancy, DiscrepancyKind, ReconcileError, Reconciler, Run, Told, unless_moved_on,
    walk::{is_over, look},
};
use crate::{
    audit::{Actor, Draft},
    crash::{Point, here},
    domain::{Drift, EndCause, EndReport, Expected, Lease, LeaseEvent, LeaseId, LeaseState, drift},
    store::StoreError,
    target::{LeasedAccount, OnDrift, TargetError, TargetErrorKind},
};

/// How long another process is given to record a renewal that the target has already. Should it take longer, it tells the target
/// again once it has recorded it.
const LONGEST_RENEWAL: SignedDuration = SignedDuration::from_secs(4);

/// What the account of a lease should be like; `None`: nothing can be said while it is being created or removed.
pub(super) fn expected(lease: &Lease) -> Option<Expected<'_>> {
    match lease.state {
        LeaseState::Active { expires_at } => Some(Expected {
            account: &lease.account,
            expires_at: Some(expires_at),
            member_of: &lease.end_plan.member_of,
        }),
        LeaseState::Ended { report: EndReport { account_kept: true, .. }, .. } => {
            Some(Expected { account: &lease.account, expires_at: None, member_of: &[] })
        }
        _ => None,
    }
}

/// An account that differs from its lease, seen twice.
struct Altered {
    lease: Lease,
    drift: Vec<Drift>,
    /// The differences in words.
    what: String,
}

impl Altered {
    fn widens(&self) -> bool {
        self.drift.iter().any(Drift::widens)
    }
}

impl Reconciler {
    /// The account of a lease seems altered: looks again, and answers as configured.
    pub(super) async fn drifted(&self, run: &mut Run<'_>, id: LeaseId) -> Result<(), ReconcileError> {
        // A renewal moves the expiry on the target before the store's. While we look and answer, none begins; should one be under
        // way, the next run looks.
        let Some(_turn) = self.renewing.take(&id) else { return Ok(()) };
        let Some(altered) = self.look_again(run, id).await? else { return Ok(()) };
        let answer = if run.acts() { self.answer(run, &altered).await? } else { Answer::Reported };
        run.report.note(Discrepancy {
            kind: DiscrepancyKind::Drifted,
            account: altered.lease.account.name.to_string(),
            lease: id,
            what: altered.what,
            answer,
        });
        Ok(())
    }

    /// What differs while the lease stands still. Another process that shares the store may be in the middle of renewing it: then
    /// what still differs after a while.
    async fn look_again(&self, run: &Run<'_>, id: LeaseId) -> Result<Option<Altered>, ReconcileError> {
        let altered = self.look_once(run, id).await?;
        let may_be_renewed = altered.as_ref().is_some_and(|altered| {
            altered.drift.iter().any(|drift| matches!(drift, Drift::LivesLonger { .. }))
        });
        if !may_be_renewed || self.store.replica().is_none() {
            return Ok(altered);
        }
        let begun = self.clock.now();
        self.clock.sleep_until(begun.saturating_add(LONGEST_RENEWAL).unwrap_or(begun)).await;
        self.look_once(run, id).await
    }

    /// The lease, the account, the lease.
    async fn look_once(&self, run: &Run<'_>, id: LeaseId) -> Result<Option<Altered>, ReconcileError> {
        let Some(lease) = self.store.lease(id).await? else { return Ok(None) };
        let (Some(expected), false) = (expected(&lease), is_over(&lease, self.clock.now())) else {
            return Ok(None);
        };
        let Some(found) = look(run, &lease.account.name).await? else { return Ok(None) };
        let drift = drift(&expected, &found, run.target.keeps_expiry());
        let unmoved = self.store.lease(id).await?.is_some_and(|again| again.state == lease.state);
        if drift.is_empty() || !unmoved {
            return Ok(None);
        }
        let what = in_words(&drift);
        Ok(Some(Altered { lease, drift, what }))
    }

    async fn answer(&self, run: &mut Run<'_>, altered: &Altered) -> Result<Answer, ReconcileError> {
        let on_drift = run.target.settings().reconcile.on_drift;
        let of_drift = Told { drift: altered.drift.clone(), more: String::new() };
        let known = run.told.get(&altered.lease.id).is_some_and(|told| told.is_about(&of_drift));
        if run.is_news(altered.lease.id, of_drift) && !known {
            self.tell(altered).await?;
        }
        match (on_drift, &altered.lease.state) {
            (OnDrift::Report, _) => Ok(Answer::Reported),
            (OnDrift::PutRight, LeaseState::Active { .. }) => self.put_right(run, altered).await,
            (OnDrift::End, LeaseState::Active { .. }) => {
                let reason = format!("its account was altered on the target: {}", altered.what);
                self.end_altered(run, altered, reason).await
            }
            // A kept account that may log in, or is in a group again, is disabled again by ending its lease once more. What else it
            // was given is of no use to an account that cannot log in.
            (_, LeaseState::Ended { .. }) if altered.drift.iter().any(opens_a_kept_account) => {
                self.end_once_more(run, &altered.lease, &altered.what).await?;
                Ok(Answer::Ending)
            }
            _ => Ok(Answer::Reported),
        }
    }

    async fn tell(&self, altered: &Altered) -> Result<(), StoreError> {
        let Altered { lease, what, .. } = altered;
        tracing::warn!(
            target_name = %lease.target, lease = %lease.id, widens = altered.widens(),
            "an account was altered behind our back: {what}"
        );
        let draft = self.draft(altered, "lease.drifted");
        self.store.record(draft.with("widens", altered.widens().to_string())).await
    }

    fn draft(&self, altered: &Altered, action: &'static str) -> Draft {
        let Altered { lease, what, .. } = altered;
        Draft::of_lease(self.clock.now(), Actor::System, action, lease).with("drift", what.as_str())
    }

    async fn put_right(&self, run: &mut Run<'_>, altered: &Altered) -> Result<Answer, ReconcileError> {
        let Some(expires_at) = altered.lease.expires_at() else { return Ok(Answer::Reported) };
        let Some(account) = LeasedAccount::of(&altered.lease) else { return Ok(Answer::Reported) };
        here(Point::ReconcileDrifted);
        let put = run.target.put_right(account, &altered.drift, expires_at).await;
        here(Point::ReconcilePutRight);
        let put = match put {
            Ok(()) => self.is_right_now(run, altered).await,
            Err(error) => Err(error),
        };
        match put {
            Ok(()) => {
                // Should it be altered in the same way once more, that is news.
                run.telling.remove(&altered.lease.id);
                self.store.record(self.draft(altered, "lease.put_right")).await?;
                Ok(Answer::PutRight)
            }
            Err(error) if error.kind.concerns_whole_target() && error.kind != TargetErrorKind::TimedOut => {
                run.telling.remove(&altered.lease.id);
                Err(error.into())
            }
            Err(error) => self.could_not_put_right(run, altered, error).await,
        }
    }

    async fn is_right_now(&self, run: &Run<'_>, altered: &Altered) -> Result<(), TargetError> {
        let Some(expected) = expected(&altered.lease) else { return Ok(()) };
        let Some(found) = look(run, &altered.lease.account.name).await? else { return Ok(()) };
        let left = drift(&expected, &found, run.target.keeps_expiry());
        if left.is_empty() {
            return Ok(());
        }
        let message = format!("it is still altered after that: {}", in_words(&left));
        Err(TargetError::new(TargetErrorKind::Refused, message))
    }

    /// Says so loudly. A lease whose account can do more than agreed does not go on like that: it is ended, unless the target merely
    /// did not answer in time.
    async fn could_not_put_right(
        &self,
        run: &mut Run<'_>,
        altered: &Altered,
        error: TargetError,
    ) -> Result<Answer, ReconcileError> {
        let id = altered.lease.id;
        if run.is_news(id, Told { drift: altered.drift.clone(), more: error.to_string() }) {
            tracing::error!(
                target_name = %run.name, lease = %id, error = &error as &dyn std::error::Error,
                remedy = error.remedy.as_deref(), "an altered account could not be put right: {}", altered.what
            );
            let draft = self.draft(altered, "lease.put_right").failed(error.to_string());
            let draft = match &error.remedy {
                Some(remedy) => draft.with("remedy", remedy.as_str()),
                None => draft,
            };
            self.store.record(draft).await?;
        }
        let passing = matches!(
            error.kind,
            TargetErrorKind::Busy | TargetErrorKind::TimedOut | TargetErrorKind::Overran
        );
        if altered.widens() && !passing {
            let reason =
                format!("its account was altered on the target and could not be put right: {}", altered.what);
            return self.end_altered(run, altered, reason).await;
        }
        Ok(Answer::Failed { error: error.to_string(), remedy: error.remedy })
    }

    async fn end_altered(
        &self,
        run: &Run<'_>,
        altered: &Altered,
        reason: String,
    ) -> Result<Answer, ReconcileError> {
        let now = self.clock.now();
        let draft = Draft::of_lease(now, Actor::System, "lease.ending", &altered.lease)
            .with("cause", "revoked")
            .with("reason", reason.as_str());
        let event =
            LeaseEvent::EndRequested { at: now, cause: EndCause::Revoked { reason }, not_before: now };
        unless_moved_on(self.store.apply(altered.lease.id, event, now, Some(draft)).await)?;
        here(Point::ReconcileEnded);
        self.reaper.due(run.name, now);
        Ok(Answer::Ending)
    }
}

fn opens_a_kept_account(drift: &Drift) -> bool {
    matches!(drift, Drift::LoginEnabled | Drift::JoinedGroup(_) | Drift::GainedHost(_))
}

fn in_words(drift: &[Drift]) -> String {
    let words: Vec<String> = drift.iter().map(ToString::to_string).collect();
    words.join("; ")
}
