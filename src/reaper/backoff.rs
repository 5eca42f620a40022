//! How long to wait after a failure: twice as long each time, up to a bound, with jitter so that many do not return at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::random::Random;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// A target that does not answer is tried once a minute at the least: a lease must not outlive an outage by more.
pub(super) const TARGET_BOUND: Duration = Duration::from_secs(60);

/// A lease that alone cannot be ended needs somebody's hand; it is tried every five minutes at the least.
pub(super) const LEASE_BOUND: Duration = Duration::from_secs(300);

/// What several processes share is tried often: whoever finds it back first goes on with what the others left.
pub(super) const SHARED_BOUND: Duration = Duration::from_secs(2);

/// When to try again after `failures` failures in a row (the first being 0): between three and five quarters of
/// `FIRST * 2^failures`, the power bounded by `bound`.
pub(crate) fn next_attempt(now: Timestamp, failures: u32, bound: Duration, random: &dyn Random) -> Timestamp {
    let wait = FIRST.saturating_mul(1 << failures.min(16)).min(bound);
    let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let jittered = u64::from(millis) * 3 / 4 + u64::from(random.below(millis / 2 + 1));
    let wait = SignedDuration::from_millis(i64::try_from(jittered).unwrap_or(i64::MAX));
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn doubles_up_to_its_bound_and_never_stops() {
        let (now, random) = (Timestamp::UNIX_EPOCH, SeededRandom::new(3));
        for (failures, seconds) in [(0, 1.0), (1, 2.0), (5, 32.0), (6, 60.0), (31, 60.0), (u32::MAX, 60.0)] {
            for _ in 0..100 {
                let wait =
                    next_attempt(now, failures, TARGET_BOUND, &random).duration_since(now).as_secs_f64();
                assert!(wait >= seconds * 0.74 && wait <= seconds * 1.26, "{failures}: {wait}");
            }
        }
    }
}
