//! Accounts that somebody holds: locked, prolonged or gone behind our back.

use jiff::Timestamp;

use super::{
    Answer, DiscrepancyKind, ReconcileError, Reconciler, Run, Told,
    handed::{Books, concerns_all, note},
    unless_moved_on,
};
use crate::{
    audit::{Actor, Draft},
    domain::{Drift, EXPIRY_TOLERANCE, EndCause, Lease, LeaseEvent},
    target::{ExistingState, HandedOut, OnDrift},
};

/// Why an account that was locked is not simply opened.
const ONLY_ANOTHER_PASSWORD: &str = "a locked account is opened again only with another password: its holder asks once more with the \
                                     same idempotency key, or gives it back";

impl Reconciler {
    /// Somebody holds it: it should let him in until then, and no longer.
    pub(super) async fn compare_held(
        &self,
        run: &mut Run<'_>,
        books: &Books,
        lease: &Lease,
        state: Option<ExistingState>,
    ) -> Result<(), ReconcileError> {
        let Some(expires_at) = lease.expires_at().filter(|at| *at > self.clock.now()) else { return Ok(()) };
        let Some(state) = state else { return self.holders_account_is_gone(run, books, lease).await };
        let drift = drift(&state, expires_at, run.target.keeps_expiry());
        if drift.is_empty() {
            return Ok(());
        }
        let what = in_words(&drift);
        if run.acts() && run.is_news(lease.id, Told { drift: drift.clone(), more: String::new() }) {
            let widens = drift.iter().any(Drift::widens);
            tracing::warn!(
                target_name = %run.name, lease = %lease.id, widens,
                "an account was altered behind our back: {what}"
            );
            let draft = self.draft_of(lease, "lease.drifted", &what).with("widens", widens.to_string());
            self.store.record(draft).await?;
        }
        let answer = match run.target.settings().reconcile.on_drift {
            _ if !run.acts() => Answer::Reported,
            OnDrift::Report => Answer::Reported,
            OnDrift::PutRight => {
                self.put_held_right(run, books, (lease, expires_at), (&drift, &what)).await?
            }
            OnDrift::End => self.end_held(run, lease, &what).await?,
        };
        note(run, books, lease.id, DiscrepancyKind::Drifted, what, answer);
        Ok(())
    }

    /// An expiry is moved back. An account that was locked stays so: nothing but another password opens it, which is for its holder to
    /// ask for.
    async fn put_held_right(
        &self,
        run: &mut Run<'_>,
        books: &Books,
        (lease, expires_at): (&Lease, Timestamp),
        (drift, what): (&[Drift], &str),
    ) -> Result<Answer, ReconcileError> {
        let locked = drift.contains(&Drift::LoginDisabled);
        let handed = HandedOut { account: &books.account, lease: lease.id, expires_at };
        let moved = match drift {
            [Drift::LoginDisabled] => Ok(()),
            _ => run.target.prolong(handed).await,
        };
        match moved {
            Ok(()) if locked => Ok(Answer::Failed { error: ONLY_ANOTHER_PASSWORD.to_owned(), remedy: None }),
            Ok(()) => {
                run.telling.remove(&lease.id);
                self.store.record(self.draft_of(lease, "lease.put_right", what)).await?;
                Ok(Answer::PutRight)
            }
            Err(error) if concerns_all(&error) => Err(error.into()),
            Err(_) if drift.iter().any(Drift::widens) => self.end_held(run, lease, what).await,
            Err(error) => Ok(Answer::Failed { error: error.to_string(), remedy: error.remedy }),
        }
    }

    async fn end_held(&self, run: &Run<'_>, lease: &Lease, what: &str) -> Result<Answer, ReconcileError> {
        let now = self.clock.now();
        let reason = format!("its account was altered on the target: {what}");
        let draft = Draft::of_lease(now, Actor::System, "lease.ending", lease)
            .with("cause", "revoked")
            .with("reason", reason.as_str());
        let event =
            LeaseEvent::EndRequested { at: now, cause: EndCause::Revoked { reason }, not_before: now };
        unless_moved_on(self.store.apply(lease.id, event, now, Some(draft)).await)?;
        self.reaper.due(run.name, now);
        Ok(Answer::Ending)
    }

    async fn holders_account_is_gone(
        &self,
        run: &mut Run<'_>,
        books: &Books,
        lease: &Lease,
    ) -> Result<(), ReconcileError> {
        if run.acts() {
            self.close(lease).await?;
            self.reaper.due(run.name, self.clock.now());
        }
        let answer = if run.acts() { Answer::Ending } else { Answer::Reported };
        let what = "the account that was handed out is not there any more".to_owned();
        note(run, books, lease.id, DiscrepancyKind::Vanished, what, answer);
        Ok(())
    }

    fn draft_of(&self, lease: &Lease, action: &'static str, what: &str) -> Draft {
        Draft::of_lease(self.clock.now(), Actor::System, action, lease).with("drift", what)
    }
}

/// How an account differs from what its holder was promised.
fn drift(state: &ExistingState, agreed: Timestamp, keeps_expiry: bool) -> Vec<Drift> {
    let mut drift = Vec::new();
    if !state.may_log_in {
        drift.push(Drift::LoginDisabled);
    }
    match state.expires_at {
        _ if !keeps_expiry => {}
        None => drift.push(Drift::LivesLonger { until: None }),
        Some(until) if until.duration_since(agreed) > EXPIRY_TOLERANCE => {
            drift.push(Drift::LivesLonger { until: Some(until) });
        }
        Some(until) if agreed.duration_since(until) > EXPIRY_TOLERANCE => {
            drift.push(Drift::EndsEarlier { until });
        }
        Some(_) => {}
    }
    drift
}

fn in_words(drift: &[Drift]) -> String {
    drift.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_holder_was_promised_is_compared() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let state =
            |may_log_in, expires_at| ExistingState { may_log_in, expires_at, ..ExistingState::default() };
        for (state, keeps_expiry, expected) in [
            (state(true, Some(at(1_000))), true, vec![]),
            (state(true, Some(at(1_059))), true, vec![]),
            (state(false, Some(at(1_000))), true, vec![Drift::LoginDisabled]),
            (state(true, None), true, vec![Drift::LivesLonger { until: None }]),
            (state(true, None), false, vec![]),
            (state(true, Some(at(1_061))), true, vec![Drift::LivesLonger { until: Some(at(1_061)) }]),
            (state(true, Some(at(900))), true, vec![Drift::EndsEarlier { until: at(900) }]),
        ] {
            assert_eq!(drift(&state, at(1_000), keeps_expiry), expected, "{state:?}");
        }
    }
}
