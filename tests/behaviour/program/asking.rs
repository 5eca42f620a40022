//! Asking, reviewing and waiting by the command line.

use rustix::process::Signal;

use super::{home::Home, process::Mayfly};
use crate::support::eventually;

/// A role whose readers need the agreement of an owner.
async fn reviewed() -> Option<(Home, String)> {
    let home = Home::somewhere().await?;
    let role = format!("{}-read", home.databases[0].engine);
    home.replace(&format!("[roles.{role}]\n"), &format!("[roles.{role}]\napproval = \"owners\"\n"));
    home.append("[[approvals.owners.steps]]\nname = \"owner\"\nreviewers = [\"group:owners\"]\n");
    Some((home, role))
}

/// The request that awaits the owner's review.
async fn awaiting(served: &Mayfly<'_>, owner: &super::process::Shell) -> String {
    let _ = served;
    eventually("a request awaits its review", async || {
        let listed = owner.mayfly(&["review", "ls", "-o", "json"]).await.json();
        listed["requests"][0]["name"].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn creds_that_wait_ask_tell_and_come_once_it_is_approved_for_less() {
    let Some((home, role)) = reviewed().await else { return };
    let served = home.serve().await;
    let (alice, bob) = (served.member("alice", &["readers"]).await, served.member("bob", &["owners"]).await);
    let refused = alice.mayfly(&["creds", &role]).await;
    assert!(refused.refused(14).contains("--wait"), "{refused:?}");
    let check = alice.mayfly(&["roles", "check", &role]).await;
    assert!(check.ok().contains("owner: 1 of group:owners"), "{check:?}");

    let waiting = alice.start(&["creds", &role, "--reason", "order 4711", "--wait", "-o", "json"]);
    let request = awaiting(&served, &bob).await;
    let shown = bob.mayfly(&["request", "show", &request]).await;
    assert!(shown.ok().contains("order 4711") && shown.out.contains("awaits 1 review"), "{shown:?}");
    alice.mayfly(&["review", "approve", &request]).await.refused(4);
    bob.mayfly(&["review", "approve", &request, "--ttl", "2h"]).await.refused(6);
    let approved =
        bob.mayfly(&["review", "approve", &request, "--ttl", "60s", "--comment", "be quick"]).await;
    assert_eq!(approved.ok(), "");
    let document = waiting.ended().await.json();
    assert_eq!(document["lease"]["ttl_seconds"], 60);
    bob.mayfly(&["review", "deny", &request]).await.refused(9);
    let grants = alice.mayfly(&["grant", "ls", "-o", "json"]).await.json();
    let grant = grants["grants"][0]["name"].as_str().unwrap();
    assert_eq!(grants["grants"][0]["state"], "active");
    alice.mayfly(&["grant", "revoke", grant, "--reason", "done"]).await.ok();
    alice.reaches(document["lease"]["name"].as_str().unwrap(), "revoked").await;
    alice.mayfly(&["request", "claim", grant]).await.refused(16);
}

#[tokio::test]
async fn a_denial_and_a_withdrawal_end_the_wait_with_codes_of_their_own() {
    let Some((home, role)) = reviewed().await else { return };
    let served = home.serve().await;
    let (alice, bob) = (served.member("alice", &["readers"]).await, served.member("bob", &["owners"]).await);
    let waiting = alice.start(&["creds", &role, "--wait"]);
    let request = awaiting(&served, &bob).await;
    waiting.logged("awaits 1 review in the step owner (group:owners)").await;
    bob.mayfly(&["review", "deny", &request, "--comment", "use the replica"]).await.ok();
    let ended = waiting.ended().await;
    assert_eq!((ended.code(), &*ended.out), (15, ""), "{ended:?}");
    assert!(ended.err.contains("was denied by bob: use the replica"), "{ended:?}");

    let made = alice.mayfly(&["request", "create", &role, "--reason", "again"]).await;
    let request = made.ok().to_owned();
    assert!(made.err.contains("awaits 1 review"), "{made:?}");
    alice.mayfly(&["request", "claim", &request]).await.refused(14);
    let waiting = alice.start(&["request", "claim", &request, "--wait"]);
    waiting.logged("awaits 1 review").await;
    alice.mayfly(&["request", "cancel", &request, "--reason", "no need"]).await.ok();
    assert_eq!(waiting.ended().await.code(), 16);
}

#[tokio::test]
async fn an_interrupted_wait_leaves_the_request_standing_and_says_how_to_go_on() {
    let Some((home, role)) = reviewed().await else { return };
    let served = home.serve().await;
    let (alice, bob) = (served.member("alice", &["readers"]).await, served.member("bob", &["owners"]).await);
    for arguments in [vec!["creds", &role, "--wait"], vec!["run", &role, "--wait", "--", "true"]] {
        let waiting = alice.start(&arguments);
        waiting.logged("awaits 1 review").await;
        let ended = waiting.end(Signal::INT).await;
        assert_eq!((ended.code(), &*ended.out), (130, ""), "{ended:?}");
        let request = awaiting(&served, &bob).await;
        let id = request.strip_prefix("requests/").unwrap();
        assert!(ended.err.contains(&format!("mayfly request claim {id} --wait")), "{ended:?}");
        alice.mayfly(&["request", "cancel", &request]).await.ok();
    }
}

#[tokio::test]
async fn bad_requests_and_reviews_are_refused() {
    let Some((home, role)) = reviewed().await else { return };
    let served = home.serve().await;
    let (alice, bob) = (served.member("alice", &["readers"]).await, served.member("bob", &["owners"]).await);
    alice.mayfly(&["request", "create", "nothing"]).await.refused(5);
    bob.mayfly(&["request", "create", &role]).await.refused(4);
    alice.mayfly(&["request", "create", &role, "--ttl", "2h"]).await.refused(6);
    alice.mayfly(&["request", "create", &role, "--reason", &"x".repeat(2_000)]).await.refused(6);
    for start in ["2020-01-01T00:00:00Z", "9000d"] {
        alice.mayfly(&["request", "create", &role, "--start", start]).await.refused(6);
    }
    for start in ["2026-11-23T09:00:00", "tomorrow"] {
        let refused = alice.mayfly(&["request", "create", &role, "--start", start]).await;
        assert_eq!(refused.code(), 2, "{refused:?}");
    }
    for missing in ["requests/00000000000000000000", "x"] {
        let refused = bob.mayfly(&["review", "approve", missing]).await;
        assert!([5, 6].contains(&refused.code()), "{refused:?}");
    }
    assert!(alice.mayfly(&["review", "ls"]).await.err.contains("no requests"));
    alice.mayfly(&["breakglass", &role, "--reason", "it burns"]).await.refused(4);
    assert!(served.administrator().mayfly(&["breakglass", "ls"]).await.err.contains("no break-glass"));
    served
        .administrator()
        .mayfly(&["breakglass", "sign-off", "requests/00000000000000000000", "--comment", "x"])
        .await
        .refused(5);
}
