//! Who is asking.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{GroupName, PrincipalName, RoleName};

/// The built-in group whose members may administer Mayfly itself.
pub const ADMINISTRATORS: &str = "administrators";

/// The attribute of an invited contractor with the roles the invitation is for, separated by blanks.
pub const INVITED_ROLES: &str = "invited_roles";

/// What kind of principal: it says how it came to be known, and policy may treat them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person of the house.
    Human,
    /// A program: an application, a CI job.
    Workload,
    /// A person from outside, sponsored by somebody inside.
    Contractor,
}

/// The text names no kind of principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of principal: expected human, workload or contractor")]
pub struct UnknownPrincipalKind;

impl PrincipalKind {
    /// As written in the configuration, the API and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::Human => "human",
            PrincipalKind::Workload => "workload",
            PrincipalKind::Contractor => "contractor",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PrincipalKind {
    type Err = UnknownPrincipalKind;

    fn from_str(text: &str) -> Result<Self, UnknownPrincipalKind> {
        match text {
            "human" => Ok(PrincipalKind::Human),
            "workload" => Ok(PrincipalKind::Workload),
            "contractor" => Ok(PrincipalKind::Contractor),
            _ => Err(UnknownPrincipalKind),
        }
    }
}

/// An authenticated human or workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Unique name.
    pub name: PrincipalName,
    /// Kind.
    pub kind: PrincipalKind,
    /// Groups it belongs to.
    pub groups: BTreeSet<GroupName>,
    /// What else is known of it, for policy: claims of its identity provider, under the names the configuration gives them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Principal {
    /// The name and kind, without the groups.
    pub fn reference(&self) -> PrincipalRef {
        PrincipalRef { name: self.name.clone(), kind: self.kind }
    }

    /// Whether a role is within its reach: for who was invited, only those of the invitation are.
    pub fn reaches(&self, role: &RoleName) -> bool {
        let invited = self.attributes.get(INVITED_ROLES);
        invited.is_none_or(|roles| roles.split(' ').any(|one| one == role.as_str()))
    }

    /// Whether it belongs to a group.
    pub fn belongs_to(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own.as_str() == group)
    }
}

/// A principal as recorded: name and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalRef {
    /// Unique name.
    pub name: PrincipalName,
    /// Kind.
    pub kind: PrincipalKind,
}
