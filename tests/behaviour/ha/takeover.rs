//! What one replica leaves, another finishes; and the first, when it goes on, leaves it alone.

use std::time::Duration;

use mayfly::{
    api::proto::LeaseState,
    clock::{Clock as _, SystemClock},
};

use super::{books::accounts, fleet::Fleet};
use crate::{
    crash::caller::{Caller, Held},
    support::eventually,
};

/// Within which what a replica left is taken over and done.
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// What a replica says whose conversation with the store broke off.
const STORE_LOST: &str = "the store failed the reaper; trying again";

/// Seconds of a lease that outlives its test.
const LONG: u32 = 300;

async fn held(fleet: &Fleet, caller: &Caller, count: usize) -> Vec<Held> {
    let (database, role) = fleet.postgres();
    let mut all = Vec::new();
    for number in 0..count {
        let mut held = caller.issue(&role, LONG, &format!("{role}-{number}")).await.unwrap();
        held.settle_in(database).await.unwrap();
        all.push(held);
    }
    all
}

/// Waits until no account of the fleet is left, and says how long it took.
async fn all_gone(fleet: &Fleet, since: Duration) -> Duration {
    let (database, _) = fleet.postgres();
    eventually("all accounts are gone", async || {
        accounts(&fleet.plan, database).await.is_empty().then_some(())
    })
    .await;
    SystemClock.uptime().saturating_sub(since)
}

#[tokio::test]
async fn a_replica_killed_in_the_middle_of_a_batch_of_ends_is_taken_over_within_five_seconds() {
    let Some(mut fleet) = Fleet::new(2, false).await else { return };
    let dying = fleet.start(0, Some("end.disabled:3")).await;
    fleet.start(1, None).await;
    let mut held = held(&fleet, &dying, 8).await;
    // So that the one that is to die is given the whole batch.
    fleet.replicas[1].freeze().await;
    dying.revoke_on("postgres").await.unwrap();
    fleet.replicas[0].ended().await;
    let died = SystemClock.uptime();
    fleet.replicas[1].thaw();
    let took = all_gone(&fleet, died).await;
    assert!(took < TAKEN_OVER, "{took:?}");
    let (database, _) = fleet.postgres();
    for held in &mut held {
        held.assert_over(database).await;
    }
    fleet.assert_clean().await;
}

#[tokio::test]
async fn a_replica_stopped_past_its_claim_leaves_what_another_finished_alone() {
    for point in ["end.disabled", "end.removed"] {
        let Some(mut fleet) = Fleet::new(2, false).await else { return };
        let stopping = fleet.start(0, Some(&format!("{point}:2:stop"))).await;
        let other = fleet.start(1, None).await;
        let held = held(&fleet, &stopping, 4).await;
        fleet.replicas[1].freeze().await;
        stopping.revoke_on("postgres").await.unwrap();
        fleet.replicas[0].is_stopped().await;
        let stopped = SystemClock.uptime();
        fleet.replicas[1].thaw();
        eventually("the other one has ended all of them", async || {
            let live = [LeaseState::Provisioning, LeaseState::Active, LeaseState::Ending];
            other.leases(&live).await.unwrap().is_empty().then_some(())
        })
        .await;
        let took = SystemClock.uptime().saturating_sub(stopped);
        assert!(took < TAKEN_OVER, "{point}: {took:?}");
        fleet.replicas[0].thaw();
        // Of the one it was stopped after removing it finds that it moved on, unless it was speaking to the store about another one when it
        // was stopped: then that conversation is over when it wakes, and it reads anew what is due before it gets as far as that one.
        let says: &[&str] = if point == "end.disabled" {
            &["the claim on a lease lapsed", STORE_LOST]
        } else {
            &["a lease moved on meanwhile", "left alone", STORE_LOST]
        };
        eventually(&format!("it says one of {says:?}"), async || {
            says.iter().find(|text| fleet.replicas[0].has_ever_logged(text))
        })
        .await;
        eventually("it goes on", async || {
            let seen = stopping.lease(&held.first()?.lease).await.ok()?;
            (seen.state() == LeaseState::Revoked).then_some(())
        })
        .await;
        for held in &held {
            assert_eq!(other.lease(&held.lease).await.unwrap().state(), LeaseState::Revoked);
        }
        // No lease ended twice, says the audit log.
        fleet.assert_clean().await;
    }
}

#[tokio::test]
async fn a_lease_that_expires_while_its_replica_is_dead_ends_on_time_all_the_same() {
    let Some(mut fleet) = Fleet::new(2, false).await else { return };
    let dying = fleet.start(0, None).await;
    let other = fleet.start(1, None).await;
    let (_, role) = fleet.postgres();
    let held = dying.issue(&role, 4, &role).await.unwrap();
    fleet.replicas[0].kill().await;
    eventually("it has expired", async || {
        (other.lease(&held.lease).await.unwrap().state() == LeaseState::Expired).then_some(())
    })
    .await;
    let late = SystemClock.now().duration_since(held.promised);
    assert!(late < TAKEN_OVER.try_into().unwrap(), "{late}");
    fleet.assert_clean().await;
}
