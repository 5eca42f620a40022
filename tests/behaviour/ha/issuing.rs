//! Issuing where a replica may be stopped at any point and another answer in its stead.

use std::time::Duration;

use futures_util::future;
use mayfly::api::proto::LeaseState;
use tonic::Code;

use super::{books::accounts, fleet::Fleet, worker::Worker};
use crate::{crash::caller::Caller, support::eventually};

const LONG: u32 = 300;

/// A replica whose call is under way while it is stopped is asked by a task of its own.
fn asked(caller: &Caller, role: &str, key: &str) -> tokio::task::JoinHandle<Result<String, tonic::Status>> {
    let (caller, role, key) = (caller.clone(), role.to_owned(), key.to_owned());
    tokio::spawn(async move { caller.issue(&role, LONG, &key).await.map(|held| held.lease) })
}

#[tokio::test]
async fn an_issue_stopped_past_its_deadline_neither_delivers_nor_leaves_an_account() {
    let points = ["issue.begun", "issue.creating", "issue.created"];
    let Some(mut fleet) = Fleet::new(points.len() + 1, false).await else { return };
    let mut asking = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let caller = fleet.start(at, Some(&format!("{point}:1:stop"))).await;
        let (_, role) = fleet.postgres();
        asking.push(asked(&caller, &role, point));
    }
    let other = fleet.start(points.len(), None).await;
    for replica in &fleet.replicas[..points.len()] {
        replica.is_stopped().await;
    }
    eventually("all three were given up", async || {
        (other.leases(&[LeaseState::Failed]).await.unwrap().len() == points.len()).then_some(())
    })
    .await;
    fleet.replicas[..points.len()].iter().for_each(super::replica::Replica::thaw);
    for (point, asking) in points.iter().zip(asking) {
        let answered = asking.await.unwrap();
        assert!(answered.is_err(), "{point}: {answered:?}");
    }
    let (database, _) = fleet.postgres();
    eventually("no account is there", async || {
        accounts(&fleet.plan, database).await.is_empty().then_some(())
    })
    .await;
    fleet.assert_clean().await;
}

#[tokio::test]
async fn a_credential_that_another_replica_delivered_survives_the_one_that_wakes() {
    for point in ["issue.activated", "repeat.recorded"] {
        let Some(mut fleet) = Fleet::new(2, false).await else { return };
        let stopping = fleet.start(0, Some(&format!("{point}:1:stop"))).await;
        let other = fleet.start(1, None).await;
        let (database, role) = fleet.postgres();
        let (database, key) = (database.clone(), "build-7");
        if point == "repeat.recorded" {
            other.issue(&role, LONG, key).await.unwrap();
        }
        let asking = asked(&stopping, &role, key);
        fleet.replicas[0].is_stopped().await;
        // The caller gives up and asks elsewhere; a moment later the first one goes on.
        asking.abort();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let held = other.issue(&role, LONG, key).await.unwrap();
        fleet.replicas[0].thaw();
        stopping.leases(&[]).await.unwrap();
        for _ in 0..20 {
            held.assert_logs_in(&database).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(other.lease(&held.lease).await.unwrap().state(), LeaseState::Active, "{point}");
        fleet.assert_clean().await;
    }
}

#[tokio::test]
async fn one_key_at_two_replicas_at_once_is_one_lease_and_the_last_answer_works() {
    let Some(mut fleet) = Fleet::new(2, false).await else { return };
    let callers = fleet.start_all().await;
    let (database, role) = fleet.postgres();
    for number in 0..10 {
        let key = format!("build-{number}");
        let ask = async |caller: &Caller| loop {
            match caller.issue(&role, LONG, &key).await {
                Ok(held) => return held,
                Err(status) => assert!(status.code() == Code::Aborted, "{status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let (one, two) = future::join(ask(&callers[0]), ask(&callers[1])).await;
        assert_eq!(one.lease, two.lease);
        let works = [one.log_in(database).await.is_ok(), two.log_in(database).await.is_ok()];
        assert!(works[0] || works[1], "neither password works");
        let last = ask(&callers[number % 2]).await;
        assert_eq!(last.lease, one.lease);
        last.log_in(database).await.unwrap();
    }
    let leases = callers[0].leases(&[]).await.unwrap();
    assert_eq!(leases.len(), 10, "{leases:?}");
    fleet.assert_clean().await;
}

#[tokio::test]
async fn a_renewal_stopped_half_way_leaves_target_and_store_in_agreement() {
    let Some(mut fleet) = Fleet::new(2, false).await else { return };
    let stopping = fleet.start(0, Some("renew.moved:1:stop")).await;
    let other = fleet.start(1, None).await;
    let (database, role) = fleet.postgres();
    let (database, role) = (database.clone(), role);
    let mut held = other.issue(&role, 60, "renewed").await.unwrap();
    let name = held.lease.clone();
    let mut same = other.issue(&role, 60, "renewed").await.unwrap();
    let renewing = tokio::spawn(async move { stopping.renew(&mut held, 120).await });
    fleet.replicas[0].is_stopped().await;
    other.renew(&mut same, 240).await.unwrap();
    fleet.replicas[0].thaw();
    renewing.await.unwrap().unwrap();
    let lease = other.lease(&name).await.unwrap();
    let stored = lease.expire_time.unwrap().seconds;
    let statement = format!(
        "SELECT extract(epoch FROM rolvaliduntil)::bigint FROM pg_roles WHERE rolname = '{}'",
        same.account
    );
    let kept: i64 = database.ask_superuser(database.server.unwrap(), &statement).await[0].parse().unwrap();
    assert!((kept - stored).abs() <= 2, "the target says {kept}, the store {stored}");
    fleet.assert_clean().await;
}

#[tokio::test]
async fn a_rolling_restart_under_load_costs_no_more_than_a_retry() {
    let Some(mut fleet) = Fleet::new(3, false).await else { return };
    fleet.start_all().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (database, role) = fleet.postgres();
    let worker =
        |seed| Worker::new(fleet.balancer.clone(), database.clone(), role.clone(), seed).work(stop.clone());
    let working: Vec<_> = (1..4).map(worker).collect();
    let restarting = async {
        for at in 0..3 {
            fleet.replicas[at].stop().await;
            fleet.start(at, None).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        stop.cancel();
    };
    let (workers, ()) = future::join(future::join_all(working), restarting).await;
    for mut worker in workers {
        worker.look_at_all().await;
        assert_eq!(worker.tally.given_up, 0, "a retry did not cure it");
        assert!(worker.tally.issued > 0);
    }
    fleet.assert_clean().await;
}
