//! Several installations under load, killed at random moments over and over; `make crash` runs it.
//!
//! `MAYFLY_CRASH_SEED` replays the decisions of a run (not the machine's timing), `MAYFLY_CRASH_KILLS` says how many kills.

use std::{
    cell::Cell,
    collections::BTreeSet,
    env,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

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

/// Kills, unless told otherwise.
const KILLS: u64 = 500;
/// Installations on one server: they must not touch each other's accounts either.
const INSTALLATIONS: u64 = 2;
/// Callers of an installation.
const WORKERS: u32 = 4;
/// How long a server lives, at most, once it listens.
const LIFE_MILLIS: u32 = 1_200;
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
            let caller = served.caller().await.expect("it does not start any more");
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

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

/// One installation's share: what it did, or `None` when it failed, which has been told.
#[expect(clippy::print_stdout, reason = "what a failure is found out by")]
async fn share(database: Database, seed: u64, kills: u64) -> Option<Tally> {
    let engine = database.engine;
    let place = Place::on(database);
    let endured = AssertUnwindSafe(Ordeal::new(&place, seed).endure(kills)).catch_unwind().await;
    if endured.is_err() {
        println!("crash: FAILED on {engine}: see above; its log ends:\n{}", place.last_words());
    }
    endured.ok()
}

#[tokio::test]
#[ignore = "takes minutes; make crash runs it"]
#[expect(clippy::print_stdout, reason = "the line that make crash ends with")]
async fn killed_at_random_moments_under_load_nothing_is_left_and_nothing_lost() {
    let seed = number("MAYFLY_CRASH_SEED").unwrap_or_else(|| SystemRandom.bits() >> 32);
    let kills = number("MAYFLY_CRASH_KILLS").unwrap_or(KILLS);
    println!("soak: {kills} kills, seed {seed}");
    let (databases, begun, seeds) = (databases().await, Instant::now(), SeededRandom::new(seed));
    let mut shares = Vec::new();
    let each = kills.div_ceil(INSTALLATIONS * u64::try_from(databases.len()).unwrap());
    for database in databases {
        allow_settling(&database).await;
        for _ in 0..INSTALLATIONS {
            shares.push(share(database.clone(), seeds.bits(), each));
        }
    }
    let kills = each * u64::try_from(shares.len()).unwrap();
    let tallies: Option<Vec<Tally>> = future::join_all(shares).await.into_iter().collect();
    let Some(tallies) = tallies else { panic!("crash: violated; again with SEED={seed} KILLS={kills}") };
    let Tally { issued, renewed, over } = tallies.into_iter().fold(Tally::default(), Tally::and);
    println!(
        "soak: {kills} kills, {issued} issued, {renewed} renewed, {over} ended, 0 orphans, 0 lost, seed {seed}, {} s",
        begun.elapsed().as_secs()
    );
}
