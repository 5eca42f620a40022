//! Who may review, and whether anybody can.

use super::{Decision, Policies, Who, approvable, facts::Facts, set::named};
use crate::domain::{Request, RequestState, Role};

impl Policies {
    /// Decides whether somebody may review the step of a request that awaits reviews: one of those the step names, if policy
    /// does not forbid it. That nobody reviews a request of his own is decided here as well.
    pub fn may_review(&self, reviewer: &Who<'_>, request: &Request, role: &Role) -> Decision {
        if reviewer.principal.name == request.requester.name {
            return Decision::deny("nobody reviews a request of his own");
        }
        let Some(step) = request.step() else {
            return Decision::deny("the request awaits no review");
        };
        let escalated = matches!(request.state, RequestState::Pending { escalated: true, .. });
        let further = step.escalate_to.iter().filter(|_| escalated);
        let listed = step.reviewers.iter().chain(further).find(|subject| subject.matches(reviewer.principal));
        let Some(subject) = listed else {
            return Decision::deny(format!("you are no reviewer of the step {}", step.name));
        };
        let target = self.targets.get(&role.target);
        let about = (step.name.as_str(), escalated);
        let facts = Facts::of_reviewing(reviewer, request, role, target, about, &self.zone);
        let silent = "no policy lets you review it".to_owned();
        self.decision(self.ask(facts.as_ref(), None), silent, |ids| {
            let called =
                |id: &str| (id == "builtin.reviewers").then(|| format!("step {}: {subject}", step.name));
            named(ids, called)
        })
    }
}

impl Policies {
    /// Why nobody could possibly approve a request; `None`: somebody might. Of steps that name their reviewers one by one it is
    /// known whether there are enough besides the requester, who reviews nothing of his own; each reviews once.
    pub fn nobody_could_approve(&self, request: &Request, role: &Role) -> Option<String> {
        approvable::why_not(&request.requester, &request.requirement.steps)
            .map(|why| format!("nobody could approve a request of yours for the role {}: {why}", role.name))
    }
}
