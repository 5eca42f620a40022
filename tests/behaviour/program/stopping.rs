//! The server's end: in good order, at once, and without warning.

use std::time::Duration;

use rustix::process::Signal;

use super::{home::Home, process::Shell};
use crate::support::{
    eventually,
    proxy::Proxy,
    world::{Database, databases},
};

/// A home whose target is reached through a wire that can be held.
async fn wired() -> Option<(Home, Proxy)> {
    let database = databases().await.into_iter().next()?;
    let proxy = Proxy::to(database.port).await;
    Some((Home::on(vec![Database { port: proxy.port(), ..database }]), proxy))
}

/// The database itself, past the wire.
fn behind(home: &Home) -> Database {
    let database = home.databases[0].clone();
    Database { port: database.server.unwrap().port(), ..database }
}

#[tokio::test]
async fn an_issue_under_way_is_completed_before_the_server_stops() {
    let Some((home, proxy)) = wired().await else { return };
    let (served, database) = (home.serve().await, behind(&home));
    let app = served.app().await;
    let role = format!("{}-read", database.engine);
    let first = app.issue(&role, &[]).await;
    proxy.pause();
    let issuing = app.start(&["creds", &role, "-o", "json"]);
    eventually("a lease is being provisioned", async || {
        (app.leases(&["provisioning"]).await.len() == 1).then_some(())
    })
    .await;
    served.process.signal(Signal::TERM);
    no_more_calls(&app).await;
    proxy.resume();
    let (asked, stopped) = (issuing.ended().await, served.process.ended().await);
    assert_eq!(stopped.code(), 0, "{stopped:?}");
    let second = asked.json()["credential"]["username"].as_str().unwrap().to_owned();
    for account in [&first.account, &second] {
        assert!(database.has_account(database.server.unwrap(), account).await, "{account}");
    }

    let again = home.serve().await;
    let app = again.administrator();
    assert_eq!(app.leases(&["active"]).await.len(), 2);
    let all = app.mayfly(&["lease", "revoke", "--role", &role, "--reason", "x", "-o", "json"]).await;
    assert_eq!(all.json()["revoked_count"], 2);
    eventually("all are gone", async || app.leases(&["active", "ending"]).await.is_empty().then_some(()))
        .await;
}

/// Waits until the server has heard that it is to stop.
async fn no_more_calls(shell: &Shell) {
    eventually("no more calls are taken", async || {
        (shell.mayfly(&["health"]).await.code() != 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_the_next_start_cleans_up() {
    let Some((home, proxy)) = wired().await else { return };
    impatient(&home, "1s");
    let (served, database) = (home.serve().await, behind(&home));
    let app = served.app().await;
    proxy.pause();
    let issuing = app.start(&["creds", &format!("{}-read", database.engine)]);
    let lease = eventually("a lease is being provisioned", async || {
        app.leases(&["provisioning"]).await.into_iter().next()
    })
    .await;
    served.process.signal(Signal::TERM);
    // Only once the first was heard are they two.
    no_more_calls(&app).await;
    let ended = served.process.end(Signal::INT).await;
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.err.contains("stopping now"), "{ended:?}");
    assert_eq!(issuing.ended().await.code(), 8);
    proxy.resume();
    let again = home.serve().await;
    let name = lease["name"].as_str().unwrap();
    again.administrator().reaches(name, "failed").await;
    let account = lease["account"].as_str().unwrap();
    assert!(!database.has_account(database.server.unwrap(), account).await);
    again.stop().await;
}

/// Bounds on the target that do not make a test wait: with these, what was being created is given up after some 20 s.
fn impatient(home: &Home, statement: &str) {
    let section = format!("[targets.{}]\n", home.databases[0].engine);
    let bounds =
        format!("{section}pool.wait = \"500ms\"\npool.connect = \"1s\"\npool.statement = \"{statement}\"\n");
    home.replace(&section, &bounds);
}

/// The lease of an issue that hangs on the wire.
async fn hanging(app: &Shell) -> serde_json::Value {
    eventually("a lease is being provisioned", async || {
        app.leases(&["provisioning"]).await.into_iter().next()
    })
    .await
}

/// Starts again; the lease must come to an end in `state`, and leave nothing.
async fn cleaned_up_at_the_next_start(home: &Home, lease: &serde_json::Value, state: &str) {
    let (again, database) = (home.serve().await, behind(home));
    again.administrator().reaches(lease["name"].as_str().unwrap(), state).await;
    let account = lease["account"].as_str().unwrap();
    assert!(!database.has_account(database.server.unwrap(), account).await, "{account}");
    again.stop().await;
}

#[tokio::test]
async fn what_a_target_does_not_answer_while_draining_is_given_up_and_undone() {
    let Some((home, proxy)) = wired().await else { return };
    impatient(&home, "1s");
    let served = home.serve().await;
    let app = served.app().await;
    let role = format!("{}-read", home.databases[0].engine);
    app.issue(&role, &[]).await;
    proxy.pause();
    let issuing = app.start(&["creds", &role]);
    let lease = hanging(&app).await;
    // Long before the 20 s of grace are over.
    let stopped =
        tokio::time::timeout(Duration::from_secs(15), served.process.end(Signal::TERM)).await.unwrap();
    assert_eq!(stopped.code(), 0, "{stopped:?}");
    assert!(!stopped.err.contains("not everything under way ended in time"), "{stopped:?}");
    // The caller was told; it has nothing in its hands.
    issuing.ended().await.refused(8);
    proxy.resume();
    cleaned_up_at_the_next_start(&home, &lease, "failed").await;
}

#[tokio::test]
async fn what_is_not_over_by_the_end_of_the_grace_is_taken_up_at_the_next_start() {
    let Some((home, proxy)) = wired().await else { return };
    impatient(&home, "4s");
    home.replace("shutdown_grace = \"20s\"", "shutdown_grace = \"500ms\"");
    let served = home.serve().await;
    let app = served.app().await;
    let role = format!("{}-read", home.databases[0].engine);
    app.issue(&role, &[]).await;
    proxy.pause();
    let issuing = app.start(&["creds", &role]);
    let lease = hanging(&app).await;
    let stopped = served.process.end(Signal::TERM).await;
    assert_eq!(stopped.code(), 0, "{stopped:?}");
    assert!(stopped.err.contains("it is taken up at the next start"), "{stopped:?}");
    issuing.ended().await.refused(8);
    proxy.resume();
    cleaned_up_at_the_next_start(&home, &lease, "failed").await;
}

#[tokio::test]
async fn an_end_that_the_second_signal_interrupts_is_taken_up_at_the_next_start() {
    let Some((home, proxy)) = wired().await else { return };
    let (served, database) = (home.serve().await, behind(&home));
    let app = served.app().await;
    let issued = app.issue(&format!("{}-read", database.engine), &[]).await;
    let password = mayfly::domain::Password::new(issued.password.clone());
    let mut session = database.login(&issued.account, &password).await.unwrap();
    proxy.pause();
    app.mayfly(&["lease", "release", &issued.lease]).await.ok();
    let lease = app.lease(&issued.lease).await;
    assert_eq!(lease["state"], "ending");
    served.process.signal(Signal::TERM);
    no_more_calls(&app).await;
    let ended = served.process.end(Signal::TERM).await;
    assert_eq!(ended.code(), 1, "{ended:?}");
    proxy.resume();
    cleaned_up_at_the_next_start(&home, &lease, "released").await;
    session.ask("SELECT 1").await.unwrap_err();
}

#[tokio::test]
async fn killed_and_started_again_it_ends_what_expired_and_keeps_what_lives() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    let mut issued = Vec::new();
    for database in &home.databases {
        let role = format!("{}-read", database.engine);
        let short = app.issue(&role, &["--ttl", "2s"]).await;
        issued.push((database, short, app.issue(&role, &[]).await));
    }
    let killed = served.process.end(Signal::KILL).await;
    assert_eq!(killed.status.code(), None);
    // Nobody watches now; PostgreSQL refuses the expired by itself, the accounts are still there.
    for (database, short, _) in &issued {
        let password = mayfly::domain::Password::new(short.password.clone());
        if database.engine == mayfly::domain::Engine::Postgres {
            eventually("the database refuses what expired", async || {
                database.login(&short.account, &password).await.err()
            })
            .await;
        }
    }
    let again = home.serve().await;
    let root = again.administrator();
    for (database, short, long) in &issued {
        let superuser = database.server.unwrap();
        let lease = root.reaches(&short.lease, "expired").await;
        assert!(!database.has_account(superuser, &short.account).await, "{lease}");
        let password = mayfly::domain::Password::new(long.password.clone());
        database.login(&long.account, &password).await.unwrap();
        let app = again.app().await;
        app.mayfly(&["lease", "renew", &long.lease, "--ttl", "10m"]).await.ok();
        let released = app.mayfly(&["lease", "release", &long.lease, "--wait"]).await;
        assert!(released.ok().contains("the account is gone"), "{released:?}");
        assert!(!database.has_account(superuser, &long.account).await);
    }
    again.stop().await;
    let file = home.path("audit.jsonl").display().to_string();
    home.shell().mayfly(&["audit", "verify", &file]).await.ok();
}
