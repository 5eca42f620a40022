//! Renewing: a later expiry, within what the role allowed when the lease was issued.
//!
//! The target moves first: should Mayfly die in between, the store's earlier expiry stands and the lease ends by it. A lease
//! is renewed by one caller at a time: two at once could leave the earlier expiry on the target and the later one here. Where several
//! processes share the store, each makes sure afterwards that the target has what the store says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Issuer, Refusal, RefusalKind, issue::after};
use crate::{
    audit::Draft,
    crash::{self, Point},
    domain::{Checkout, ExistingAccount, Lease, LeaseEvent, LeaseId, LeaseKind, LeaseState, Ttl},
    identity::Caller,
    metrics::RENEWED,
    policy,
    store::ApplyError,
    target::{HandedOut, LeasedAccount, Target, TargetError},
};

/// How soon after it was allowed a renewal must reach the target.
const PROMPTLY: SignedDuration = SignedDuration::from_secs(3);

/// How often a renewal looks whether target and store agree, while other processes renew the same lease.
const AGREEMENTS: u32 = 5;

impl Issuer {
    /// Moves a lease's expiry to `ttl` from now; `None`: the TTL it was issued with. A renewal never shortens: when the lease
    /// lasts that long already, it stays as it is.
    ///
    /// # Errors
    /// [`Refusal`]: no such lease (or not the caller's), ended, beyond what may be renewed, being renewed by somebody else,
    /// target or store unavailable.
    pub async fn renew(&self, caller: &Caller, id: LeaseId, ttl: Option<Ttl>) -> Result<Lease, Refusal> {
        let _turn = self.renewing.take(&id).ok_or_else(being_renewed)?;
        let lease = self.visible_lease(caller, id).await?;
        let id = lease_account(&lease);
        // What is handed out is not taken back, and given to another, while its expiry moves.
        let _account = match &id {
            Some(id) => Some(self.turns.wait(id).await),
            None => None,
        };
        let lease = if id.is_some() { self.visible_lease(caller, lease.id).await? } else { lease };
        let (role, target) = (lease.role.clone(), lease.target.clone());
        let answer = self.renew_visible(caller, lease, ttl).await;
        let outcome = answer.as_ref().map_or_else(|refusal| refusal.kind.as_str(), |_| RENEWED);
        self.metrics.renewal_answered(&role, &target, outcome);
        answer
    }

    async fn renew_visible(&self, caller: &Caller, lease: Lease, ttl: Option<Ttl>) -> Result<Lease, Refusal> {
        let action = policy::Action::Renew { owner: &lease.principal.name };
        self.authorise(caller, action, "lease.renewed", lease.resource_name()).await?;
        let on = Some((&lease.role, &lease.target));
        self.refuse_locked(caller, on, "lease.renewed", &lease.resource_name()).await?;
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
        let latest = match self.renewable_until(&lease).await {
            Ok(latest) => latest,
            Err(refusal) => {
                return Err(self.refuse(caller, "lease.renewed", lease.resource_name(), refusal).await);
            }
        };
        let mut expires_at = after(now, ttl.unwrap_or(lease.terms.ttl))?;
        if ttl.is_none() && lease.terms.grant.is_some() {
            // Under a grant, as long as it lasts.
            expires_at = expires_at.min(latest);
        }
        if expires_at > latest {
            let refusal = too_long(&lease, latest);
            return Err(self.refuse(caller, "lease.renewed", lease.resource_name(), refusal).await);
        }
        if expires_at <= current {
            return Ok(lease);
        }
        let target = self.target_of(&lease)?;
        let pass = self.pass_to(&lease.target)?;
        crash::here(Point::RenewPlanned);
        // A process that was stopped here must not give the target an expiry of long ago: another may have renewed since.
        if self.clock.now() > after_a(now, PROMPTLY) {
            return Err(Refusal::new(RefusalKind::InProgress, "the renewal waited too long for its turn")
                .retry_after(Duration::from_secs(1)));
        }
        let renewed = move_expiry(&*target, &lease, expires_at).await;
        pass.went(self.clock.now(), renewed.as_ref().err());
        renewed.map_err(|error| Refusal::on_target(&lease.target, error))?;
        crash::here(Point::RenewMoved);
        let draft = Draft::of_lease(self.clock.now(), caller.actor(), "lease.renewed", &lease)
            .with("expires_at", expires_at.to_string());
        let event = LeaseEvent::Renewed { expires_at };
        let renewed = match self.store.apply(lease.id, event, self.clock.now(), Some(draft)).await {
            Ok(renewed) => renewed,
            Err(error) => {
                if matches!(error, ApplyError::Illegal { .. }) {
                    self.take_back_renewal(&*target, &lease).await;
                }
                return Err(error.into());
            }
        };
        crash::here(Point::RenewStored);
        if self.store.replica().is_some() { self.agree(&*target, renewed).await } else { Ok(renewed) }
    }

    /// No renewal reaches beyond this: what was agreed, or where the grant ends now that the lease was issued under.
    async fn renewable_until(&self, lease: &Lease) -> Result<Timestamp, Refusal> {
        let Some(grant) = lease.terms.grant else { return Ok(lease.terms.renewable_until) };
        let until = self.kept_grant(grant).await?.and_then(|kept| kept.document.until());
        until.ok_or_else(|| Refusal::new(RefusalKind::GrantEnded, "the grant of this lease is over"))
    }

    /// Two processes may renew a lease at once, and the one with the earlier expiry may have come last to the target. Whoever is
    /// last to tell the target finds here that it told what the store says.
    async fn agree(&self, target: &dyn Target, mut lease: Lease) -> Result<Lease, Refusal> {
        for _ in 0..AGREEMENTS {
            let LeaseState::Active { expires_at } = lease.state else {
                self.take_back_renewal(target, &lease).await;
                let message = "the lease ended while it was being renewed";
                return Err(Refusal::new(RefusalKind::Ended, message));
            };
            let told = move_expiry(target, &lease, expires_at).await;
            told.map_err(|error| Refusal::on_target(&lease.target, error))?;
            let now = self.store.lease(lease.id).await?;
            let now = now.ok_or_else(|| Refusal::not_found(format!("there is no lease {}", lease.id)))?;
            if now.state == lease.state {
                return Ok(now);
            }
            lease = now;
        }
        let refusal = Refusal::new(RefusalKind::InProgress, "others renew this lease at the same time");
        Err(refusal.retry_after(Duration::from_secs(1)))
    }

    /// A lease that ended while the target was being told of a later expiry: its login is disabled, whoever ends it. Whatever
    /// fails here, its end does as well.
    async fn take_back_renewal(&self, target: &dyn Target, lease: &Lease) {
        if lease.kind == LeaseKind::Checkout
            && let Some(account) = ExistingAccount::of(&lease.account)
        {
            return self.take_back_late(target, lease, &account).await;
        }
        let Some(account) = LeasedAccount::of(lease) else { return };
        if let Err(error) = target.disable(account).await {
            tracing::warn!(
                lease = %lease.id, error = &error as &dyn std::error::Error,
                "the account of a lease that ended during its renewal is left to its end"
            );
        }
    }
}

/// What an account that is handed out is known by.
fn lease_account(lease: &Lease) -> Option<String> {
    let account = ExistingAccount::of(&lease.account).filter(|_| lease.kind == LeaseKind::Checkout)?;
    Some(Checkout::id_of(&lease.target, &account))
}

/// Moves the expiry on the target.
async fn move_expiry(target: &dyn Target, lease: &Lease, expires_at: Timestamp) -> Result<(), TargetError> {
    match (lease.kind, LeasedAccount::of(lease), ExistingAccount::of(&lease.account)) {
        (_, Some(made), _) => target.renew(made, expires_at).await,
        (LeaseKind::Checkout, None, Some(account)) => {
            target.prolong(HandedOut { account: &account, lease: lease.id, expires_at }).await
        }
        (_, None, Some(account)) => target.keep_until(&account, lease.id, expires_at).await,
        (_, None, None) => Ok(()),
    }
}

fn after_a(moment: Timestamp, wait: SignedDuration) -> Timestamp {
    moment.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn being_renewed() -> Refusal {
    let refusal = Refusal::new(RefusalKind::InProgress, "another renewal of this lease is still under way");
    refusal.retry_after(Duration::from_secs(1))
}

fn too_long(lease: &Lease, latest: Timestamp) -> Refusal {
    let whose = if lease.terms.grant.is_some() { "the end of its grant" } else { "its role's maximum" };
    Refusal::invalid("ttl", format!("this lease cannot be renewed beyond {latest}, {whose}"))
}
