//! A local account of a person, and the rules of its lock-out.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::PasswordHash;
use crate::{
    domain::{GroupName, Principal, PrincipalKind, PrincipalName},
    store::{Document, EntryKind},
};

/// Attempts that cost nothing but themselves: people mistype.
const FREE_ATTEMPTS: u32 = 5;

/// How long the first lock-out lasts; each further failure doubles it …
const FIRST_LOCK: SignedDuration = SignedDuration::from_secs(30);

/// … up to this. Some 24 guesses a day then, for one who goes on for ever, and an hour's wait for whom he shuts out.
const LONGEST_LOCK: SignedDuration = SignedDuration::from_hours(1);

/// A local account of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The principal's name.
    pub name: PrincipalName,
    /// The person's name, for people; may be empty.
    #[serde(default)]
    pub display_name: String,
    /// Where mail reaches the person; may be empty.
    #[serde(default)]
    pub mail: String,
    /// Groups of the principal.
    pub groups: BTreeSet<GroupName>,
    /// Drawn anew whenever all sessions are to end: a session belongs to the one it began under.
    pub generation: u64,
    /// What is kept of the password; `None`: none is set.
    #[serde(default)]
    pub password: Option<PasswordHash>,
    /// What lets the person set a password.
    #[serde(default)]
    pub enrolment: Option<Enrolment>,
    /// The second factor.
    #[serde(default)]
    pub second_factor: Option<SecondFactor>,
    /// A second factor that awaits its first code.
    #[serde(default)]
    pub offer: Option<SecondFactorOffer>,
    /// Digests of recovery codes not used yet.
    #[serde(default)]
    pub recovery: Vec<String>,
    /// Attempts to sign in since the last that succeeded.
    #[serde(default)]
    pub failures: u32,
    /// Until when no attempt is looked at.
    #[serde(default)]
    pub locked_until: Option<Timestamp>,
    /// When it was disabled.
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody last signed in with it.
    #[serde(default)]
    pub signed_in_at: Option<Timestamp>,
}

/// What lets a person set a password, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// What is kept of the code.
    pub hash: PasswordHash,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// A second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// Its secret, sealed.
    pub sealed: String,
    /// The last step of which a code was accepted.
    pub last_step: u64,
}

/// A second factor that awaits its first code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactorOffer {
    /// Its secret, sealed.
    pub sealed: String,
    /// When it is too late for it.
    pub expires_at: Timestamp,
}

/// No attempt is looked at until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedOut {
    /// Then.
    pub until: Timestamp,
}

impl User {
    /// Who it is.
    pub fn principal(&self) -> Principal {
        Principal {
            name: self.name.clone(),
            kind: PrincipalKind::Human,
            groups: self.groups.clone(),
            attributes: [].into(),
        }
    }

    /// Counts an attempt before it is known how it goes: of many at once, none goes uncounted.
    ///
    /// # Errors
    /// [`LockedOut`]: it is not even looked at, and not counted.
    pub fn attempt(mut self, now: Timestamp) -> Result<Self, LockedOut> {
        if let Some(until) = self.locked_until.filter(|until| *until > now) {
            return Err(LockedOut { until });
        }
        self.failures = self.failures.saturating_add(1);
        self.locked_until = lock_out(self.failures).and_then(|wait| now.checked_add(wait).ok());
        Ok(self)
    }

    /// The attempt went well: nothing is held against the person any more.
    #[must_use]
    pub fn succeeded(self) -> Self {
        Self { failures: 0, locked_until: None, ..self }
    }
}

/// How long so many failures in a row lock out for.
pub(super) fn lock_out(failures: u32) -> Option<SignedDuration> {
    let beyond = failures.checked_sub(FREE_ATTEMPTS)?;
    let factor = 1_i32.checked_shl(beyond.min(16)).unwrap_or(i32::MAX);
    Some(FIRST_LOCK.saturating_mul(factor).min(LONGEST_LOCK))
}

impl Document for User {
    const KIND: EntryKind = EntryKind::User;

    fn id(&self) -> String {
        self.name.to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A user of a name, made at a moment.
    pub(crate) fn user(name: &str, created_at: Timestamp) -> User {
        User {
            name: name.parse().unwrap(),
            display_name: String::new(),
            mail: String::new(),
            groups: BTreeSet::new(),
            generation: 1,
            password: None,
            enrolment: None,
            second_factor: None,
            offer: None,
            recovery: Vec::new(),
            failures: 0,
            locked_until: None,
            disabled_at: None,
            created_at,
            signed_in_at: None,
        }
    }

    #[test]
    fn failures_lock_out_for_longer_and_longer_and_success_forgives_them() {
        let mut now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut alice = user("alice", now);
        let mut waits = Vec::new();
        for _ in 0..14 {
            alice = alice.attempt(now).unwrap();
            let wait = alice.locked_until.map_or(0, |until| until.duration_since(now).as_secs());
            if wait > 0 {
                let early = now + SignedDuration::from_secs(wait - 1);
                assert!(alice.clone().attempt(early).is_err());
            }
            waits.push(wait);
            now += SignedDuration::from_secs(wait);
        }
        assert_eq!(waits, [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        let forgiven = alice.succeeded();
        assert_eq!((forgiven.failures, forgiven.locked_until), (0, None));
    }

    #[test]
    fn no_number_of_failures_locks_out_for_ever() {
        for failures in [0, 4, 5, 100, u32::MAX] {
            assert!(lock_out(failures).is_none_or(|wait| wait <= LONGEST_LOCK), "{failures}");
        }
    }

    #[test]
    fn fields_that_came_later_may_be_missing() {
        let text = r#"{"name":"alice","groups":[],"generation":7,"created_at":"2026-11-22T07:00:00Z"}"#;
        let alice: User = serde_json::from_str(text).unwrap();
        assert_eq!((alice.generation, alice.password, alice.failures), (7, None, 0));
    }
}
