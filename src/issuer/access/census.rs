//! Who there is, and what each holds and has used.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        Grant, GrantId, Lease, LeaseId, LockSubject, Principal, PrincipalKind, PrincipalName, Request,
        RequestId, RoleName, StateName, TargetName,
    },
    issuer::{Issuer, Refusal},
};

/// What is kept as evidence of uses, the latest first.
const EVIDENCE: usize = 5;

/// Ways a principal is known by that are told of.
const TOLD: usize = 5;

/// How long a census serves those who page through it.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// Censuses kept at once.
const KEPT: usize = 4;

/// Everybody, at a moment.
#[derive(Debug, Default)]
pub(in crate::issuer) struct Census {
    pub(super) principals: BTreeMap<PrincipalName, Known>,
    pub(super) locks: BTreeSet<LockSubject>,
    /// From when on uses are counted: later than asked for where there are too many.
    pub(super) counted_since: Timestamp,
}

/// Somebody.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) kind: Option<PrincipalKind>,
    /// As what he may call: an account and each token have groups of their own.
    pub(super) forms: Vec<Principal>,
    /// What he is known by.
    pub(super) by: BTreeSet<String>,
    pub(super) under: BTreeMap<RoleName, Under>,
}

/// What somebody has under a role, and had.
#[derive(Debug, Default, Clone)]
pub(super) struct Under {
    pub(super) target: Option<TargetName>,
    pub(super) leases: BTreeSet<LeaseId>,
    pub(super) grants: BTreeSet<GrantId>,
    pub(super) requests: BTreeSet<RequestId>,
    pub(super) uses: u64,
    pub(super) last_used: Option<Timestamp>,
    pub(super) allowed_by: String,
    /// The latest first.
    pub(super) evidence: Vec<String>,
}

impl Under {
    pub(super) fn holds(&self) -> bool {
        !(self.leases.is_empty() && self.grants.is_empty() && self.requests.is_empty())
    }

    fn witness(&mut self, name: String) {
        if self.evidence.len() < EVIDENCE && !self.evidence.contains(&name) {
            self.evidence.push(name);
        }
    }
}

impl Census {
    fn known(&mut self, name: &PrincipalName) -> &mut Known {
        self.principals.entry(name.clone()).or_default()
    }

    /// Somebody who may call as this.
    pub(super) fn meet(&mut self, principal: &Principal, by: String) {
        let known = self.known(&principal.name);
        known.kind.get_or_insert(principal.kind);
        if known.by.len() < TOLD {
            known.by.insert(by);
        }
        if !known.forms.contains(principal) {
            known.forms.push(principal.clone());
        }
    }

    /// Somebody who may not call at all.
    pub(super) fn mention(&mut self, name: &PrincipalName, kind: PrincipalKind, by: String) {
        let known = self.known(name);
        known.kind.get_or_insert(kind);
        if known.by.len() < TOLD {
            known.by.insert(by);
        }
    }

    /// Somebody of whom it is known only that he was here: as he was then, unless he is known better. Whether he may come again is for
    /// his provider to say.
    pub(super) fn remember(&mut self, principal: &Principal, by: &str) {
        if self.known(&principal.name).by.is_empty() {
            self.meet(principal, by.to_owned());
        }
    }

    fn under(&mut self, name: &PrincipalName, role: &RoleName, target: &TargetName) -> &mut Under {
        let under = self.known(name).under.entry(role.clone()).or_default();
        under.target.get_or_insert_with(|| target.clone());
        under
    }

    /// A lease; the latest come first.
    pub(super) fn leased(&mut self, lease: &Lease) {
        let state = lease.state.name();
        let used = lease.created_at >= self.counted_since && state != StateName::Failed;
        if !used && !state.is_live() {
            return;
        }
        let under = self.under(&lease.principal.name, &lease.role, &lease.target);
        let fresh = !state.is_live() || under.leases.insert(lease.id);
        if used && fresh {
            under.uses += 1;
            if under.last_used.is_none_or(|last| last < lease.created_at) {
                under.last_used = Some(lease.created_at);
                under.allowed_by.clone_from(&lease.terms.allowed_by);
            }
        }
        under.witness(lease.resource_name());
    }

    pub(super) fn granted(&mut self, grant: &Grant) {
        let under = self.under(&grant.principal.name, &grant.role, &grant.target);
        if grant.state.is_live() {
            under.grants.insert(grant.id);
        }
        if under.allowed_by.is_empty() {
            under.allowed_by.clone_from(&grant.basis);
        }
        under.witness(grant.resource_name());
    }

    pub(super) fn requested(&mut self, request: &Request) {
        let terms = &request.terms;
        if request.is_pending() {
            self.under(&request.requester.name, &terms.role, &terms.target).requests.insert(request.id);
        }
        self.remember(&request.requester, "seen");
    }
}

/// What a census was taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) principal: Option<PrincipalName>,
    pub(super) since: Timestamp,
    pub(super) as_of: Timestamp,
}

/// Censuses taken lately, so that who pages through one does not have it taken anew for each page. One is taken at a time.
#[derive(Default)]
pub(in crate::issuer) struct Censuses(tokio::sync::Mutex<Vec<(Scope, Arc<Census>)>>);

impl Issuer {
    /// The census of a scope: the one taken for it before, or a new one; always a new one where a listing begins.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub(super) async fn census(&self, scope: &Scope, begins: bool) -> Result<Arc<Census>, Refusal> {
        let mut kept = self.censuses.0.lock().await;
        let now = self.clock.now();
        kept.retain(|(known, _)| now.duration_since(known.as_of) < FRESH && !(begins && known == scope));
        if let Some((_, census)) = kept.iter().find(|(known, _)| known == scope) {
            return Ok(Arc::clone(census));
        }
        let census = Arc::new(self.take_census(scope).await?);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((scope.clone(), Arc::clone(&census)));
        Ok(census)
    }
}
