//! Any history of requests, reviews, claims, locks, revocations, passing time, restarts and crashes leaves the world as a small model of
//! it says: no illegal state, nobody who decided for himself, no lease without a rule or a live grant, none beyond its grant, nothing
//! live of what is locked.
//!
//! A history is drawn from a seed. Its crashes come where the seed says and cut what they cut: the decisions repeat, the machine's timing
//! does not. `MAYFLY_MODEL_SEED` repeats a history of the short test; `make crash` draws many.

mod act;
mod books;
mod call;
mod history;
mod judge;
mod laws;
mod learn;
mod life;
mod seen;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use mayfly::random::{Random as _, SeededRandom};

use super::database;
use crate::support::world::Database;
use history::History;

/// Steps of one history.
const STEPS: u32 = 80;

/// Histories of the short test.
const FEW: u64 = 5;

/// What histories came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lived {
    pub(crate) steps: u64,
    pub(crate) crashes: u64,
    pub(crate) requests: usize,
    pub(crate) grants: usize,
    pub(crate) leases: usize,
}

impl Lived {
    fn and(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            crashes: self.crashes + other.crashes,
            requests: self.requests + other.requests,
            grants: self.grants + other.grants,
            leases: self.leases + other.leases,
        }
    }
}

async fn one(database: &Database, seed: u64) -> Lived {
    let random = SeededRandom::new(seed);
    let mut history = History::begin(database).await;
    for _ in 0..STEPS {
        history.goes_on(act::draw(&random)).await;
    }
    history.comes_to_its_end().await
}

/// So many histories, drawn from a seed. `None`: one was not as it should be, which has been told.
#[expect(clippy::print_stdout, reason = "what a failure is found out by")]
pub(crate) async fn histories(count: u64, seed: u64) -> Option<Lived> {
    let (database, seeds) = (database().await, SeededRandom::new(seed));
    let mut lived = Lived::default();
    for _ in 0..count {
        let own = seeds.bits();
        let Ok(one) = AssertUnwindSafe(Box::pin(one(&database, own))).catch_unwind().await else {
            println!("model: VIOLATED, see above; that history was drawn from {own}");
            return None;
        };
        lived = lived.and(one);
    }
    Some(lived)
}

#[tokio::test]
async fn any_history_of_requests_locks_and_crashes_ends_as_it_should() {
    let seed = std::env::var("MAYFLY_MODEL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let lived = histories(FEW, seed).await;
    let lived = lived.unwrap_or_else(|| panic!("violated; once more with MAYFLY_MODEL_SEED={seed}"));
    // Else nothing was put to the test.
    assert!(lived.crashes > 20 && lived.leases > 10 && lived.grants > 8, "{lived:?}");
}
