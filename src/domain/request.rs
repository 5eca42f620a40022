//! Requests: somebody asks for a role, for a period, for a purpose; and the reviews that decide.
//!
//! ```text
//! PENDING ──quorum of every step──▶ APPROVED
//!    ├──denials of a step──▶ DENIED
//!    ├──by its requester, or an authority──▶ CANCELLED
//!    └──nobody decided in time──▶ EXPIRED
//! ```
//! A request's terms do not change once it is made. Reviewers may narrow what is granted, never widen it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    GrantId, IllegalTransition, Principal, PrincipalName, RequestId, Requirement, ReviewStep, Role, RoleName,
    TargetName, Ttl,
};

/// How access was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RequestKind {
    /// To be decided by rule or by reviews.
    Access,
    /// More time than a grant allows: its TTL is how much longer.
    Extension {
        /// The grant.
        extends: GrantId,
    },
    /// Granted at once, without reviews; to be signed off by somebody else afterwards.
    BreakGlass,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTerms {
    /// Under which role.
    pub role: RoleName,
    /// On which target: the role's, when the request was made.
    pub target: TargetName,
    /// How long access lasts once it has begun.
    pub ttl: Ttl,
    /// When it begins; `None`: when it is claimed.
    pub start: Option<Timestamp>,
    /// Leases at once under the grant; at least 1.
    pub parallel: u32,
    /// What for; may be empty where policy does not ask for it.
    pub justification: String,
    /// The ticket it belongs to.
    pub ticket: Option<String>,
}

impl RequestTerms {
    /// A role for a time, from when it is claimed, one lease at once, and nothing more said.
    pub fn plain(role: &Role, ttl: Ttl) -> Self {
        Self {
            role: role.name.clone(),
            target: role.target.clone(),
            ttl,
            start: None,
            parallel: 1,
            justification: String::new(),
            ticket: None,
        }
    }
}

/// What a reviewer decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Yes, perhaps for less than was asked for.
    Approve {
        /// Not longer than this.
        ttl: Option<Ttl>,
        /// Not before this.
        start: Option<Timestamp>,
    },
    /// No.
    Deny,
}

/// One reviewer's decision on a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Who.
    pub reviewer: PrincipalName,
    /// What.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Why, in the reviewer's words; may be empty.
    pub comment: String,
    /// In which step, from 0.
    pub step: usize,
    /// When.
    pub at: Timestamp,
}

/// Somebody looked at a break-glass access afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOff {
    /// Who.
    pub by: PrincipalName,
    /// When.
    pub at: Timestamp,
    /// What was found.
    pub comment: String,
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RequestState {
    /// Reviews are awaited.
    Pending {
        /// Those of this step, from 0.
        step: usize,
        /// Since when.
        since: Timestamp,
        /// Nobody answered in time: those it escalates to may review as well.
        escalated: bool,
    },
    /// It is granted.
    Approved {
        /// When.
        at: Timestamp,
        /// The grant it opened (or extended).
        grant: GrantId,
    },
    /// It is not granted.
    Denied {
        /// When.
        at: Timestamp,
        /// By whom.
        by: PrincipalName,
        /// Why.
        reason: String,
    },
    /// It was withdrawn.
    Cancelled {
        /// When.
        at: Timestamp,
        /// By whom; `None`: by a rule, such as a lock.
        by: Option<PrincipalName>,
        /// Why.
        reason: String,
    },
    /// Nobody decided in time.
    Expired {
        /// When.
        at: Timestamp,
    },
}

impl RequestState {
    /// Lower case, as stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            RequestState::Pending { .. } => "pending",
            RequestState::Approved { .. } => "approved",
            RequestState::Denied { .. } => "denied",
            RequestState::Cancelled { .. } => "cancelled",
            RequestState::Expired { .. } => "expired",
        }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestEvent {
    /// Somebody reviewed it. Whether policy lets him is decided before. `grant` is the one it opens, should this complete it.
    Reviewed {
        /// The review.
        review: Review,
        /// The grant's identifier, if one is opened.
        grant: GrantId,
    },
    /// It is withdrawn.
    Cancelled {
        /// When.
        at: Timestamp,
        /// By whom; `None`: by a rule.
        by: Option<PrincipalName>,
        /// Why.
        reason: String,
    },
    /// The clock looks at it: it expires, escalates, reminds, or stays as it is.
    Due {
        /// Now.
        at: Timestamp,
        /// When to remind next, should a reminder be due now.
        remind: Option<Timestamp>,
    },
}

/// Why a review does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The request is decided, withdrawn or over.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// Nobody decides for himself.
    #[error("nobody reviews a request of his own")]
    OwnRequest,
    /// Once is enough, in whichever step.
    #[error("{0} has reviewed this request already")]
    Twice(PrincipalName),
    /// A reviewer may narrow, never widen.
    #[error("a review can shorten what was asked for, not lengthen it: at most {0}")]
    Widens(Ttl),
    /// Likewise.
    #[error("a review can put the start off, not bring it forward")]
    Earlier,
}

/// Somebody asks for a role, for a period, for a purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Identity.
    pub id: RequestId,
    /// How access is asked for.
    #[serde(flatten)]
    pub kind: RequestKind,
    /// Who asks, with the groups of that moment.
    pub requester: Principal,
    /// Who vouches for a contractor.
    pub sponsor: Option<PrincipalName>,
    /// What is asked for.
    pub terms: RequestTerms,
    /// What it takes.
    pub requirement: Requirement,
    /// What was decided so far.
    pub reviews: Vec<Review>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires unless it is decided.
    pub expires_at: Timestamp,
    /// Of a break-glass access: who looked at it afterwards.
    pub sign_off: Option<SignOff>,
    /// When somebody is reminded next that it waits for a review, or for its sign-off.
    pub remind_at: Option<Timestamp>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: RequestState,
}

impl Request {
    /// Its resource name: `requests/<id>`.
    pub fn resource_name(&self) -> String {
        format!("requests/{}", self.id)
    }

    /// The step that awaits reviews; `None`: none does.
    pub fn step(&self) -> Option<&ReviewStep> {
        match self.state {
            RequestState::Pending { step, .. } => self.requirement.steps.get(step),
            _ => None,
        }
    }

    /// Whether it still awaits reviews.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, RequestState::Pending { .. })
    }

    /// Those who approved it, in order.
    pub fn approvers(&self) -> impl Iterator<Item = &PrincipalName> {
        let approvals =
            self.reviews.iter().filter(|review| matches!(review.verdict, Verdict::Approve { .. }));
        approvals.map(|review| &review.reviewer)
    }

    /// What is granted if it is approved as it stands: the terms, as narrowed by the reviews so far.
    pub fn granted(&self) -> (Ttl, Option<Timestamp>) {
        self.reviews.iter().fold((self.terms.ttl, self.terms.start), |(ttl, start), review| {
            match review.verdict {
                Verdict::Approve { ttl: shorter, start: later } => {
                    (shorter.map_or(ttl, |shorter| shorter.min(ttl)), start.max(later))
                }
                Verdict::Deny => (ttl, start),
            }
        })
    }

    /// When somebody has to look at it again; `None`: never.
    pub fn due_at(&self) -> Option<Timestamp> {
        let moves = match self.state {
            RequestState::Pending { since, escalated, .. } => {
                let escalates = self
                    .step()
                    .filter(|_| !escalated)
                    .and_then(|step| since.checked_add(step.escalate_after?).ok());
                Some(escalates.map_or(self.expires_at, |at| at.min(self.expires_at)))
            }
            _ => None,
        };
        [moves, self.remind_at].into_iter().flatten().min()
    }

    /// The request after an event.
    ///
    /// # Errors
    /// When the event does not apply: then nothing of it counts.
    pub fn after(self, event: RequestEvent) -> Result<Request, ReviewError> {
        match event {
            RequestEvent::Reviewed { review, grant } => self.reviewed(review, grant),
            RequestEvent::Cancelled { at, by, reason } => {
                self.pending("cancelled")?;
                Ok(self.moved(RequestState::Cancelled { at, by, reason }))
            }
            RequestEvent::Due { at, remind } => Ok(self.due(at, remind)),
        }
    }

    fn pending(&self, event: &'static str) -> Result<(usize, Timestamp, bool), IllegalTransition> {
        match self.state {
            RequestState::Pending { step, since, escalated } => Ok((step, since, escalated)),
            _ => Err(IllegalTransition { noun: "request", from: self.state.as_str(), event }),
        }
    }

    fn moved(self, state: RequestState) -> Self {
        Self { state, remind_at: None, ..self }
    }

    fn reviewed(mut self, review: Review, grant: GrantId) -> Result<Self, ReviewError> {
        let (step, ..) = self.pending("reviewed")?;
        if review.at >= self.expires_at {
            return Err(IllegalTransition { noun: "request", from: "expired", event: "reviewed" }.into());
        }
        if review.reviewer == self.requester.name {
            return Err(ReviewError::OwnRequest);
        }
        if self.reviews.iter().any(|earlier| earlier.reviewer == review.reviewer) {
            return Err(ReviewError::Twice(review.reviewer));
        }
        if let Verdict::Approve { ttl, start } = review.verdict {
            let (longest, earliest) = self.granted();
            if ttl.is_some_and(|ttl| ttl > longest) {
                return Err(ReviewError::Widens(longest));
            }
            if start.is_some_and(|start| earliest.is_some_and(|earliest| start < earliest)) {
                return Err(ReviewError::Earlier);
            }
        }
        let (at, by, reason) = (review.at, review.reviewer.clone(), review.comment.clone());
        self.reviews.push(Review { step, ..review });
        let needed = self.requirement.steps.get(step).map_or((1, 1), |step| (step.quorum, step.denials));
        let (approvals, denials) = self.count(step);
        if denials >= needed.1 {
            return Ok(self.moved(RequestState::Denied { at, by, reason }));
        }
        if approvals < needed.0 {
            return Ok(self);
        }
        let next = step.saturating_add(1);
        if next < self.requirement.steps.len() {
            self.state = RequestState::Pending { step: next, since: at, escalated: false };
            return Ok(self);
        }
        Ok(self.moved(RequestState::Approved { at, grant }))
    }

    /// Approvals and denials in a step.
    fn count(&self, step: usize) -> (u32, u32) {
        self.reviews.iter().filter(|review| review.step == step).fold(
            (0, 0),
            |(yes, no), review| match review.verdict {
                Verdict::Approve { .. } => (yes + 1, no),
                Verdict::Deny => (yes, no + 1),
            },
        )
    }

    fn due(mut self, at: Timestamp, remind: Option<Timestamp>) -> Self {
        if self.remind_at.is_some_and(|due| due <= at) {
            self.remind_at = remind.filter(|next| *next > at);
        }
        let Ok((step, since, escalated)) = self.pending("due") else { return self };
        if at >= self.expires_at {
            return self.moved(RequestState::Expired { at });
        }
        let escalates = self.step().and_then(|step| since.checked_add(step.escalate_after?).ok());
        if !escalated && escalates.is_some_and(|escalates| escalates <= at) {
            self.state = RequestState::Pending { step, since, escalated: true };
        }
        self
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
