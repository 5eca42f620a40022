//! Ends what is due, until it is gone.
//!
//! One lane a target, so that a target in trouble delays nobody else's leases. A lane sleeps until its next deadline and
//! wakes early only for an earlier one; awake, it reads what is due from the store, in bounded batches, and works on that.
//! It keeps no list of its own: what a crash interrupts is due again at the next start. No lease is ever given up on.
//! [`Rounds`] have every target compared with the store from time to time.
//!
//! Where several processes share the store, each has a lane for every target it has configured, and a lease is worked on by
//! whoever claimed it ([`claims`]). There is no leader.

mod backoff;
mod check_in;
mod claims;
mod end;
mod lane;
mod noting;
mod rotation;
mod rounds;
mod strip;
mod together;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Once, PoisonError},
};

pub(crate) use backoff::next_attempt;
use jiff::Timestamp;
pub use rotation::{RotationParts, Rotations, Schedule};
pub use rounds::{Rounds, RoundsParts};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    claims::Claims,
    lane::{Lane, LaneParts},
};
use crate::{
    clock::Clock,
    domain::TargetName,
    issuer::{AccountTurns, CatalogueHandle, DueNotice},
    metrics::Metrics,
    random::Random,
    store::{DueElsewhere, Store, StoreError},
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
    /// Whose turn it is to give to existing accounts, or take from them.
    pub turns: Arc<AccountTurns>,
}

/// The lane of each target.
#[derive(Default)]
struct Lanes(Mutex<BTreeMap<TargetName, Arc<Lane>>>);

impl Lanes {
    fn due(&self, target: &TargetName, at: Timestamp) {
        if let Some(lane) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target) {
            lane.notice(at);
        }
    }

    fn wake_all(&self) {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.values().for_each(|lane| lane.notice(Timestamp::MIN));
    }

    /// Wakes lanes for what other processes made due.
    async fn listen(self: Arc<Self>, mut elsewhere: broadcast::Receiver<DueElsewhere>) {
        loop {
            match elsewhere.recv().await {
                Ok(DueElsewhere::Lease(target, at)) => self.due(&target, at),
                Ok(DueElsewhere::Anything) | Err(RecvError::Lagged(_)) => self.wake_all(),
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// Ends what is due.
pub struct Reaper {
    parts: ReaperParts,
    claims: Option<Arc<Claims>>,
    lanes: Arc<Lanes>,
    listening: Once,
    tasks: TaskTracker,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl Reaper {
    /// A reaper without lanes yet.
    pub fn new(parts: ReaperParts) -> Self {
        Self {
            claims: Claims::of(&parts.clock, &parts.store),
            parts,
            lanes: Arc::default(),
            listening: Once::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
        }
    }

    /// Opens a lane for every target that is configured or has live leases and has none yet. Call at start and after every
    /// change of the configuration.
    ///
    /// # Errors
    /// When the store cannot say which targets have live leases.
    pub async fn open_lanes(&self) -> Result<(), StoreError> {
        let mut names: Vec<TargetName> = self.parts.catalogue.current().targets.keys().cloned().collect();
        names.extend(self.parts.store.live_by_target().await?.into_iter().map(|(name, _)| name));
        self.listening.call_once(|| self.join_others());
        // Before there are new ones: these may wait for the configuration to have their target again.
        self.lanes.wake_all();
        let mut lanes = self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            lanes.entry(name).or_insert_with_key(|name| {
                let parts = LaneParts {
                    reaper: self.parts.clone(),
                    claims: self.claims.clone(),
                    target: name.clone(),
                    stop: self.stop.clone(),
                };
                let lane = Arc::new(Lane::new(parts));
                self.tasks.spawn(Arc::clone(&lane).run());
                lane
            });
        }
        Ok(())
    }

    /// Works together with other processes that share the store, if there can be any, until the last lane has stopped.
    fn join_others(&self) {
        if let Some(claims) = &self.claims {
            tokio::spawn(self.stopped.clone().run_until_cancelled_owned(Arc::clone(claims).keep()));
        }
        if let Some(elsewhere) = self.parts.store.due_elsewhere() {
            let listening = Arc::clone(&self.lanes).listen(elsewhere);
            tokio::spawn(self.stopped.clone().run_until_cancelled_owned(listening));
        }
    }

    /// Starts nothing new and returns when the steps under way are done. What is left is due again at the next start.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.stopped.cancel();
    }
}

impl DueNotice for Reaper {
    fn due(&self, target: &TargetName, at: Timestamp) {
        self.lanes.due(target, at);
    }
}
