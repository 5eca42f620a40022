//! What is worth telling somebody.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{PrincipalName, RoleName, TargetName};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),* $(,)?) => {
        /// What kind of thing happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventKind { $($(#[$doc])* #[serde(rename = $name)] $kind),* }

        impl EventKind {
            /// All of them.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$kind),*];

            /// As written in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(EventKind::$kind => $name),* }
            }
        }
    };
}

kinds! {
    /// Somebody asks for access, and reviews are awaited.
    Request = "request",
    /// A request was decided, withdrawn, or ran out.
    Decision = "decision",
    /// Nobody answered in time: others may review as well.
    Escalation = "escalation",
    /// Something still waits for somebody: a review, or the sign-off of a break-glass access.
    Reminder = "reminder",
    /// A lease or a grant ends soon.
    Expiring = "expiring",
    /// A lease has ended, and its account is gone.
    Ended = "ended",
    /// A lease that should be gone for some time cannot be ended.
    EndFailing = "end_failing",
    /// Somebody took access without reviews, or somebody signed that off.
    BreakGlass = "break_glass",
    /// Somebody or something was locked, or unlocked.
    Lock = "lock",
    /// An account is not as it was agreed, is gone, or has no lease.
    Drift = "drift",
    /// Another server answers for a target, or was agreed to.
    Server = "server",
    /// An administrator tries a channel out.
    Test = "test",
}

/// The text names no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no event; known are {known}", known = known())]
pub struct UnknownEventKind;

fn known() -> String {
    let words = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Test).map(|kind| kind.as_str());
    words.collect::<Vec<_>>().join(", ")
}

impl FromStr for EventKind {
    type Err = UnknownEventKind;

    fn from_str(text: &str) -> Result<Self, UnknownEventKind> {
        let found = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        found.filter(|kind| *kind != EventKind::Test).ok_or(UnknownEventKind)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that happened, as far as it is told. It has names and reasons, as they were given, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What kind of thing.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// On what: `requests/…`, `leases/…`, `targets/…`.
    pub resource: String,
    /// What exactly happened, in a word or two: `approved`, `expired`, `set`.
    pub what: String,
    /// Whom it is about: the requester, the holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalName>,
    /// Who did it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<PrincipalName>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// Why, in somebody's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The ticket it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// For how long access is asked for, or given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The mail address of whom it is about, where the identity provider gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
}

impl Event {
    /// Something that happened to something.
    pub fn new(kind: EventKind, at: Timestamp, resource: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            kind,
            at,
            resource: resource.into(),
            what: what.into(),
            principal: None,
            actor: None,
            role: None,
            target: None,
            reason: String::new(),
            ticket: None,
            ttl: None,
            until: None,
            mail: None,
        }
    }

    /// The last part of the resource's name.
    pub fn id(&self) -> &str {
        self.resource.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back_and_a_test_cannot_be_subscribed_to() {
        for kind in EventKind::ALL.iter().filter(|kind| **kind != EventKind::Test) {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        assert_eq!("test".parse::<EventKind>(), Err(UnknownEventKind));
        assert!(UnknownEventKind.to_string().contains("break_glass, lock"), "{UnknownEventKind}");
    }
}
