//! Which policies can apply to a question at all: those whose scope names its action, and its principal and resource or
//! something they are in, or nothing.
//!
//! What is left out would have been found not to apply before its conditions are looked at, so the outcome is that of
//! asking all policies; a property test holds it to that.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, Authorizer, Decision, Entities, EntityUid, Policy, PolicySet, PrincipalConstraint,
    Request, ResourceConstraint,
};

/// By what the scope names of the principal, then of the resource.
type Bucket = HashMap<Option<EntityUid>, HashMap<Option<EntityUid>, Group>>;

/// Policies of one scope.
#[derive(Debug, Default)]
struct Group {
    policies: PolicySet,
    /// Some of them may look at the context.
    look: bool,
}

/// Policies by their scope.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_action: HashMap<EntityUid, Bucket>,
    /// For actions of every kind.
    any_action: Bucket,
    order: HashMap<String, usize>,
}

/// What policies say to a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Voices {
    /// Policies that permit it.
    pub(super) permits: Vec<String>,
    /// Policies that forbid it; then `permits` says nothing.
    pub(super) forbids: Vec<String>,
    /// Policies that could not be evaluated.
    pub(super) erred: Vec<String>,
}

impl Index {
    pub(super) fn new(policies: &[Policy]) -> Result<Self, String> {
        let mut index = Index::default();
        for (place, policy) in policies.iter().enumerate() {
            index.order.insert(policy.id().to_string(), place);
            let principal = match policy.principal_constraint() {
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
                PrincipalConstraint::In(uid)
                | PrincipalConstraint::Eq(uid)
                | PrincipalConstraint::IsIn(_, uid) => Some(uid),
            };
            let resource = match policy.resource_constraint() {
                ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
                ResourceConstraint::In(uid)
                | ResourceConstraint::Eq(uid)
                | ResourceConstraint::IsIn(_, uid) => Some(uid),
            };
            // No action of the schema is in another.
            let buckets = match policy.action_constraint() {
                ActionConstraint::Any => vec![&mut index.any_action],
                ActionConstraint::Eq(action) => vec![index.by_action.entry(action).or_default()],
                ActionConstraint::In(mut actions) => {
                    actions.sort();
                    actions.dedup();
                    for action in &actions {
                        index.by_action.entry(action.clone()).or_default();
                    }
                    index
                        .by_action
                        .iter_mut()
                        .filter(|(action, _)| actions.contains(action))
                        .map(|(_, bucket)| bucket)
                        .collect()
                }
            };
            for bucket in buckets {
                let group = bucket.entry(principal.clone()).or_default().entry(resource.clone()).or_default();
                group.policies.add(policy.clone()).map_err(|error| error.to_string())?;
                group.look |= may_look_at_context(policy);
            }
        }
        Ok(index)
    }

    /// What the policies say that can apply, and whether any of them may look at the context. `principal` and `resource`: itself,
    /// then what it is in.
    pub(super) fn ask(
        &self,
        action: &EntityUid,
        (principal, resource): (&[EntityUid], &[EntityUid]),
        request: &Request,
        entities: &Entities,
    ) -> (Voices, bool) {
        let (authorizer, mut voices, mut looked) = (Authorizer::new(), Voices::default(), false);
        let keys = |uids: &[EntityUid]| -> Vec<Option<EntityUid>> {
            std::iter::once(None).chain(uids.iter().cloned().map(Some)).collect()
        };
        let (principals, resources) = (keys(principal), keys(resource));
        for bucket in self.by_action.get(action).into_iter().chain([&self.any_action]) {
            for sets in principals.iter().filter_map(|principal| bucket.get(principal)) {
                for group in resources.iter().filter_map(|resource| sets.get(resource)) {
                    voices.hear(&authorizer.is_authorized(request, &group.policies, entities));
                    looked |= group.look;
                }
            }
        }
        voices.settle(&self.order);
        (voices, looked)
    }
}

/// A policy that looks at the context has the word in its text, which may be there for another reason as well.
fn may_look_at_context(policy: &Policy) -> bool {
    policy.to_string().contains("context")
}

impl Voices {
    pub(super) fn hear(&mut self, response: &cedar_policy::Response) {
        let reasons = response.diagnostics().reason().map(ToString::to_string);
        match response.decision() {
            Decision::Allow => self.permits.extend(reasons),
            // Without a reason nothing was permitted.
            Decision::Deny => self.forbids.extend(reasons),
        }
        self.erred.extend(response.diagnostics().errors().map(|error| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            error.policy_id().to_string()
        }));
    }

    /// In the order of the files. What is forbidden is not permitted.
    pub(super) fn settle(&mut self, order: &HashMap<String, usize>) {
        if !self.forbids.is_empty() {
            self.permits.clear();
        }
        for ids in [&mut self.permits, &mut self.forbids, &mut self.erred] {
            ids.sort_by_key(|id| order.get(id).copied());
        }
    }
}
