//! An account that two replicas hand out.

use std::time::Duration;

use futures_util::future;
use mayfly::api::proto::LeaseState;
use tonic::Code;

use super::fleet::Fleet;
use crate::{
    crash::caller::{Caller, Held},
    support::{eventually, world::Database},
};

const LONG: u32 = 300;

/// Two replicas, and the account that they hand out.
async fn two() -> Option<(Fleet, Database, String)> {
    let fleet = Fleet::new(2, false).await?;
    let (database, _) = fleet.postgres();
    let (database, role) = (database.clone(), fleet.plan.handing(database.engine));
    let (account, names) = (fleet.plan.handed(&database), &database.sample.names);
    for statement in [
        format!("CREATE ROLE \"{account}\" LOGIN"),
        format!("GRANT \"{account}\" TO \"{}\" WITH ADMIN OPTION", names.administrator),
        format!("GRANT CONNECT ON DATABASE \"{}\" TO \"{account}\"", names.database),
        format!("GRANT \"{}\" TO \"{account}\"", names.read),
    ] {
        database.ask_superuser(database.server.unwrap(), &statement).await;
    }
    Some((fleet, database, role))
}

/// Asks until the account is ours.
async fn until_ours(caller: &Caller, role: &str, key: &str) -> Held {
    eventually("the account is ours", async || match caller.issue(role, LONG, key).await {
        Ok(held) => Some(held),
        Err(status) => {
            let known = matches!(status.code(), Code::ResourceExhausted | Code::Aborted | Code::Unavailable);
            assert!(known, "{status:?}");
            None
        }
    })
    .await
}

#[tokio::test]
async fn two_that_contend_for_an_account_never_both_have_it() {
    let Some((mut fleet, database, role)) = two().await else { return };
    let callers = fleet.start_all().await;
    for round in 0..10 {
        let keys = [format!("one-{round}"), format!("two-{round}")];
        let both = callers.iter().zip(&keys).map(|(caller, key)| caller.issue(&role, LONG, key));
        let (had, refused): (Vec<_>, Vec<_>) =
            future::join_all(both).await.into_iter().partition(Result::is_ok);
        assert!(had.len() <= 1, "{had:?}");
        for refusal in refused {
            let status = refusal.unwrap_err();
            assert!(matches!(status.code(), Code::ResourceExhausted | Code::Aborted), "{status:?}");
        }
        for held in had {
            let mut held = held.unwrap();
            held.assert_logs_in(&database).await;
            callers[round % 2].release(&mut held, true).await.unwrap();
            held.assert_over(&database).await;
        }
    }
    fleet.assert_clean().await;
}

#[tokio::test]
async fn an_end_that_is_done_once_more_takes_nothing_from_the_next_holder() {
    let Some((mut fleet, database, role)) = two().await else { return };
    let dying = fleet.start(0, Some("checkout.freed")).await;
    let mut first = dying.issue(&role, LONG, "first").await.unwrap();
    let other = fleet.start(1, None).await;
    // So that the one that is to die does it.
    fleet.replicas[1].freeze().await;
    let _ = dying.release(&mut first, true).await;
    fleet.replicas[0].ended().await;
    fleet.replicas[1].thaw();
    // Free before the end of the lease was recorded; the other replica takes that over in a moment.
    let second = until_ours(&other, &role, "second").await;
    eventually("the first lease has ended", async || {
        (other.lease(&first.lease).await.unwrap().state() == LeaseState::Released).then_some(())
    })
    .await;
    second.assert_logs_in(&database).await;
    first.assert_over(&database).await;
    fleet.assert_clean().await;
}

#[tokio::test]
async fn what_a_replica_hands_out_too_late_is_nobodys() {
    let Some((mut fleet, database, role)) = two().await else { return };
    let stopping = fleet.start(0, Some("issue.creating:1:stop")).await;
    let other = fleet.start(1, None).await;
    let asking = {
        let (stopping, role) = (stopping.clone(), role.clone());
        tokio::spawn(async move { stopping.issue(&role, LONG, "late").await.map(|held| held.lease) })
    };
    fleet.replicas[0].is_stopped().await;
    // The other one gives it up at its deadline, and hands the account to the next.
    let mut second = until_ours(&other, &role, "second").await;
    second.assert_logs_in(&database).await;
    fleet.replicas[0].thaw();
    let answered = asking.await.unwrap();
    assert!(answered.is_err(), "{answered:?}");
    // Whatever the late one did to the account, its holder has it alone, after asking again at the latest.
    second.ask_again(&other, &role).await.unwrap();
    for _ in 0..10 {
        second.assert_logs_in(&database).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    other.release(&mut second, true).await.unwrap();
    second.assert_over(&database).await;
    fleet.assert_clean().await;
}
