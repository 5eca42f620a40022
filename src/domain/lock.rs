//! Locks: a principal, role or target on which nothing may be issued, and whose leases end now.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{NameError, PrincipalName, RoleName, TargetName};

/// How long whoever sets a lock has for carrying it out before others take it up.
const CARRIED_OUT_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// What a lock is on: `principal/NAME`, `role/NAME` or `target/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LockSubject {
    /// Nothing is issued to it, and it may change nothing.
    Principal(PrincipalName),
    /// Nothing is issued under it.
    Role(RoleName),
    /// Nothing is issued on it.
    Target(TargetName),
}

impl LockSubject {
    /// Everything that access of a principal to a role on a target is locked by.
    pub fn of_access(principal: &PrincipalName, role: &RoleName, target: &TargetName) -> [LockSubject; 3] {
        [
            LockSubject::Principal(principal.clone()),
            LockSubject::Role(role.clone()),
            LockSubject::Target(target.clone()),
        ]
    }
}

/// Why a text names nothing that can be locked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockSubjectError {
    /// None of the three forms.
    #[error("expected principal/NAME, role/NAME or target/NAME")]
    Form,
    /// The name after the slash.
    #[error("the name {0}")]
    Name(#[from] NameError),
}

impl FromStr for LockSubject {
    type Err = LockSubjectError;

    fn from_str(text: &str) -> Result<Self, LockSubjectError> {
        match text.split_once('/') {
            Some(("principal", name)) => Ok(LockSubject::Principal(name.parse()?)),
            Some(("role", name)) => Ok(LockSubject::Role(name.parse()?)),
            Some(("target", name)) => Ok(LockSubject::Target(name.parse()?)),
            _ => Err(LockSubjectError::Form),
        }
    }
}

impl TryFrom<String> for LockSubject {
    type Error = LockSubjectError;

    fn try_from(text: String) -> Result<Self, LockSubjectError> {
        text.parse()
    }
}

impl From<LockSubject> for String {
    fn from(subject: LockSubject) -> String {
        subject.to_string()
    }
}

impl fmt::Display for LockSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockSubject::Principal(name) => write!(f, "principal/{name}"),
            LockSubject::Role(name) => write!(f, "role/{name}"),
            LockSubject::Target(name) => write!(f, "target/{name}"),
        }
    }
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// What it is on.
    pub subject: LockSubject,
    /// Since when.
    pub since: Timestamp,
    /// Who set it.
    pub by: PrincipalName,
    /// Why; may be empty.
    pub reason: String,
    /// When it lapses; `None`: not by itself.
    pub until: Option<Timestamp>,
    /// What there was before it has been ended. Until then somebody has to see to it.
    pub carried_out: bool,
}

impl Lock {
    /// Its resource name: `locks/<subject>`.
    pub fn resource_name(&self) -> String {
        format!("locks/{}", self.subject)
    }

    /// Whether it stands.
    pub fn stands_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// When somebody has to look at it again; `None`: never.
    pub fn due_at(&self) -> Option<Timestamp> {
        if self.carried_out {
            return self.until;
        }
        // Whoever set it is at it; somebody else has to be if that takes long.
        Some(self.since.saturating_add(CARRIED_OUT_WITHIN).unwrap_or(Timestamp::MAX))
    }

    /// What it is told by where others read: that there is one, and neither who set it nor why.
    pub fn words(&self) -> String {
        match &self.subject {
            LockSubject::Principal(name) => format!("the principal {name} is locked"),
            LockSubject::Role(name) => format!("the role {name} is locked"),
            LockSubject::Target(name) => format!("the target {name} is locked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_read_back() {
        for text in ["principal/app", "principal/spiffe://x/y", "role/orders-read", "target/orders"] {
            assert_eq!(text.parse::<LockSubject>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_cannot_be_locked() {
        for text in ["", "app", "principal/", "group/x", "role/a b", "target/a/b", "principals/app"] {
            assert!(text.parse::<LockSubject>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_stands_until_it_lapses_and_is_due_until_it_is_carried_out() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let lock = Lock {
            subject: "role/r".parse().unwrap(),
            since: at(10),
            by: "root".parse().unwrap(),
            reason: String::new(),
            until: Some(at(20)),
            carried_out: false,
        };
        assert!(lock.stands_at(at(19)) && !lock.stands_at(at(20)));
        assert_eq!(lock.due_at(), Some(at(12)));
        let lock = Lock { carried_out: true, ..lock };
        assert_eq!(lock.due_at(), Some(at(20)));
        let lock = Lock { until: None, ..lock };
        assert_eq!((lock.due_at(), lock.stands_at(Timestamp::MAX)), (None, true));
    }
}
