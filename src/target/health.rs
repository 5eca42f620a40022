//! How targets fare, as last seen by whoever used them; and whether one is to be left alone for now.
//!
//! Issuing and renewing ask first ([`HealthBoard::admit`]) and say how it went; ending and reconciling never ask, they have
//! their own back-off, and say how it went as well.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::{
    TargetError, TargetErrorKind,
    circuit::{Admission, Circuit},
};
use crate::domain::TargetName;

/// How a target fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it could not be used when last tried; `None`: it could, or was not tried yet.
    pub last_error: Option<String>,
    /// While it cannot be used: when ending is tried on it again.
    pub next_attempt_at: Option<Timestamp>,
    /// Whether issuing and renewing go through to it.
    pub circuit: CircuitState,
    /// While its circuit is not closed: when the trouble began.
    pub since: Option<Timestamp>,
    /// While its circuit is open: when one caller is let through to see whether it is back.
    pub next_probe_at: Option<Timestamp>,
}

/// Whether a target's circuit lets callers through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CircuitState {
    /// Callers go through.
    #[default]
    Closed,
    /// Callers are refused at once.
    Open,
    /// One caller went through to see whether the target is back; all others are refused at once.
    HalfOpen,
}

impl CircuitState {
    /// Every state.
    pub const ALL: [CircuitState; 3] = [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen];

    /// Lower case, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::HalfOpen => "half_open",
        }
    }
}

/// A target is left alone for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its circuit is open until {retry_at}: {last_error}")]
pub struct LeftAlone {
    /// What it failed with last.
    pub last_error: String,
    /// When trying again makes sense.
    pub retry_at: Timestamp,
}

#[derive(Debug, Default)]
struct Record {
    last_error: Option<String>,
    next_attempt_at: Option<Timestamp>,
    circuit: Circuit,
}

/// How all targets fare.
#[derive(Debug, Default)]
pub struct HealthBoard(Mutex<BTreeMap<TargetName, Record>>);

impl HealthBoard {
    fn records(&self) -> MutexGuard<'_, BTreeMap<TargetName, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a target fares.
    pub fn of(&self, target: &TargetName) -> Health {
        self.records().get(target).map(Health::from).unwrap_or_default()
    }

    /// Asks whether to go through to a target. Whoever may says how it went, through the pass.
    ///
    /// # Errors
    /// [`LeftAlone`] while its circuit is open.
    pub fn admit(self: &Arc<Self>, target: &TargetName, now: Timestamp) -> Result<Pass, LeftAlone> {
        let mut records = self.records();
        let mut probe = false;
        if let Some(record) = records.get_mut(target) {
            let (circuit, admission) = record.circuit.admit(now);
            record.circuit = circuit;
            match admission {
                Admission::Free => {}
                Admission::Probe => probe = true,
                Admission::Refused(retry_at) => {
                    let last_error = record.last_error.clone().unwrap_or_default();
                    return Err(LeftAlone { last_error, retry_at });
                }
            }
        }
        drop(records);
        Ok(Pass { board: Arc::clone(self), target: target.clone(), probe })
    }

    /// It was used without trouble. Closes its circuit.
    pub fn well(&self, target: &TargetName) {
        let known = self.records().remove(target);
        if known.is_some_and(|record| record.circuit.outage().is_some()) {
            tracing::info!(target_name = %target, "the target can be used again: its circuit is closed");
        }
    }

    /// It could not be used at all. `next_attempt_at`: when whoever tells will try it again by itself.
    pub fn ill(&self, target: &TargetName, now: Timestamp, error: &str, next_attempt_at: Option<Timestamp>) {
        self.note(target, error, next_attempt_at, |circuit| circuit.failed(now));
    }

    fn note(
        &self,
        target: &TargetName,
        error: &str,
        next_attempt_at: Option<Timestamp>,
        change: impl FnOnce(Circuit) -> Circuit,
    ) {
        let mut records = self.records();
        let record = records.entry(target.clone()).or_default();
        let was_open = record.circuit.outage().is_some();
        record.circuit = change(record.circuit);
        record.next_attempt_at = next_attempt_at.or(record.next_attempt_at);
        let opened = record.circuit.outage().filter(|_| !was_open);
        record.last_error = Some(error.to_owned());
        drop(records);
        if let Some(outage) = opened {
            tracing::warn!(
                target_name = %target, error, since = %outage.since,
                "the target is left alone for now: its circuit is open; ending goes on trying"
            );
        }
    }

    /// Nothing is known of it any more: it was configured anew.
    pub fn forget(&self, target: &TargetName) {
        self.records().remove(target);
    }

    fn withdraw_probe(&self, target: &TargetName) {
        if let Some(record) = self.records().get_mut(target) {
            record.circuit = record.circuit.probe_withdrawn();
        }
    }
}

impl From<&Record> for Health {
    fn from(record: &Record) -> Self {
        let outage = record.circuit.outage();
        Self {
            last_error: record.last_error.clone(),
            next_attempt_at: record.next_attempt_at,
            circuit: match record.circuit {
                Circuit::Closed | Circuit::Failing { .. } => CircuitState::Closed,
                Circuit::Open(_) => CircuitState::Open,
                Circuit::HalfOpen(_) => CircuitState::HalfOpen,
            },
            since: outage.map(|outage| outage.since),
            next_probe_at: outage.map(|outage| outage.next_probe),
        }
    }
}

/// Leave to use a target once. Dropped without a word, it says nothing about the target.
#[derive(Debug)]
pub struct Pass {
    board: Arc<HealthBoard>,
    target: TargetName,
    probe: bool,
}

impl Pass {
    /// How it went. A target that answers is well, even when what it says is no; one that is merely busy, or gave a statement
    /// up, is neither well nor ill.
    pub fn went(mut self, now: Timestamp, failure: Option<&TargetError>) {
        match failure {
            Some(error) if error.kind.concerns_whole_target() => {
                let probe = std::mem::take(&mut self.probe);
                self.board.note(&self.target, &error.to_string(), None, |circuit| {
                    if probe { circuit.probe_failed(now) } else { circuit.failed(now) }
                });
            }
            Some(error) if matches!(error.kind, TargetErrorKind::Busy | TargetErrorKind::Overran) => {}
            Some(_) | None => self.board.well(&self.target),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe {
            self.board.withdraw_probe(&self.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn error(kind: TargetErrorKind) -> TargetError {
        TargetError::new(kind, "no")
    }

    fn try_once(board: &Arc<HealthBoard>, at: i64, kind: TargetErrorKind) {
        let target = "orders".parse().unwrap();
        let pass = board.admit(&target, second(at)).unwrap();
        pass.went(second(at), Some(&error(kind)));
    }

    #[test]
    fn only_what_concerns_the_whole_target_opens_its_circuit() {
        let target: TargetName = "orders".parse().unwrap();
        for kind in [
            TargetErrorKind::Busy,
            TargetErrorKind::Overran,
            TargetErrorKind::Denied,
            TargetErrorKind::Exists,
            TargetErrorKind::Missing,
            TargetErrorKind::Refused,
        ] {
            let board = Arc::new(HealthBoard::default());
            (0..10).for_each(|at| try_once(&board, at, kind));
            assert_eq!(board.of(&target), Health::default(), "{kind:?}");
        }
        for kind in [
            TargetErrorKind::Unavailable,
            TargetErrorKind::TimedOut,
            TargetErrorKind::Unauthenticated,
            TargetErrorKind::Untrusted,
            TargetErrorKind::Replaced,
        ] {
            let board = Arc::new(HealthBoard::default());
            (0..3).for_each(|at| try_once(&board, at, kind));
            let health = board.of(&target);
            assert_eq!((health.circuit, health.since), (CircuitState::Open, Some(second(0))), "{kind:?}");
            assert_eq!(health.last_error.as_deref(), Some("no"));
            let refused = board.admit(&target, second(2)).unwrap_err();
            assert_eq!(refused.retry_at, second(3));
            assert!(board.admit(&"stock".parse().unwrap(), second(2)).is_ok(), "another target");
        }
    }

    #[test]
    fn any_success_closes_it_and_a_pass_that_is_dropped_leaves_the_probe_to_the_next() {
        let target: TargetName = "orders".parse().unwrap();
        let board = Arc::new(HealthBoard::default());
        (0..3).for_each(|at| try_once(&board, at, TargetErrorKind::Unavailable));
        let probe = board.admit(&target, second(3)).unwrap();
        assert_eq!(board.of(&target).circuit, CircuitState::HalfOpen);
        board.admit(&target, second(3)).unwrap_err();
        drop(probe);
        assert_eq!(board.of(&target).circuit, CircuitState::Open);
        let probe = board.admit(&target, second(3)).unwrap();
        board.ill(&target, second(4), "ending failed too", Some(second(9)));
        assert_eq!(board.of(&target).next_attempt_at, Some(second(9)));
        board.well(&target);
        assert_eq!(board.of(&target), Health::default());
        drop(probe);
        assert_eq!(board.of(&target), Health::default());
    }
}
