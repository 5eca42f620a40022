//! A replica that is cut off from the store, or from a target.

use std::time::Duration;

use mayfly::api::proto::LeaseState;
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::fleet::Fleet;
use crate::{crash::caller::Caller, support::eventually};

const LONG: u32 = 300;

async fn health(caller: &Caller) -> ServingStatus {
    let channel = Endpoint::from_shared(caller.address.clone()).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    client.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner().status()
}

async fn becomes(caller: &Caller, status: ServingStatus) {
    eventually(&format!("{status:?}"), async || (health(caller).await == status).then_some(())).await;
}

#[tokio::test]
async fn a_replica_cut_off_from_the_store_refuses_says_so_and_recovers_by_itself() {
    let Some(mut fleet) = Fleet::new(2, false).await else { return };
    let callers = fleet.start_all().await;
    let (_, role) = fleet.postgres();
    for silent in [true, false] {
        becomes(&callers[0], ServingStatus::Serving).await;
        let wire = &fleet.replicas[0].store;
        if silent {
            wire.pause();
        } else {
            wire.sever();
        }
        let asked = tokio::time::timeout(Duration::from_secs(12), callers[0].issue(&role, LONG, "")).await;
        let refused = asked.expect("it does not answer").unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        becomes(&callers[0], ServingStatus::NotServing).await;
        // However often it is asked meanwhile, whoever asked is not shut out afterwards.
        let asked =
            (0..30).map(|_| tokio::time::timeout(Duration::from_secs(12), callers[0].lease("leases/none")));
        for answer in futures_util::future::join_all(asked).await {
            assert!(answer.expect("it does not answer").is_err());
        }
        callers[1].issue(&role, LONG, "").await.unwrap();
        assert_eq!(health(&callers[1]).await, ServingStatus::Serving);
        wire.resume();
        becomes(&callers[0], ServingStatus::Serving).await;
        callers[0].issue(&role, LONG, "").await.unwrap();
    }
    fleet.assert_clean().await;
}

#[tokio::test]
async fn what_a_replica_cannot_reach_is_ended_by_one_that_can() {
    let Some(mut fleet) = Fleet::new(2, false).await else { return };
    let callers = fleet.start_all().await;
    let (_, role) = fleet.postgres();
    for silent in [true, false] {
        let held = callers[0].issue(&role, LONG, "").await.unwrap();
        let wire = &fleet.replicas[0].targets["postgres"];
        if silent {
            wire.pause();
        } else {
            wire.sever();
        }
        // Asked of the one that cannot do it.
        callers[0].revoke_on("postgres").await.unwrap();
        let ended = async {
            while callers[1].lease(&held.lease).await.unwrap().state() != LeaseState::Revoked {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(12), ended).await.expect("left lying");
        wire.resume();
    }
    fleet.assert_clean().await;
}
