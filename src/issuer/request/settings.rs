//! How long requests and grants wait, and how many may.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// How long requests and grants wait, and how many may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSettings {
    /// How long a request waits to be decided.
    pub request_ttl: Duration,
    /// How long a grant without a start of its own waits to be claimed.
    pub claim_within: Duration,
    /// How far ahead a start may be.
    pub start_within: Duration,
    /// Requests of one principal that may await reviews at once.
    pub pending_per_principal: u32,
    /// How often it is recalled that a request awaits reviews; `None`: never.
    pub remind_every: Option<Duration>,
    /// Access without reviews.
    pub break_glass: BreakGlassSettings,
}

/// Access without reviews, where policy allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlassSettings {
    /// It lasts no longer than this.
    pub max_ttl: Duration,
    /// Uses of one principal within a day.
    pub per_day: u32,
    /// How often it is recalled that one awaits its sign-off; `None`: never.
    pub remind_every: Option<Duration>,
    /// How long ago the second factor may have been given.
    pub second_factor_within: Duration,
}

impl Default for BreakGlassSettings {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        Self {
            max_ttl: minutes(30),
            per_day: 2,
            remind_every: Some(minutes(240)),
            second_factor_within: minutes(15),
        }
    }
}

impl Default for RequestSettings {
    fn default() -> Self {
        let hours = |count: u64| Duration::from_secs(count * 3_600);
        Self {
            request_ttl: hours(24),
            claim_within: hours(24),
            start_within: hours(30 * 24),
            pending_per_principal: 20,
            remind_every: Some(hours(4)),
            break_glass: BreakGlassSettings::default(),
        }
    }
}

impl RequestSettings {
    /// When to recall next, from now on, that something waits.
    pub fn remind_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.remind_every.map(|every| from(now, every))
    }
}

/// A moment so long after another; at the latest the end of time.
pub(in crate::issuer) fn from(moment: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    moment.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// The settings of now; a reload replaces them whole.
#[derive(Debug, Default)]
pub struct RequestSettingsHandle(RwLock<Arc<RequestSettings>>);

impl RequestSettingsHandle {
    /// The settings of now.
    pub fn current(&self) -> Arc<RequestSettings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub fn replace(&self, settings: RequestSettings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}
