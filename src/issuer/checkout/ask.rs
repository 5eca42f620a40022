//! Asking for an account: it is given to one, and the others have places in a queue.

use std::time::Duration;

use super::{
    CONFLICTS, checkout_of,
    words::{self, Standing},
};
use crate::{
    audit::{Actor, Draft},
    domain::{Access, Asker, Checkout, ExistingAccount, Lease, Noted, Place, TargetName, Waiter},
    issuer::{
        Issuer, Refusal, RefusalKind, Turn,
        begin::BeginFailed,
        issue::{Attempt, Reply},
        lock,
    },
    store::{BeginError, Begun, Changes, Committed, Kept, NewLease, StoreError},
};

/// How soon who waits should ask again: well within the time for which a place is kept.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How soon who found the queue full should ask again.
const COME_BACK: Duration = Duration::from_secs(30);

/// What is kept of an account, as one asks for it.
struct Found {
    revision: u64,
    checkout: Checkout,
    holder: Option<Lease>,
}

impl Issuer {
    /// Begins the lease and holds the account for it, if it is this caller's turn. Who asks does not wait for an account that is just
    /// being handed out or taken back, however long that takes: the account's own turn is for whom it is given to.
    pub(super) async fn begin_checkout(
        &self,
        attempt: &Attempt,
        account: &ExistingAccount,
        reply: &Reply,
    ) -> Result<(Begun, Turn<'_, String>), BeginFailed> {
        let id = Checkout::id_of(&attempt.lease.target, account);
        let asking = format!("{id} asked for");
        let mut seen = false;
        for _ in 0..CONFLICTS {
            if !seen && self.find_checkout(attempt, account).await?.checkout.holder.is_none() {
                self.check_account(attempt, account).await?;
                seen = true;
            }
            let mut one_by_one = Some(self.turns.wait(&asking).await);
            if reply.is_closed() {
                let refusal = Refusal::new(RefusalKind::InProgress, "the caller gave up");
                return Err(BeginFailed::Refused(refusal));
            }
            let Found { revision, mut checkout, holder } = self.find_checkout(attempt, account).await?;
            let asker = Asker {
                principal: &attempt.lease.principal.name,
                role: &attempt.role.name,
                lease: attempt.lease.id,
                at: self.clock.now(),
                room: room(attempt),
            };
            if holder.as_ref().is_some_and(|holder| is_the_same_request(holder, attempt)) {
                // Should it have ended by now, what is kept of it has changed.
                checkout.hold(attempt.lease.id);
                one_by_one = None;
            } else {
                let (place, gone) = checkout.ask(&asker);
                if place != Place::Taken {
                    let changed = Kept { revision, document: checkout };
                    match self.has_to_wait(attempt, holder.as_ref(), changed, (place, gone)).await? {
                        Some(refusal) => return Err(BeginFailed::Refused(refusal)),
                        None => continue,
                    }
                }
                if !seen {
                    continue;
                }
            }
            let turn = self.turns.wait(&id).await;
            if let Some(begun) = self.try_to_begin(attempt, &checkout, revision).await? {
                return Ok((begun, turn));
            }
            drop((turn, one_by_one));
        }
        let refusal = Refusal::from(BeginError::Conflict).retry_after(Duration::from_secs(1));
        Err(BeginFailed::Refused(self.begin_refused(attempt, refusal).await))
    }

    async fn find_checkout(&self, attempt: &Attempt, account: &ExistingAccount) -> Result<Found, StoreError> {
        let Kept { revision, document: checkout } =
            checkout_of(&*self.store, &attempt.lease, account).await?;
        let holder = match checkout.holder {
            Some(id) => self.store.lease(id).await?,
            None => None,
        };
        Ok(Found { revision, checkout, holder })
    }

    /// Refuses an account that is not there, or is not to be touched.
    async fn check_account(&self, attempt: &Attempt, account: &ExistingAccount) -> Result<(), BeginFailed> {
        let target = &attempt.lease.target;
        let message = match attempt.target.existing(account).await? {
            None => format!("the account {account} does not exist on the target {target}"),
            Some(state) => match state.barred {
                Some(why) => format!("the account {account} is not handed out: {why}"),
                None => return Ok(()),
            },
        };
        let refusal = Refusal::new(RefusalKind::TargetRefused, message);
        Err(BeginFailed::Refused(self.begin_refused(attempt, refusal).await))
    }

    /// `None`: others changed what it was decided on.
    async fn try_to_begin(
        &self,
        attempt: &Attempt,
        checkout: &Checkout,
        revision: u64,
    ) -> Result<Option<Begun>, BeginFailed> {
        let held = Changes::new().replace(checkout, revision)?.entries;
        let new = NewLease {
            lease: attempt.lease.clone(),
            limits: attempt.role.limits,
            entries: [held, lock::none_on(&attempt.lease), attempt.entries.clone()].concat(),
        };
        match self.store.begin(new, attempt.draft(self.clock.now(), "lease.requested")).await {
            Ok(begun) => return Ok(Some(begun)),
            Err(BeginError::Conflict) => {}
            Err(error) => {
                return Err(BeginFailed::Refused(self.begin_refused(attempt, error.into()).await));
            }
        }
        self.refuse_what_is_locked(attempt).await?;
        if attempt.entries.is_empty() {
            return Ok(None);
        }
        // Its grant may have changed: that is decided anew.
        Err(BeginFailed::Refused(BeginError::Conflict.into()))
    }

    async fn refuse_what_is_locked(&self, attempt: &Attempt) -> Result<(), BeginFailed> {
        match self.check_lease(&attempt.caller, &attempt.lease).await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(BeginFailed::Refused(self.begin_refused(attempt, refusal).await)),
        }
    }

    /// Writes down what is to be known of somebody who has to wait, and says what he is told. That he came is on record, and that he
    /// found no place; that he asks again is not. `None`: others changed what it was decided on.
    async fn has_to_wait(
        &self,
        attempt: &Attempt,
        holder: Option<&Lease>,
        changed: Kept<Checkout>,
        (place, gone): (Place, Vec<Waiter>),
    ) -> Result<Option<Refusal>, BeginFailed> {
        self.refuse_what_is_locked(attempt).await?;
        let Kept { revision, document: checkout } = changed;
        let refusal = held(attempt, &checkout, holder, place);
        let noted = match place {
            Place::Waits { noted, .. } => noted,
            Place::Full { .. } => {
                return Ok(Some(self.begin_refused(attempt, refusal).await));
            }
            Place::Taken => Noted::Nothing,
        };
        if noted == Noted::Nothing {
            return Ok(Some(refusal));
        }
        let mut changes = Changes::new().replace(&checkout, revision)?;
        for waiter in gone {
            changes = changes.record(self.draft_of_waiter(&checkout, &waiter, "checkout.left"));
        }
        if noted == Noted::New
            && let Some(waiter) = checkout.waiting.last()
        {
            let actor = attempt.caller.actor();
            let draft = Draft { actor, ..self.draft_of_waiter(&checkout, waiter, "checkout.queued") };
            changes = changes.record(draft.with("position", checkout.waiting.len().to_string()));
        }
        Ok((changes.commit(&*self.store).await? == Committed::Yes).then_some(refusal))
    }

    fn draft_of_waiter(&self, checkout: &Checkout, waiter: &Waiter, action: &'static str) -> Draft {
        let resource = format!("roles/{}", waiter.role);
        Draft::new(self.clock.now(), Actor::System, action, resource)
            .with("role", waiter.role.as_str())
            .with("target", checkout.target.as_str())
            .with("account", checkout.account.name.as_str())
            .with("principal", waiter.principal.as_str())
    }
}

/// What somebody is told who has to wait.
fn held(attempt: &Attempt, checkout: &Checkout, holder: Option<&Lease>, place: Place) -> Refusal {
    let standing = match checkout.holder {
        // A lease that is not there any more is as good as one that ends: somebody has to see to the account.
        Some(_) if holder.is_none() => Standing::Ending,
        _ => Standing::of(holder),
    };
    let account = on(checkout.account.name.as_str(), &attempt.lease.target);
    let held = standing.words(&account, &attempt.caller);
    let (words, wait, position) = match place {
        Place::Waits { position, .. } => {
            let ordinal = words::ordinal(position);
            (format!("{held}; you are {ordinal} in the queue"), ASK_AGAIN, Some(position))
        }
        Place::Taken | Place::Full { .. } => {
            let waiting = words::waiting(checkout.waiting.len());
            (format!("{held}; {waiting}, and no more may"), COME_BACK, None)
        }
    };
    let mut refusal = Refusal::new(RefusalKind::AccountHeld, words)
        .retry_after(wait)
        .with("account", checkout.account.name.as_str())
        .with("waiting", checkout.waiting.len().to_string());
    if let Some(position) = position {
        refusal = refusal.with("position", position.to_string());
    }
    match standing.until() {
        Some(until) => refusal.with("held_until", format!("{until:.0}")),
        None => refusal,
    }
}

/// An account as it is named to callers.
pub(super) fn on(account: &str, target: &TargetName) -> String {
    format!("{account} on {target}")
}

fn room(attempt: &Attempt) -> usize {
    match attempt.role.access {
        Access::Checkout { queue, .. } => usize::try_from(queue).unwrap_or(usize::MAX),
        Access::Ephemeral | Access::Elevation { .. } => 0,
    }
}

/// Whether the account is held by an earlier request under the same idempotency key.
fn is_the_same_request(holder: &Lease, attempt: &Attempt) -> bool {
    let key = &attempt.lease.idempotency_key;
    key.is_some() && holder.idempotency_key == *key && holder.principal.name == attempt.lease.principal.name
}
