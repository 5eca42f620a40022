//! Certifying accesses, and taking them back.

use std::{collections::BTreeSet, sync::Arc};

use super::{AccessItem, Certification};
use crate::{
    audit::Draft,
    domain::{LockSubject, PrincipalName, RoleName},
    identity::Caller,
    issuer::{
        Ended, Issuer, NewLock, Refusal, RefusalKind,
        request::{check_text, contended},
    },
    policy,
    store::{Changes, Committed, document},
};

/// Decisions made at once.
const MOST: usize = 500;

/// How often a certification is written anew because somebody else certifies the same.
const TRIES: u32 = 5;

/// What is decided on an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It is right as it is.
    Certify,
    /// What is held under it ends; `lock`: and the principal is locked.
    Revoke {
        /// Whether the principal is locked, from all roles.
        lock: bool,
    },
}

/// A decision on one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessDecision {
    /// Whose access.
    pub principal: PrincipalName,
    /// To which role.
    pub role: RoleName,
    /// What is decided.
    pub ruling: Ruling,
    /// Why.
    pub comment: String,
    /// What was looked at; empty: that is not checked.
    pub etag: String,
}

/// What a decision came to.
#[derive(Debug)]
pub struct Decided {
    /// The item as it is now: after a revocation, what could still be obtained, and by what.
    pub item: AccessItem,
    /// What ended.
    pub ended: Ended,
    /// The principal is locked.
    pub locked: bool,
}

impl Issuer {
    /// Decides on accesses: all decisions are checked first, then carried out one after the other. With `check_only` nothing is
    /// carried out. It is safe to decide the same again.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, a decision on one's own access, on none, on one that changed since it was listed, or
    /// twice on the same; store unavailable (some may be carried out by then).
    pub async fn decide_access(
        self: &Arc<Self>,
        caller: &Caller,
        decisions: Vec<AccessDecision>,
        check_only: bool,
    ) -> Result<Vec<Decided>, Refusal> {
        self.authorise_decisions(caller, &decisions).await?;
        let items = match self.checked(caller, &decisions).await {
            Ok(items) => items,
            Err(refusal) if refusal.is_on_record() => {
                let certifying = decisions.iter().any(|decision| decision.ruling == Ruling::Certify);
                let what = if certifying { "access.certified" } else { "access.revoked" };
                return Err(self.refuse(caller, what, "access/-", refusal).await);
            }
            Err(refusal) => return Err(refusal),
        };
        let mut decided = Vec::with_capacity(items.len());
        for (decision, item) in decisions.iter().zip(items) {
            decided.push(if check_only {
                Decided { item, ended: Ended::default(), locked: false }
            } else {
                self.carry_out_decision(caller, decision, item).await?
            });
        }
        Ok(decided)
    }

    async fn authorise_decisions(
        &self,
        caller: &Caller,
        decisions: &[AccessDecision],
    ) -> Result<(), Refusal> {
        let any = |wanted: fn(&Ruling) -> bool| decisions.iter().any(|decision| wanted(&decision.ruling));
        let resource = || "access/-".to_owned();
        self.authorise(caller, policy::Action::ViewAudit, "access.listed", resource()).await?;
        if any(|ruling| *ruling == Ruling::Certify) {
            self.authorise(caller, policy::Action::Administer, "access.certified", resource()).await?;
        }
        if any(|ruling| matches!(ruling, Ruling::Revoke { .. })) {
            self.authorise(caller, policy::Action::Revoke, "access.revoked", resource()).await?;
        }
        if any(|ruling| *ruling == Ruling::Revoke { lock: true }) {
            self.authorise(caller, policy::Action::Lock, "lock.set", resource()).await?;
        }
        Ok(())
    }

    /// The items decided on, in the order of the decisions.
    async fn checked(
        &self,
        caller: &Caller,
        decisions: &[AccessDecision],
    ) -> Result<Vec<AccessItem>, Refusal> {
        if decisions.is_empty() || decisions.len() > MOST {
            return Err(invalid(format!("there are 1 to {MOST} of them at once")));
        }
        let mut seen = BTreeSet::new();
        for (index, decision) in decisions.iter().enumerate() {
            let AccessDecision { principal, role, .. } = decision;
            check_text("comment", &decision.comment)?;
            if !seen.insert((principal, role)) {
                return Err(invalid(format!("decisions[{index}] is the second on {principal} and {role}")));
            }
            let own = *principal == caller.principal.name;
            if own && decision.ruling == Ruling::Certify {
                let message =
                    format!("nobody certifies access of his own: {role} of {principal} is for others");
                return Err(Refusal::denied(message));
            }
            if own && decision.ruling == (Ruling::Revoke { lock: true }) {
                return Err(invalid(format!("decisions[{index}] would lock you out")));
            }
        }
        let pairs = decisions.iter().map(|one| (one.principal.clone(), one.role.clone())).collect();
        let mut items = Vec::with_capacity(decisions.len());
        for (decision, item) in decisions.iter().zip(self.access_items(pairs).await?) {
            let AccessDecision { principal, role, etag, .. } = decision;
            let item = item.ok_or_else(|| {
                Refusal::not_found(format!("{principal} neither holds nor could obtain {role}"))
            })?;
            if !etag.is_empty() && *etag != item.etag() {
                let message = format!(
                    "what {principal} could obtain under {role} has changed since it was listed: look at it again"
                );
                return Err(Refusal::new(RefusalKind::Precondition, message));
            }
            items.push(item);
        }
        Ok(items)
    }

    async fn carry_out_decision(
        self: &Arc<Self>,
        caller: &Caller,
        decision: &AccessDecision,
        item: AccessItem,
    ) -> Result<Decided, Refusal> {
        match decision.ruling {
            Ruling::Certify => {
                let certified = Some(self.certify(caller, decision, &item).await?);
                let item = AccessItem { certified, ..item };
                Ok(Decided { item, ended: Ended::default(), locked: false })
            }
            Ruling::Revoke { lock } => self.revoke_access(caller, decision, item, lock).await,
        }
    }

    async fn certify(
        &self,
        caller: &Caller,
        decision: &AccessDecision,
        item: &AccessItem,
    ) -> Result<Certification, Refusal> {
        let id = Certification::id_of(&item.principal, &item.role);
        for _ in 0..TRIES {
            let earlier = document::<Certification>(&*self.store, &id).await?;
            let certification = Certification {
                principal: item.principal.clone(),
                role: item.role.clone(),
                target: item.target.clone(),
                by: caller.principal.name.clone(),
                at: self.clock.now(),
                comment: decision.comment.clone(),
                etag: item.etag(),
            };
            let draft = self.draft_on(caller, "access.certified", decision, item);
            let changes = self.standing(caller, Changes::new()).await?;
            let changes = changes.replace(&certification, earlier.map_or(0, |kept| kept.revision))?;
            if changes.record(draft).commit(&*self.store).await? == Committed::Yes {
                return Ok(certification);
            }
        }
        Err(contended())
    }

    /// What is held ends, and what was certified is so no longer.
    async fn revoke_access(
        self: &Arc<Self>,
        caller: &Caller,
        decision: &AccessDecision,
        item: AccessItem,
        lock: bool,
    ) -> Result<Decided, Refusal> {
        let reason = match decision.comment.as_str() {
            "" => "revoked in an access review".to_owned(),
            comment => format!("revoked in an access review: {comment}"),
        };
        if lock {
            let subject = LockSubject::Principal(item.principal.clone());
            let new = NewLock { subject, reason: decision.comment.clone(), life: None, force: false };
            self.lock(caller, new).await?;
        }
        let ended = self.take_all(caller, &item.principal, &item.role, &reason).await?;
        let draft = self
            .draft_on(caller, "access.revoked", decision, &item)
            .with("leases", ended.leases.to_string())
            .with("requests", ended.requests.to_string())
            .with("grants", ended.grants.to_string());
        let id = Certification::id_of(&item.principal, &item.role);
        let mut changes = Changes::new().record(draft);
        if let Some(kept) = document::<Certification>(&*self.store, &id).await? {
            changes = changes.remove(&kept);
        }
        if changes.commit(&*self.store).await? == Committed::Conflict {
            return Err(contended());
        }
        let pair = (item.principal.clone(), item.role.clone());
        let now = self.access_items(vec![pair]).await?.pop().flatten();
        let gone = AccessItem {
            leases: Vec::new(),
            grants: Vec::new(),
            requests: Vec::new(),
            certified: None,
            ..item
        };
        Ok(Decided { item: now.unwrap_or(gone), ended, locked: lock })
    }

    fn draft_on(
        &self,
        caller: &Caller,
        action: &'static str,
        decision: &AccessDecision,
        item: &AccessItem,
    ) -> Draft {
        let reach = &item.reach;
        let by = if reach.is_some() { reach.by.as_str() } else { "" };
        let resource = format!("access/{}", Certification::id_of(&item.principal, &item.role));
        Draft::new(self.clock.now(), caller.actor(), action, resource)
            .with("principal", item.principal.as_str())
            .with("role", item.role.as_str())
            .with("target", item.target.as_str())
            .with("comment", decision.comment.as_str())
            .with("obtainable_by", by)
            .with("policies", reach.policies.join(" "))
            .with("break_glass_by", reach.break_glass.as_deref().unwrap_or_default())
            .with("uses", item.uses.to_string())
            .with("etag", item.etag())
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::invalid("decisions", message)
}
