//! Who may do what: facts in, decision out.
//!
//! Pure: no I/O, no clock, no store. Everything the rest of Mayfly does on somebody's behalf asks [`Policies`] first, and a
//! question that matches no rule is denied. Asking for a role has three answers ([`Admission`]): no, yes by rule, or yes once
//! others have reviewed it.

mod approvable;
mod handle;

use std::net::IpAddr;

use jiff::Timestamp;

pub use handle::PoliciesHandle;

use crate::domain::{
    ADMINISTRATORS, Principal, PrincipalName, Request, RequestTerms, Requirement, Role, RoleName, Ttl,
};

/// Who wants something, and what is known of the moment.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// Where the call comes from.
    pub address: Option<IpAddr>,
    /// When a second factor was last given.
    pub second_factor_at: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// What somebody asks for, with what else is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The role.
    pub role: &'a Role,
    /// The terms.
    pub terms: &'a RequestTerms,
    /// Leases the requester holds under the role.
    pub live_leases: u32,
    /// The requester never had a lease or grant under the role before; `None`: not known.
    pub first_use: Option<bool>,
    /// Roles under which the requester has a live lease or grant, this one included or not: some must not be held together.
    pub live_roles: &'a [RoleName],
}

/// What asking comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may not be asked for.
    Denied {
        /// Why, fit for the caller.
        reason: String,
        /// The policies that decided, by id; none when no policy allowed it.
        policies: Vec<String>,
    },
    /// It is granted by rule.
    ByRule {
        /// The rule, fit for the audit log and the caller.
        by: String,
        /// What was decided; without steps.
        requirement: Requirement,
    },
    /// It is granted once it is reviewed.
    Reviewed {
        /// What that takes; at least one step.
        requirement: Requirement,
    },
}

/// A set of policies. It does not change; a reload replaces it whole.
#[derive(Debug)]
pub struct Policies {
    digest: String,
}

impl Default for Policies {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Policies {
    /// The rules that are built in: the list on each role, and the group of administrators.
    pub fn builtin() -> Self {
        Self { digest: "builtin".to_owned() }
    }

    /// Names the set: decisions are recorded with it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Decides one question.
    pub fn decide(&self, who: &Who<'_>, action: &Action<'_>) -> Decision {
        decide(who.principal, action)
    }

    /// Decides what asking for a role comes to.
    pub fn admit(&self, who: &Who<'_>, asked: &Asked<'_>) -> Admission {
        let ttl = asked.terms.ttl;
        match self.decide(who, &Action::Issue { role: asked.role, ttl }) {
            Decision::Deny { reason, policies } => Admission::Denied { reason, policies },
            Decision::Allow { by, policies } => {
                let requirement = Requirement {
                    steps: asked.role.approval.clone(),
                    policies,
                    policy_set: self.digest().to_owned(),
                    ..Requirement::default()
                };
                if requirement.steps.is_empty() {
                    Admission::ByRule { by, requirement }
                } else {
                    Admission::Reviewed { requirement }
                }
            }
        }
    }

    /// Whether a decision may depend on what somebody holds already, which takes asking the store. The rules that are built in
    /// look at who asks and for what, and at nothing else.
    pub fn looks_at_holdings(&self) -> bool {
        self.digest() != "builtin"
    }

    /// Why nobody could possibly approve a request; `None`: somebody might. Of steps that name their reviewers one by one it is
    /// known whether there are enough besides the requester, who reviews nothing of his own; each reviews once.
    pub fn nobody_could_approve(&self, request: &Request, role: &Role) -> Option<String> {
        approvable::why_not(&request.requester, &request.requirement.steps)
            .map(|why| format!("nobody could approve a request of yours for the role {}: {why}", role.name))
    }

    /// Decides whether somebody may access a role by break-glass.
    pub fn may_break_glass(&self, who: &Who<'_>, asked: &Asked<'_>) -> Decision {
        let _ = (who, asked);
        Decision::deny("no policy allows break-glass")
    }

    /// Decides whether somebody may review the step of a request that awaits reviews. That nobody reviews a request of his
    /// own is decided here as well.
    pub fn may_review(&self, reviewer: &Who<'_>, request: &Request, role: &Role) -> Decision {
        let _ = role;
        if reviewer.principal.name == request.requester.name {
            return Decision::deny("nobody reviews a request of his own");
        }
        let Some(step) = request.step() else {
            return Decision::deny("the request awaits no review");
        };
        let escalated = matches!(request.state, crate::domain::RequestState::Pending { escalated: true, .. });
        let further = step.escalate_to.iter().filter(|_| escalated);
        match step.reviewers.iter().chain(further).find(|subject| subject.matches(reviewer.principal)) {
            Some(subject) => Decision::allow(format!("step {}: {subject}", step.name)),
            None => Decision::deny(format!("you are no reviewer of the step {}", step.name)),
        }
    }
}

/// What a principal wants to do.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Obtain a lease under a role.
    Issue {
        /// The role.
        role: &'a Role,
        /// For how long.
        ttl: Ttl,
    },
    /// See a lease.
    View {
        /// Whose lease.
        owner: &'a PrincipalName,
    },
    /// Renew a lease.
    Renew {
        /// Whose lease.
        owner: &'a PrincipalName,
    },
    /// End a lease as its holder.
    Release {
        /// Whose lease.
        owner: &'a PrincipalName,
    },
    /// End leases by authority.
    Revoke,
    /// Read the audit log.
    ViewAudit,
    /// See and examine targets, manage tokens and users.
    Administer,
    /// Lock and unlock principals, roles and targets.
    Lock,
    /// Invite contractors.
    Invite,
}

/// The answer, with the rule that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow {
        /// The rule, fit for the audit log and the caller.
        by: String,
        /// The policies that allowed it, by id.
        policies: Vec<String>,
    },
    /// No.
    Deny {
        /// Why, fit for the caller.
        reason: String,
        /// The policies that forbid it, by id; none when no policy allows it.
        policies: Vec<String>,
    },
}

impl Decision {
    fn allow(by: impl Into<String>) -> Self {
        Decision::Allow { by: by.into(), policies: Vec::new() }
    }

    fn deny(reason: impl Into<String>) -> Self {
        Decision::Deny { reason: reason.into(), policies: Vec::new() }
    }
}

/// Decides one question by the built-in rules.
pub(crate) fn decide(principal: &Principal, action: &Action<'_>) -> Decision {
    match action {
        Action::Issue { role, .. } => issue(principal, role),
        Action::View { owner } => owner_or_administrator(principal, owner, "see this lease"),
        Action::Renew { owner } => owner_only(principal, owner, "renew a lease"),
        Action::Release { owner } => owner_only(principal, owner, "release a lease"),
        Action::Revoke => administrator(principal, "revoke leases"),
        Action::ViewAudit => administrator(principal, "read the audit log"),
        Action::Administer => administrator(principal, "administer Mayfly"),
        Action::Lock => administrator(principal, "lock and unlock"),
        Action::Invite => administrator(principal, "invite"),
    }
}

/// Whether a principal may administer Mayfly.
pub fn is_administrator(principal: &Principal) -> bool {
    principal.belongs_to(ADMINISTRATORS)
}

fn issue(principal: &Principal, role: &Role) -> Decision {
    if !principal.reaches(&role.name) {
        return Decision::deny(format!(
            "the invitation of {} is not for the role {}",
            principal.name, role.name
        ));
    }
    match role.allows(principal) {
        Some(subject) => Decision::allow(format!("roles/{}: allow {subject}", role.name)),
        None => Decision::deny(format!(
            "the role {} does not allow {} {}",
            role.name, principal.kind, principal.name
        )),
    }
}

fn owner_only(principal: &Principal, owner: &PrincipalName, what: &str) -> Decision {
    if principal.name == *owner {
        Decision::allow("holder of the lease")
    } else {
        Decision::deny(format!("only its holder may {what}"))
    }
}

fn owner_or_administrator(principal: &Principal, owner: &PrincipalName, what: &str) -> Decision {
    match owner_only(principal, owner, what) {
        Decision::Deny { .. } => administrator(principal, what),
        allow @ Decision::Allow { .. } => allow,
    }
}

fn administrator(principal: &Principal, what: &str) -> Decision {
    if is_administrator(principal) {
        Decision::allow(format!("group:{ADMINISTRATORS}"))
    } else {
        Decision::deny(format!("only members of the group {ADMINISTRATORS} may {what}"))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::domain::{Access, LeaseLimits, OwnedObjects, PrincipalKind, Statements, TtlBounds};

    fn principal(name: &str, groups: &[&str]) -> Principal {
        Principal {
            name: name.parse().unwrap(),
            kind: PrincipalKind::Human,
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            attributes: [].into(),
        }
    }

    fn role(allow: &[&str]) -> Role {
        let minute = Ttl::new(Duration::from_secs(60)).unwrap();
        Role {
            name: "orders-read".parse().unwrap(),
            target: "orders".parse().unwrap(),
            description: String::new(),
            member_of: Vec::new(),
            ttl: TtlBounds::new(minute, minute).unwrap(),
            database: None,
            connection_limit: None,
            hosts: Vec::new(),
            settings: BTreeMap::new(),
            owned_objects: OwnedObjects::Drop,
            scram_iterations: 4096,
            limits: LeaseLimits { per_principal: 1, total: 1 },
            statements: Statements::default(),
            allow: allow.iter().map(|subject| subject.parse().unwrap()).collect(),
            access: Access::default(),
            approval: Vec::new(),
        }
    }

    fn may_issue(principal: &Principal, allow: &[&str]) -> Decision {
        let role = role(allow);
        decide(principal, &Action::Issue { role: &role, ttl: role.ttl.default() })
    }

    #[test]
    fn a_role_that_lists_nobody_is_for_nobody_not_even_administrators() {
        let admin = principal("root", &[ADMINISTRATORS]);
        assert_eq!(may_issue(&admin, &[]), Decision::deny("the role orders-read does not allow human root"));
    }

    #[test]
    fn a_role_allows_whom_it_lists_and_says_by_which_entry() {
        let alice = principal("alice", &["payments"]);
        assert_eq!(
            may_issue(&alice, &["principal:bob", "group:payments"]),
            Decision::allow("roles/orders-read: allow group:payments")
        );
    }

    #[test]
    fn leases_belong_to_their_holder() {
        let (alice, bob, admin) =
            (principal("alice", &[]), principal("bob", &[]), principal("root", &[ADMINISTRATORS]));
        let allowed =
            |who: &Principal, action: Action<'_>| matches!(decide(who, &action), Decision::Allow { .. });
        for (who, view, renew, release) in
            [(&alice, true, true, true), (&bob, false, false, false), (&admin, true, false, false)]
        {
            assert_eq!(allowed(who, Action::View { owner: &alice.name }), view, "{}", who.name);
            assert_eq!(allowed(who, Action::Renew { owner: &alice.name }), renew, "{}", who.name);
            assert_eq!(allowed(who, Action::Release { owner: &alice.name }), release, "{}", who.name);
        }
    }

    #[test]
    fn authority_is_for_administrators() {
        let (alice, admin) = (principal("alice", &[]), principal("root", &[ADMINISTRATORS]));
        for action in [Action::Revoke, Action::Lock, Action::ViewAudit, Action::Administer] {
            assert!(matches!(decide(&admin, &action), Decision::Allow { .. }), "{action:?}");
            assert!(matches!(decide(&alice, &action), Decision::Deny { .. }), "{action:?}");
        }
    }
}
