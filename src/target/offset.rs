//! How a target's clock differs from ours.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::domain::TargetName;

/// From here on a difference is worth telling an administrator: expiries are corrected for it, logs are not.
pub const NOTABLE_OFFSET: SignedDuration = SignedDuration::from_secs(5);

/// An older measurement is not gone by: either clock may have been set since.
const LIFETIME: SignedDuration = SignedDuration::from_secs(60);

/// A measured difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// The target's clock minus ours.
    pub offset: SignedDuration,
    /// When it was measured, by our clock.
    pub measured_at: Timestamp,
}

impl ClockOffset {
    /// What a target's clock says that was asked between two moments of ours: half-way, on the average.
    pub fn measured(theirs: Timestamp, before: Timestamp, after: Timestamp) -> Self {
        let halfway = before + after.duration_since(before) / 2;
        Self { offset: theirs.duration_since(halfway), measured_at: after }
    }

    /// Whether it differs by more than [`NOTABLE_OFFSET`].
    pub fn is_notable(&self) -> bool {
        self.offset.abs() > NOTABLE_OFFSET
    }

    /// Whether it is too old to go by; an age below zero says that our clock was set back.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.measured_at);
        age > LIFETIME || age < SignedDuration::ZERO
    }
}

/// A target's last measured offset. Says in the log when it becomes notable, and when it steps.
#[derive(Debug)]
pub struct OffsetGauge {
    target: TargetName,
    last: Mutex<Option<ClockOffset>>,
}

impl OffsetGauge {
    /// A gauge that has measured nothing yet.
    pub fn new(target: TargetName) -> Self {
        Self { target, last: Mutex::default() }
    }

    /// The last measurement.
    pub fn last(&self) -> Option<ClockOffset> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a measurement.
    pub fn keep(&self, measured: ClockOffset) {
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(measured);
        let known = before.map_or(SignedDuration::ZERO, |before| before.offset);
        let stepped = (measured.offset - known).abs() > NOTABLE_OFFSET;
        if stepped && (measured.is_notable() || before.is_some_and(|before| before.is_notable())) {
            tracing::warn!(
                target_name = %self.target, offset = %measured.offset, before = %known,
                "the target's clock differs from Mayfly's, or one of the two was set; expiries are corrected for it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_a_clock_says_is_taken_for_half_way_between_question_and_answer() {
        let measured = ClockOffset::measured(at(107), at(100), at(102));
        assert_eq!(measured, ClockOffset { offset: SignedDuration::from_secs(6), measured_at: at(102) });
        assert!(measured.is_notable());
        assert!(!ClockOffset::measured(at(96), at(100), at(102)).is_notable());
    }

    #[test]
    fn a_measurement_is_good_for_a_minute_and_not_after_our_clock_was_set_back() {
        let measured = ClockOffset::measured(at(100), at(100), at(100));
        assert!(!measured.is_stale(at(160)));
        assert!(measured.is_stale(at(161)));
        assert!(measured.is_stale(at(99)));
    }
}
