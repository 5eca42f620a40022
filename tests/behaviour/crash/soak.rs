//! Several installations under load, killed at random moments over and over.

use std::{cell::Cell, collections::BTreeSet, panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, future};
use mayfly::random::{Random as _, SeededRandom, SystemRandom};

use super::{
    caller::Caller,
    place::{Place, Served, allow_settling},
    scenario::Story,
    slate::orphans,
    worker::{Tally, Worker},
};
use crate::support::world::{Database, databases};

/// Installations on one server: they must not touch each other's accounts either.
const INSTALLATIONS: u64 = 2;
/// Callers of an installation.
const WORKERS: u32 = 5;
/// How long a server lives, at most, once it listens.
const LIFE_MILLIS: u32 = 2_000;
/// How long it is given when it is to be killed while it starts.
const START_MILLIS: u32 = 150;
/// One store in so many is examined after a kill; all are at the end.
const EXAMINED: u32 = 5;

/// One installation and its callers.
struct Ordeal<'p> {
    place: &'p Place,
    random: SeededRandom,
    workers: Vec<Worker<'p>>,
}

impl<'p> Ordeal<'p> {
    fn new(place: &'p Place, seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        let worker = |number| Worker::new(place, number, random.bits());
        let workers = (0..WORKERS).map(worker).collect();
        Self { place, random, workers }
    }

    fn millis(&self, bound: u32) -> Duration {
        Duration::from_millis(u64::from(self.random.below(bound)))
    }

    /// One life and its end.
    async fn round(&mut self) {
        let mut served = self.place.start(None);
        if self.random.below(6) == 0 {
            tokio::time::sleep(self.millis(START_MILLIS)).await;
        } else {
            let caller = served.caller().await.unwrap_or_else(|| panic!("it does not start any more"));
            self.serve_for_a_while(&served, &caller).await;
        }
        served.kill().await;
        if self.random.below(EXAMINED) == 0 {
            self.place.assert_store_sound();
        }
        future::join_all(self.workers.iter().map(Worker::assert_kept_by_the_database)).await;
    }

    async fn serve_for_a_while(&mut self, served: &Served<'_>, caller: &Caller) {
        let (stop, life, looks) = (Cell::new(false), self.millis(LIFE_MILLIS), self.random.below(3) == 0);
        let load = future::join_all(self.workers.iter_mut().map(|worker| worker.work(caller, &stop)));
        let killer = async {
            tokio::time::sleep(life).await;
            served.signal(rustix::process::Signal::KILL);
            stop.set(true);
        };
        let inspector = async {
            if looks && let Ok(orphans) = orphans(self.place, caller).await {
                assert_eq!(orphans, BTreeSet::new(), "orphans");
            }
        };
        future::join3(load, killer, inspector).await;
    }

    /// So many lives; then everything must be in order.
    async fn endure(mut self, kills: u64) -> Tally {
        for _ in 0..kills {
            self.round().await;
        }
        let tally = self.workers.iter().map(|worker| worker.tally).fold(Tally::default(), Tally::and);
        let mut story = Story::at(self.place);
        // What a fresh password was asked for and not delivered promises nothing any more.
        story.held =
            self.workers.into_iter().flat_map(|worker| worker.held).filter(|held| !held.in_doubt).collect();
        story.assert_clean(true).await;
        Tally { over: tally.over + u64::try_from(story.held.len()).unwrap(), ..tally }
    }
}

/// One installation's share: what it did, or `None` when it failed, which has been told.
#[expect(clippy::print_stdout, reason = "what a failure is found out by")]
async fn share(database: Database, seed: u64, kills: u64) -> Option<Tally> {
    let engine = database.engine;
    let place = Place::on(database, "");
    let endured = AssertUnwindSafe(Ordeal::new(&place, seed).endure(kills)).catch_unwind().await;
    if endured.is_err() {
        println!("crash: FAILED on {engine}: see above; its log ends:\n{}", place.last_words());
    }
    endured.ok()
}

/// What came of a whole soak.
pub(super) struct Soaked {
    pub(super) kills: u64,
    /// `None`: something was violated, which has been told.
    pub(super) tally: Option<Tally>,
}

/// So many kills, at least, on all engines together.
pub(super) async fn everywhere(kills: u64, seed: u64) -> Soaked {
    let (databases, seeds) = (databases().await, SeededRandom::new(seed));
    let mut shares = Vec::new();
    let installations = INSTALLATIONS * u64::try_from(databases.len()).unwrap();
    let each = kills.div_ceil(installations.max(1));
    for database in databases {
        allow_settling(&database).await;
        for _ in 0..INSTALLATIONS {
            shares.push(share(database.clone(), seeds.bits(), each));
        }
    }
    let tallies: Option<Vec<Tally>> = future::join_all(shares).await.into_iter().collect();
    let tally = tallies.map(|tallies| tallies.into_iter().fold(Tally::default(), Tally::and));
    Soaked { kills: each * installations, tally }
}

/// A soak too short to find much, so that the real one does not rot.
#[tokio::test]
async fn a_few_kills_at_random_moments_under_load_leave_nothing_and_lose_nothing() {
    let seed = SystemRandom.bits() >> 32;
    assert!(everywhere(18, seed).await.tally.is_some(), "violated; seed {seed}");
}
