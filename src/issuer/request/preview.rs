//! What asking would come to, without asking.

use crate::{
    domain::{RequestTerms, ReviewStep, Role, Ttl},
    identity::Caller,
    issuer::{Issuer, Refusal},
    policy::Admission,
};

impl Issuer {
    /// The reviews that asking for a role would take now, none if rules allow it; or why it may not be asked for.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub(in crate::issuer) async fn reviews_for(
        &self,
        caller: &Caller,
        role: &Role,
        ttl: Ttl,
    ) -> Result<Result<Vec<ReviewStep>, String>, Refusal> {
        let terms = RequestTerms::plain(role, ttl);
        let facts = self.facts(&caller.principal.name, role).await?;
        Ok(match self.policies.current().admit(&self.who(caller), &facts.asked(role, &terms)) {
            Admission::Denied { reason, .. } => Err(reason),
            Admission::ByRule { .. } => Ok(Vec::new()),
            Admission::Reviewed { requirement } => Ok(requirement.steps),
        })
    }
}
