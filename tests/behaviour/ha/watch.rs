//! Watching from outside that nothing due is left lying.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mayfly::clock::{Clock as _, SystemClock};
use tokio_util::sync::CancellationToken;

use super::fleet::StorePlace;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Leases whose end should have been over by now, with how long ago it was due, in milliseconds. What failed to be provisioned waits
/// for its creation to be over, which its due time says. Any other end counts from the moment it was due or asked for, whatever
/// attempts were made since.
const OVERDUE: &str = "SELECT id, standing, (extract(epoch FROM clock_timestamp()) * 1000 - since)::bigint FROM (
        SELECT id, standing, CASE WHEN state = 'ending' AND standing::json->>'cause' <> 'failed'
            THEN extract(epoch FROM (standing::json->>'since')::timestamptz) * 1000 ELSE due_at / 1000 END AS since
        FROM lease WHERE due_at IS NOT NULL) live
    WHERE since < extract(epoch FROM clock_timestamp()) * 1000 ORDER BY since LIMIT 1";

/// What was seen.
#[derive(Clone, Default)]
pub(super) struct Watch {
    /// The longest that an end was overdue while it could be come to, in milliseconds.
    longest: Arc<AtomicU64>,
    /// Since when the store can be used by some replica, in milliseconds since the epoch; the future: it cannot.
    calm_since: Arc<AtomicU64>,
}

fn now() -> u64 {
    u64::try_from(SystemClock.now().as_millisecond()).unwrap()
}

impl Watch {
    /// Nobody can use the store from now on.
    pub(super) fn trouble(&self) {
        self.calm_since.store(u64::MAX, Ordering::SeqCst);
    }

    /// Somebody can again.
    pub(super) fn calm(&self) {
        self.calm_since.store(now(), Ordering::SeqCst);
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Ordering::SeqCst))
    }

    /// Looks until told to stop, and asserts that no end is overdue by more than `bound`.
    pub(super) async fn keep(self, store: StorePlace, bound: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
            let Ok(rows) = store.ask(OVERDUE).await else { continue };
            let Some(row) = rows.first() else { continue };
            let calm = now().saturating_sub(self.calm_since.load(Ordering::SeqCst));
            let overdue = row[2].parse::<u64>().unwrap().min(calm);
            self.longest.fetch_max(overdue, Ordering::SeqCst);
            assert!(
                u128::from(overdue) < bound.as_millis(),
                "an end was skipped: overdue by {overdue} ms: {} {}",
                row[0],
                row[1]
            );
        }
    }
}
