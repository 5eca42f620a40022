//! Withdrawing what was asked for.

use super::{TRIES, check_text, contended, decide::request_draft, review::over};
use crate::{
    audit::Actor,
    crash::{self, Point},
    domain::{GrantId, Request, RequestEvent, RequestId, RequestState},
    identity::Caller,
    issuer::{Issuer, Refusal},
    policy,
    store::{Changes, Committed, Kept, Listing, UNDECIDED_EXTENSION, documents},
};

impl Issuer {
    /// Withdraws a request that awaits reviews: one's own, or anybody's by authority. Doing so twice is no error.
    ///
    /// # Errors
    /// [`Refusal`]: no such request (or not for this caller), somebody else's, decided already, store unavailable.
    pub async fn cancel_request(
        &self,
        caller: &Caller,
        id: RequestId,
        reason: String,
    ) -> Result<Request, Refusal> {
        check_text("reason", &reason)?;
        let resource = format!("requests/{id}");
        for _ in 0..TRIES {
            let kept = self.visible_request(caller, id).await?;
            let request = &kept.document;
            let own = request.requester.name == caller.principal.name;
            let may = |action| self.policies.current().decide(&self.who(caller), &action).is_allowed();
            if !own && !may(policy::Action::Revoke) {
                let refusal = Refusal::denied("only its requester and administrators may cancel a request");
                return Err(self.refuse(caller, "request.cancelled", resource, refusal).await);
            }
            match &request.state {
                RequestState::Pending { .. } => {}
                RequestState::Cancelled { .. } => return Ok(kept.document),
                state => {
                    let refusal = over(state.as_str());
                    return Err(self.refuse(caller, "request.cancelled", resource, refusal).await);
                }
            }
            let by = Some(caller);
            let (changes, cancelled) = self.cancelled(by, kept, &reason, Changes::new())?;
            crash::here(Point::RequestPlanned);
            if self.commit(changes).await? == Committed::Yes {
                crash::here(Point::RequestMade);
                return Ok(cancelled);
            }
        }
        Err(contended())
    }

    /// A pending request as it is once it is withdrawn, by somebody or by a rule, and the changes that make it so.
    pub(in crate::issuer) fn cancelled(
        &self,
        by: Option<&Caller>,
        kept: Kept<Request>,
        reason: &str,
        changes: Changes,
    ) -> Result<(Changes, Request), Refusal> {
        let now = self.clock.now();
        let name = by.map(|caller| caller.principal.name.clone());
        let event = RequestEvent::Cancelled { at: now, by: name, reason: reason.to_owned() };
        let request = kept.document.after(event)?;
        let actor = by.map_or(Actor::System, Caller::actor);
        let draft = request_draft(&request, now, actor, "request.cancelled").with("reason", reason);
        Ok((changes.replace(&request, kept.revision)?.record(draft), request))
    }

    /// Adds that requests for more time under a grant, which is over, are withdrawn.
    pub(in crate::issuer) async fn without_extensions(
        &self,
        grant: GrantId,
        mut changes: Changes,
    ) -> Result<Changes, Refusal> {
        let id = grant.to_string();
        let listing = Listing { by: Some((UNDECIDED_EXTENSION, &id)), before: None, limit: 10 };
        for kept in documents::<Request>(&*self.store, listing).await? {
            changes = self.cancelled(None, kept, "the grant it would extend is over", changes)?.0;
        }
        Ok(changes)
    }
}
