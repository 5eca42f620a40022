//! Grants: the authorisation an approval opens. Leases are issued under it while it is active.
//!
//! ```text
//! SCHEDULED ──claimed, or its start has come──▶ ACTIVE ──its time is over──▶ ENDED
//!     ├──not claimed in time──▶ ENDED              └──by an authority──▶ REVOKED
//!     └──by an authority, or no longer allowed──▶ REVOKED
//! ```
//! Its clock starts when it is claimed or at its scheduled start, not when it was asked for.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    GrantId, IllegalTransition, LeaseId, PrincipalName, PrincipalRef, Request, RequestId, RequestKind,
    RoleName, TargetName, Ttl,
};

/// Where a grant stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GrantState {
    /// It has not begun.
    Scheduled {
        /// When it begins by itself; `None`: when it is claimed.
        start: Option<Timestamp>,
        /// When it ends unless it was claimed; of no concern with a start.
        claim_by: Timestamp,
    },
    /// Leases may be issued under it.
    Active {
        /// Since when.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Its time is over.
    Ended {
        /// When.
        at: Timestamp,
        /// It was never claimed.
        lapsed: bool,
    },
    /// It was taken back.
    Revoked {
        /// When.
        at: Timestamp,
        /// By whom; `None`: by a rule, such as a lock, or because policy allows it no longer.
        by: Option<PrincipalName>,
        /// Why.
        reason: String,
    },
}

impl GrantState {
    /// Lower case, as stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            GrantState::Scheduled { .. } => "scheduled",
            GrantState::Active { .. } => "active",
            GrantState::Ended { .. } => "ended",
            GrantState::Revoked { .. } => "revoked",
        }
    }

    /// Whether leases may be, or come to be, issued under it.
    pub fn is_live(&self) -> bool {
        matches!(self, GrantState::Scheduled { .. } | GrantState::Active { .. })
    }
}

/// What happens to a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantEvent {
    /// Its holder claims access. On an active grant this changes nothing.
    Claimed {
        /// Now.
        at: Timestamp,
    },
    /// The clock looks at it: it begins, ends, or stays as it is.
    Due {
        /// Now.
        at: Timestamp,
    },
    /// An approved extension: it lasts until then, unless it lasts longer already.
    Extended {
        /// Now.
        at: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// It is taken back.
    Revoked {
        /// When.
        at: Timestamp,
        /// By whom; `None`: by a rule.
        by: Option<PrincipalName>,
        /// Why.
        reason: String,
    },
}

/// The authorisation an approval opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Identity.
    pub id: GrantId,
    /// The request it comes from.
    pub request: RequestId,
    /// Whose it is.
    pub principal: PrincipalRef,
    /// Under which role.
    pub role: RoleName,
    /// On which target.
    pub target: TargetName,
    /// How long it lasts once it has begun.
    pub ttl: Ttl,
    /// Leases at once; at least 1.
    pub parallel: u32,
    /// What it is for, as its request said.
    pub purpose: String,
    /// Why it was given, fit for the audit log: `requests/… approved by alice, bob`.
    pub basis: String,
    /// It came from a break-glass request.
    pub break_glass: bool,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Leases under it that may be live; those that ended are dropped from the list when another is begun.
    pub leases: Vec<LeaseId>,
    /// Its end was carried through to its leases.
    pub leases_ended: bool,
    /// Where it stands.
    #[serde(flatten)]
    pub state: GrantState,
}

/// `duration` after a moment, or the end of time.
fn after(moment: Timestamp, ttl: Ttl) -> Timestamp {
    let ttl = SignedDuration::try_from(ttl.duration()).unwrap_or(SignedDuration::MAX);
    moment.saturating_add(ttl).unwrap_or(Timestamp::MAX)
}

impl Grant {
    /// The grant that an approved request opens. It waits to be claimed until `claim_by`, unless it has a start of its own.
    pub fn opened(id: GrantId, request: &Request, at: Timestamp, claim_by: Timestamp, basis: String) -> Self {
        let (ttl, start) = request.granted();
        Self {
            id,
            request: request.id,
            principal: request.requester.reference(),
            role: request.terms.role.clone(),
            target: request.terms.target.clone(),
            ttl,
            parallel: request.terms.parallel,
            purpose: request.terms.justification.clone(),
            basis,
            break_glass: request.kind == RequestKind::BreakGlass,
            created_at: at,
            leases: Vec::new(),
            leases_ended: false,
            state: GrantState::Scheduled { start, claim_by },
        }
    }

    /// Until when leases may last that are issued under it now; `None`: none may be.
    pub fn until(&self) -> Option<Timestamp> {
        match self.state {
            GrantState::Active { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Whether it gives somebody who asks for a TTL and a start as much as that, at a moment. Without a TTL anything will do.
    pub fn covers(&self, ttl: Option<Ttl>, start: Option<Timestamp>, parallel: u32, now: Timestamp) -> bool {
        let long = match &self.state {
            GrantState::Scheduled { start: own, claim_by } => {
                let open = own.is_some() || now < *claim_by;
                open && start == *own && ttl.is_none_or(|ttl| ttl <= self.ttl)
            }
            GrantState::Active { until, .. } => {
                let from = start.unwrap_or(now);
                now < *until && ttl.map_or(from < *until, |ttl| after(from, ttl) <= *until)
            }
            GrantState::Ended { .. } | GrantState::Revoked { .. } => false,
        };
        long && parallel <= self.parallel
    }

    /// Its resource name: `grants/<id>`.
    pub fn resource_name(&self) -> String {
        format!("grants/{}", self.id)
    }

    /// When somebody has to look at it again; `None`: never.
    pub fn due_at(&self) -> Option<Timestamp> {
        match &self.state {
            GrantState::Scheduled { start: Some(start), .. } => Some(*start),
            GrantState::Scheduled { start: None, claim_by } => Some(*claim_by),
            GrantState::Active { until, .. } => Some(*until),
            GrantState::Ended { at, .. } | GrantState::Revoked { at, .. } => {
                (!self.leases_ended).then_some(*at)
            }
        }
    }

    /// The grant after an event.
    ///
    /// # Errors
    /// When the event does not apply to its state.
    pub fn after(self, event: GrantEvent) -> Result<Grant, IllegalTransition> {
        let illegal = |event| IllegalTransition { noun: "grant", from: self.state.as_str(), event };
        let state = match (&self.state, event) {
            (GrantState::Scheduled { start: Some(start), .. }, GrantEvent::Claimed { at }) if at < *start => {
                return Err(illegal("claimed before its start"));
            }
            (GrantState::Scheduled { start: None, claim_by }, GrantEvent::Claimed { at })
                if at >= *claim_by =>
            {
                return Err(illegal("claimed so late"));
            }
            (GrantState::Scheduled { start, .. }, GrantEvent::Claimed { at }) => {
                let since = start.unwrap_or(at);
                let until = after(since, self.ttl);
                if at >= until {
                    return Err(illegal("claimed after its end"));
                }
                GrantState::Active { since, until }
            }
            (GrantState::Active { until, .. }, GrantEvent::Claimed { at }) if at >= *until => {
                return Err(illegal("claimed after its end"));
            }
            (GrantState::Scheduled { start: Some(start), .. }, GrantEvent::Due { at }) if *start <= at => {
                GrantState::Active { since: *start, until: after(*start, self.ttl) }
            }
            (GrantState::Scheduled { start: None, claim_by }, GrantEvent::Due { at }) if *claim_by <= at => {
                GrantState::Ended { at, lapsed: true }
            }
            (GrantState::Active { until, .. }, GrantEvent::Due { at }) if *until <= at => {
                GrantState::Ended { at, lapsed: false }
            }
            (GrantState::Active { since, until }, GrantEvent::Extended { at, until: longer })
                if at < *until =>
            {
                GrantState::Active { since: *since, until: (*until).max(longer) }
            }
            (_, GrantEvent::Extended { .. }) => return Err(illegal("extended")),
            (state, GrantEvent::Revoked { at, by, reason }) if state.is_live() => {
                GrantState::Revoked { at, by, reason }
            }
            // Claiming twice, and taking back what is over, changes nothing.
            (GrantState::Active { .. }, GrantEvent::Claimed { .. })
            | (_, GrantEvent::Due { .. } | GrantEvent::Revoked { .. }) => self.state.clone(),
            (_, GrantEvent::Claimed { .. }) => return Err(illegal("claimed")),
        };
        Ok(Grant { state, ..self })
    }
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
