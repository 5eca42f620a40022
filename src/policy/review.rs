//! Who may review, and whether anybody can.

use super::{Decision, Policies, Who, facts::Facts, set::named};
use crate::domain::{Principal, PrincipalName, Request, RequestState, ReviewStep, Role, Subject};

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

/// Why a step can never be approved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It names nobody, or nobody but the requester.
    #[error("nobody could approve the step {step}: it has no reviewer but {requester}")]
    Nobody {
        /// The step.
        step: String,
        /// Who asks.
        requester: PrincipalName,
    },
    /// It takes more approvals than there are reviewers.
    #[error(
        "nobody could complete the step {step}: it takes {quorum} approvals and has {reviewers} reviewers besides {requester}"
    )]
    Quorum {
        /// The step.
        step: String,
        /// Who asks.
        requester: PrincipalName,
        /// Approvals it takes.
        quorum: u32,
        /// Who could review.
        reviewers: usize,
    },
}

/// Whether steps can be approved by others than the requester. Groups and kinds are looked up among the principals that are
/// known; where nobody knows them all (`complete` is false: some come from an identity provider), a step that names a group or
/// a kind is taken for reachable. A reviewer counts once in a request, so that what an earlier step takes is not left for a
/// later one when both name the same few people; only steps that are hopeless by themselves are told here.
///
/// # Errors
/// The first step that can never be approved.
pub fn reachable(
    steps: &[ReviewStep],
    requester: &PrincipalName,
    known: &[Principal],
    complete: bool,
) -> Result<(), Unreachable> {
    steps.iter().try_for_each(|step| step_reachable(step, requester, known, complete))
}

fn step_reachable(
    step: &ReviewStep,
    requester: &PrincipalName,
    known: &[Principal],
    complete: bool,
) -> Result<(), Unreachable> {
    let subjects: Vec<&Subject> = step.reviewers.iter().chain(&step.escalate_to).collect();
    let named = |subject: &&Subject| match subject {
        Subject::Principal(name) => Some(name.clone()),
        _ => None,
    };
    if !complete && subjects.iter().any(|subject| named(subject).is_none()) {
        return Ok(());
    }
    let mut reviewers: std::collections::BTreeSet<PrincipalName> =
        subjects.iter().filter_map(named).collect();
    let matching = known.iter().filter(|principal| subjects.iter().any(|subject| subject.matches(principal)));
    reviewers.extend(matching.map(|principal| principal.name.clone()));
    reviewers.remove(requester);
    let (step_name, requester) = (step.name.clone(), requester.clone());
    match reviewers.len() {
        0 => Err(Unreachable::Nobody { step: step_name, requester }),
        found if usize::try_from(step.quorum).is_ok_and(|quorum| found < quorum) => {
            Err(Unreachable::Quorum { step: step_name, requester, quorum: step.quorum, reviewers: found })
        }
        _ => Ok(()),
    }
}
