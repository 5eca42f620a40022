//! What a lock takes back besides leases: requests that await reviews, and grants.

use crate::{
    domain::{Grant, GrantId, Lock, LockSubject, PrincipalName, Request, RequestId, RoleName, TargetName},
    issuer::{
        Issuer, Refusal,
        request::{TRIES, contended},
    },
    store::{
        Changes, Committed, Document, HELD_BY, Kept, LIVE, Listing, StoreError, UNDECIDED_BY, documents,
    },
};

/// Documents read at once.
const BATCH: u32 = 200;

/// Of a lock: whether it is on one of these.
fn concerns(lock: &Lock, principal: &PrincipalName, role: &RoleName, target: &TargetName) -> bool {
    LockSubject::of_access(principal, role, target).contains(&lock.subject)
}

impl Issuer {
    /// Cancels the requests of before a lock, then revokes the grants: a request that somebody approves meanwhile is found among
    /// these. Returns how many of either.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable, or others change the same again and again.
    pub(super) async fn take_back_all(&self, lock: &Lock, words: &str) -> Result<(u32, u32), Refusal> {
        let (mut requests, mut grants) = (0, 0);
        for request in self.found::<Request>(lock, UNDECIDED_BY).await? {
            let terms = &request.terms;
            if lock.stands_at(request.created_at)
                && concerns(lock, &request.requester.name, &terms.role, &terms.target)
            {
                requests += u32::from(self.cancel_locked(request.id, words).await?);
            }
        }
        for grant in self.found::<Grant>(lock, HELD_BY).await? {
            if lock.stands_at(grant.created_at)
                && concerns(lock, &grant.principal.name, &grant.role, &grant.target)
            {
                grants += u32::from(self.revoke_locked(grant.id, words).await?);
            }
        }
        Ok((requests, grants))
    }

    /// What may be concerned: of a principal by its key, else all that is live.
    async fn found<D: Document>(&self, lock: &Lock, of_principal: &str) -> Result<Vec<D>, StoreError> {
        let by = match &lock.subject {
            LockSubject::Principal(name) => (of_principal, name.as_str()),
            LockSubject::Role(_) | LockSubject::Target(_) => (LIVE, "yes"),
        };
        let (mut found, mut before) = (Vec::new(), None::<String>);
        loop {
            let listing = Listing { by: Some(by), before: before.as_deref(), limit: BATCH };
            let batch = documents::<D>(&*self.store, listing).await?;
            let full = batch.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
            before = batch.last().map(|kept| kept.document.id());
            found.extend(batch.into_iter().map(|kept| kept.document));
            if !full {
                return Ok(found);
            }
        }
    }

    async fn cancel_locked(&self, id: RequestId, reason: &str) -> Result<bool, Refusal> {
        for _ in 0..TRIES {
            let Some(kept) = self.kept_request(id).await? else { return Ok(false) };
            if !kept.document.is_pending() {
                return Ok(false);
            }
            let (changes, _) = self.cancelled(None, kept, reason, Changes::new())?;
            if self.commit(changes).await? == Committed::Yes {
                return Ok(true);
            }
        }
        Err(contended())
    }

    async fn revoke_locked(&self, id: GrantId, reason: &str) -> Result<bool, Refusal> {
        for _ in 0..TRIES {
            let kept: Option<Kept<Grant>> = self.kept_grant(id).await?;
            let Some(kept) = kept.filter(|kept| kept.document.state.is_live()) else { return Ok(false) };
            if self.take_back(None, kept, reason).await?.is_some() {
                return Ok(true);
            }
        }
        Err(contended())
    }
}
