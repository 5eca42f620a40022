//! The lease state machine: one pure function, used live and in recovery.
//!
//! ```text
//! PROVISIONING ──activated──▶ ACTIVE ──end requested──▶ ENDING ──ended──▶ EXPIRED | REVOKED | RELEASED
//!       └──────────────end requested──────────────────────▶ ┘ └──ended──▶ FAILED
//! ```
//! A lease whose account is found again after its end goes back to ENDING, with the cause it had.
//! ENDING keeps its cause, attempts and last error, and is retried until the account is verified absent.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// No attempt at an end is put off for longer than this, whatever its failures and its target's bounds.
pub const FURTHEST_ATTEMPT: SignedDuration = SignedDuration::from_hours(1);

/// Why a lease ends. The first cause stands: a lease already ending for one reason is not re-labelled by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum EndCause {
    /// By the clock.
    Expired,
    /// By its holder.
    Released,
    /// By an authority.
    Revoked {
        /// What the authority gave as its reason; may be empty.
        reason: String,
    },
    /// Provisioning did not complete; nothing was delivered.
    Failed {
        /// What went wrong, fit for its requester.
        reason: String,
    },
}

impl EndCause {
    /// The final state it leads to.
    pub fn outcome(&self) -> Outcome {
        match self {
            EndCause::Expired => Outcome::Expired,
            EndCause::Released => Outcome::Released,
            EndCause::Revoked { .. } => Outcome::Revoked,
            EndCause::Failed { .. } => Outcome::Failed,
        }
    }
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By the clock.
    Expired,
    /// By an authority.
    Revoked,
    /// By its holder.
    Released,
    /// It never became active.
    Failed,
}

/// Objects dealt with when a lease ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCounts {
    /// Handed to the role named by `owned_objects`.
    pub reassigned: u32,
    /// Dropped.
    pub dropped: u32,
    /// Left where they are, with the account disabled.
    pub kept: u32,
}

/// What ending a lease did on its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReport {
    /// Sessions ended.
    pub sessions_ended: u32,
    /// Objects dealt with.
    pub objects: ObjectCounts,
    /// The account was already gone when its end began.
    pub was_absent: bool,
    /// The account still exists, disabled and member of nothing, because the role says `owned_objects = "keep"` and it
    /// owns something.
    pub account_kept: bool,
}

/// Where a lease stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LeaseState {
    /// Intent is durable; the account may or may not exist on the target.
    Provisioning {
        /// When nobody can be working on it any more: from then on recovery ends it.
        deadline: Timestamp,
    },
    /// The account exists and its credential was, or is being, delivered.
    Active {
        /// When it expires.
        expires_at: Timestamp,
    },
    /// The account is being removed.
    Ending {
        /// Why.
        #[serde(flatten)]
        cause: EndCause,
        /// Since when.
        since: Timestamp,
        /// Attempts made so far, all unsuccessful.
        attempts: u32,
        /// Why the last attempt did not succeed.
        last_error: Option<String>,
        /// When the next attempt is due.
        next_attempt_at: Timestamp,
        /// Work already done by unsuccessful attempts, carried into the final report.
        progress: EndReport,
    },
    /// The account is verified gone (or kept disabled, by rule).
    Ended {
        /// Why.
        #[serde(flatten)]
        cause: EndCause,
        /// When that was verified.
        at: Timestamp,
        /// What was done.
        report: EndReport,
    },
}

/// A state's bare name, for filters, metrics and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// See [`LeaseState::Provisioning`].
    Provisioning,
    /// See [`LeaseState::Active`].
    Active,
    /// See [`LeaseState::Ending`].
    Ending,
    /// Ended by the clock.
    Expired,
    /// Ended by an authority.
    Revoked,
    /// Ended by its holder.
    Released,
    /// Never became active.
    Failed,
}

impl StateName {
    /// All of them, in the order a lease passes through.
    pub const ALL: [StateName; 7] = [
        StateName::Provisioning,
        StateName::Active,
        StateName::Ending,
        StateName::Expired,
        StateName::Revoked,
        StateName::Released,
        StateName::Failed,
    ];

    /// Lower case, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Provisioning => "provisioning",
            StateName::Active => "active",
            StateName::Ending => "ending",
            StateName::Expired => "expired",
            StateName::Revoked => "revoked",
            StateName::Released => "released",
            StateName::Failed => "failed",
        }
    }

    /// Whether an account may exist in this state.
    pub fn is_live(self) -> bool {
        matches!(self, StateName::Provisioning | StateName::Active | StateName::Ending)
    }
}

/// What happens to a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The account exists on the target.
    Activated {
        /// When it expires.
        expires_at: Timestamp,
    },
    /// Its expiry moves, on the target and here. An expiry earlier than the present one changes nothing.
    Renewed {
        /// The new expiry.
        expires_at: Timestamp,
    },
    /// The clock looks at it: a lease that is due ends, any other stays as it is. What the reaper read a moment ago may have
    /// been renewed or activated since, so this is decided here, within the store's transaction.
    Due {
        /// Now.
        at: Timestamp,
    },
    /// It is to end. On a lease that is ending or ended this changes nothing.
    EndRequested {
        /// Now.
        at: Timestamp,
        /// Why.
        cause: EndCause,
        /// When the first attempt may start: now, or, when a creation of unknown outcome may still be running on the
        /// target, the moment by which the target has given it up. Of no concern to a lease that is active by then.
        not_before: Timestamp,
    },
    /// The account of a lease that had ended is there again, or was never gone: it ends once more, for the cause it had.
    Reappeared {
        /// Now.
        at: Timestamp,
    },
    /// An attempt to remove the account did not succeed.
    EndAttemptFailed {
        /// Why, fit for an operator; no secret.
        error: String,
        /// When to try again.
        next_attempt_at: Timestamp,
        /// What this attempt did before it failed.
        progress: EndReport,
    },
    /// The account is verified gone, or kept by rule.
    Ended {
        /// Now.
        at: Timestamp,
        /// What was done by the last attempt.
        report: EndReport,
    },
}

/// An event that does not apply to a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {noun} that is {from} cannot be {event}")]
pub struct IllegalTransition {
    /// What it would have happened to.
    pub noun: &'static str,
    /// The state it was in.
    pub from: &'static str,
    /// What was tried, as a participle.
    pub event: &'static str,
}

impl EndReport {
    /// Adds up what two attempts did.
    #[must_use]
    pub fn and(self, later: EndReport) -> EndReport {
        EndReport {
            sessions_ended: self.sessions_ended.saturating_add(later.sessions_ended),
            objects: ObjectCounts {
                reassigned: self.objects.reassigned.saturating_add(later.objects.reassigned),
                dropped: self.objects.dropped.saturating_add(later.objects.dropped),
                kept: later.objects.kept,
            },
            was_absent: later.was_absent,
            account_kept: later.account_kept,
        }
    }
}

impl LeaseState {
    /// The bare name.
    pub fn name(&self) -> StateName {
        match self {
            LeaseState::Provisioning { .. } => StateName::Provisioning,
            LeaseState::Active { .. } => StateName::Active,
            LeaseState::Ending { .. } => StateName::Ending,
            LeaseState::Ended { cause, .. } => match cause.outcome() {
                Outcome::Expired => StateName::Expired,
                Outcome::Revoked => StateName::Revoked,
                Outcome::Released => StateName::Released,
                Outcome::Failed => StateName::Failed,
            },
        }
    }

    /// When its end began; `None` unless it is ENDING.
    pub fn ending_since(&self) -> Option<Timestamp> {
        match self {
            LeaseState::Ending { since, .. } => Some(*since),
            _ => None,
        }
    }

    /// When the reaper must look at it next; `None` when never.
    pub fn due_at(&self) -> Option<Timestamp> {
        match self {
            LeaseState::Provisioning { deadline } => Some(*deadline),
            LeaseState::Active { expires_at } => Some(*expires_at),
            LeaseState::Ending { next_attempt_at, .. } => Some(*next_attempt_at),
            LeaseState::Ended { .. } => None,
        }
    }

    /// Whether an end may be attempted at a moment: the next attempt is due, or lies further ahead than any back-off puts it,
    /// because the clock was set back since.
    pub fn may_be_attempted(&self, now: Timestamp) -> bool {
        let furthest = now.saturating_add(FURTHEST_ATTEMPT).unwrap_or(Timestamp::MAX);
        matches!(self, LeaseState::Ending { next_attempt_at: next, .. } if *next <= now || *next > furthest)
    }

    fn ending(cause: EndCause, since: Timestamp, not_before: Timestamp) -> LeaseState {
        LeaseState::Ending {
            cause,
            since,
            attempts: 0,
            last_error: None,
            next_attempt_at: not_before,
            progress: EndReport::default(),
        }
    }

    /// The state after an event.
    ///
    /// # Errors
    /// When the event does not apply. Asking a lease to end that is ending or ended already is no error: it stays as it is.
    pub fn after(self, event: LeaseEvent) -> Result<LeaseState, IllegalTransition> {
        let from = self.name().as_str();
        match (self, event) {
            (LeaseState::Provisioning { .. }, LeaseEvent::Activated { expires_at }) => {
                Ok(LeaseState::Active { expires_at })
            }
            // A renewal never shortens.
            (LeaseState::Active { expires_at: current }, LeaseEvent::Renewed { expires_at }) => {
                Ok(LeaseState::Active { expires_at: expires_at.max(current) })
            }
            (LeaseState::Provisioning { .. }, LeaseEvent::EndRequested { at, cause, not_before }) => {
                Ok(LeaseState::ending(cause, at, not_before))
            }
            // Its account exists and nothing is under way: there is nothing to wait for, whatever the asker last saw.
            (LeaseState::Active { .. }, LeaseEvent::EndRequested { at, cause, .. }) => {
                Ok(LeaseState::ending(cause, at, at))
            }
            (LeaseState::Provisioning { deadline }, LeaseEvent::Due { at }) if deadline <= at => {
                Ok(LeaseState::ending(
                    EndCause::Failed { reason: "provisioning did not complete".into() },
                    at,
                    at,
                ))
            }
            (LeaseState::Active { expires_at }, LeaseEvent::Due { at }) if expires_at <= at => {
                Ok(LeaseState::ending(EndCause::Expired, at, at))
            }
            (state, LeaseEvent::Due { .. })
            | (state @ LeaseState::Ending { .. }, LeaseEvent::Reappeared { .. })
            | (
                state @ (LeaseState::Ending { .. } | LeaseState::Ended { .. }),
                LeaseEvent::EndRequested { .. },
            ) => Ok(state),
            (
                LeaseState::Ending { cause, since, attempts, progress: earlier, .. },
                LeaseEvent::EndAttemptFailed { error, next_attempt_at, progress },
            ) => Ok(LeaseState::Ending {
                cause,
                since,
                attempts: attempts.saturating_add(1),
                last_error: Some(error),
                next_attempt_at,
                progress: earlier.and(progress),
            }),
            (LeaseState::Ending { cause, progress, .. }, LeaseEvent::Ended { at, report }) => {
                Ok(LeaseState::Ended { cause, at, report: progress.and(report) })
            }
            // Its account must not be there in any state after its end, and while it ends that is being seen to.
            (LeaseState::Ended { cause, report, .. }, LeaseEvent::Reappeared { at }) => {
                Ok(LeaseState::Ending {
                    cause,
                    since: at,
                    attempts: 0,
                    last_error: None,
                    next_attempt_at: at,
                    progress: report,
                })
            }
            (_, event) => Err(IllegalTransition { noun: "lease", from, event: event.participle() }),
        }
    }
}

impl LeaseEvent {
    fn participle(&self) -> &'static str {
        match self {
            LeaseEvent::Activated { .. } => "activated",
            LeaseEvent::Renewed { .. } => "renewed",
            LeaseEvent::Due { .. } => "looked at",
            LeaseEvent::EndRequested { .. } => "asked to end",
            LeaseEvent::Reappeared { .. } => "found again",
            LeaseEvent::EndAttemptFailed { .. } => "tried in vain to be ended",
            LeaseEvent::Ended { .. } => "closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ending(cause: EndCause) -> LeaseState {
        LeaseState::Ending {
            cause,
            since: at(5),
            attempts: 0,
            last_error: None,
            next_attempt_at: at(5),
            progress: EndReport::default(),
        }
    }

    fn states() -> Vec<LeaseState> {
        let mut states =
            vec![LeaseState::Provisioning { deadline: at(3) }, LeaseState::Active { expires_at: at(9) }];
        for cause in [
            EndCause::Expired,
            EndCause::Released,
            EndCause::Revoked { reason: "lost laptop".into() },
            EndCause::Failed { reason: "target down".into() },
        ] {
            states.push(ending(cause.clone()));
            states.push(LeaseState::Ended { cause, at: at(6), report: EndReport::default() });
        }
        states
    }

    fn events() -> Vec<LeaseEvent> {
        vec![
            LeaseEvent::Activated { expires_at: at(20) },
            LeaseEvent::Renewed { expires_at: at(30) },
            LeaseEvent::EndRequested { at: at(7), cause: EndCause::Released, not_before: at(8) },
            LeaseEvent::Reappeared { at: at(60) },
            LeaseEvent::EndAttemptFailed {
                error: "refused".into(),
                next_attempt_at: at(40),
                progress: EndReport::default(),
            },
            LeaseEvent::Ended { at: at(50), report: EndReport { sessions_ended: 1, ..EndReport::default() } },
        ]
    }

    #[test]
    fn every_pair_of_state_and_event_does_what_the_diagram_says() {
        use StateName::{Active, Ending, Expired, Failed, Provisioning, Released, Revoked};
        for state in states() {
            let before = state.name();
            for event in events() {
                let after = state.clone().after(event.clone()).map(|next| next.name()).ok();
                let expected = match (before, &event) {
                    (Provisioning, LeaseEvent::Activated { .. }) | (Active, LeaseEvent::Renewed { .. }) => {
                        Some(Active)
                    }
                    (Provisioning | Active, LeaseEvent::EndRequested { .. })
                    | (Ending, LeaseEvent::EndAttemptFailed { .. })
                    | (Ending | Expired | Revoked | Released | Failed, LeaseEvent::Reappeared { .. }) => {
                        Some(Ending)
                    }
                    (Ending | Expired | Revoked | Released | Failed, LeaseEvent::EndRequested { .. }) => {
                        Some(before)
                    }
                    (Ending, LeaseEvent::Ended { .. }) => match &state {
                        LeaseState::Ending { cause: EndCause::Expired, .. } => Some(Expired),
                        LeaseState::Ending { cause: EndCause::Released, .. } => Some(Released),
                        LeaseState::Ending { cause: EndCause::Revoked { .. }, .. } => Some(Revoked),
                        _ => Some(Failed),
                    },
                    _ => None,
                };
                assert_eq!(after, expected, "{before:?} after {event:?}");
            }
        }
    }

    #[test]
    fn the_clock_ends_only_what_is_due() {
        let provisioning = LeaseState::Provisioning { deadline: at(3) };
        let active = LeaseState::Active { expires_at: at(9) };
        let due = |second| LeaseEvent::Due { at: at(second) };
        assert_eq!(provisioning.clone().after(due(2)).unwrap(), provisioning);
        assert_eq!(active.clone().after(due(8)).unwrap(), active);
        let failed = provisioning.after(due(3)).unwrap();
        assert!(matches!(failed, LeaseState::Ending { cause: EndCause::Failed { .. }, .. }));
        let expired = active.after(due(9)).unwrap();
        assert!(matches!(expired, LeaseState::Ending { cause: EndCause::Expired, .. }));
        assert_eq!(expired.clone().after(due(99)).unwrap(), expired);
    }

    #[test]
    fn a_renewal_never_shortens() {
        let active = LeaseState::Active { expires_at: at(30) };
        let renewed = |second| active.clone().after(LeaseEvent::Renewed { expires_at: at(second) }).unwrap();
        assert_eq!(renewed(29), active);
        assert_eq!(renewed(31), LeaseState::Active { expires_at: at(31) });
    }

    #[test]
    fn only_what_is_still_being_provisioned_waits_before_it_ends() {
        let end = LeaseEvent::EndRequested { at: at(7), cause: EndCause::Released, not_before: at(40) };
        let waiting = LeaseState::Provisioning { deadline: at(40) }.after(end.clone()).unwrap();
        assert_eq!(waiting.due_at(), Some(at(40)));
        let active = LeaseState::Active { expires_at: at(90) }.after(end).unwrap();
        assert_eq!(active.due_at(), Some(at(7)));
    }

    #[test]
    fn the_first_cause_stands() {
        let revoked = ending(EndCause::Revoked { reason: "leak".into() });
        let again = LeaseEvent::EndRequested { at: at(9), cause: EndCause::Expired, not_before: at(9) };
        assert_eq!(revoked.clone().after(again).unwrap(), revoked);
    }

    #[test]
    fn attempts_and_work_done_add_up_into_the_report() {
        let did = |sessions_ended| EndReport { sessions_ended, ..EndReport::default() };
        let fail = |n| LeaseEvent::EndAttemptFailed {
            error: format!("error {n}"),
            next_attempt_at: at(n),
            progress: did(1),
        };
        let state = ending(EndCause::Expired).after(fail(60)).unwrap().after(fail(70)).unwrap();
        assert_eq!(state.due_at(), Some(at(70)));
        assert!(
            matches!(&state, LeaseState::Ending { attempts: 2, last_error: Some(e), .. } if e == "error 70")
        );
        let ended = state.after(LeaseEvent::Ended { at: at(80), report: did(2) }).unwrap();
        assert!(matches!(ended, LeaseState::Ended { report: EndReport { sessions_ended: 4, .. }, .. }));
        assert_eq!(ended.due_at(), None);
    }

    #[test]
    fn an_end_is_attempted_when_due_and_when_the_clock_was_set_back() {
        let state = ending(EndCause::Expired); // next attempt at 5
        assert!(!state.may_be_attempted(at(4)));
        assert!(state.may_be_attempted(at(5)));
        assert!(!state.may_be_attempted(at(5 - 3600)));
        assert!(state.may_be_attempted(at(5 - 3601)));
        assert!(!LeaseState::Active { expires_at: at(5) }.may_be_attempted(at(9)));
    }

    #[test]
    fn states_survive_the_store() {
        for state in states() {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<LeaseState>(&text).unwrap(), state, "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_tried() {
        let refused =
            LeaseState::Active { expires_at: at(1) }.after(LeaseEvent::Activated { expires_at: at(2) });
        assert_eq!(refused.unwrap_err().to_string(), "a lease that is active cannot be activated");
    }
}
