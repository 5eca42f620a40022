//! Whether a lease may be issued, and under what: by rule, or under a grant.

use std::sync::Arc;

use jiff::Timestamp;

use super::{super::issue::after, eligible::NoLonger};
use crate::{
    domain::{
        Grant, GrantEvent, GrantId, GrantState, Lease, LeaseId, LeaseState, RequestTerms, Requirement, Role,
        Ttl,
    },
    identity::Caller,
    issuer::{IssueRequest, Issuer, Refusal, RefusalKind, facts::Facts},
    policy::Admission,
    store::{Changes, EntryChange, Kept},
    target::Target,
};

/// What a caller claims.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Under which grant.
    pub grant: GrantId,
    /// For how long; `None`: as long as the grant lasts.
    pub ttl: Option<Ttl>,
    /// Chosen by the caller; a repeated claim with the same key gets the same lease.
    pub idempotency_key: Option<String>,
}

/// What a lease is wanted by.
#[derive(Debug, Clone)]
pub(in crate::issuer) enum Wanted {
    /// A role.
    Role(IssueRequest),
    /// A grant.
    Claim(ClaimRequest),
}

impl Wanted {
    /// What a record of it is on.
    pub(in crate::issuer) fn resource(&self) -> String {
        match self {
            Wanted::Role(request) => format!("roles/{}", request.role),
            Wanted::Claim(claim) => format!("grants/{}", claim.grant),
        }
    }

    /// The caller's idempotency key.
    pub(in crate::issuer) fn key(&self) -> Option<&String> {
        match self {
            Wanted::Role(request) => request.idempotency_key.as_ref(),
            Wanted::Claim(claim) => claim.idempotency_key.as_ref(),
        }
    }
}

/// What a lease is allowed as.
pub(in crate::issuer) struct Admitted {
    pub(in crate::issuer) role: Arc<Role>,
    pub(in crate::issuer) target: Arc<dyn Target>,
    pub(in crate::issuer) ttl: Ttl,
    pub(in crate::issuer) renewable_until: Timestamp,
    pub(in crate::issuer) purpose: String,
    pub(in crate::issuer) allowed_by: String,
    pub(in crate::issuer) grant: Option<GrantId>,
    /// What changes when it begins, all or nothing; what is told of that is told of the lease. That nothing of it is locked is
    /// required there as well.
    pub(in crate::issuer) entries: Vec<EntryChange>,
}

/// A lease as it is wanted under a grant.
struct Under<'a> {
    id: LeaseId,
    ttl: Option<Ttl>,
    purpose: &'a str,
    key: Option<&'a String>,
}

impl Issuer {
    /// Whether the lease `id` may begin now.
    ///
    /// # Errors
    /// [`Refusal`]: no such role or grant, policy, approval required, the grant is over, not begun or used up, store unavailable.
    pub(in crate::issuer) async fn admitted(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        id: LeaseId,
    ) -> Result<Admitted, Refusal> {
        match wanted {
            Wanted::Role(request) => self.admitted_to_role(caller, request, id).await,
            Wanted::Claim(claim) => {
                let missing =
                    || Refusal::not_found(format!("there is no grant {}, or it is not yours", claim.grant));
                let kept = self.kept_grant(claim.grant).await?.ok_or_else(missing)?;
                if kept.document.principal.name != caller.principal.name {
                    return Err(missing());
                }
                let under = Under { id, ttl: claim.ttl, purpose: "", key: claim.idempotency_key.as_ref() };
                self.admitted_under(caller, kept, &under).await
            }
        }
    }

    async fn admitted_to_role(
        &self,
        caller: &Caller,
        request: &IssueRequest,
        id: LeaseId,
    ) -> Result<Admitted, Refusal> {
        let (role, target) = self
            .catalogue
            .current()
            .role(&request.role)
            .ok_or_else(|| Refusal::not_found(format!("there is no role {}", request.role)))?;
        let ttl = role.ttl.choose(request.ttl)?;
        let terms =
            RequestTerms { justification: request.purpose.clone(), ..RequestTerms::plain(&role, ttl) };
        let policies = self.policies.current();
        let facts = if policies.looks_at_holdings() {
            self.facts(&caller.principal.name, &role).await?
        } else {
            Facts::default()
        };
        let refusal = match policies.admit(&self.who(caller), &facts.asked(&role, &terms)) {
            Admission::ByRule { by, .. } => {
                let renewable_until = after(self.clock.now(), role.ttl.max())?;
                let purpose = request.purpose.clone();
                return Ok(Admitted {
                    role,
                    target,
                    ttl,
                    renewable_until,
                    purpose,
                    allowed_by: by,
                    grant: None,
                    entries: Vec::new(),
                });
            }
            Admission::Reviewed { requirement } => approval_required(&role, &requirement),
            Admission::Denied { reason, .. } => Refusal::denied(reason),
        };
        let key = request.idempotency_key.as_ref();
        let under = Under { id, ttl: request.ttl, purpose: &request.purpose, key };
        self.admitted_under_any(caller, &role, &under, refusal).await
    }

    /// What rules do not allow may be allowed by a grant that the caller has.
    async fn admitted_under_any(
        &self,
        caller: &Caller,
        role: &Role,
        under: &Under<'_>,
        mut refusal: Refusal,
    ) -> Result<Admitted, Refusal> {
        let now = self.clock.now();
        let mut grants = self.live_grants(&caller.principal.name).await?;
        grants.retain(|kept| kept.document.role == role.name && has_begun(&kept.document, now));
        // What runs already, and runs longest, goes first.
        grants.sort_by_key(|kept| std::cmp::Reverse(kept.document.until()));
        for kept in grants {
            match self.admitted_under(caller, kept, under).await {
                Ok(admitted) => return Ok(admitted),
                Err(another) if another.is_on_record() => refusal = another,
                Err(another) => return Err(another),
            }
        }
        Err(refusal)
    }

    async fn admitted_under(
        &self,
        caller: &Caller,
        kept: Kept<Grant>,
        under: &Under<'_>,
    ) -> Result<Admitted, Refusal> {
        let now = self.clock.now();
        let (revision, before) = (kept.revision, kept.document.clone());
        let claimed = claimed(before.clone(), now)?;
        let (role, target) = match self.eligible(&self.who(caller), &before).await? {
            Ok(found) => found,
            Err(NoLonger(reason)) => {
                self.take_back(None, kept, &reason).await?;
                return Err(Refusal::denied(format!("{reason}; the grant is revoked")));
            }
        };
        let until = claimed.until().ok_or_else(|| over(&claimed))?;
        let mut live = self.store.leases(&before.leases).await?;
        live.retain(|lease| !matches!(lease.state, LeaseState::Ended { .. }));
        let repeated = under.key.is_some_and(|key| live.iter().any(|lease| has_key(lease, key)));
        let ttl = ttl_under(&claimed, &role, under.ttl, (until, now, repeated))?;
        if !repeated && live.len() >= usize::try_from(before.parallel).unwrap_or(usize::MAX) {
            let message = format!("the grant allows {} at once, and as many are live", before.parallel);
            return Err(Refusal::new(RefusalKind::LimitReached, message));
        }
        let leases = live.iter().map(|lease| lease.id).chain([under.id]).collect();
        let grant = Grant { leases, ..claimed };
        let entries = Changes::new().replace(&grant, revision)?.entries;
        let purpose = if under.purpose.is_empty() { grant.purpose.clone() } else { under.purpose.to_owned() };
        Ok(Admitted {
            role,
            target,
            ttl,
            renewable_until: until,
            purpose,
            allowed_by: grant.basis.clone(),
            grant: Some(grant.id),
            entries,
        })
    }
}

/// The TTL of a lease under a grant. What is asked for beyond the grant's end is refused, unless it was given before: then it
/// is the same lease. What is not asked for ends with the grant.
fn ttl_under(
    grant: &Grant,
    role: &Role,
    asked: Option<Ttl>,
    (until, now, repeated): (Timestamp, Timestamp, bool),
) -> Result<Ttl, Refusal> {
    if until.duration_since(now).as_secs() < 1 {
        return Err(over(grant));
    }
    let ttl = match asked {
        Some(asked) => role.ttl.choose(Some(asked))?,
        None => grant.ttl.min(role.ttl.max()),
    };
    if asked.is_some() && !repeated && after(now, ttl)? > until {
        let message = format!("the grant lasts until {until:.0}; ask for less, or for an extension");
        return Err(Refusal::invalid("ttl", message));
    }
    Ok(ttl)
}

fn has_begun(grant: &Grant, now: Timestamp) -> bool {
    match grant.state {
        GrantState::Scheduled { start: Some(start), .. } => start <= now,
        GrantState::Scheduled { start: None, claim_by } => now < claim_by,
        GrantState::Active { until, .. } => now < until,
        GrantState::Ended { .. } | GrantState::Revoked { .. } => false,
    }
}

fn has_key(lease: &Lease, key: &String) -> bool {
    lease.idempotency_key.as_ref() == Some(key)
}

/// The grant once it is claimed.
fn claimed(grant: Grant, now: Timestamp) -> Result<Grant, Refusal> {
    if let GrantState::Scheduled { start: Some(start), .. } = grant.state
        && now < start
    {
        let message = format!("the grant begins at {start:.0}");
        let wait = start.duration_since(now).unsigned_abs();
        return Err(Refusal::new(RefusalKind::NotBegun, message).retry_after(wait));
    }
    let refusal = over(&grant);
    grant.after(GrantEvent::Claimed { at: now }).map_err(|_| refusal)
}

fn over(grant: &Grant) -> Refusal {
    let message = match &grant.state {
        GrantState::Revoked { reason, .. } if reason.is_empty() => "the grant was revoked".to_owned(),
        GrantState::Revoked { reason, .. } => format!("the grant was revoked: {reason}"),
        GrantState::Scheduled { .. } | GrantState::Ended { lapsed: true, .. } => {
            "the grant lapsed: it was not claimed in time".to_owned()
        }
        GrantState::Active { .. } | GrantState::Ended { .. } => "the grant is over".to_owned(),
    };
    Refusal::new(RefusalKind::GrantEnded, message)
}

fn approval_required(role: &Role, requirement: &Requirement) -> Refusal {
    let steps: Vec<&str> = requirement.steps.iter().map(|step| step.name.as_str()).collect();
    let message = format!(
        "the role {name} takes an approval ({steps}): ask for it with \"mayfly request create {name}\", then claim what is granted; \
         \"mayfly creds {name} --wait\" does both",
        name = role.name,
        steps = steps.join(", then ")
    );
    Refusal::new(RefusalKind::ApprovalRequired, message)
}
