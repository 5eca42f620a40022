//! Releasing and revoking: a lease is marked as ending, durably; the reaper removes the account.

use futures_util::{StreamExt as _, stream};

use super::{Issuer, Refusal};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{EndCause, Lease, LeaseEvent, LeaseId, LeaseState, StateName},
    identity::Caller,
    policy,
    store::{LeaseFilter, PageRequest},
};

/// Leases read at once when many are revoked.
const BATCH: u32 = 256;

/// Marks under way at once when many leases are revoked. They share commits with whatever else is written: of more, a store with one
/// writer would have everybody else wait for them.
const AT_ONCE: usize = 12;

/// Characters a reason may have.
const REASON_LIMIT: usize = 1_000;

impl Issuer {
    /// Ends a lease as its holder.
    ///
    /// # Errors
    /// [`Refusal`]: no such lease (or not the caller's), store unavailable. Releasing twice is no error.
    pub async fn release(&self, caller: &Caller, id: LeaseId) -> Result<Lease, Refusal> {
        let lease = self.visible_lease(caller, id).await?;
        let action = policy::Action::Release { owner: &lease.principal.name };
        self.authorise(caller, action, "lease.released", lease.resource_name()).await?;
        self.end(caller.actor(), &lease, EndCause::Released).await
    }

    /// Ends a lease by authority.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such lease, store unavailable. Revoking twice is no error.
    pub async fn revoke(&self, caller: &Caller, id: LeaseId, reason: String) -> Result<Lease, Refusal> {
        check_reason(&reason)?;
        self.authorise(caller, policy::Action::Revoke, "lease.revoked", format!("leases/{id}")).await?;
        let lease = self.visible_lease(caller, id).await?;
        self.end(caller.actor(), &lease, EndCause::Revoked { reason }).await
    }

    /// Ends all live leases of a principal, under a role or on a target, by authority. Returns how many are ending because
    /// of this call.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, an empty filter, store unavailable (some may be ending already: call again).
    pub async fn revoke_all(
        &self,
        caller: &Caller,
        filter: LeaseFilter,
        reason: String,
    ) -> Result<u32, Refusal> {
        check_reason(&reason)?;
        if filter.principal.is_none() && filter.role.is_none() && filter.target.is_none() {
            let message =
                "say which: a principal, a role or a target; everything at once is not revoked by omission";
            return Err(Refusal::invalid("filter", message));
        }
        self.authorise(caller, policy::Action::Revoke, "lease.revoked", "leases/-".to_owned()).await?;
        self.end_all(&caller.actor(), filter, &reason, |_| true).await
    }

    /// Ends the live leases that a filter finds, of those that are `concerned`. Returns how many are ending because of this call.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable (some may be ending already).
    pub(super) async fn end_all(
        &self,
        actor: &Actor,
        filter: LeaseFilter,
        reason: &str,
        concerned: impl Fn(&Lease) -> bool + Send + Sync,
    ) -> Result<u32, Refusal> {
        let states = vec![StateName::Provisioning, StateName::Active];
        let filter = LeaseFilter { states, ..filter };
        let (mut revoked, mut before) = (0, None);
        loop {
            let page = self.store.list(&filter, PageRequest { size: BATCH, before }).await?;
            let leases: Vec<Lease> = page.items.into_iter().filter(|lease| concerned(lease)).collect();
            let ended: Vec<Result<Lease, Refusal>> = stream::iter(leases)
                .map(|lease| {
                    let cause = EndCause::Revoked { reason: reason.to_owned() };
                    async move { self.end(actor.clone(), &lease, cause).await }
                })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            for lease in ended {
                lease?;
                revoked += 1;
            }
            before = page.next;
            if before.is_none() {
                return Ok(revoked);
            }
        }
    }

    /// Returns the lease once it has ended, however long that takes; the caller bounds it.
    ///
    /// # Errors
    /// [`Refusal`]: no such lease, store unavailable.
    pub async fn ended(&self, id: LeaseId) -> Result<Lease, Refusal> {
        let mut changes = self.store.changes();
        loop {
            let lease = self.store.lease(id).await?;
            let lease = lease.ok_or_else(|| Refusal::not_found(format!("there is no lease {id}")))?;
            if matches!(lease.state, LeaseState::Ended { .. }) {
                return Ok(lease);
            }
            // Any change of this lease, or having missed some, is a reason to look again.
            loop {
                match changes.recv().await {
                    Ok(lease) if lease.id != id => {}
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => break,
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => {
                        return Err(Refusal::shutting_down());
                    }
                }
            }
        }
    }

    async fn end(&self, actor: Actor, lease: &Lease, cause: EndCause) -> Result<Lease, Refusal> {
        let now = self.clock.now();
        let draft = Draft::of_lease(now, actor, "lease.ending", lease);
        let draft = match &cause {
            EndCause::Revoked { reason } => draft.with("cause", "revoked").with("reason", reason.as_str()),
            _ => draft.with("cause", "released"),
        };
        // A lease still being provisioned: its creation may be under way on the target, so look once that is over. Should
        // it have become active since it was read, the state machine knows that there is nothing to wait for.
        let not_before = match lease.state {
            LeaseState::Provisioning { deadline } => deadline,
            _ => now,
        };
        let event = LeaseEvent::EndRequested { at: now, cause, not_before };
        crash::here(Point::EndAsked);
        let lease = self.store.apply(lease.id, event, now, Some(draft)).await?;
        crash::here(Point::EndMarked);
        if let Some(due_at) = lease.state.due_at() {
            self.reaper.due(&lease.target, due_at);
        }
        Ok(lease)
    }
}

pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.chars().count() > REASON_LIMIT || reason.chars().any(char::is_control) {
        let message = format!("a reason is at most {REASON_LIMIT} characters on one line");
        return Err(Refusal::invalid("reason", message));
    }
    Ok(())
}
