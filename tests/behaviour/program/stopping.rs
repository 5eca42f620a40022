//! The server's end: in good order, at once, and without warning.

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
