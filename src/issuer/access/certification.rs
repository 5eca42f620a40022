//! That somebody looked at an access and found it right.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{PrincipalName, RoleName, TargetName},
    store::{Document, EntryKind},
};

/// The last word on an access of somebody to a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certification {
    /// Whose access.
    pub principal: PrincipalName,
    /// To what.
    pub role: RoleName,
    /// On which target.
    pub target: TargetName,
    /// Who certified it.
    pub by: PrincipalName,
    /// When.
    pub at: Timestamp,
    /// What was said.
    pub comment: String,
    /// What was certified; see [`AccessItem::etag`](super::AccessItem::etag).
    pub etag: String,
}

impl Certification {
    /// Identity of what is said on an access. No name has a blank in it.
    pub fn id_of(principal: &PrincipalName, role: &RoleName) -> String {
        format!("{principal} {role}")
    }
}

impl Document for Certification {
    const KIND: EntryKind = EntryKind::Certification;

    fn id(&self) -> String {
        Self::id_of(&self.principal, &self.role)
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("principal", self.principal.to_string()), ("role", self.role.to_string())]
    }
}
