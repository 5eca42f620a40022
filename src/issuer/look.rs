//! What callers may look at: leases, sessions, roles, targets, the audit log.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{Issuer, Refusal, RefusalKind};
use crate::{
    audit::{self, AuditFilter, Found, Order, Position, Record},
    domain::{Access, Lease, LeaseId, LockSubject, ReviewStep, Role, RoleName, TargetName, Ttl},
    identity::Caller,
    policy,
    store::{KnownServer, LeaseFilter, Page, PageRequest},
    target::{Examination, Finding, Health, ServerIdentity, Session, Target},
};

/// The answer to "may I, for how long?".
#[derive(Debug, Clone)]
pub struct RoleCheck {
    /// The role.
    pub role: Arc<Role>,
    /// The rule that allows it, or why not.
    pub verdict: Result<String, String>,
    /// The TTL it would have.
    pub ttl: Ttl,
    /// Leases of the caller that are live under the role.
    pub live: u32,
    /// The reviews that asking for it takes, in order; none: rules allow it.
    pub steps: Vec<ReviewStep>,
}

/// A target as last seen.
#[derive(Clone)]
pub struct TargetStatus {
    /// The target.
    pub target: Arc<dyn Target>,
    /// Names of the roles on it.
    pub roles: Vec<RoleName>,
    /// Live leases on it.
    pub live: u64,
    /// How it fares.
    pub health: Health,
    /// The server known to answer for it; `None`: none ever did.
    pub server: Option<KnownServer>,
    /// Another one that was turned away when it was last connected to.
    pub stranger: Option<ServerIdentity>,
}

/// A part of the audit log.
pub type AuditPage = Vec<Record>;

impl Issuer {
    /// One lease.
    ///
    /// # Errors
    /// [`Refusal`]: no such lease, or not for this caller (the two are not told apart); store unavailable.
    pub async fn lease(&self, caller: &Caller, id: LeaseId) -> Result<Lease, Refusal> {
        self.visible_lease(caller, id).await
    }

    /// The lease, if the caller may see it. Somebody else's is told as if there were none; either is recorded.
    pub(super) async fn visible_lease(&self, caller: &Caller, id: LeaseId) -> Result<Lease, Refusal> {
        if let Some(lease) = self.store.lease(id).await?.filter(|lease| self.may_view(caller, lease)) {
            return Ok(lease);
        }
        let refusal = Refusal::not_found(format!("there is no lease {id}, or it is not yours"));
        Err(self.refuse(caller, "lease.viewed", format!("leases/{id}"), refusal).await)
    }

    pub(super) fn target_of(&self, lease: &Lease) -> Result<Arc<dyn Target>, Refusal> {
        let catalogue = self.catalogue.current();
        let target = catalogue.targets.get(&lease.target);
        let missing = || Refusal::not_found(format!("the target {} is no longer configured", lease.target));
        target.map(Arc::clone).ok_or_else(missing)
    }

    /// Leases, newest first. Principals see their own; whom policy lets view the audit log, all.
    ///
    /// # Errors
    /// [`Refusal`]: somebody else's asked for, store unavailable.
    pub async fn leases(
        &self,
        caller: &Caller,
        filter: LeaseFilter,
        page: PageRequest,
    ) -> Result<Page<Lease>, Refusal> {
        let filter = self.narrow(caller, filter).await?;
        Ok(self.store.list(&filter, page).await?)
    }

    /// The filter a caller's watch really has, and every change from now on.
    ///
    /// # Errors
    /// [`Refusal`]: somebody else's leases asked for.
    pub async fn watch(
        &self,
        caller: &Caller,
        filter: LeaseFilter,
    ) -> Result<(LeaseFilter, broadcast::Receiver<Lease>), Refusal> {
        Ok((self.narrow(caller, filter).await?, self.store.changes()))
    }

    /// What a caller's filter becomes: who sees all sees what he asks for, everybody else only his own.
    async fn narrow(&self, caller: &Caller, filter: LeaseFilter) -> Result<LeaseFilter, Refusal> {
        if self.sees_all(caller) {
            return Ok(filter);
        }
        match &filter.principal {
            Some(other) if *other != caller.principal.name => {
                let refusal = Refusal::denied("only administrators see the leases of others");
                Err(self.refuse(caller, "lease.listed", "leases/-", refusal).await)
            }
            _ => Ok(LeaseFilter { principal: Some(caller.principal.name.clone()), ..filter }),
        }
    }

    /// The live sessions of a lease's account.
    ///
    /// # Errors
    /// [`Refusal`]: no such lease, target unavailable.
    pub async fn sessions(&self, caller: &Caller, id: LeaseId) -> Result<Vec<Session>, Refusal> {
        let lease = self.visible_lease(caller, id).await?;
        let sessions = self.target_of(&lease)?.sessions(&lease.account).await;
        sessions.map_err(|error| Refusal::on_target(&lease.target, error))
    }

    /// May the caller use a role, for how long, and why (not)?
    ///
    /// # Errors
    /// [`Refusal`]: no such role, a TTL above its maximum, store unavailable.
    pub async fn check_role(
        &self,
        caller: &Caller,
        name: &RoleName,
        ttl: Option<Ttl>,
    ) -> Result<(RoleCheck, Arc<dyn Target>), Refusal> {
        let (role, target) = self
            .catalogue
            .current()
            .role(name)
            .ok_or_else(|| Refusal::not_found(format!("there is no role {name}")))?;
        let ttl = role.ttl.choose(ttl)?;
        let verdict = self.allows(caller, &role, ttl);
        let (live, total) = self.store.live_under_role(name, &caller.principal.name).await?;
        let verdict = match verdict {
            Ok(_) if live >= role.limits.per_principal => Err(format!(
                "{live} leases under this role are live; at most {} are allowed",
                role.limits.per_principal
            )),
            Ok(_) if total >= role.limits.total => {
                Err(format!("{total} leases under this role are live in all; at most {}", role.limits.total))
            }
            Ok(_) if lacks_account(&role, caller) => {
                Err("the role elevates existing accounts, and names none of yours".to_owned())
            }
            verdict => verdict,
        };
        let verdict = match (verdict, self.held_now(caller, &role).await?) {
            (Ok(_), Some(held)) => Err(held),
            (verdict, _) => verdict,
        };
        let locked = LockSubject::of_access(&caller.principal.name, &role.name, &role.target);
        let verdict = match self.check_locks(caller, &locked).await {
            Ok(()) => verdict,
            Err(refusal) if refusal.kind == RefusalKind::Locked => Err(refusal.message),
            Err(refusal) => return Err(refusal),
        };
        let mut steps = Vec::new();
        if verdict.is_ok() {
            // Policy may want a reason that is not given here; what it says of the rest is told.
            steps = self.reviews_for(caller, &role, ttl).await?.unwrap_or_default();
        }
        Ok((RoleCheck { role, verdict, ttl, live, steps }, target))
    }

    /// All targets, as last seen; asks no target anything.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn targets(&self, caller: &Caller) -> Result<Vec<TargetStatus>, Refusal> {
        self.authorise(caller, policy::Action::Administer, "target.listed", "targets/-".to_owned()).await?;
        let catalogue = self.catalogue.current();
        let live = self.store.live_by_target().await?;
        let status =
            async |(name, target): (&TargetName, &Arc<dyn Target>)| -> Result<TargetStatus, Refusal> {
                Ok(TargetStatus {
                    target: Arc::clone(target),
                    roles: catalogue
                        .roles
                        .values()
                        .filter(|role| role.target == *name)
                        .map(|role| role.name.clone())
                        .collect(),
                    live: live.iter().find(|(on, _)| on == name).map_or(0, |(_, count)| *count),
                    health: self.health.of(name),
                    server: self.store.known_server(name).await?,
                    stranger: self.servers.stranger(name),
                })
            };
        let mut targets = Vec::with_capacity(catalogue.targets.len());
        for entry in &catalogue.targets {
            targets.push(status(entry).await?);
        }
        Ok(targets)
    }

    /// Examines a target; changes nothing.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such target.
    pub async fn examine_target(&self, caller: &Caller, name: &TargetName) -> Result<Examination, Refusal> {
        self.authorise(caller, policy::Action::Administer, "target.examined", format!("targets/{name}"))
            .await?;
        let catalogue = self.catalogue.current();
        let target = self.target(name)?;
        let roles: Vec<&Role> =
            catalogue.roles.values().map(|role| &**role).filter(|role| role.target == *name).collect();
        let mut examination = target.examine(&roles).await;
        if let Some(finding) = self.identity_finding(name).await? {
            examination.findings.push(finding);
        }
        Ok(examination)
    }

    /// Whether the server is the one known; nothing when none is.
    async fn identity_finding(&self, name: &TargetName) -> Result<Option<Finding>, Refusal> {
        let Some(known) = self.store.known_server(name).await? else { return Ok(None) };
        Ok(Some(match self.servers.stranger(name) {
            None => {
                Finding::fine(format!("the server is the one known since {:.0}: {}", known.since, known.identity))
            }
            Some(stranger) => Finding::problem(format!(
                "another server answers: {stranger}, where {} is known since {:.0}; nothing is issued, renewed or ended on it",
                known.identity, known.since
            ))
            .mended_by(format!("-- if it is meant to be another one now: mayfly target accept {name}")),
        }))
    }

    /// A target by its name.
    pub(super) fn target(&self, name: &TargetName) -> Result<Arc<dyn Target>, Refusal> {
        let catalogue = self.catalogue.current();
        let target = catalogue.targets.get(name);
        target.map(Arc::clone).ok_or_else(|| Refusal::not_found(format!("there is no target {name}")))
    }

    /// Records of the audit log above a sequence number, oldest first.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn audit_after(&self, caller: &Caller, after: u64, limit: usize) -> Result<AuditPage, Refusal> {
        self.authorise(caller, policy::Action::ViewAudit, "audit.read", "audit/-".to_owned()).await?;
        self.store.read_after(after, limit).await.map_err(Refusal::internal)
    }

    /// Records of all chains by who, what and when; see [`audit::search`].
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn search_audit(
        &self,
        caller: &Caller,
        filter: &AuditFilter,
        order: Order,
        (from, limit): (Option<&Position>, usize),
    ) -> Result<Found, Refusal> {
        self.authorise(caller, policy::Action::ViewAudit, "audit.read", "audit/-".to_owned()).await?;
        audit::search(&*self.store, filter, order, from, limit).await.map_err(Refusal::internal)
    }

    /// Returns when records above a sequence number may exist.
    pub async fn audit_appended(&self, after: u64) {
        self.store.appended(after).await;
    }

    /// The sequence number of the last audit record.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn audit_head(&self, caller: &Caller) -> Result<u64, Refusal> {
        self.authorise(caller, policy::Action::ViewAudit, "audit.read", "audit/-".to_owned()).await?;
        self.store.last_seq().await.map_err(Refusal::internal)
    }
}

impl Issuer {
    /// Whether a role may be asked for, and why (not).
    pub(super) fn allows(&self, caller: &Caller, role: &Role, ttl: Ttl) -> Result<String, String> {
        match self.policies.current().decide(&self.who(caller), &policy::Action::Issue { role, ttl }) {
            policy::Decision::Allow { by, .. } => Ok(by),
            policy::Decision::Deny { reason, .. } => Err(reason),
        }
    }

    fn may_view(&self, caller: &Caller, lease: &Lease) -> bool {
        let action = policy::Action::View { owner: &lease.principal.name };
        self.policies.current().decide(&self.who(caller), &action).is_allowed() || self.sees_all(caller)
    }

    /// Whether policy lets somebody view the audit log: what others have and ask for is in there.
    pub(super) fn sees_all(&self, caller: &Caller) -> bool {
        self.policies.current().decide(&self.who(caller), &policy::Action::ViewAudit).is_allowed()
    }
}

/// Whether a role is for accounts that were there before, of which the caller has none.
fn lacks_account(role: &Role, caller: &Caller) -> bool {
    match &role.access {
        Access::Elevation { accounts, .. } => !accounts.contains_key(&caller.principal.name),
        Access::Ephemeral | Access::Checkout { .. } => false,
    }
}
