//! What a decision brings about: a grant is opened, or lasts longer.

use jiff::Timestamp;

use super::from;
use crate::{
    audit::{Actor, Draft},
    domain::{Grant, GrantEvent, GrantId, Request, RequestKind},
    issuer::{Issuer, Refusal, RefusalKind},
    store::{Changes, Kept},
};

/// What an approval brought about.
pub(super) struct Opened {
    /// To be committed together with the request.
    pub(super) changes: Changes,
    /// The grant as it is then.
    pub(super) grant: Grant,
}

impl Issuer {
    /// The identifier of the grant that a request opens, or extends, should it be approved.
    pub(super) fn grant_for(&self, request: &Request, now: Timestamp) -> GrantId {
        match request.kind {
            RequestKind::Extension { extends } => extends,
            RequestKind::Access | RequestKind::BreakGlass => GrantId::new(now, self.random.bits()),
        }
    }

    /// What the approval of a request brings about, added to changes.
    ///
    /// # Errors
    /// [`Refusal`]: the grant it would extend is over; store unavailable.
    pub(super) async fn open(
        &self,
        request: &Request,
        grant: GrantId,
        (actor, basis): (Actor, String),
        changes: Changes,
    ) -> Result<Opened, Refusal> {
        let now = self.clock.now();
        if let RequestKind::Extension { extends } = request.kind {
            let grant = self.kept_grant(extends).await?;
            let over = || Refusal::new(RefusalKind::GrantEnded, "the grant it would extend is over");
            return self.extend_by(grant.ok_or_else(over)?, request, (actor, basis), changes);
        }
        let claim_by = from(now, self.request_settings.current().claim_within);
        let grant = Grant::opened(grant, request, now, claim_by, basis);
        let draft = grant_draft(&grant, now, actor, "grant.opened")
            .with("ttl", grant.ttl.to_string())
            .with("parallel", grant.parallel.to_string())
            .with("basis", grant.basis.as_str());
        Ok(Opened { changes: changes.insert(&grant)?.record(draft), grant })
    }

    fn extend_by(
        &self,
        kept: Kept<Grant>,
        request: &Request,
        (actor, basis): (Actor, String),
        changes: Changes,
    ) -> Result<Opened, Refusal> {
        let now = self.clock.now();
        let (ttl, _) = request.granted();
        let until = kept.document.until().map_or(now, |until| from(until, ttl.duration()));
        let grant = kept.document.after(GrantEvent::Extended { at: now, until });
        let grant =
            grant.map_err(|_| Refusal::new(RefusalKind::GrantEnded, "the grant it would extend is over"))?;
        let draft = grant_draft(&grant, now, actor, "grant.extended")
            .with("until", until.to_string())
            .with("request", request.resource_name())
            .with("basis", basis);
        Ok(Opened { changes: changes.replace(&grant, kept.revision)?.record(draft), grant })
    }
}

/// A record on a grant.
pub(in crate::issuer) fn grant_draft(
    grant: &Grant,
    now: Timestamp,
    actor: Actor,
    action: &'static str,
) -> Draft {
    Draft::new(now, actor, action, grant.resource_name())
        .with("principal", grant.principal.name.as_str())
        .with("role", grant.role.as_str())
        .with("target", grant.target.as_str())
        .with("request", format!("requests/{}", grant.request))
}

/// A record on a request.
pub(in crate::issuer) fn request_draft(
    request: &Request,
    now: Timestamp,
    actor: Actor,
    action: &'static str,
) -> Draft {
    Draft::new(now, actor, action, request.resource_name())
        .with("requester", request.requester.name.as_str())
        .with("role", request.terms.role.as_str())
        .with("target", request.terms.target.as_str())
}
