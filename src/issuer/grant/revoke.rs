//! Taking a grant back.

use crate::{
    domain::{Grant, GrantId},
    identity::Caller,
    issuer::{
        Issuer, Refusal,
        request::{TRIES, check_text, contended},
    },
    policy,
};

impl Issuer {
    /// Ends a grant and its leases: by authority, or one's own. Doing so twice is no error.
    ///
    /// # Errors
    /// [`Refusal`]: no such grant (or not the caller's), store unavailable.
    pub async fn revoke_grant(&self, caller: &Caller, id: GrantId, reason: String) -> Result<Grant, Refusal> {
        check_text("reason", &reason)?;
        for _ in 0..TRIES {
            let kept = match self.visible_grant(caller, id).await {
                Ok(kept) => kept,
                Err(refusal) if refusal.is_on_record() => {
                    return Err(self.refuse(caller, "grant.revoked", format!("grants/{id}"), refusal).await);
                }
                Err(refusal) => return Err(refusal),
            };
            if kept.document.principal.name != caller.principal.name {
                let resource = kept.document.resource_name();
                self.authorise(caller, policy::Action::Revoke, "grant.revoked", resource).await?;
            }
            if let Some(grant) = self.take_back(Some(caller), kept, &reason).await? {
                return Ok(grant);
            }
        }
        Err(contended())
    }
}
