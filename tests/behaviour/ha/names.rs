//! Replicas' names, and what counts on all of them at once.

use super::{fleet::Fleet, replica::Replica};

const LONG: u32 = 300;

#[tokio::test]
async fn of_two_processes_of_one_name_the_older_ends_and_says_why() {
    let Some(mut fleet) = Fleet::new(1, false).await else { return };
    let old = fleet.start(0, None).await;
    let (_, role) = fleet.postgres();
    old.issue(&role, LONG, "").await.unwrap();
    let mut newer = Replica::new("r0", &fleet.plan).await;
    let new = newer.start(None).await;
    let status = fleet.replicas[0].ended().await;
    assert_ne!(status.code(), Some(0));
    assert!(
        fleet.replicas[0].has_ever_logged("another process serves under this replica's name (r0)"),
        "{}",
        fleet.replicas[0].last_words()
    );
    new.issue(&role, LONG, "").await.unwrap();
    fleet.balancer.set(0, new);
    // Its audit file begins with the records of the older one, which are in the chain of that name.
    fleet.replicas[0] = newer;
    fleet.assert_clean().await;
}

#[tokio::test]
async fn a_token_revoked_on_one_replica_is_refused_on_another_at_once() {
    let Some(mut fleet) = Fleet::new(2, false).await else { return };
    let callers = fleet.start_all().await;
    let replica = &fleet.replicas[0];
    let create = ["token", "create", "--principal", "app", "--kind", "workload", "-o", "json"];
    let (code, made) = replica.command(&callers[0], None, &create).await;
    assert_eq!(code, 0, "{made}");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let (token, name) = (made["secret"].as_str().unwrap(), made["token"]["name"].as_str().unwrap());
    for caller in &callers {
        assert_eq!(replica.command(caller, Some(token), &["whoami"]).await.0, 0);
    }
    let (code, said) = replica.command(&callers[0], None, &["token", "revoke", name]).await;
    assert_eq!(code, 0, "{said}");
    assert_ne!(replica.command(&callers[1], Some(token), &["whoami"]).await.0, 0);
    fleet.assert_clean().await;
}
