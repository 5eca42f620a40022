//! Asking for more time than a grant allows: a request of its own, decided anew.

use crate::{
    domain::{GrantId, Request, RequestKind, RequestTerms, Ttl},
    identity::Caller,
    issuer::{
        Issuer, NewRequest, Refusal, RefusalKind, Requested,
        request::{Draught, check_words, from},
    },
    store::{Changes, Kept, Listing, UNDECIDED_EXTENSION, documents},
};

/// More time that somebody asks for.
#[derive(Debug, Clone)]
pub struct NewExtension {
    /// Under which grant.
    pub grant: GrantId,
    /// How much longer; `None`: the role's default.
    pub ttl: Option<Ttl>,
    /// What for.
    pub justification: String,
    /// The ticket it belongs to.
    pub ticket: Option<String>,
    /// Chosen by the caller; a repeated request with the same key gets the same request.
    pub idempotency_key: Option<String>,
}

impl Issuer {
    /// Asks for more time than an active grant of one's own allows. By rule it is granted at once; else it awaits reviews, at the
    /// longest until the grant ends.
    ///
    /// # Errors
    /// [`Refusal`]: no such grant (or not the caller's), not active, another extension awaits reviews, and as
    /// [`Issuer::create_request`].
    pub async fn extend_grant(&self, caller: &Caller, new: NewExtension) -> Result<Requested, Refusal> {
        let resource = format!("grants/{}", new.grant);
        match self.ask_for_more(caller, new).await {
            Err(refusal) if refusal.is_on_record() => {
                Err(self.refuse(caller, "request.created", resource, refusal).await)
            }
            answer => answer,
        }
    }

    async fn ask_for_more(&self, caller: &Caller, new: NewExtension) -> Result<Requested, Refusal> {
        let kept = self.visible_grant(caller, new.grant).await?;
        let grant = kept.document;
        if grant.principal.name != caller.principal.name {
            return Err(Refusal::denied("only its holder may ask for more time under a grant"));
        }
        let now = self.clock.now();
        let until = grant.until().filter(|until| now < *until).ok_or_else(|| {
            let message =
                format!("the grant is {}: only an active one can be extended", grant.state.as_str());
            Refusal::new(RefusalKind::GrantEnded, message)
        })?;
        let role = self.catalogue.current().role(&grant.role).map(|(role, _)| role);
        let role = role.filter(|role| role.target == grant.target);
        let role = role
            .ok_or_else(|| Refusal::not_found(format!("the role {} is no longer configured", grant.role)))?;
        let words = NewRequest {
            role: grant.role.clone(),
            ttl: new.ttl,
            start: None,
            parallel: grant.parallel,
            justification: new.justification,
            ticket: new.ticket,
            idempotency_key: new.idempotency_key,
        };
        check_words(&words)?;
        let terms = RequestTerms {
            role: grant.role.clone(),
            target: grant.target.clone(),
            ttl: role.ttl.choose(new.ttl)?,
            start: None,
            parallel: grant.parallel,
            justification: words.justification,
            ticket: words.ticket.filter(|ticket| !ticket.is_empty()),
        };
        if let Some(waiting) = self.waiting_extension(&grant.id).await? {
            return same_extension(waiting, &terms);
        }
        let expires_at = from(now, self.request_settings.current().request_ttl).min(until);
        let kind = RequestKind::Extension { extends: grant.id };
        let draught = Draught { kind, terms, expires_at, key: words.idempotency_key };
        self.make(caller, &role, draught, new.ttl).await
    }

    /// Of several who ask for more time under a grant at the same moment, one is first, and the others find what he asked for. What is
    /// returned goes into the transaction that relies on being first.
    pub(in crate::issuer) async fn first_to_extend(
        &self,
        grant: &GrantId,
        open: Changes,
    ) -> Result<Result<Changes, Request>, Refusal> {
        // In this order: who comes in between changes the grant.
        let kept = self.kept_grant(*grant).await?;
        let kept = kept.ok_or_else(|| Refusal::not_found(format!("there is no grant {grant}")))?;
        match self.waiting_extension(grant).await? {
            Some(waiting) => Ok(Err(waiting)),
            None => Ok(Ok(open.replace(&kept.document, kept.revision)?)),
        }
    }

    async fn waiting_extension(&self, grant: &GrantId) -> Result<Option<Request>, Refusal> {
        let id = grant.to_string();
        let listing = Listing { by: Some((UNDECIDED_EXTENSION, &id)), before: None, limit: 1 };
        let found: Vec<Kept<Request>> = documents(&*self.store, listing).await?;
        Ok(found.into_iter().next().map(|kept| kept.document))
    }
}

/// One at a time: two that are approved would add up to more than either reviewer saw.
pub(in crate::issuer) fn same_extension(
    waiting: Request,
    terms: &RequestTerms,
) -> Result<Requested, Refusal> {
    if waiting.terms == *terms {
        return Ok(Requested { request: waiting, grant: None, reused: true });
    }
    let message =
        format!("{} for more time awaits reviews already: cancel it first", waiting.resource_name());
    Err(Refusal::new(RefusalKind::InProgress, message))
}
