//! What requests and grants are kept as, and found by.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Document, EntryKind};
use crate::domain::{Grant, PrincipalName, Request, RequestId, RequestKind, RequestState, RoleName};

/// A request that awaits reviews, by who asks.
pub const UNDECIDED_BY: &str = "undecided_by";

/// A request that awaits reviews, by the grant it would extend.
pub const UNDECIDED_EXTENSION: &str = "undecided_extension";

/// A grant that is scheduled or active, by its principal.
pub const HELD_BY: &str = "held_by";

/// Of a grant: `yes` while it is scheduled or active. Of a request: `yes` while somebody has to do something about it, which is also
/// when a break-glass access awaits its sign-off.
pub const LIVE: &str = "live";

/// Of a request: `yes` if it is a break-glass access.
pub const BREAK_GLASS: &str = "break_glass";

impl Document for Request {
    const KIND: EntryKind = EntryKind::Request;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("requester", self.requester.name.to_string()),
            ("role", self.terms.role.to_string()),
            ("target", self.terms.target.to_string()),
            ("state", self.state.as_str().to_owned()),
        ];
        keys.extend(self.reviews.iter().map(|review| ("reviewer", review.reviewer.to_string())));
        if self.kind == RequestKind::BreakGlass {
            keys.push((BREAK_GLASS, "yes".to_owned()));
        }
        let unsigned = self.kind == RequestKind::BreakGlass && self.sign_off.is_none();
        if self.is_pending() {
            keys.push((UNDECIDED_BY, self.requester.name.to_string()));
            if let RequestKind::Extension { extends } = self.kind {
                keys.push((UNDECIDED_EXTENSION, extends.to_string()));
            }
        }
        if self.is_pending() || unsigned {
            keys.push((LIVE, "yes".to_owned()));
        }
        if let RequestState::Approved { grant, .. } = self.state {
            keys.push(("grant", grant.to_string()));
        }
        keys
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.due_at()
    }
}

impl Document for Grant {
    const KIND: EntryKind = EntryKind::Grant;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("principal", self.principal.name.to_string()),
            ("role", self.role.to_string()),
            ("target", self.target.to_string()),
            ("state", self.state.as_str().to_owned()),
        ];
        if self.state.is_live() {
            keys.push((LIVE, "yes".to_owned()));
            keys.push((HELD_BY, self.principal.name.to_string()));
        }
        keys
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.due_at()
    }
}

/// An idempotency key that a request was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// By whom.
    pub principal: PrincipalName,
    /// The key.
    pub key: String,
    /// The role it asked for.
    pub role: RoleName,
    /// The request.
    pub request: RequestId,
    /// Until when it is remembered.
    pub until: Timestamp,
}

impl RequestKey {
    /// The identity of a principal's key. No name of a principal has a blank in it.
    pub fn id_of(principal: &PrincipalName, key: &str) -> String {
        format!("{principal} {key}")
    }
}

impl Document for RequestKey {
    const KIND: EntryKind = EntryKind::RequestKey;

    fn id(&self) -> String {
        Self::id_of(&self.principal, &self.key)
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.until)
    }
}
