//! Carrying a lock out: what there was before it ends.

use super::Ended;
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{Lease, Lock, LockSubject},
    issuer::{Issuer, Refusal},
    store::{Changes, Kept, LeaseFilter},
};

impl Issuer {
    /// Ends what there was before a lock, and writes down that this is done.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable. The lock stays due then.
    pub(super) async fn carry_out(&self, lock: &Kept<Lock>, actor: &Actor) -> Result<Ended, Refusal> {
        let ended = self.end_what_was(&lock.document, &lock.document.words(), actor).await?;
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

    /// Ends what began while a lock stood or before: leases, requests, grants. `words` say why.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable (some may have ended by then), or others change the same again and again.
    pub(in crate::issuer) async fn end_what_was(
        &self,
        lock: &Lock,
        words: &str,
        actor: &Actor,
    ) -> Result<Ended, Refusal> {
        let filter = match &lock.subject {
            LockSubject::Principal(name) => {
                LeaseFilter { principal: Some(name.clone()), ..Default::default() }
            }
            LockSubject::Role(name) => LeaseFilter { role: Some(name.clone()), ..Default::default() },
            LockSubject::Target(name) => LeaseFilter { target: Some(name.clone()), ..Default::default() },
        };
        // What began after it had lapsed is not its concern, however late it is carried out.
        let concerned = |lease: &Lease| lock.stands_at(lease.created_at);
        let leases = self.end_all(actor, filter, words, concerned).await?;
        let (requests, grants) = self.take_back_all(lock, words).await?;
        Ok(Ended { leases, requests, grants })
    }

    /// Looks at a lock that is due: one that a crash, or a store that failed, kept from being carried out, or one that has
    /// lapsed.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn tend_lock(&self, lock: Kept<Lock>) -> Result<(), Refusal> {
        if lock.document.carried_out {
            self.clear(&lock, self.clock.now()).await
        } else {
            self.carry_out(&lock, &Actor::System).await.map(drop)
        }
    }
}
