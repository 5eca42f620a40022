//! Who sees which requests.

use tokio::sync::broadcast;

use crate::{
    domain::{PrincipalName, Request, RequestId, RoleName, Subject, TargetName},
    identity::Caller,
    issuer::{Issuer, Refusal, listing::Wish},
    policy::Decision,
    store::{EntryKind, Kept, LIVE},
};

/// Which requests; an empty filter means all that the caller may see. Conditions are joined by "and".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// In one of these states, by name; empty: in any.
    pub states: Vec<&'static str>,
    /// Asked for by this principal.
    pub requester: Option<PrincipalName>,
    /// For this role.
    pub role: Option<RoleName>,
    /// For this target.
    pub target: Option<TargetName>,
    /// Only those that the caller may review now.
    pub to_review: bool,
}

impl RequestFilter {
    fn matches(&self, request: &Request) -> bool {
        (self.states.is_empty() || self.states.contains(&request.state.as_str()))
            && self.requester.as_ref().is_none_or(|requester| *requester == request.requester.name)
            && self.role.as_ref().is_none_or(|role| *role == request.terms.role)
            && self.target.as_ref().is_none_or(|target| *target == request.terms.target)
    }

    /// What the store finds the fewest by.
    fn key(&self) -> Option<(&'static str, &str)> {
        if let Some(requester) = &self.requester {
            return Some(("requester", requester.as_str()));
        }
        if self.to_review {
            return Some((LIVE, "yes"));
        }
        match (&*self.states, &self.role, &self.target) {
            ([state], ..) => Some(("state", state)),
            (_, Some(role), _) => Some(("role", role.as_str())),
            (_, _, Some(target)) => Some(("target", target.as_str())),
            _ => None,
        }
    }
}

/// A request as somebody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// The request.
    pub request: Request,
    /// He may review it now.
    pub reviewable: bool,
}

impl Issuer {
    /// One request: of one's own, one that one may review or could have reviewed, or any as an administrator.
    ///
    /// # Errors
    /// [`Refusal`]: no such request, or not for this caller (the two are not told apart); store unavailable.
    pub async fn request(&self, caller: &Caller, id: RequestId) -> Result<SeenRequest, Refusal> {
        let kept = self.visible_request(caller, id).await?;
        Ok(self.seen_by(caller, kept.document))
    }

    /// A request as the caller sees it.
    pub fn seen_by(&self, caller: &Caller, request: Request) -> SeenRequest {
        let reviewable = self.may_review(caller, &request);
        SeenRequest { request, reviewable }
    }

    pub(in crate::issuer) async fn visible_request(
        &self,
        caller: &Caller,
        id: RequestId,
    ) -> Result<Kept<Request>, Refusal> {
        let kept = self.kept_request(id).await?;
        if let Some(kept) = kept.filter(|kept| self.may_see(caller, &kept.document)) {
            return Ok(kept);
        }
        Err(Refusal::not_found(format!("there is no request {id}, or it is not for you to see")))
    }

    /// Requests that pass a filter and that the caller may see, newest first; and where to continue, unless that was all.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn requests(
        &self,
        caller: &Caller,
        filter: &RequestFilter,
        (size, before): (u32, Option<RequestId>),
    ) -> Result<(Vec<SeenRequest>, Option<RequestId>), Refusal> {
        let wish = Wish { by: filter.key(), size, before };
        let show = |request| self.passing(caller, filter, request);
        self.page_of(wish, |request: &Request| request.id, show).await
    }

    /// The request as the caller sees it, if it passes the filter and the caller may see it.
    pub fn passing(&self, caller: &Caller, filter: &RequestFilter, request: Request) -> Option<SeenRequest> {
        if !filter.matches(&request) || !self.may_see(caller, &request) {
            return None;
        }
        Some(self.seen_by(caller, request)).filter(|seen| seen.reviewable || !filter.to_review)
    }

    /// Which requests and grants change, from now on.
    pub fn changes_of_entries(&self) -> broadcast::Receiver<(EntryKind, String)> {
        self.store.entry_changes()
    }

    fn may_review(&self, caller: &Caller, request: &Request) -> bool {
        if !request.is_pending() {
            return false;
        }
        let Ok(role) = self.role_of(request) else { return false };
        let reviewed = request.reviews.iter().any(|review| review.reviewer == caller.principal.name);
        let decision = self.policies.current().may_review(&self.who(caller), request, &role);
        !reviewed && matches!(decision, Decision::Allow { .. })
    }

    /// Whether it is one's own, or one is named as a reviewer of any of its steps, also of those that are over.
    fn may_see(&self, caller: &Caller, request: &Request) -> bool {
        let principal = &caller.principal;
        let named = |subject: &Subject| subject.matches(principal);
        principal.name == request.requester.name
            || request.reviews.iter().any(|review| review.reviewer == principal.name)
            || request
                .requirement
                .steps
                .iter()
                .any(|step| step.reviewers.iter().any(named) || step.escalate_to.iter().any(named))
            || self.may_review(caller, request)
            || self.sees_all(caller)
    }
}
