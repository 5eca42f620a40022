//! Locking: a principal, role or target on which nothing is issued any more, and whose leases end now.
//!
//! The lock is durable first; then what there was before it is ended, however long that takes: the lock stays due until that is
//! done, so whoever starts after a crash goes on with it. No lease slips through in between: see [`check`].

mod check;
mod holdings;
mod sweep;

pub(super) use check::{none_of, none_on};

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;

use super::{Issuer, Refusal, end::check_reason};
use crate::{
    audit::Draft,
    crash::{self, Point},
    domain::{Lock, LockSubject},
    identity::Caller,
    policy,
    store::{Changes, Committed, Kept, LeaseFilter, Listing, PageRequest, document, documents},
};

/// How often a change of a lock is decided anew when others change it at the same time.
const ATTEMPTS: u32 = 5;

/// A lock to set.
#[derive(Debug, Clone)]
pub struct NewLock {
    /// On what.
    pub subject: LockSubject,
    /// Why; may be empty.
    pub reason: String,
    /// For how long; `None`: until somebody takes it away.
    pub life: Option<Duration>,
    /// Also if it locks out whoever sets it.
    pub force: bool,
}

/// What was ended because of a lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Leases that are ending.
    pub leases: u32,
    /// Requests that were cancelled.
    pub requests: u32,
    /// Grants that were revoked.
    pub grants: u32,
}

impl Issuer {
    /// Locks something: nothing is issued on it from now on, and what there was ends. A lock that stands already gets the new
    /// reason and time. It is done even if the caller stops waiting.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such role or target, one's own lock without `force`, store unavailable (should the
    /// lock stand by then, what there was is ended later).
    pub async fn lock(self: &Arc<Self>, caller: &Caller, new: NewLock) -> Result<(Lock, Ended), Refusal> {
        check_reason(&new.reason)?;
        let resource = format!("locks/{}", new.subject);
        self.authorise(caller, policy::Action::Lock, "lock.set", resource.clone()).await?;
        if let Err(refusal) = self.check_subject(caller, &new).await {
            return Err(self.refuse(caller, "lock.set", resource, refusal).await);
        }
        if self.tasks.is_closed() {
            return Err(Refusal::shutting_down());
        }
        let (issuer, caller) = (Arc::clone(self), caller.clone());
        let locking = self.tasks.spawn(async move {
            let lock = issuer.set(&caller, &new).await?;
            crash::here(Point::LockSet);
            let ended = issuer.carry_out(&lock, &caller.actor()).await?;
            Ok((lock.document, ended))
        });
        locking.await.unwrap_or_else(|error| Err(Refusal::internal(error)))
    }

    /// Who locks himself has to mean it; and a name nobody knows is a slip of the pen.
    async fn check_subject(&self, caller: &Caller, new: &NewLock) -> Result<(), Refusal> {
        let catalogue = self.catalogue.current();
        let (known, filter) = match &new.subject {
            LockSubject::Principal(name) if *name == caller.principal.name && !new.force => {
                let message =
                    "this locks you out: only another administrator could unlock you; say so if it is meant";
                return Err(Refusal::invalid("force", message));
            }
            LockSubject::Principal(_) => return Ok(()),
            LockSubject::Role(name) => (
                catalogue.roles.contains_key(name),
                LeaseFilter { role: Some(name.clone()), ..LeaseFilter::default() },
            ),
            LockSubject::Target(name) => (
                catalogue.targets.contains_key(name),
                LeaseFilter { target: Some(name.clone()), ..LeaseFilter::default() },
            ),
        };
        // One that is configured no longer may have leases yet.
        if known || !self.store.list(&filter, PageRequest { size: 1, before: None }).await?.items.is_empty() {
            return Ok(());
        }
        let (what, name) = match &new.subject {
            LockSubject::Role(name) => ("role", name.as_str()),
            LockSubject::Target(name) => ("target", name.as_str()),
            LockSubject::Principal(name) => ("principal", name.as_str()),
        };
        Err(Refusal::not_found(format!("there is no {what} {name}")))
    }

    async fn set(&self, caller: &Caller, new: &NewLock) -> Result<Kept<Lock>, Refusal> {
        let own = LockSubject::Principal(caller.principal.name.clone());
        for _ in 0..ATTEMPTS {
            let earlier: Option<Kept<Lock>> = document(&*self.store, &new.subject.to_string()).await?;
            let revision = earlier.map_or(0, |kept| kept.revision);
            let now = self.clock.now();
            let life = new.life.map(|life| SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX));
            let lock = Lock {
                subject: new.subject.clone(),
                since: now,
                by: caller.principal.name.clone(),
                reason: new.reason.clone(),
                until: life.and_then(|life| now.checked_add(life).ok()),
                carried_out: false,
            };
            let until = lock.until.map_or_else(|| "unlocked".to_owned(), |until| until.to_string());
            let draft = Draft::new(now, caller.actor(), "lock.set", lock.resource_name())
                .with("reason", lock.reason.as_str())
                .with("until", until);
            let mut changes = Changes::new().replace(&lock, revision)?.record(draft);
            if own != new.subject {
                // Of two administrators who lock each other at once, one stays.
                let mine: Option<Kept<Lock>> = document(&*self.store, &own.to_string()).await?;
                if let Some(mine) = mine.as_ref().filter(|mine| mine.document.stands_at(now)) {
                    return Err(check::locked(caller, &mine.document));
                }
                changes = changes.require::<Lock>(own.to_string(), mine.map_or(0, |mine| mine.revision));
            }
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(Kept { revision: revision + 1, document: lock });
            }
        }
        Err(changed_too_often())
    }

    /// Takes a lock away. What it ended stays ended.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such lock, store unavailable.
    pub async fn unlock(
        &self,
        caller: &Caller,
        subject: &LockSubject,
        reason: String,
    ) -> Result<Lock, Refusal> {
        check_reason(&reason)?;
        let resource = format!("locks/{subject}");
        self.authorise(caller, policy::Action::Lock, "lock.removed", resource.clone()).await?;
        for _ in 0..ATTEMPTS {
            let found: Option<Kept<Lock>> = document(&*self.store, &subject.to_string()).await?;
            let now = self.clock.now();
            let Some(kept) = found.filter(|kept| kept.document.stands_at(now)) else {
                let refusal = Refusal::not_found(format!("{subject} is not locked"));
                return Err(self.refuse(caller, "lock.removed", resource, refusal).await);
            };
            if !kept.document.carried_out {
                // It was set to end what there was: nobody takes it away before that is done.
                self.carry_out(&kept, &caller.actor()).await?;
                continue;
            }
            let draft = Draft::new(now, caller.actor(), "lock.removed", resource.clone())
                .with("since", kept.document.since.to_string())
                .with("reason", reason.as_str());
            if Changes::new().remove(&kept).record(draft).commit(&*self.store).await? == Committed::Yes {
                return Ok(kept.document);
            }
        }
        Err(changed_too_often())
    }

    /// Locks, in descending order of what they are on, below `before`.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn locks(
        &self,
        caller: &Caller,
        before: Option<LockSubject>,
        limit: u32,
    ) -> Result<Vec<Lock>, Refusal> {
        self.authorise(caller, policy::Action::Lock, "lock.listed", "locks/-".to_owned()).await?;
        let before = before.map(|subject| subject.to_string());
        let listing = Listing { by: None, before: before.as_deref(), limit };
        let kept = documents::<Lock>(&*self.store, listing).await?;
        Ok(kept.into_iter().map(|kept| kept.document).collect())
    }
}

fn changed_too_often() -> Refusal {
    let message = "others change this lock at the same time";
    Refusal::new(super::RefusalKind::InProgress, message).retry_after(Duration::from_secs(1))
}
