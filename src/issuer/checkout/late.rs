//! What was handed out too late.

use super::{CONFLICTS, checkout_of};
use crate::{
    audit::{Actor, Draft},
    domain::{ExistingAccount, Lease, LeaseEvent, LeaseId, LeaseState, StateName},
    issuer::Issuer,
    store::{ApplyError, Changes, Committed, Kept},
    target::{HandedOut, Target},
};

impl Issuer {
    /// A lease that ended while its account was still being handed out, or its expiry moved: its end may have been verified before.
    /// It is ended once more. Should somebody else hold the account by now, nobody has the password it was given last, and it is to
    /// expire with the lease of that other.
    pub(in crate::issuer) async fn take_back_late(
        &self,
        target: &dyn Target,
        lease: &Lease,
        account: &ExistingAccount,
    ) {
        if let Ok(Some(now)) = self.store.lease(lease.id).await
            && matches!(now.state.name(), StateName::Provisioning | StateName::Active)
        {
            return;
        }
        let holder = match self.hold_once_more(lease, account).await {
            Ok(holder) => holder,
            Err(error) => {
                tracing::error!(
                    lease = %lease.id, account = %account, target_name = %lease.target,
                    error = &error as &dyn std::error::Error,
                    "an account that was handed out after the end of its lease could not be marked to be taken back; \
                     reconciliation sees to it"
                );
                return;
            }
        };
        let Some(holder) = holder else { return };
        tracing::error!(
            lease = %lease.id, holder = %holder, account = %account, target_name = %lease.target,
            "an account was changed for a lease that had ended, when somebody else held it: a holder who is not let in any more \
             has to ask once more with the same idempotency key, or give it back"
        );
        self.expire_with(target, holder, account).await;
    }

    /// Holds the account for a lease that is over, and has the lease ended once more. Returns who holds it, if that is another lease.
    async fn hold_once_more(
        &self,
        lease: &Lease,
        account: &ExistingAccount,
    ) -> Result<Option<LeaseId>, ApplyError> {
        let now = self.clock.now();
        for _ in 0..CONFLICTS {
            let Kept { revision, document: mut checkout } =
                checkout_of(&*self.store, lease, account).await.map_err(ApplyError::Store)?;
            match checkout.holder {
                Some(holder) if holder == lease.id => break,
                Some(other) => return Ok(Some(other)),
                None => {}
            }
            checkout.hold(lease.id);
            let draft = Draft::of_lease(now, Actor::System, "checkout.late", lease);
            let changes =
                Changes::new().replace(&checkout, revision).map_err(ApplyError::Store)?.record(draft);
            if changes.commit(&*self.store).await.map_err(ApplyError::Store)? == Committed::Yes {
                break;
            }
        }
        let ended = self.store.lease(lease.id).await.map_err(ApplyError::Store)?;
        if ended.is_some_and(|ended| matches!(ended.state, LeaseState::Ended { .. })) {
            let draft = Draft::of_lease(now, Actor::System, "lease.reappeared", lease)
                .with("reason", "its account was handed out after its end");
            self.store.apply(lease.id, LeaseEvent::Reappeared { at: now }, now, Some(draft)).await?;
        }
        self.reaper.due(&lease.target, now);
        Ok(None)
    }

    async fn expire_with(&self, target: &dyn Target, holder: LeaseId, account: &ExistingAccount) {
        let Ok(Some(lease)) = self.store.lease(holder).await else { return };
        let LeaseState::Active { expires_at } = lease.state else { return };
        if let Err(error) = target.prolong(HandedOut { account, lease: holder, expires_at }).await {
            tracing::error!(
                lease = %holder, error = &error as &dyn std::error::Error,
                "its expiry on the target is left to reconciliation"
            );
        }
    }
}
