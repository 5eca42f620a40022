//! Ends what is due, until it is gone.
//!
//! One lane a target, so that a target in trouble delays nobody else's leases. A lane sleeps until its next deadline and
//! wakes early only for an earlier one; awake, it reads what is due from the store, in bounded batches, and works on that.
//! It keeps no list of its own: what a crash interrupts is due again at the next start. No lease is ever given up on.
//! [`Rounds`] have every target compared with the store from time to time.

mod backoff;
mod end;
mod lane;
mod rotation;
mod rounds;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
pub use rotation::{RotationParts, Rotations, Schedule};
pub use rounds::{Rounds, RoundsParts};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::lane::{Lane, LaneParts};
use crate::{
    clock::Clock,
    domain::TargetName,
    issuer::{CatalogueHandle, DueNotice},
    metrics::Metrics,
    random::Random,
    store::{Store, StoreError},
    target::HealthBoard,
};

/// What a [`Reaper`] needs.
#[derive(Clone)]
pub struct ReaperParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
    /// Where leases live.
    pub store: Arc<dyn Store>,
    /// Targets as configured now.
    pub catalogue: Arc<CatalogueHandle>,
    /// How targets fare.
    pub health: Arc<HealthBoard>,
    /// Where is counted what happens.
    pub metrics: Arc<Metrics>,
}

/// Ends what is due.
pub struct Reaper {
    parts: ReaperParts,
    lanes: Mutex<BTreeMap<TargetName, Arc<Lane>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Reaper {
    /// A reaper without lanes yet.
    pub fn new(parts: ReaperParts) -> Self {
        Self { parts, lanes: Mutex::default(), tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Opens a lane for every target that is configured or has live leases and has none yet. Call at start and after every
    /// change of the configuration.
    ///
    /// # Errors
    /// When the store cannot say which targets have live leases.
    pub async fn open_lanes(&self) -> Result<(), StoreError> {
        let mut names: Vec<TargetName> = self.parts.catalogue.current().targets.keys().cloned().collect();
        names.extend(self.parts.store.live_by_target().await?.into_iter().map(|(name, _)| name));
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            lanes.entry(name).or_insert_with_key(|name| {
                let parts =
                    LaneParts { reaper: self.parts.clone(), target: name.clone(), stop: self.stop.clone() };
                let lane = Arc::new(Lane::new(parts));
                self.tasks.spawn(Arc::clone(&lane).run());
                lane
            });
        }
        Ok(())
    }

    /// Starts nothing new and returns when the steps under way are done. What is left is due again at the next start.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl DueNotice for Reaper {
    fn due(&self, target: &TargetName, at: Timestamp) {
        if let Some(lane) = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).get(target) {
            lane.due(at);
        }
    }
}
