//! Roles: access profiles on one target.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    GroupName, HostPattern, NameError, Principal, PrincipalKind, PrincipalName, ReviewStep, RoleName,
    TargetName, Template, TtlBounds,
};

/// An access profile on one target: what an account issued under it may do, for how long, and who may ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// Unique name.
    pub name: RoleName,
    /// The target it gives access to.
    pub target: TargetName,
    /// One line for people.
    pub description: String,
    /// Database group roles the account joins. Privileges come by membership only.
    pub member_of: Vec<String>,
    /// Default and maximum TTL.
    pub ttl: TtlBounds,
    /// The database the reply names for connecting; `None`: the target's.
    pub database: Option<String>,
    /// Sessions the account may hold at once.
    pub connection_limit: Option<u32>,
    /// MySQL and MariaDB: where the account may connect from. Never empty there; empty on PostgreSQL.
    pub hosts: Vec<HostPattern>,
    /// PostgreSQL: session settings (`ALTER ROLE … SET`). Defaults for the session, which its user can change.
    pub settings: BTreeMap<String, String>,
    /// What happens to objects the account owns when it ends.
    pub owned_objects: OwnedObjects,
    /// PostgreSQL: iterations of the SCRAM verifier.
    pub scram_iterations: u32,
    /// Live leases allowed at once.
    pub limits: LeaseLimits,
    /// Further statements for what membership cannot say.
    pub statements: Statements,
    /// Who may use the role, besides whom policy allows. Empty: nobody.
    pub allow: Vec<Subject>,
    /// What kind of access it gives.
    pub access: Access,
    /// The reviews that asking for it takes, unless policy approves by rule. Empty: none.
    pub approval: Vec<ReviewStep>,
}

/// What kind of access a role gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// An account made for the lease.
    #[default]
    Ephemeral,
    /// An existing account of the requester's own is given the role's groups for the period.
    Elevation {
        /// Whose account is which; who is not named has none.
        accounts: BTreeMap<PrincipalName, String>,
        /// Whether the account's sessions end when groups are taken from it.
        end_sessions: bool,
        /// Nothing is given unless the server itself will take it back at the expiry.
        ends_by_itself: bool,
    },
    /// An existing account is handed to one holder at a time, with a fresh password.
    Checkout {
        /// The account.
        account: String,
        /// How many may wait for it.
        queue: u32,
    },
}

impl Access {
    /// Whether sessions end with the lease.
    pub fn ends_sessions(&self) -> bool {
        !matches!(self, Access::Elevation { end_sessions: false, .. })
    }
}

impl Role {
    /// The entry of the role's list that lets a principal use it.
    pub fn allows(&self, principal: &Principal) -> Option<&Subject> {
        self.allow.iter().find(|subject| subject.matches(principal))
    }
}

/// What happens to objects an account owns when its lease ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnedObjects {
    /// They are handed to this database role, which must not be able to log in and must have no privilege of its own.
    Reassign(String),
    /// They are dropped.
    Drop,
    /// They stay, and so does the account: disabled, member of nothing, reported.
    Keep,
}

/// How many leases may be live at once under one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLimits {
    /// For one principal.
    pub per_principal: u32,
    /// For all principals together.
    pub total: u32,
}

/// Statement templates of a role; each runs after the built-in statement of its step, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statements {
    /// After the account is created, in the same transaction where the engine has transactions for it.
    pub create: Vec<Template>,
    /// After its expiry is moved.
    pub renew: Vec<Template>,
    /// After it is disabled and its sessions are ended, before its objects are dealt with.
    pub end: Vec<Template>,
}

/// Who a list on a role speaks of: `principal:NAME`, `group:NAME`, `kind:human` or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// One principal.
    Principal(PrincipalName),
    /// The members of a group.
    Group(GroupName),
    /// All principals of a kind.
    Kind(PrincipalKind),
    /// Every authenticated principal.
    Anyone,
}

/// Why a text names no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// None of the four forms.
    #[error("expected principal:NAME, group:NAME, kind:human, kind:workload, kind:contractor or *")]
    Form,
    /// The name after the colon.
    #[error("the name {0}")]
    Name(#[from] NameError),
}

impl Subject {
    /// Whether it speaks of a principal.
    pub fn matches(&self, principal: &Principal) -> bool {
        match self {
            Subject::Principal(name) => *name == principal.name,
            Subject::Group(group) => principal.groups.contains(group),
            Subject::Kind(kind) => *kind == principal.kind,
            Subject::Anyone => true,
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        if text == "*" {
            return Ok(Subject::Anyone);
        }
        match text.split_once(':') {
            Some(("principal", name)) => Ok(Subject::Principal(name.parse()?)),
            Some(("group", name)) => Ok(Subject::Group(name.parse()?)),
            Some(("kind", kind)) => kind.parse().map(Subject::Kind).map_err(|_| SubjectError::Form),
            _ => Err(SubjectError::Form),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, SubjectError> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Principal(name) => write!(f, "principal:{name}"),
            Subject::Group(name) => write!(f, "group:{name}"),
            Subject::Kind(kind) => write!(f, "kind:{kind}"),
            Subject::Anyone => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(name: &str, groups: &[&str]) -> Principal {
        Principal {
            name: name.parse().unwrap(),
            kind: PrincipalKind::Workload,
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            attributes: [].into(),
        }
    }

    #[test]
    fn subjects_read_back_and_match_only_whom_they_name() {
        let ci = principal("ci", &["builders"]);
        for (text, expected) in [
            ("principal:ci", true),
            ("principal:other", false),
            ("group:builders", true),
            ("group:ci", false),
            ("kind:workload", true),
            ("kind:human", false),
            ("*", true),
        ] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject.to_string(), text);
            assert_eq!(subject.matches(&ci), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_names_no_subject() {
        for text in ["", "ci", "group:", "kind:robot", "user:ci", "group:a b"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
