//! What somebody can ask for, and what that takes.

use std::sync::Arc;

use super::Issuer;
use crate::{
    domain::{RequestTerms, Role},
    identity::Caller,
    policy::{self, Admission, Asked, Policies, Who},
    target::Target,
};

/// A role, as somebody finds it who looks for what to ask for.
#[derive(Clone)]
pub struct Offer {
    /// The role.
    pub role: Arc<Role>,
    /// Its target.
    pub target: Arc<dyn Target>,
    /// He may ask for it.
    pub allowed: bool,
    /// Approvals by others that asking takes, as far as that is known before it is asked.
    pub reviews: u32,
}

impl Issuer {
    /// The roles a caller may ask for, and what that takes; who administers Mayfly sees all.
    pub fn roles(&self, caller: &Caller) -> Vec<Offer> {
        let (catalogue, policies) = (self.catalogue.current(), self.policies.current());
        let who = self.who(caller);
        let all = policies.decide(&who, &policy::Action::Administer).is_allowed();
        let offers = catalogue.roles.values().filter_map(|role| {
            let target = catalogue.targets.get(&role.target)?;
            let allowed = self.allows(caller, role, role.ttl.default()).is_ok();
            let reviews = if allowed { reviews(&policies, &who, role) } else { 0 };
            let (role, target) = (Arc::clone(role), Arc::clone(target));
            (all || allowed).then_some(Offer { role, target, allowed, reviews })
        });
        offers.collect()
    }
}

/// How many approvals a role takes for somebody who holds nothing; what it turns on besides is known when it is asked for.
fn reviews(policies: &Policies, who: &Who<'_>, role: &Role) -> u32 {
    let terms = RequestTerms::plain(role, role.ttl.default());
    let asked = Asked { role, terms: &terms, live_leases: 0, first_use: None, live_roles: &[] };
    match policies.admit(who, &asked) {
        Admission::Reviewed { requirement } => requirement.steps.iter().map(|step| step.quorum.max(1)).sum(),
        Admission::ByRule { .. } | Admission::Denied { .. } => 0,
    }
}
