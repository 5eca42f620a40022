//! One line of an access review: a principal and a role.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use jiff::Timestamp;

use super::{
    Certification,
    census::{Census, Known, Under},
};
use crate::{
    domain::{
        Access, GrantId, LeaseId, LockSubject, Principal, PrincipalKind, PrincipalName, RequestId, Role,
        RoleName, TargetName,
    },
    policy::{Circumstances, Policies, Reach, Reachable},
};

/// Bytes of the digest that says what was looked at.
const ETAG_BYTES: usize = 8;

/// What somebody holds, or could obtain, under a role.
#[derive(Debug, Clone)]
pub struct AccessItem {
    /// Who.
    pub principal: PrincipalName,
    /// What kind of principal.
    pub kind: PrincipalKind,
    /// What it is known by: accounts, tokens, invitations, providers, the lists of roles, or that it was seen.
    pub known_by: Vec<String>,
    /// The role.
    pub role: RoleName,
    /// Its target.
    pub target: TargetName,
    /// What it could obtain by itself, or with others.
    pub reach: Reach,
    /// Live leases.
    pub leases: Vec<LeaseId>,
    /// Grants that are scheduled or active.
    pub grants: Vec<GrantId>,
    /// Requests that await reviews.
    pub requests: Vec<RequestId>,
    /// Leases in the period.
    pub uses: u64,
    /// When the last of them began.
    pub last_used: Option<Timestamp>,
    /// The rule or approval of the last of them.
    pub allowed_by: String,
    /// The latest leases and grants by name.
    pub evidence: Vec<String>,
    /// Locks that keep it from being obtained now.
    pub locked: Vec<LockSubject>,
    /// The last word on it.
    pub certified: Option<Certification>,
}

impl AccessItem {
    /// Whether it has something under the role now.
    pub fn holds(&self) -> bool {
        !(self.leases.is_empty() && self.grants.is_empty() && self.requests.is_empty())
    }

    /// Names what could be obtained, and why. A decision that was made on something else is not carried out.
    pub fn etag(&self) -> String {
        let asking = match self.reach.asking {
            Reachable::No => "no".to_owned(),
            Reachable::Reviewed { approvals } => format!("reviewed {approvals}"),
            Reachable::AtOnce => "at once".to_owned(),
        };
        let (mut by, mut glass) = (self.reach.policies.join(" "), self.reach.break_glass.as_deref());
        match self.reach.asking {
            Reachable::No => by.clear(),
            Reachable::AtOnce => glass = None,
            Reachable::Reviewed { .. } => {}
        }
        let (principal, role, target) = (self.principal.as_str(), self.role.as_str(), self.target.as_str());
        let parts = [principal, role, target, &asking, &by, glass.unwrap_or_default()];
        let digest = digest(&SHA256, parts.join("\0").as_bytes());
        HEXLOWER.encode(digest.as_ref().get(..ETAG_BYTES).unwrap_or_default())
    }

    /// Whether what could be obtained was another thing when it was certified.
    pub fn changed(&self) -> bool {
        self.certified.as_ref().is_some_and(|certified| certified.etag != self.etag())
    }
}

/// What items are made of.
pub(super) struct Material<'a> {
    pub(super) census: &'a Census,
    pub(super) policies: &'a Policies,
    pub(super) circumstances: &'a Circumstances,
    pub(super) as_of: Timestamp,
}

impl Material<'_> {
    /// What somebody holds or could obtain under a role, which may be configured no longer; `None`: nothing, nor did he.
    pub(super) fn item(
        &self,
        (name, known): (&PrincipalName, &Known),
        role: &RoleName,
        configured: Option<&Role>,
    ) -> (Option<AccessItem>, usize) {
        let reach = configured
            .map_or_else(|| Reach::none("the role is no longer configured"), |role| self.reach(known, role));
        let asked = reach.asked;
        let under = known.under.get(role);
        if !reach.is_some() && under.is_none_or(|under| !under.holds() && under.uses == 0) {
            return (None, asked);
        }
        let under = under.cloned().unwrap_or_default();
        let target = configured.map(|role| role.target.clone()).or_else(|| under.target.clone());
        let item = target.map(|target| self.filled(name, known, (role, target), reach, under));
        (item, asked)
    }

    fn filled(
        &self,
        name: &PrincipalName,
        known: &Known,
        (role, target): (&RoleName, TargetName),
        reach: Reach,
        under: Under,
    ) -> AccessItem {
        let locked = LockSubject::of_access(name, role, &target)
            .into_iter()
            .filter(|subject| self.census.locks.contains(subject))
            .collect();
        AccessItem {
            principal: name.clone(),
            kind: known.kind.unwrap_or(PrincipalKind::Workload),
            known_by: known.by.iter().cloned().collect(),
            role: role.clone(),
            target,
            reach,
            leases: under.leases.into_iter().collect(),
            grants: under.grants.into_iter().collect(),
            requests: under.requests.into_iter().collect(),
            uses: under.uses,
            last_used: under.last_used,
            allowed_by: under.allowed_by,
            evidence: under.evidence,
            locked,
            certified: None,
        }
    }

    /// The best that somebody can come to as whatever he may call.
    fn reach(&self, known: &Known, role: &Role) -> Reach {
        let mut best = Reach::none("nobody of this name can call now");
        for form in &known.forms {
            let found = if lacks_account(role, form) {
                Reach::none("the role elevates existing accounts, and names none of this principal")
            } else {
                self.policies.reach(form, role, self.as_of, self.circumstances)
            };
            let asked = best.asked + found.asked;
            let break_glass = best.break_glass.clone().or_else(|| found.break_glass.clone());
            let better = !best.is_some() || greater(found.asking, best.asking);
            let chosen = if better { found } else { best };
            best = Reach { break_glass, asked, ..chosen };
        }
        best
    }
}

fn lacks_account(role: &Role, principal: &Principal) -> bool {
    match &role.access {
        Access::Elevation { accounts, .. } => !accounts.contains_key(&principal.name),
        Access::Ephemeral | Access::Checkout { .. } => false,
    }
}

fn greater(one: Reachable, other: Reachable) -> bool {
    let rank = |reachable| match reachable {
        Reachable::No => 0,
        Reachable::Reviewed { .. } => 1,
        Reachable::AtOnce => 2,
    };
    rank(one) > rank(other)
}
