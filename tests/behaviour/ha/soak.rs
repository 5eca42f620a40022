//! Three replicas under load, with everything going wrong at random.
//!
//! `make ha` runs the long one: `MAYFLY_HA_SEED` repeats the decisions of an earlier run (not the machine's timing),
//! `MAYFLY_HA_FAULTS` says how many things go wrong.

use std::{env, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use mayfly::{
    clock::{Clock as _, SystemClock},
    random::{Random as _, SeededRandom, SystemRandom},
    sandbox::Server,
};
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use super::{
    faults::{Fate, befall},
    fleet::Fleet,
    watch::Watch,
    worker::{Tally, Worker},
};

/// Replicas.
const REPLICAS: usize = 3;
/// Callers on each target.
const WORKERS: u64 = 3;
/// What goes wrong in a long run, unless told otherwise.
const FAULTS: u64 = 80;
/// A long run takes no longer than this before it comes to its end.
const LONGEST: Duration = Duration::from_secs(420);
/// How long an end may be overdue while a healthy replica can come to it: the claim of a replica that died lapses within 3 s; one
/// that cannot reach the target gives it up within its bounds (3.5 s) and leaves it for one more second. The rest is for the machine.
const OVERDUE: Duration = Duration::from_secs(15);

/// What came of it.
struct Endured {
    events: u64,
    leases: usize,
    tally: Tally,
    longest: Duration,
}

async fn endure(
    fleet: &mut Fleet,
    server: Option<&mut Server>,
    faults: u64,
    seed: u64,
) -> (u64, Tally, Watch) {
    let random = SeededRandom::new(seed);
    let fate = Fate::new(random.bits(), fleet.replicas.len(), fleet.plan.databases.len());
    let (watch, stop, begun) = (Watch::default(), CancellationToken::new(), SystemClock.uptime());
    watch.calm();
    let mut watching = JoinSet::new();
    watching.spawn(watch.clone().keep(fleet.plan.store.clone(), OVERDUE, stop.clone()));
    let mut working = JoinSet::new();
    for database in &fleet.plan.databases {
        for _ in 0..WORKERS {
            let role = fleet.plan.role(database.engine);
            let worker = Worker::new(fleet.balancer.clone(), database.clone(), role, random.bits() >> 32);
            working.spawn_local(worker.work(stop.clone()));
        }
    }
    let mut server = server;
    let mut events = 0;
    let happening = async {
        while events < faults && SystemClock.uptime().saturating_sub(begun) < LONGEST {
            let event = fate.next();
            tell(&format!("ha: {events}: {event}"));
            let parts = (&fleet.plan, server.as_deref_mut(), &watch);
            befall(&event, &mut fleet.replicas, &fleet.balancer, parts).await;
            tokio::time::sleep(Duration::from_millis(u64::from(random.below(1_500)))).await;
            events += 1;
        }
    };
    // Whoever finds a violation ends it all.
    tokio::select! {
        () = happening => {}
        found = working.join_next() => drop(found.unwrap().unwrap()),
        found = watching.join_next() => found.unwrap().unwrap(),
    }
    stop.cancel();
    let mut tally = Tally::default();
    while let Some(worker) = working.join_next().await {
        let mut worker = worker.unwrap();
        worker.look_at_all().await;
        tally = tally.and(worker.tally);
    }
    while let Some(watched) = watching.join_next().await {
        watched.unwrap();
    }
    (events, tally, watch)
}

#[expect(clippy::print_stdout, reason = "what a run is followed by")]
fn tell(line: &str) {
    println!("{line}");
}

/// One run; `None`: something was violated, which has been told.
async fn run(mut fleet: Fleet, server: Option<&mut Server>, faults: u64, seed: u64) -> Option<Endured> {
    fleet.start_all().await;
    let local = LocalSet::new();
    let enduring = local.run_until(endure(&mut fleet, server, faults, seed));
    let endured = AssertUnwindSafe(enduring).catch_unwind().await;
    let Ok((events, tally, watch)) = endured else {
        tell(&format!(
            "ha: VIOLATED, seed {seed}: see above; the replicas' logs end:\n{}",
            fleet.last_words()
        ));
        return None;
    };
    let words = fleet.last_words();
    let clean = AssertUnwindSafe(fleet.assert_clean()).catch_unwind().await;
    let Ok(totals) = clean else {
        tell(&format!("ha: VIOLATED at the end, seed {seed}: see above; the replicas' logs end:\n{words}"));
        return None;
    };
    Some(Endured { events, tally, longest: watch.longest(), leases: totals.leases })
}

/// Too short to find much, so that the long one does not rot.
#[tokio::test]
async fn whatever_goes_wrong_with_replicas_nothing_is_left_lost_or_done_twice() {
    let seed = SystemRandom.bits() >> 32;
    let Some(fleet) = Fleet::new(REPLICAS, true).await else { return };
    assert!(Box::pin(run(fleet, None, 3, seed)).await.is_some(), "violated; seed {seed}");
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

#[tokio::test]
#[ignore = "takes minutes; make ha runs it"]
async fn replicas_endure_everything() {
    let seed = number("MAYFLY_HA_SEED").unwrap_or_else(|| SystemRandom.bits() >> 32);
    let faults = number("MAYFLY_HA_FAULTS").unwrap_or(FAULTS);
    let (fleet, mut server) = Fleet::with_own_store(REPLICAS).await.expect("PostgreSQL is left out");
    tell(&format!("ha: {REPLICAS} replicas, {faults} faults, seed {seed}"));
    let begun = SystemClock.uptime();
    let endured = Box::pin(run(fleet, Some(&mut server), faults, seed)).await;
    let seconds = SystemClock.uptime().saturating_sub(begun).as_secs();
    let Some(Endured { events, leases, tally, longest }) = endured else {
        panic!("violated after {seconds} s; once more with make ha SEED={seed} FAULTS={faults}");
    };
    let Tally { issued, renewed, over, given_up, overtaken } = tally;
    tell(&format!(
        "ha: {events} faults, {leases} leases, {issued} issued, {renewed} renewed, {over} seen ended, {given_up} given up, \
         {overtaken} passwords overtaken, latest end {:.1} s after due, 0 violations, seed {seed}, {seconds} s",
        longest.as_secs_f64()
    ));
    server.stop().await.unwrap();
}
