//! Break-glass: access at once, without reviews, that is short, loud, and has to be looked at afterwards by somebody else.
//!
//! Request, approval and grant are one transaction; the lease is claimed under the grant like any other. How often somebody may do
//! it within a day is kept in as many places as that: each use takes one, and gives it back a day later.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    ClaimRequest, Issued, Issuer, Refusal, RefusalKind,
    request::{TRIES, check_text, check_ticket, contended, from, grant_draft, request_draft},
};
use crate::{
    audit::Draft,
    crash::{self, Point},
    domain::{
        Grant, GrantEvent, GrantId, Request, RequestId, RequestKind, RequestState, RequestTerms, Requirement,
        Role, RoleName, SignOff, Ttl,
    },
    identity::Caller,
    policy::{self, Decision, Who},
    store::{BREAK_GLASS, Changes, Committed, Kept, Listing, RequestKey, document, documents},
};

/// What a use counts for.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How access is broken into.
#[derive(Debug, Clone)]
pub struct BreakGlass {
    /// Under which role.
    pub role: RoleName,
    /// For how long; `None`: the role's default, or as long as is allowed if that is less.
    pub ttl: Option<Ttl>,
    /// Why; required.
    pub reason: String,
    /// The ticket it belongs to.
    pub ticket: Option<String>,
}

impl Issuer {
    /// Gives access at once, if policy lets the caller break the glass. It stays to be signed off by somebody else.
    ///
    /// # Errors
    /// [`Refusal`]: no reason, no such role, longer than allowed, no second factor, policy, used up for today, locked; and as
    /// [`Issuer::claim`]: then the grant stands, and can be claimed.
    pub async fn break_glass(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: BreakGlass,
    ) -> Result<(Request, Issued), Refusal> {
        let resource = format!("roles/{}", wanted.role);
        let (request, grant) = match self.broken(caller, &wanted).await {
            Err(refusal) if refusal.is_on_record() => {
                return Err(self.refuse(caller, "break_glass.used", resource, refusal).await);
            }
            answer => answer?,
        };
        tracing::warn!(
            principal = %caller.principal.name, role = %wanted.role, request = %request.id, "the glass was broken"
        );
        let claim = ClaimRequest { grant, ttl: None, idempotency_key: None };
        let role = request.terms.role.clone();
        Ok((request, self.claim_now(caller, claim, &role).await?))
    }

    async fn broken(&self, caller: &Caller, wanted: &BreakGlass) -> Result<(Request, GrantId), Refusal> {
        let role = self.catalogue.current().role(&wanted.role).map(|(role, _)| role);
        let role = role.ok_or_else(|| Refusal::not_found(format!("there is no role {}", wanted.role)))?;
        let terms = self.terms_of_break_glass(wanted, &role)?;
        for _ in 0..TRIES {
            let open = self.unlocked(caller, &terms.role, &terms.target).await?;
            let requirement = self.may_break_glass(caller, &role, &terms).await?;
            let (slot, revision) = self.free_slot(caller, &terms).await?;
            let (request, grant) = self.drawn(caller, &terms, requirement)?;
            let slot = RequestKey { request: request.id, ..slot };
            let changes = open
                .replace(&slot, revision)?
                .insert(&request)?
                .insert(&grant)?
                .record(loud(&request, caller, "break_glass.used"))
                .record(grant_draft(&grant, request.created_at, caller.actor(), "grant.opened"));
            crash::here(Point::GlassPlanned);
            if self.commit(changes).await? == Committed::Yes {
                crash::here(Point::GlassBroken);
                return Ok((request, grant.id));
            }
        }
        Err(contended())
    }

    fn terms_of_break_glass(&self, wanted: &BreakGlass, role: &Role) -> Result<RequestTerms, Refusal> {
        check_text("reason", &wanted.reason)?;
        check_ticket(wanted.ticket.as_deref())?;
        if wanted.reason.trim().is_empty() {
            return Err(Refusal::invalid("reason", "say why: it will be looked at afterwards"));
        }
        let longest = self.request_settings.current().break_glass.max_ttl;
        let ttl = match wanted.ttl {
            Some(asked) if asked.duration() > longest => {
                let message = format!("break-glass access lasts at most {} seconds", longest.as_secs());
                return Err(Refusal::invalid("ttl", message));
            }
            Some(asked) => role.ttl.choose(Some(asked))?,
            None => role.ttl.default().min(Ttl::new(longest)?),
        };
        let (justification, ticket) = (wanted.reason.clone(), wanted.ticket.clone());
        Ok(RequestTerms { justification, ticket, ..RequestTerms::plain(role, ttl) })
    }

    /// Whether the caller has given a second factor just now, and policy lets it.
    async fn may_break_glass(
        &self,
        caller: &Caller,
        role: &Role,
        terms: &RequestTerms,
    ) -> Result<Requirement, Refusal> {
        let facts = self.facts(&caller.principal.name, role).await?;
        let (policies, who) = (self.policies.current(), self.who(caller));
        let asked = facts.asked(role, terms);
        if let Decision::Deny { reason, .. } = policies.may_break_glass(&who, &asked) {
            let just_now = Who { second_factor_at: Some(who.now), ..who };
            let would_do = policies.may_break_glass(&just_now, &asked).is_allowed();
            return Err(if would_do { takes_second_factor() } else { Refusal::denied(reason) });
        }
        let within = self.request_settings.current().break_glass.second_factor_within;
        let fresh = |given: Timestamp| given <= who.now && who.now < from(given, within);
        if !caller.second_factor_at.is_some_and(fresh) {
            return Err(takes_second_factor());
        }
        Ok(Requirement { policy_set: policies.digest().to_owned(), ..Requirement::default() })
    }

    /// A place that no use within a day has taken, with its revision.
    async fn free_slot(&self, caller: &Caller, terms: &RequestTerms) -> Result<(RequestKey, u64), Refusal> {
        let now = self.clock.now();
        let limit = self.request_settings.current().break_glass.per_day;
        let mut first = None;
        for number in 0..limit {
            // No caller's own key has a blank in it.
            let key = format!("break glass {number}");
            let id = RequestKey::id_of(&caller.principal.name, &key);
            let kept: Option<Kept<RequestKey>> = document(&*self.store, &id).await?;
            match kept {
                Some(kept) if now < kept.document.until => {
                    first = [first, Some(kept.document.until)].into_iter().flatten().min();
                }
                kept => {
                    let slot = RequestKey {
                        principal: caller.principal.name.clone(),
                        key,
                        role: terms.role.clone(),
                        request: RequestId::new(now, 0),
                        until: from(now, DAY),
                    };
                    return Ok((slot, kept.map_or(0, |kept| kept.revision)));
                }
            }
        }
        let message =
            format!("you have broken the glass {limit} times within a day, which is as often as is allowed");
        let refusal = Refusal::new(RefusalKind::LimitReached, message);
        Err(match first {
            Some(at) => refusal.retry_after(at.duration_since(now).unsigned_abs()),
            None => refusal,
        })
    }

    fn drawn(
        &self,
        caller: &Caller,
        terms: &RequestTerms,
        requirement: Requirement,
    ) -> Result<(Request, Grant), Refusal> {
        let now = self.clock.now();
        let (id, grant) = (RequestId::new(now, self.random.bits()), GrantId::new(now, self.random.bits()));
        let remind_every = self.request_settings.current().break_glass.remind_every;
        let request = Request {
            id,
            kind: RequestKind::BreakGlass,
            requester: caller.principal.clone(),
            sponsor: None,
            terms: terms.clone(),
            requirement,
            reviews: Vec::new(),
            created_at: now,
            expires_at: now,
            sign_off: None,
            remind_at: remind_every.map(|every| from(now, every)),
            state: RequestState::Approved { at: now, grant },
        };
        let basis = format!("{}, break-glass by {}", request.resource_name(), caller.principal.name);
        let until = from(now, terms.ttl.duration());
        let grant = Grant::opened(grant, &request, now, until, basis);
        let grant = grant.after(GrantEvent::Claimed { at: now }).map_err(Refusal::internal)?;
        Ok((request, grant))
    }

    /// Break-glass accesses, newest first: all, or those that still await their sign-off. Principals see their own,
    /// whom policy lets view the audit log, all.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn break_glass_uses(
        &self,
        caller: &Caller,
        all: bool,
        (size, before): (u32, Option<RequestId>),
    ) -> Result<Vec<Request>, Refusal> {
        let everybody = self.sees_all(caller);
        let passes = |request: &Request| {
            (all || request.sign_off.is_none())
                && (everybody || request.requester.name == caller.principal.name)
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (mut found, mut before) = (Vec::new(), before);
        loop {
            let text = before.map(|id| id.to_string());
            let listing = Listing { by: Some((BREAK_GLASS, "yes")), before: text.as_deref(), limit: 200 };
            let batch = documents::<Request>(&*self.store, listing).await?;
            let Some(last) = batch.last().map(|kept| kept.document.id) else { return Ok(found) };
            before = Some(last);
            found.extend(batch.into_iter().map(|kept| kept.document).filter(passes));
            if found.len() >= size {
                found.truncate(size);
                return Ok(found);
            }
        }
    }

    /// Somebody has looked at a break-glass access. Never the one who had it.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, one's own, no such access, signed off already, store unavailable.
    pub async fn sign_off(
        &self,
        caller: &Caller,
        id: RequestId,
        comment: String,
    ) -> Result<Request, Refusal> {
        let resource = format!("requests/{id}");
        let action = "break_glass.signed_off";
        self.authorise(caller, policy::Action::Administer, action, resource.clone()).await?;
        match self.signed_off(caller, id, &comment).await {
            Err(refusal) if refusal.is_on_record() => {
                Err(self.refuse(caller, action, resource, refusal).await)
            }
            answer => answer,
        }
    }

    async fn signed_off(&self, caller: &Caller, id: RequestId, comment: &str) -> Result<Request, Refusal> {
        check_text("comment", comment)?;
        if comment.trim().is_empty() {
            return Err(Refusal::invalid("comment", "say what was found"));
        }
        for _ in 0..TRIES {
            let kept = self.kept_request(id).await?;
            let kept = kept.filter(|kept| kept.document.kind == RequestKind::BreakGlass);
            let kept =
                kept.ok_or_else(|| Refusal::not_found(format!("there is no break-glass access {id}")))?;
            if kept.document.requester.name == caller.principal.name {
                return Err(Refusal::denied("nobody signs off a break-glass access of his own"));
            }
            if let Some(earlier) = &kept.document.sign_off {
                let message = format!("{} has signed it off at {:.0}", earlier.by, earlier.at);
                return Err(Refusal::new(RefusalKind::Reviewed, message));
            }
            let now = self.clock.now();
            let sign_off =
                SignOff { by: caller.principal.name.clone(), at: now, comment: comment.to_owned() };
            let request = Request { sign_off: Some(sign_off), remind_at: None, ..kept.document };
            let draft = request_draft(&request, now, caller.actor(), "break_glass.signed_off")
                .with("comment", comment);
            let changes = Changes::new().replace(&request, kept.revision)?.record(draft);
            if self.commit(changes).await? == Committed::Yes {
                return Ok(request);
            }
        }
        Err(contended())
    }
}

/// Policy would say yes to who has just proved once more who he is.
fn takes_second_factor() -> Refusal {
    Refusal::denied("break-glass takes a second factor given just now: `mayfly login --step-up`")
}

/// The record that the glass was broken, with everything there is to know.
fn loud(request: &Request, caller: &Caller, action: &'static str) -> Draft {
    let draft = request_draft(request, request.created_at, caller.actor(), action)
        .with("ttl", request.terms.ttl.to_string())
        .with("justification", request.terms.justification.as_str())
        .with("policy_set", request.requirement.policy_set.as_str())
        .with("credential", caller.credential.to_string())
        .with("second_factor", caller.second_factor_at.map(|at| at.to_string()).unwrap_or_default());
    match &request.terms.ticket {
        Some(ticket) => draft.with("ticket", ticket.as_str()),
        None => draft,
    }
}
