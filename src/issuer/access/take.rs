//! Taking back what somebody has under a role.

use crate::{
    domain::{Grant, PrincipalName, Request, RoleName},
    identity::Caller,
    issuer::{
        Ended, Issuer, Refusal,
        request::{TRIES, contended},
    },
    store::{Changes, Committed, HELD_BY, Kept, LeaseFilter, Listing, UNDECIDED_BY, documents},
};

/// Requests and grants of one principal that are looked at; nobody has more.
const MOST: u32 = 1_000;

impl Issuer {
    /// Cancels the requests of a principal for a role, then revokes its grants under it, then ends its leases: a request that somebody
    /// approves meanwhile is found among the grants. Doing so twice is no error.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable, or others change the same again and again. Some may have ended by then.
    pub(super) async fn take_all(
        &self,
        caller: &Caller,
        principal: &PrincipalName,
        role: &RoleName,
        reason: &str,
    ) -> Result<Ended, Refusal> {
        let mut ended = Ended::default();
        let waiting = Listing { by: Some((UNDECIDED_BY, principal.as_str())), before: None, limit: MOST };
        for kept in documents::<Request>(&*self.store, waiting).await? {
            if kept.document.terms.role == *role {
                ended.requests += u32::from(self.take_request(caller, kept, reason).await?);
            }
        }
        let held = Listing { by: Some((HELD_BY, principal.as_str())), before: None, limit: MOST };
        for kept in documents::<Grant>(&*self.store, held).await? {
            if kept.document.role == *role {
                ended.grants += u32::from(self.take_grant(caller, kept, reason).await?);
            }
        }
        let (principal, role) = (Some(principal.clone()), Some(role.clone()));
        let filter = LeaseFilter { principal, role, ..LeaseFilter::default() };
        ended.leases = self.end_all(&caller.actor(), filter, reason, |_| true).await?;
        Ok(ended)
    }

    async fn take_request(
        &self,
        caller: &Caller,
        kept: Kept<Request>,
        reason: &str,
    ) -> Result<bool, Refusal> {
        let id = kept.document.id;
        let mut found = Some(kept);
        for _ in 0..TRIES {
            let Some(kept) = found.filter(|kept| kept.document.is_pending()) else { return Ok(false) };
            let (changes, _) = self.cancelled(Some(caller), kept, reason, Changes::new())?;
            if self.commit(changes).await? == Committed::Yes {
                return Ok(true);
            }
            found = self.kept_request(id).await?;
        }
        Err(contended())
    }

    async fn take_grant(&self, caller: &Caller, kept: Kept<Grant>, reason: &str) -> Result<bool, Refusal> {
        let id = kept.document.id;
        let mut found = Some(kept);
        for _ in 0..TRIES {
            let Some(kept) = found.filter(|kept| kept.document.state.is_live()) else { return Ok(false) };
            if self.take_back(Some(caller), kept, reason).await?.is_some() {
                return Ok(true);
            }
            found = self.kept_grant(id).await?;
        }
        Err(contended())
    }
}
