//! Deciding on what others ask for.

use super::{TRIES, check_text, contended, decide::request_draft, terms::check_start};
use crate::{
    audit::Draft,
    crash::{self, Point},
    domain::{
        LockSubject, Request, RequestEvent, RequestId, RequestKind, RequestState, Review, ReviewError, Role,
        Verdict,
    },
    identity::Caller,
    issuer::{Issuer, Refusal, RefusalKind},
    policy::Decision,
    store::{Changes, Committed, Kept},
};

/// What a reviewer decides.
#[derive(Debug, Clone)]
pub struct NewReview {
    /// What.
    pub verdict: Verdict,
    /// Why.
    pub comment: String,
}

impl Issuer {
    /// Records a review, and what it brings about: the next step, an approval with its grant, a denial.
    ///
    /// # Errors
    /// [`Refusal`]: no such request (or not for this caller), no reviewer of the step, decided already, reviewed already, wider
    /// than asked for, store unavailable.
    pub async fn review_request(
        &self,
        caller: &Caller,
        id: RequestId,
        review: NewReview,
    ) -> Result<Request, Refusal> {
        match self.review(caller, id, review).await {
            Err(refusal) if refusal.is_on_record() => {
                Err(self.refuse(caller, "review.recorded", format!("requests/{id}"), refusal).await)
            }
            answer => answer,
        }
    }

    async fn review(&self, caller: &Caller, id: RequestId, review: NewReview) -> Result<Request, Refusal> {
        check_text("comment", &review.comment)?;
        if let Verdict::Approve { start, .. } = review.verdict {
            check_start(start, self.clock.now(), &self.request_settings.current())?;
        }
        self.check_locks(caller, &[LockSubject::Principal(caller.principal.name.clone())]).await?;
        for _ in 0..TRIES {
            let kept = self.visible_request(caller, id).await?;
            self.check_reviewer(caller, &kept.document)?;
            let puts_off = matches!(review.verdict, Verdict::Approve { start: Some(_), .. });
            if puts_off && matches!(kept.document.kind, RequestKind::Extension { .. }) {
                return Err(Refusal::invalid("start_time", "an extension begins where its grant ends"));
            }
            let (changes, reviewed) = self.reviewed(caller, kept, &review).await?;
            crash::here(Point::ReviewPlanned);
            if self.commit(changes).await? == Committed::Yes {
                crash::here(Point::ReviewRecorded);
                return Ok(reviewed);
            }
        }
        Err(contended())
    }

    /// Whether the caller, as it is now, may review the step that awaits reviews.
    fn check_reviewer(&self, caller: &Caller, request: &Request) -> Result<(), Refusal> {
        if !request.is_pending() {
            return Err(over(request.state.as_str()));
        }
        let role = self.role_of(request)?;
        match self.policies.current().may_review(&self.who(caller), request, &role) {
            Decision::Allow { .. } => Ok(()),
            Decision::Deny { reason, .. } => Err(Refusal::denied(reason)),
        }
    }

    /// The role a request is for, if it still is what it was asked as.
    pub(super) fn role_of(&self, request: &Request) -> Result<std::sync::Arc<Role>, Refusal> {
        let role = self.catalogue.current().role(&request.terms.role).map(|(role, _)| role);
        role.filter(|role| role.target == request.terms.target).ok_or_else(|| {
            let message = format!(
                "the role {} on the target {} is no longer configured",
                request.terms.role, request.terms.target
            );
            Refusal::not_found(message)
        })
    }

    /// The request as it is after the review, and the changes that make it so.
    async fn reviewed(
        &self,
        caller: &Caller,
        kept: Kept<Request>,
        new: &NewReview,
    ) -> Result<(Changes, Request), Refusal> {
        let now = self.clock.now();
        let review = Review {
            reviewer: caller.principal.name.clone(),
            verdict: new.verdict.clone(),
            comment: new.comment.clone(),
            // Set by the state machine.
            step: 0,
            at: now,
        };
        let grant = self.grant_for(&kept.document, now);
        let before = kept.document.clone();
        let after = kept.document.after(RequestEvent::Reviewed { review, grant })?;
        let mut changes = self.standing(caller, Changes::new()).await?.replace(&after, kept.revision)?;
        changes = changes.record(review_draft(caller, &before, new, now));
        match &after.state {
            RequestState::Pending { .. } => {}
            RequestState::Denied { reason, .. } => {
                let draft = request_draft(&after, now, caller.actor(), "request.denied");
                changes = changes.record(draft.with("reason", reason.as_str()));
            }
            _ => {
                let names: Vec<&str> = after.approvers().map(crate::domain::PrincipalName::as_str).collect();
                let names = names.join(", ");
                let draft = request_draft(&after, now, caller.actor(), "request.approved");
                changes = changes.record(draft.with("by", names.as_str()));
                let basis = format!("{} approved by {names}", after.resource_name());
                changes = self.open(&after, grant, (caller.actor(), basis), changes).await?.changes;
            }
        }
        Ok((changes, after))
    }
}

fn review_draft(caller: &Caller, request: &Request, review: &NewReview, now: jiff::Timestamp) -> Draft {
    let step = request.step().map_or("", |step| step.name.as_str());
    let draft = request_draft(request, now, caller.actor(), "review.recorded")
        .with("step", step)
        .with("comment", review.comment.as_str());
    match &review.verdict {
        Verdict::Deny => draft.with("verdict", "deny"),
        Verdict::Approve { ttl, start } => {
            let mut draft = draft.with("verdict", "approve");
            if let Some(ttl) = ttl {
                draft = draft.with("ttl", ttl.to_string());
            }
            if let Some(start) = start {
                draft = draft.with("start", start.to_string());
            }
            draft
        }
    }
}

pub(super) fn over(state: &str) -> Refusal {
    Refusal::new(RefusalKind::Decided, format!("the request is {state}: it awaits no review"))
}

impl From<ReviewError> for Refusal {
    fn from(error: ReviewError) -> Self {
        match error {
            ReviewError::Illegal(illegal) => over(illegal.from),
            ReviewError::OwnRequest => Refusal::denied(error.to_string()),
            ReviewError::Twice(_) => Refusal::new(RefusalKind::Reviewed, error.to_string()),
            ReviewError::Widens(_) => Refusal::invalid("ttl", error.to_string()),
            ReviewError::Earlier => Refusal::invalid("start_time", error.to_string()),
        }
    }
}
