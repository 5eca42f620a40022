//! How often: a token bucket per key, on the clock that is passed in, in bounded memory.

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::clock::Clock;

/// Buckets kept at once. Beyond it a key that is not known yet waits until others are idle: deny on doubt.
const BUCKETS: usize = 65_536;

/// Buckets up to which nobody looks for idle ones.
const FEW: usize = 1_024;

/// So many per second on average, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// On average.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate; `None` when either is zero.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        Some(Self { per_second: NonZeroU32::new(per_second)?, burst: NonZeroU32::new(burst)? })
    }

    /// Microseconds that one costs.
    fn interval(self) -> i64 {
        (1_000_000 / i64::from(self.per_second.get())).max(1)
    }
}

/// Limits how often each key may do something.
///
/// A bucket is one moment: when it will be full again (the generic cell rate algorithm). One that is full already is not
/// kept, so idle keys cost nothing.
pub(super) struct RateLimiter<K> {
    clock: Arc<dyn Clock>,
    rate: Rate,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    /// Microseconds since the Unix epoch at which each is full again.
    full_at: HashMap<K, i64>,
    /// Idle ones are looked for once there are this many.
    sweep_at: usize,
}

impl<K: Eq + Hash> RateLimiter<K> {
    pub(super) fn new(clock: Arc<dyn Clock>, rate: Rate) -> Self {
        let buckets = Buckets { full_at: HashMap::new(), sweep_at: FEW };
        Self { clock, rate, buckets: Mutex::new(buckets) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long to wait before there is one again; nothing is taken then.
    pub(super) fn take(&self, key: K) -> Result<(), Duration> {
        let now = self.clock.now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(key, now, self.rate)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.buckets.lock().unwrap().full_at.len()
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn take(&mut self, key: K, now: Timestamp, rate: Rate) -> Result<(), Duration> {
        let (now, interval) = (now.as_microsecond(), rate.interval());
        let depth = interval.saturating_mul(i64::from(rate.burst.get()));
        self.make_room(now);
        if self.full_at.len() >= BUCKETS && !self.full_at.contains_key(&key) {
            return Err(Duration::from_micros(interval.unsigned_abs()));
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        // A clock that was set back must not shut anybody out for longer than an empty bucket would.
        let fuller_at = (*full_at).clamp(now, now.saturating_add(depth)).saturating_add(interval);
        let wait = fuller_at.saturating_sub(now.saturating_add(depth));
        if wait > 0 {
            return Err(Duration::from_micros(wait.unsigned_abs()));
        }
        *full_at = fuller_at;
        Ok(())
    }

    /// Drops idle buckets, seldom enough that it costs each call next to nothing.
    fn make_room(&mut self, now: i64) {
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.full_at.shrink_to(FEW);
            self.sweep_at = self.full_at.len().saturating_mul(2).clamp(FEW, BUCKETS);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock::ManualClock;

    fn limiter<K: Eq + Hash>(per_second: u32, burst: u32) -> (Arc<ManualClock>, RateLimiter<K>) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_000_000).unwrap()));
        let rate = Rate::new(per_second, burst).unwrap();
        let limiter = RateLimiter::new(Arc::clone(&clock) as Arc<dyn Clock>, rate);
        (clock, limiter)
    }

    #[test]
    fn a_burst_passes_then_one_each_interval() {
        let (clock, limiter) = limiter(10, 3);
        for _ in 0..3 {
            assert_eq!(limiter.take("alice"), Ok(()));
        }
        assert_eq!(limiter.take("alice"), Err(Duration::from_millis(100)));
        clock.advance(SignedDuration::from_millis(99));
        assert_eq!(limiter.take("alice"), Err(Duration::from_millis(1)));
        clock.advance(SignedDuration::from_millis(1));
        assert_eq!(limiter.take("alice"), Ok(()));
        assert!(limiter.take("alice").is_err());
    }

    #[test]
    fn waiting_as_long_as_told_is_enough_however_often_one_was_refused() {
        let (clock, limiter) = limiter(1, 1);
        assert_eq!(limiter.take("alice"), Ok(()));
        for _ in 0..100 {
            assert_eq!(limiter.take("alice"), Err(Duration::from_secs(1)));
        }
        clock.advance(SignedDuration::from_secs(1));
        assert_eq!(limiter.take("alice"), Ok(()));
    }

    #[test]
    fn one_does_not_use_up_what_is_anothers() {
        let (_clock, limiter) = limiter(1, 1);
        assert_eq!(limiter.take("alice"), Ok(()));
        assert!(limiter.take("alice").is_err());
        assert_eq!(limiter.take("bob"), Ok(()));
    }

    #[test]
    fn a_pause_never_earns_more_than_the_burst() {
        let (clock, limiter) = limiter(100, 2);
        clock.advance(SignedDuration::from_hours(24));
        assert_eq!(limiter.take("alice"), Ok(()));
        clock.advance(SignedDuration::from_hours(24));
        assert_eq!((limiter.take("alice"), limiter.take("alice")), (Ok(()), Ok(())));
        assert!(limiter.take("alice").is_err());
    }

    #[test]
    fn a_clock_set_back_shuts_nobody_out_for_long() {
        let (clock, limiter) = limiter(1, 5);
        assert_eq!(limiter.take("alice"), Ok(()));
        clock.advance(SignedDuration::from_hours(-24));
        let wait = limiter.take("alice").err().unwrap_or_default();
        assert!(wait <= Duration::from_secs(5), "{wait:?}");
    }

    #[test]
    fn memory_is_bounded_and_idle_buckets_are_dropped() {
        let (clock, limiter) = limiter(1, 1);
        for key in 0..BUCKETS {
            assert_eq!(limiter.take(key), Ok(()));
        }
        assert!(limiter.take(BUCKETS).is_err());
        assert_eq!(limiter.len(), BUCKETS);
        clock.advance(SignedDuration::from_secs(1));
        assert_eq!(limiter.take(BUCKETS), Ok(()));
        assert_eq!(limiter.len(), 1);
    }
}
