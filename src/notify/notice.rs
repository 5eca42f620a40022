//! Notices: one event, to be delivered through one channel.
//!
//! ```text
//! QUEUED ──delivered──▶ SENT ──a day later──▶ forgotten
//!   │  └──not delivered: later again──▶ QUEUED
//!   └──too often, or too old──▶ DEAD ──by an administrator──▶ QUEUED
//!                                └──a month later──▶ forgotten
//! ```
//! A notice has one identifier for all its attempts: a receiver that got it twice knows by that.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Event, timing::is_put_off};
use crate::{
    domain::{ChannelName, NoticeId},
    random::Random,
    store::{Document, EntryKind},
};

/// The wait after the first failure; it doubles.
const FIRST: Duration = Duration::from_secs(5);

/// A notice that is not delivered is tried once an hour at the least.
const BOUND: Duration = Duration::from_secs(3600);

/// A notice that waited for so long is given up: by then people know, or it does not matter.
const TOO_OLD: SignedDuration = SignedDuration::from_hours(72);

/// Whoever began to deliver a notice has this long for it, before another may try.
pub(super) const CLAIM: SignedDuration = SignedDuration::from_secs(120);

/// What was delivered can be looked at for so long.
const KEPT_SENT: SignedDuration = SignedDuration::from_hours(24);

/// What was given up can be looked at, and be tried again, for so long.
const KEPT_DEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The key that notices are found by that must not be there twice.
pub(super) const ABOUT: &str = "about";

/// Where a notice stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum NoticeState {
    /// It is to be delivered.
    Queued {
        /// When it is tried next; that of one being delivered is put off meanwhile.
        next_at: Timestamp,
        /// Attempts begun so far.
        attempts: u32,
        /// Why the last one did not succeed.
        last_error: Option<String>,
    },
    /// It was delivered.
    Sent {
        /// When.
        at: Timestamp,
        /// At which attempt.
        attempts: u32,
    },
    /// It was given up.
    Dead {
        /// When.
        at: Timestamp,
        /// Attempts made.
        attempts: u32,
        /// Why the last one did not succeed.
        error: String,
    },
}

impl NoticeState {
    /// Lower case, as stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            NoticeState::Queued { .. } => "queued",
            NoticeState::Sent { .. } => "sent",
            NoticeState::Dead { .. } => "dead",
        }
    }

    /// Attempts made, or begun.
    pub fn attempts(&self) -> u32 {
        match self {
            NoticeState::Queued { attempts, .. }
            | NoticeState::Sent { attempts, .. }
            | NoticeState::Dead { attempts, .. } => *attempts,
        }
    }

    /// Why the last attempt did not succeed.
    pub fn error(&self) -> Option<&str> {
        match self {
            NoticeState::Queued { last_error, .. } => last_error.as_deref(),
            NoticeState::Sent { .. } => None,
            NoticeState::Dead { error, .. } => Some(error),
        }
    }
}

/// One event, to be delivered through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Identity, the same for all attempts.
    pub id: NoticeId,
    /// Through which channel.
    pub channel: ChannelName,
    /// What happened.
    pub event: Event,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: NoticeState,
}

impl Notice {
    /// A notice to be delivered at a moment.
    pub fn new(id: NoticeId, channel: ChannelName, event: Event, now: Timestamp, next_at: Timestamp) -> Self {
        let state = NoticeState::Queued { next_at, attempts: 0, last_error: None };
        Self { id, channel, event, created_at: now, state }
    }

    /// Its resource name: `notices/<id>`.
    pub fn resource_name(&self) -> String {
        format!("notices/{}", self.id)
    }

    /// What it is about: that of something told ahead of time must not be there twice.
    pub(super) fn about(&self) -> String {
        format!("{} {} {}", self.event.kind, self.channel, self.event.resource)
    }

    /// Begun to be delivered: nobody else does, for a while.
    pub(super) fn claimed(mut self, now: Timestamp) -> Self {
        if let NoticeState::Queued { next_at, attempts, .. } = &mut self.state {
            *next_at = later(now, CLAIM);
            *attempts = attempts.saturating_add(1);
        }
        self
    }

    /// To be delivered, but later; nothing was tried.
    pub(super) fn put_off(mut self, until: Timestamp) -> Self {
        if let NoticeState::Queued { next_at, .. } = &mut self.state {
            *next_at = until;
        }
        self
    }

    /// Delivered.
    pub(super) fn delivered(self, at: Timestamp) -> Self {
        let attempts = self.state.attempts();
        Self { state: NoticeState::Sent { at, attempts }, ..self }
    }

    /// Not delivered: later again, not before `wait` is over; or never, after so many attempts.
    pub(super) fn failed(
        self,
        now: Timestamp,
        error: String,
        wait: Option<Duration>,
        most: u32,
        random: &dyn Random,
    ) -> Self {
        let attempts = self.state.attempts();
        if attempts >= most || self.is_too_old(now) {
            return Self { state: NoticeState::Dead { at: now, attempts, error }, ..self };
        }
        let wait = backoff(attempts, random).max(wait.unwrap_or_default().min(BOUND));
        let next_at = later(now, SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX));
        Self { state: NoticeState::Queued { next_at, attempts, last_error: Some(error) }, ..self }
    }

    fn is_too_old(&self, now: Timestamp) -> bool {
        // Of one that waits for its time, the wait until then does not count: it is made for what comes.
        now.duration_since(self.created_at.max(self.event.at)) > TOO_OLD && self.state.attempts() > 1
    }

    /// To be tried again from the beginning.
    #[must_use]
    pub fn retried(self, now: Timestamp) -> Self {
        let last_error = self.state.error().map(ToOwned::to_owned);
        let state = NoticeState::Queued { next_at: now, attempts: 0, last_error };
        Self { state, created_at: now, ..self }
    }
}

/// How long to wait after so many attempts: between three and five quarters of `FIRST * 2^(attempts - 1)`, the power bounded.
pub(super) fn backoff(attempts: u32, random: &dyn Random) -> Duration {
    let wait = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(BOUND);
    let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    Duration::from_millis(u64::from(millis) * 3 / 4 + u64::from(random.below(millis / 2 + 1)))
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}

impl Document for Notice {
    const KIND: EntryKind = EntryKind::Notice;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = vec![("channel", self.channel.to_string()), ("state", self.state.as_str().to_owned())];
        if is_put_off(self.event.kind) {
            keys.push((ABOUT, self.about()));
        }
        keys
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(match self.state {
            NoticeState::Queued { next_at, .. } => next_at,
            NoticeState::Sent { at, .. } => later(at, KEPT_SENT),
            NoticeState::Dead { at, .. } => later(at, KEPT_DEAD),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{notify::EventKind, random::SeededRandom};

    fn notice() -> Notice {
        let event = Event::new(EventKind::Lock, Timestamp::UNIX_EPOCH, "locks/x", "set");
        let id = NoticeId::new(Timestamp::UNIX_EPOCH, 1);
        Notice::new(id, "ops".parse().unwrap(), event, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn waits_longer_each_time_and_is_given_up_in_the_end() {
        let (random, mut now, mut notice) = (SeededRandom::new(1), Timestamp::UNIX_EPOCH, notice());
        let mut waits = Vec::new();
        for _ in 0..15 {
            notice = notice.claimed(now).failed(now, "no".into(), None, 15, &random);
            let next = notice.due_at().unwrap();
            waits.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert!(matches!(notice.state, NoticeState::Dead { attempts: 15, .. }), "{notice:?}");
        assert!(waits.windows(2).take(8).all(|pair| pair[0] < pair[1]), "{waits:?}");
        assert!(waits.iter().take(14).all(|wait| *wait <= 4500), "{waits:?}");
        let id = notice.id;
        let again = notice.retried(now);
        assert_eq!((again.id, again.state.attempts(), again.due_at()), (id, 0, Some(now)));
    }

    #[test]
    fn waits_as_long_as_it_is_asked_to_within_reason() {
        let (random, now) = (SeededRandom::new(1), Timestamp::UNIX_EPOCH);
        for (asked, least) in [(60, 60), (1_000_000, 3600)] {
            let wait = Some(Duration::from_secs(asked));
            let failed = notice().claimed(now).failed(now, "no".into(), wait, 15, &random);
            assert_eq!(failed.due_at().unwrap().duration_since(now).as_secs(), least);
        }
    }

    #[test]
    fn what_is_days_old_is_given_up() {
        let random = SeededRandom::new(1);
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(73);
        let once = notice().claimed(now).failed(now, "no".into(), None, 15, &random);
        assert_eq!(once.state.as_str(), "queued", "each has a second chance");
        let twice = once.claimed(now).failed(now, "no".into(), None, 15, &random);
        assert_eq!(twice.state.as_str(), "dead");
    }

    #[test]
    fn a_notice_reads_back() {
        let notice = notice().claimed(Timestamp::UNIX_EPOCH);
        let text = serde_json::to_string(&notice).unwrap();
        assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice);
    }
}
