//! Renewing: a later expiry, within what the role allowed when the lease was issued.
//!
//! The target moves first: should Mayfly die in between, the store's earlier expiry stands and the lease ends by it. A lease
//! is renewed by one caller at a time: two at once could leave the earlier expiry on the target and the later one here.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Issuer, Refusal, RefusalKind, issue::after};
use crate::{
    audit::Draft,
    crash::{self, Point},
    domain::{Lease, LeaseEvent, LeaseId, LeaseState, Ttl},
    identity::Caller,
    metrics::RENEWED,
    policy,
    target::LeasedAccount,
};

/// Leases being renewed right now.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<BTreeSet<LeaseId>>);

/// A lease's turn; it ends when dropped.
pub(super) struct Turn<'a>(&'a UnderWay, LeaseId);

impl UnderWay {
    /// Takes a lease's turn.
    ///
    /// # Errors
    /// When somebody has it.
    pub(super) fn begin(&self, id: LeaseId) -> Result<Turn<'_>, Refusal> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return Ok(Turn(self, id));
        }
        let refusal =
            Refusal::new(RefusalKind::InProgress, "another renewal of this lease is still under way");
        Err(refusal.retry_after(Duration::from_secs(1)))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Issuer {
    /// Moves a lease's expiry to `ttl` from now; `None`: the TTL it was issued with. A renewal never shortens: when the lease
    /// lasts that long already, it stays as it is.
    ///
    /// # Errors
    /// [`Refusal`]: no such lease (or not the caller's), ended, beyond what may be renewed, being renewed by somebody else,
    /// target or store unavailable.
    pub async fn renew(&self, caller: &Caller, id: LeaseId, ttl: Option<Ttl>) -> Result<Lease, Refusal> {
        let _turn = self.renewing.begin(id)?;
        let lease = self.visible_lease(caller, id).await?;
        let (role, target) = (lease.role.clone(), lease.target.clone());
        let answer = self.renew_visible(caller, lease, ttl).await;
        let outcome = answer.as_ref().map_or_else(|refusal| refusal.kind.as_str(), |_| RENEWED);
        self.metrics.renewal_answered(&role, &target, outcome);
        answer
    }

    async fn renew_visible(&self, caller: &Caller, lease: Lease, ttl: Option<Ttl>) -> Result<Lease, Refusal> {
        let action = policy::Action::Renew { owner: &lease.principal.name };
        self.authorise(caller, action, "lease.renewed", lease.resource_name()).await?;
        let LeaseState::Active { expires_at: current } = lease.state else {
            return Err(Refusal::new(
                RefusalKind::Ended,
                format!("the lease is {}", lease.state.name().as_str()),
            ));
        };
        let now = self.clock.now();
        if current <= now {
            return Err(Refusal::new(RefusalKind::Ended, "the lease has expired"));
        }
        let expires_at = after(now, ttl.unwrap_or(lease.terms.ttl))?;
        if expires_at > lease.terms.renewable_until {
            return Err(self.refuse(caller, "lease.renewed", lease.resource_name(), too_long(&lease)).await);
        }
        if expires_at <= current {
            return Ok(lease);
        }
        let target = self.target_of(&lease)?;
        let pass = self.pass_to(&lease.target)?;
        crash::here(Point::RenewPlanned);
        let renewed = target.renew(LeasedAccount::of(&lease), expires_at).await;
        pass.went(self.clock.now(), renewed.as_ref().err());
        renewed.map_err(|error| Refusal::on_target(&lease.target, error))?;
        crash::here(Point::RenewMoved);
        let draft = Draft::new(self.clock.now(), caller.actor(), "lease.renewed", lease.resource_name())
            .with("expires_at", expires_at.to_string());
        let event = LeaseEvent::Renewed { expires_at };
        let renewed = self.store.apply(lease.id, event, self.clock.now(), Some(draft)).await?;
        crash::here(Point::RenewStored);
        Ok(renewed)
    }
}

fn too_long(lease: &Lease) -> Refusal {
    Refusal::invalid(
        "ttl",
        format!("this lease cannot be renewed beyond {}, its role's maximum", lease.terms.renewable_until),
    )
}
