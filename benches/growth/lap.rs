//! So many calls by all callers at once, or as many as the time allows.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::frame::{median, moment};

/// What callers may use up together.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
    until: Instant,
}

impl Budget {
    pub(super) fn of(calls: usize, seconds: f64) -> Self {
        Self { left: AtomicUsize::new(calls), until: moment() + Duration::from_secs_f64(seconds) }
    }

    /// Whether there is another call in it.
    pub(super) fn take(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        moment() < self.until
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// What the calls took.
#[derive(Debug)]
pub(super) struct Lap {
    /// Calls a second.
    pub(super) rate: f64,
    /// Milliseconds.
    pub(super) p50: f64,
    pub(super) calls: usize,
}

impl Lap {
    pub(super) fn of(latencies: &[f64], began: Instant) -> Self {
        Self {
            rate: latencies.len() as f64 / began.elapsed().as_secs_f64(),
            p50: median(latencies),
            calls: latencies.len(),
        }
    }
}

/// Milliseconds since.
pub(super) fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
