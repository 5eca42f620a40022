//! Removing leases that ended long ago.
//!
//! First it is on record, and in the store, from when on ended leases are there; then those of before go, a few at a time, each time
//! with a record of how many. Whoever counts leases later can say since when.

use std::time::Duration;

use jiff::Timestamp;

use super::{RetentionError, Round};
use crate::{
    audit::{Actor, Draft},
    domain::{LeaseId, StateName},
    metrics::Stopwatch,
    store::{Changes, REMOVED_AT_ONCE, RemovedLeases, document},
};

/// Final states.
fn finals() -> impl Iterator<Item = StateName> {
    StateName::ALL.into_iter().filter(|state| !state.is_live())
}

impl Round {
    /// Removes what ended long enough ago, if there is enough of it; says when to look again.
    pub(super) async fn leases(&self) -> Result<Option<Timestamp>, RetentionError> {
        let Some(keep) = self.parts.settings.ended_leases else { return Ok(None) };
        let now = self.parts.clock.now();
        if self.first_goes_at(keep).await? > now {
            return Ok(Some(self.first_goes_at(keep).await?));
        }
        let before = self.bound(keep);
        self.announce(before).await?;
        for state in finals() {
            self.remove_in(state, before).await?;
        }
        // What ended late, or stays because its account does, is looked at again in its turn.
        Ok(Some(self.first_goes_at(keep).await?.max(Self::seen_to(now, Duration::ZERO))))
    }

    /// When the first ended lease is to be removed; what ends from now on is not before its time.
    async fn first_goes_at(&self, keep: Duration) -> Result<Timestamp, RetentionError> {
        let mut first = Self::seen_to(self.parts.clock.now(), keep);
        for state in finals() {
            for ended in self.parts.store.ended(state, None, 1).await? {
                first = first.min(Self::seen_to(ended.ended_at, keep));
            }
        }
        Ok(first)
    }

    /// Says that leases which ended before a moment are not there any more, from here on.
    async fn announce(&self, before: Timestamp) -> Result<(), RetentionError> {
        let store = &*self.parts.store;
        let kept = document::<RemovedLeases>(store, RemovedLeases::ID).await?;
        if kept.as_ref().is_some_and(|kept| kept.document.before >= before) {
            return Ok(());
        }
        let removed = RemovedLeases { before };
        let changes = match kept {
            Some(kept) => Changes::new().replace(&removed, kept.revision)?,
            None => Changes::new().insert(&removed)?,
        };
        let draft = Draft::new(self.parts.clock.now(), Actor::System, "retention.leases", "leases/-")
            .with("ended_before", before.to_string());
        // Another process that shares the store may have said the same just now; it did so on record.
        let _ = changes.record(draft).commit(store).await?;
        Ok(())
    }

    async fn remove_in(&self, state: StateName, before: Timestamp) -> Result<(), RetentionError> {
        let mut after = None;
        while !self.stop.is_cancelled() {
            let watch = Stopwatch::start();
            let page = self.parts.store.ended(state, after, REMOVED_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let going: Vec<LeaseId> =
                page.iter().filter(|lease| lease.is_removable(before)).map(|lease| lease.id).collect();
            if !going.is_empty() {
                let draft = Draft::new(self.parts.clock.now(), Actor::System, "leases.removed", "leases/-")
                    .with("ended_before", before.to_string());
                self.parts.store.remove_ended(&going, before, draft).await?;
            }
            // None that began later has ended earlier.
            if last.created_at >= before {
                return Ok(());
            }
            after = Some(last.id);
            self.pause(watch.elapsed()).await;
        }
        Ok(())
    }
}
