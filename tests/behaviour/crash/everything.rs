//! What `make crash` runs: the whole sweep, then the soak, then random histories of requests, and one line about all.
//!
//! `MAYFLY_CRASH_SEED` repeats the decisions of an earlier soak (not the machine's timing), `MAYFLY_CRASH_KILLS` says how many
//! kills it has.

use std::env;

use mayfly::{
    clock::{Clock as _, SystemClock},
    crash::Point,
    random::{Random as _, SystemRandom},
};

use super::{soak, sweep, worker::Tally};
use crate::requests::model;

/// Kills of a soak, unless told otherwise.
const KILLS: u64 = 500;

/// A history of requests has about so many crashes.
const KILLS_OF_A_HISTORY: u64 = 10;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

#[tokio::test]
#[ignore = "takes minutes; make crash runs it"]
#[expect(clippy::print_stdout, reason = "the lines that make crash shows")]
async fn killed_everywhere_and_at_any_moment_nothing_is_left_and_nothing_lost() {
    let seed = number("MAYFLY_CRASH_SEED").unwrap_or_else(|| SystemRandom.bits() >> 32);
    let wanted = number("MAYFLY_CRASH_KILLS").unwrap_or(KILLS);
    let begun = SystemClock.now();
    println!("sweep: {} points on all engines", Point::ALL.len());
    let swept = sweep::everywhere().await;
    println!("sweep: {} kills, {} cases failed {:?}", swept.kills, swept.failed.len(), swept.failed);
    println!("soak: {wanted} kills at random moments under load, seed {seed}");
    let soaked = soak::everywhere(wanted, seed).await;
    let count = wanted.div_ceil(KILLS_OF_A_HISTORY);
    println!("model: {count} histories of requests, locks and crashes, seed {seed}");
    let modelled = model::histories(count, seed).await;
    println!("model: {:?}", modelled.unwrap_or_default());
    let violated = !swept.failed.is_empty() || soaked.tally.is_none() || modelled.is_none();
    let Tally { issued, renewed, over } = soaked.tally.unwrap_or_default();
    let verdict = if violated { "VIOLATED: see the log" } else { "0 orphans, 0 lost" };
    println!(
        "crash: {} kills ({} at crash points, {} at random moments), {issued} issued, {renewed} renewed, {over} ended, \
         {verdict}, seed {seed}, {} s",
        swept.kills + usize::try_from(soaked.kills).unwrap(),
        swept.kills,
        soaked.kills,
        SystemClock.now().duration_since(begun).as_secs()
    );
    assert!(!violated, "violated; once more with make crash SEED={seed} KILLS={wanted}");
}
