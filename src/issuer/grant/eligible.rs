//! Whether what was approved is allowed still.

use std::sync::Arc;

use crate::{
    domain::{Grant, Principal, Request, RequestTerms, Role},
    issuer::{Issuer, Refusal, facts::Facts},
    policy::{Admission, Decision, Who},
    target::Target,
};

/// Why a grant is to be taken back.
pub(super) struct NoLonger(pub(super) String);

/// Whether a grant may be used.
pub(super) type Eligible = Result<(Arc<Role>, Arc<dyn Target>), NoLonger>;

impl Issuer {
    /// Whether policy of now lets a principal have what a grant gives, with the role as it is now.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub(super) async fn eligible(&self, who: &Who<'_>, grant: &Grant) -> Result<Eligible, Refusal> {
        let Some((role, target)) = self.catalogue.current().role(&grant.role) else {
            return Ok(Err(NoLonger(format!("the role {} is no longer configured", grant.role))));
        };
        if role.target != grant.target {
            return Ok(Err(NoLonger(format!("the role {} is on another target now", grant.role))));
        }
        let Some(request) = self.kept_request(grant.request).await? else {
            return Ok(Err(NoLonger(format!("there is no request {}", grant.request))));
        };
        let facts = self.facts(&who.principal.name, &role).await?;
        Ok(match self.refused_now(who, grant, &request.document, (&role, &facts)) {
            None => Ok((role, target)),
            Some(reason) => Err(NoLonger(format!("it is allowed no longer: {reason}"))),
        })
    }

    fn refused_now(
        &self,
        who: &Who<'_>,
        grant: &Grant,
        request: &Request,
        (role, facts): (&Role, &Facts),
    ) -> Option<String> {
        let terms = RequestTerms { ttl: grant.ttl, ..request.terms.clone() };
        let (policies, asked) = (self.policies.current(), facts.asked(role, &terms));
        if grant.break_glass {
            return match policies.may_break_glass(who, &asked) {
                Decision::Allow { .. } => None,
                Decision::Deny { reason, .. } => Some(reason),
            };
        }
        match policies.admit(who, &asked) {
            Admission::ByRule { .. } | Admission::Reviewed { .. } => None,
            Admission::Denied { reason, .. } => Some(reason),
        }
    }

    /// What policy is told of somebody who is not here: as he was when he asked.
    pub(super) fn absent<'a>(&self, principal: &'a Principal) -> Who<'a> {
        Who { principal, address: None, second_factor_at: None, now: self.clock.now() }
    }
}
