//! Carrying a lock out: what there was before it ends.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Ended;
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{Lease, Lock, LockSubject},
    issuer::{Issuer, Refusal},
    store::{Changes, Kept, LeaseFilter, due_documents},
};

/// Locks taken up at once.
const BATCH: u32 = 64;

/// How long to wait for a store that fails.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

impl Issuer {
    /// Ends what there was before a lock, and writes down that this is done.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable. The lock stays due then.
    pub(super) async fn carry_out(&self, lock: &Kept<Lock>, actor: &Actor) -> Result<Ended, Refusal> {
        let words = lock.document.words();
        let filter = match &lock.document.subject {
            LockSubject::Principal(name) => {
                LeaseFilter { principal: Some(name.clone()), ..Default::default() }
            }
            LockSubject::Role(name) => LeaseFilter { role: Some(name.clone()), ..Default::default() },
            LockSubject::Target(name) => LeaseFilter { target: Some(name.clone()), ..Default::default() },
        };
        // What began after it had lapsed is not its concern, however late it is carried out.
        let concerned = |lease: &Lease| lock.document.stands_at(lease.created_at);
        let leases = self.end_all(actor, filter, &words, concerned).await?;
        let ended = Ended { leases, ..Ended::default() };
        crash::here(Point::LockSwept);
        let done = Lock { carried_out: true, ..lock.document.clone() };
        let draft = Draft::new(self.clock.now(), actor.clone(), "lock.carried_out", done.resource_name())
            .with("leases", ended.leases.to_string())
            .with("requests", ended.requests.to_string())
            .with("grants", ended.grants.to_string());
        // Whoever set it anew meanwhile carries that out, and whoever took it away has done this before.
        let _ = Changes::new().replace(&done, lock.revision)?.record(draft).commit(&*self.store).await?;
        Ok(ended)
    }

    /// Takes up, in the background, what an earlier process could not carry out; tries until the store lets it.
    pub fn take_up_locks(self: &Arc<Self>) {
        let issuer = Arc::clone(self);
        self.tasks.spawn(async move {
            while !issuer.tasks.is_closed() {
                match issuer.see_to_locks().await {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "what is locked could not be ended yet"
                        );
                        let soon = issuer.clock.now().saturating_add(PAUSE).unwrap_or(Timestamp::MAX);
                        issuer.clock.sleep_until(soon).await;
                    }
                }
            }
        });
    }

    /// Takes up the locks that are due: those that a crash, or a store that failed, kept from being carried out, and those that
    /// have lapsed. Returns how many.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn see_to_locks(self: &Arc<Self>) -> Result<usize, Refusal> {
        let now = self.clock.now();
        let due = due_documents::<Lock>(&*self.store, now, BATCH).await?;
        for lock in &due {
            if lock.document.carried_out {
                self.clear(lock, now).await?;
            } else {
                self.carry_out(lock, &Actor::System).await?;
            }
        }
        Ok(due.len())
    }
}
