//! Asking for access.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{TRIES, contended, decide::request_draft, from, terms};
use crate::{
    crash::{self, Point},
    domain::{
        Grant, Request, RequestId, RequestKind, RequestState, RequestTerms, Requirement, Role, RoleName, Ttl,
    },
    identity::Caller,
    issuer::{Issuer, Refusal, RefusalKind, facts::Facts, grant::same_extension},
    policy::Admission,
    store::{Changes, Committed, Kept, Listing, RequestKey, UNDECIDED_BY, document, documents},
};

/// For how long an idempotency key is remembered.
const KEY_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What a caller asks for.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// Under which role.
    pub role: RoleName,
    /// For how long, once it has begun; `None`: the role's default.
    pub ttl: Option<Ttl>,
    /// When it begins; `None`: when it is claimed.
    pub start: Option<Timestamp>,
    /// Leases at once; 0 is 1.
    pub parallel: u32,
    /// What for.
    pub justification: String,
    /// The ticket it belongs to.
    pub ticket: Option<String>,
    /// Chosen by the caller; a repeated request with the same key gets the same request.
    pub idempotency_key: Option<String>,
}

/// What asking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The request.
    pub request: Request,
    /// Its grant, once it is approved.
    pub grant: Option<Grant>,
    /// It is an earlier request, whose grant covers what is asked for now.
    pub reused: bool,
}

/// A request as it is to be made.
pub(in crate::issuer) struct Draught {
    pub(in crate::issuer) kind: RequestKind,
    pub(in crate::issuer) terms: RequestTerms,
    pub(in crate::issuer) expires_at: Timestamp,
    pub(in crate::issuer) key: Option<String>,
}

impl Issuer {
    /// Asks for access under a role. By rule it is granted at once; else it awaits reviews. A live grant that covers what is asked
    /// for is returned instead.
    ///
    /// # Errors
    /// [`Refusal`]: no such role, terms beyond what is allowed, policy, nobody could approve it, too many pending, store
    /// unavailable.
    pub async fn create_request(&self, caller: &Caller, new: NewRequest) -> Result<Requested, Refusal> {
        let resource = format!("roles/{}", new.role);
        match self.ask(caller, new).await {
            Err(refusal) if refusal.is_on_record() => {
                Err(self.refuse(caller, "request.created", resource, refusal).await)
            }
            answer => answer,
        }
    }

    async fn ask(&self, caller: &Caller, new: NewRequest) -> Result<Requested, Refusal> {
        terms::check_words(&new)?;
        let role = self.catalogue.current().role(&new.role).map(|(role, _)| role);
        let role = role.ok_or_else(|| Refusal::not_found(format!("there is no role {}", new.role)))?;
        let asked = terms::terms(&new, &role)?;
        if let Some(known) =
            self.repeated(caller, &RequestKind::Access, &asked, new.idempotency_key.as_deref()).await?
        {
            return Ok(known);
        }
        let now = self.clock.now();
        let settings = self.request_settings.current();
        terms::check_start(asked.start, now, &settings)?;
        let mut expires_at = from(now, settings.request_ttl);
        if let Some(start) = asked.start {
            // What is decided after its window is over is of no use.
            expires_at = expires_at.min(from(start, asked.ttl.duration()));
        }
        let draught =
            Draught { kind: RequestKind::Access, terms: asked, expires_at, key: new.idempotency_key };
        self.make(caller, &role, draught, new.ttl).await
    }

    /// Makes a request that is well-formed, as often as it takes to find everything as it was when it was decided.
    pub(in crate::issuer) async fn make(
        &self,
        caller: &Caller,
        role: &Arc<Role>,
        draught: Draught,
        asked: Option<Ttl>,
    ) -> Result<Requested, Refusal> {
        for _ in 0..TRIES {
            if let Some(known) =
                self.repeated(caller, &draught.kind, &draught.terms, draught.key.as_deref()).await?
            {
                return Ok(known);
            }
            let open = self.unlocked(caller, &draught.terms.role, &draught.terms.target).await?;
            let facts = self.facts(&caller.principal.name, role).await?;
            let admission =
                self.policies.current().admit(&self.who(caller), &facts.asked(role, &draught.terms));
            if let Admission::Denied { reason, .. } = admission {
                return Err(Refusal::denied(reason));
            }
            if draught.kind == RequestKind::Access
                && let Some(reused) = self.covering(&draught.terms, asked, &facts).await?
            {
                return Ok(reused);
            }
            let made = match admission {
                Admission::ByRule { by, requirement } => {
                    self.granted_by_rule(caller, &draught, (by, requirement), open).await?
                }
                Admission::Reviewed { requirement } => {
                    self.awaiting_reviews(caller, role, &draught, requirement, open).await?
                }
                Admission::Denied { reason, .. } => return Err(Refusal::denied(reason)),
            };
            if let Some(made) = made {
                return Ok(made);
            }
        }
        Err(contended())
    }

    /// The request that was made with this key before, if its terms were these.
    async fn repeated(
        &self,
        caller: &Caller,
        kind: &RequestKind,
        asked: &RequestTerms,
        key: Option<&str>,
    ) -> Result<Option<Requested>, Refusal> {
        let Some(key) = key else { return Ok(None) };
        let id = RequestKey::id_of(&caller.principal.name, key);
        let Some(kept) = document::<RequestKey>(&*self.store, &id).await? else { return Ok(None) };
        let earlier = self.kept_request(kept.document.request).await?.map(|kept| kept.document);
        match earlier {
            Some(request) if request.terms == *asked && request.kind == *kind => {
                self.with_grant(request, false).await.map(Some)
            }
            _ => {
                let message = "this idempotency key was used before, for a request with other terms";
                Err(Refusal::new(RefusalKind::KeyReused, message))
            }
        }
    }

    /// A live grant of the caller that gives what is asked for.
    async fn covering(
        &self,
        terms: &RequestTerms,
        asked: Option<Ttl>,
        facts: &Facts,
    ) -> Result<Option<Requested>, Refusal> {
        let now = self.clock.now();
        // Who does not say how long is served by whatever lasts still.
        let covers = |grant: &&Grant| {
            grant.role == terms.role
                && grant.target == terms.target
                && grant.covers(asked, terms.start, terms.parallel, now)
        };
        let Some(grant) = facts.grants.iter().find(covers) else { return Ok(None) };
        let Some(kept) = self.kept_request(grant.request).await? else { return Ok(None) };
        Ok(Some(Requested { request: kept.document, grant: Some(grant.clone()), reused: true }))
    }

    /// A request together with its grant.
    pub(in crate::issuer) async fn with_grant(
        &self,
        request: Request,
        reused: bool,
    ) -> Result<Requested, Refusal> {
        let grant = match request.state {
            RequestState::Approved { grant, .. } => self.kept_grant(grant).await?.map(|kept| kept.document),
            _ => None,
        };
        Ok(Requested { request, grant, reused })
    }

    async fn granted_by_rule(
        &self,
        caller: &Caller,
        draught: &Draught,
        (by, requirement): (String, Requirement),
        open: Changes,
    ) -> Result<Option<Requested>, Refusal> {
        let now = self.clock.now();
        let mut request = self.drawn_up(caller, draught, requirement, now);
        let grant = self.grant_for(&request, now);
        request.state = RequestState::Approved { at: now, grant };
        let changes = recorded(caller, draught, &request, open)?;
        let approved =
            request_draft(&request, now, caller.actor(), "request.approved").with("by", by.as_str());
        let basis = format!("{}, granted by {by}", request.resource_name());
        let opened = self.open(&request, grant, (caller.actor(), basis), changes.record(approved)).await?;
        crash::here(Point::RequestPlanned);
        if self.commit(opened.changes).await? == Committed::Conflict {
            return Ok(None);
        }
        crash::here(Point::RequestMade);
        Ok(Some(Requested { request, grant: Some(opened.grant), reused: false }))
    }

    async fn awaiting_reviews(
        &self,
        caller: &Caller,
        role: &Role,
        draught: &Draught,
        requirement: Requirement,
        open: Changes,
    ) -> Result<Option<Requested>, Refusal> {
        let open = match draught.kind {
            RequestKind::Extension { extends } => match self.first_to_extend(&extends, open).await? {
                Ok(open) => open,
                Err(waiting) => return same_extension(waiting, &draught.terms).map(Some),
            },
            RequestKind::Access | RequestKind::BreakGlass => open,
        };
        let now = self.clock.now();
        let mut request = self.drawn_up(caller, draught, requirement, now);
        request.remind_at = self.request_settings.current().remind_at(now);
        if let Some(reason) = self.policies.current().nobody_could_approve(&request, role) {
            return Err(Refusal::denied(reason));
        }
        self.check_pending(caller).await?;
        let changes = recorded(caller, draught, &request, open)?;
        crash::here(Point::RequestPlanned);
        if self.commit(changes).await? == Committed::Conflict {
            return Ok(None);
        }
        crash::here(Point::RequestMade);
        Ok(Some(Requested { request, grant: None, reused: false }))
    }

    /// As many of one's own as are allowed may wait at once.
    async fn check_pending(&self, caller: &Caller) -> Result<(), Refusal> {
        let limit = self.request_settings.current().pending_per_principal;
        let by = Some((UNDECIDED_BY, caller.principal.name.as_str()));
        let listing = Listing { by, before: None, limit };
        let pending: Vec<Kept<Request>> = documents(&*self.store, listing).await?;
        if u32::try_from(pending.len()).unwrap_or(u32::MAX) < limit {
            return Ok(());
        }
        let message =
            format!("{limit} requests of yours await reviews; cancel one, or wait until one is decided");
        Err(Refusal::new(RefusalKind::LimitReached, message))
    }

    fn drawn_up(
        &self,
        caller: &Caller,
        draught: &Draught,
        requirement: Requirement,
        now: Timestamp,
    ) -> Request {
        let sponsor = caller.principal.attributes.get("sponsor");
        Request {
            id: RequestId::new(now, self.random.bits()),
            kind: draught.kind.clone(),
            requester: caller.principal.clone(),
            sponsor: sponsor.and_then(|sponsor| sponsor.parse().ok()),
            terms: draught.terms.clone(),
            requirement,
            reviews: Vec::new(),
            created_at: now,
            expires_at: draught.expires_at,
            sign_off: None,
            remind_at: None,
            state: RequestState::Pending { step: 0, since: now, escalated: false },
        }
    }
}

/// The request and its key, with what is told of them.
fn recorded(
    caller: &Caller,
    draught: &Draught,
    request: &Request,
    open: Changes,
) -> Result<Changes, Refusal> {
    let now = request.created_at;
    let names: Vec<&str> = request.requirement.steps.iter().map(|step| step.name.as_str()).collect();
    let mut draft = request_draft(request, now, caller.actor(), "request.created")
        .with("ttl", request.terms.ttl.to_string())
        .with("parallel", request.terms.parallel.to_string())
        .with("justification", request.terms.justification.as_str())
        .with("steps", names.join(", "))
        .with("risk", request.requirement.risk.score.to_string())
        .with("policies", request.requirement.policies.join(" "))
        .with("policy_set", request.requirement.policy_set.as_str());
    if let Some(start) = request.terms.start {
        draft = draft.with("start", start.to_string());
    }
    if let Some(ticket) = &request.terms.ticket {
        draft = draft.with("ticket", ticket.as_str());
    }
    if let RequestKind::Extension { extends } = request.kind {
        draft = draft.with("extends", format!("grants/{extends}"));
    }
    let mut changes = open.insert(request)?.record(draft);
    if let Some(key) = &draught.key {
        changes = changes.insert(&RequestKey {
            principal: caller.principal.name.clone(),
            key: key.clone(),
            role: request.terms.role.clone(),
            request: request.id,
            until: from(now, KEY_LIFE),
        })?;
    }
    Ok(changes)
}
