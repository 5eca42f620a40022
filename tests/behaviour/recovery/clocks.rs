//! Clocks that are set, and a reaper that sleeps for as long as it can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::{Clock, ManualClock},
    domain::StateName,
    issuer::DueNotice as _,
};

use super::{meddled, second_reaper};
use crate::support::{
    eventually,
    slate::assert_clean,
    world::{caller, databases, expiry, request, ttl},
};

#[tokio::test]
async fn a_clock_set_forward_ends_everything_and_one_set_back_ends_nothing_early() {
    for database in databases().await {
        let (world, _) = meddled(&database).await;
        let issued = world.issue().await.unwrap();
        world.pass(-86_400);
        assert_eq!(world.lease(issued.lease.id).await, issued.lease);
        database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
        let earlier = world.issue().await.unwrap();
        world.pass(300);
        world.reaches(earlier.lease.id, StateName::Expired).await;
        assert_eq!(world.lease(issued.lease.id).await.state, issued.lease.state);
        world.pass(86_400);
        world.reaches(issued.lease.id, StateName::Expired).await;
        let (one, two) = (world.issue().await.unwrap().lease.id, world.issue().await.unwrap().lease.id);
        world.pass(10 * 366 * 86_400);
        world.reaches(one, StateName::Expired).await;
        world.reaches(two, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

/// Counts how often somebody begins to wait.
struct CountingClock {
    clock: Arc<ManualClock>,
    waits: AtomicUsize,
}

#[async_trait]
impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        self.waits.fetch_add(1, Ordering::SeqCst);
        self.clock.sleep_until(deadline).await;
    }
}

#[tokio::test]
async fn the_reaper_wakes_for_an_earlier_deadline_and_for_nothing_else() {
    for database in databases().await {
        let (world, _) = meddled(&database).await;
        let long = world.issue().await.unwrap();
        world.reaper.stop().await;
        let clock = Arc::new(CountingClock { clock: Arc::clone(&world.clock), waits: AtomicUsize::new(0) });
        let reaper = Arc::new(second_reaper(&world, Arc::clone(&clock) as Arc<dyn Clock>));
        reaper.open_lanes().await.unwrap();
        let waits = || clock.waits.load(Ordering::SeqCst);
        eventually("asleep", async || (waits() == 1).then_some(())).await;
        for _ in 0..200 {
            world.pass(1);
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(waits(), 1, "nothing is due, so nobody wakes");
        // A later deadline is no reason to wake, an earlier one is.
        reaper.due(&long.lease.target, expiry(&long.lease) + SignedDuration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(waits(), 1);
        reaper.due(&long.lease.target, world.clock.now());
        eventually("woken, and asleep again", async || (waits() == 2).then_some(())).await;
        world.pass(100);
        world.reaches(long.lease.id, StateName::Expired).await;
        reaper.stop().await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_later_lease_that_expires_earlier_ends_on_time() {
    for database in databases().await {
        let (world, _) = meddled(&database).await;
        let long = world.issue().await.unwrap().lease.id;
        let mut asked = request("shop-read");
        asked.ttl = Some(ttl(20));
        let short = world.issuer.issue(&caller("app", &["readers"]), asked).await.unwrap().lease.id;
        world.pass(20);
        world.reaches(short, StateName::Expired).await;
        assert_eq!(world.lease(long).await.state.name(), StateName::Active);
        world.pass(280);
        world.reaches(long, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}
