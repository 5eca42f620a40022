//! When a target is left alone: a state machine, pure.
//!
//! ```text
//!              N failures in a row                its time has come
//!   CLOSED ───────────────────────────▶ OPEN ─────────────────────────▶ HALF-OPEN (one probe under way)
//!      ▲                                 │  ▲                               │  │
//!      └───────── any success ◀──────────┘  └── the probe fails: twice as ──┘  │
//!      └──────────────────────────── any success ◀─────── long a wait ─────────┘
//! ```
//! Failures are those that concern the whole target: it does not answer, does not let us in, is another server. One host of
//! several that is down is none, for another one answered; nor is a pool whose connections are all lent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Failures in a row that open it. One is not enough: whatever restarts breaks the connections that are open, once.
const THRESHOLD: u32 = 3;

/// The wait before the first probe; each one that fails doubles it.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait: somebody is waiting for a credential, and a probe costs little.
const LONGEST: Duration = Duration::from_secs(30);

/// Whether a target is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Circuit {
    /// It is.
    #[default]
    Closed,
    /// It has failed so often in a row, less than it takes to open.
    Failing {
        /// How often.
        failures: u32,
        /// The first of them.
        since: Timestamp,
    },
    /// It is left alone.
    Open(Outage),
    /// One probe is under way.
    HalfOpen(Outage),
}

/// What is known of a target that is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outage {
    /// When the first failure of this outage was seen.
    pub(super) since: Timestamp,
    /// Probes that failed.
    pub(super) probes: u32,
    /// When the next probe may go.
    pub(super) next_probe: Timestamp,
}

/// What may be done on a target now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Anything.
    Free,
    /// This one thing, to see whether it is back.
    Probe,
    /// Nothing until then.
    Refused(Timestamp),
}

impl Circuit {
    /// Somebody wants to use the target.
    pub(super) fn admit(self, now: Timestamp) -> (Self, Admission) {
        match self {
            Circuit::Closed | Circuit::Failing { .. } => (self, Admission::Free),
            Circuit::Open(outage) if outage.may_be_probed(now) => {
                (Circuit::HalfOpen(outage), Admission::Probe)
            }
            // A probe that hangs is over when its own bounds are; until then nobody else waits for the target.
            Circuit::Open(outage) => (self, Admission::Refused(outage.next_probe)),
            Circuit::HalfOpen(outage) => (self, Admission::Refused(outage.after_another_probe(now))),
        }
    }

    /// It could not be used, by somebody who was admitted, or is ending a lease and never asked.
    pub(super) fn failed(self, now: Timestamp) -> Self {
        match self {
            Circuit::Closed => Circuit::Failing { failures: 1, since: now },
            Circuit::Failing { failures, since } if failures + 1 >= THRESHOLD => {
                Circuit::Open(Outage { since, probes: 0, next_probe: after(now, FIRST) })
            }
            Circuit::Failing { failures, since } => Circuit::Failing { failures: failures + 1, since },
            // What began before it opened says nothing new.
            Circuit::Open(_) | Circuit::HalfOpen(_) => self,
        }
    }

    /// The probe found it unusable still.
    pub(super) fn probe_failed(self, now: Timestamp) -> Self {
        match self {
            Circuit::HalfOpen(outage) => {
                let next_probe = outage.after_another_probe(now);
                Circuit::Open(Outage { probes: outage.probes.saturating_add(1), next_probe, ..outage })
            }
            // It was closed by somebody else's success meanwhile.
            other => other.failed(now),
        }
    }

    /// The probe came to nothing: it was given up before the target was asked. The next may go at once.
    pub(super) fn probe_withdrawn(self) -> Self {
        match self {
            Circuit::HalfOpen(outage) => Circuit::Open(outage),
            other => other,
        }
    }

    /// What is known of the outage, if the target is left alone.
    pub(super) fn outage(self) -> Option<Outage> {
        match self {
            Circuit::Closed | Circuit::Failing { .. } => None,
            Circuit::Open(outage) | Circuit::HalfOpen(outage) => Some(outage),
        }
    }
}

impl Outage {
    /// Its time has come; or the clock was set back, so that it never would.
    fn may_be_probed(self, now: Timestamp) -> bool {
        now >= self.next_probe || self.next_probe > after(now, LONGEST)
    }

    fn after_another_probe(self, now: Timestamp) -> Timestamp {
        after(now, FIRST.saturating_mul(2 << self.probes.min(16)).min(LONGEST))
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.saturating_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn open() -> Circuit {
        (0..THRESHOLD).fold(Circuit::Closed, |circuit, second| circuit.failed(at(i64::from(second))))
    }

    #[test]
    fn opens_after_failures_in_a_row_and_says_since_when() {
        let circuit = Circuit::Closed.failed(at(0)).failed(at(1));
        assert_eq!(circuit.admit(at(1)), (circuit, Admission::Free));
        let circuit = circuit.failed(at(2));
        assert_eq!(circuit.admit(at(2)).1, Admission::Refused(at(3)));
        assert_eq!(circuit.outage().unwrap().since, at(0));
    }

    #[test]
    fn lets_one_probe_through_when_its_time_has_come() {
        let (circuit, admission) = open().admit(at(3));
        assert_eq!(admission, Admission::Probe);
        assert!(matches!(circuit.admit(at(3)).1, Admission::Refused(_)));
        assert!(matches!(circuit.admit(at(3000)).1, Admission::Refused(_)));
    }

    #[test]
    fn waits_twice_as_long_after_each_probe_that_fails_up_to_a_bound() {
        let (mut circuit, mut now, mut waits) = (open(), at(3), Vec::new());
        for _ in 0..7 {
            circuit = circuit.admit(now).0.probe_failed(now);
            let next = circuit.outage().unwrap().next_probe;
            waits.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(waits, [2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(circuit.outage().unwrap().since, at(0));
    }

    #[test]
    fn a_probe_that_was_withdrawn_leaves_its_turn_to_the_next() {
        let circuit = open().admit(at(3)).0.probe_withdrawn();
        assert_eq!(circuit.admit(at(3)).1, Admission::Probe);
    }

    #[test]
    fn failures_of_what_began_earlier_put_nothing_off() {
        assert_eq!(open().failed(at(2)), open());
        let probing = open().admit(at(3)).0;
        assert_eq!(probing.failed(at(4)), probing);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_open() {
        let circuit = (0..3).fold(Circuit::Closed, |circuit, _| circuit.failed(at(86_400)));
        assert_eq!(circuit.admit(at(0)).1, Admission::Probe);
    }
}
