//! `mayfly lease …`.

use mayfly::domain::Password;
use rustix::process::Signal;
use serde_json::Value;

use super::home::Home;

#[tokio::test]
async fn a_lease_is_listed_shown_renewed_and_released() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    let nobody = app.mayfly(&["lease", "ls"]).await;
    assert_eq!((nobody.ok(), nobody.err.trim()), ("", "no leases"));
    for database in &home.databases {
        let engine = database.engine;
        let role = format!("{engine}-read");
        let issued = app.issue(&role, &["--ttl", "1m", "--purpose", "ticket 7"]).await;
        let id = issued.lease.strip_prefix("leases/").unwrap();
        let listed = app.mayfly(&["lease", "ls", "--state", "active", "--role", &role]).await;
        assert!(listed.ok().contains(id) && listed.out.contains("active"), "{listed:?}");
        assert_eq!(listed.out.lines().count(), 2, "{listed:?}");
        let shown = app.mayfly(&["lease", "show", id]).await;
        for word in [id, &role, "app (workload)", &issued.account, "ticket 7", "group:readers", "1m"] {
            assert!(shown.ok().contains(word), "{word}: {shown:?}");
        }
        assert!(!shown.out.contains(&issued.password));
        let lease = app.lease(id).await;
        assert_eq!(
            (&lease["target"], &lease["ttl_seconds"]),
            (&format!("targets/{engine}").into(), &60.into())
        );
        let renewed = app.mayfly(&["lease", "renew", id, "--ttl", "30m", "-o", "json"]).await.json();
        let moment =
            |lease: &Value| lease["expire_time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let gained = moment(&renewed["lease"]).duration_since(moment(&lease));
        assert!(gained.as_secs() > 28 * 60, "{gained}");
        assert!(app.mayfly(&["lease", "renew", id]).await.ok().contains("expires in"));
        app.mayfly(&["lease", "renew", id, "--ttl", "2h"]).await.refused(6);

        let none = app.mayfly(&["lease", "sessions", id]).await;
        assert_eq!((none.ok(), none.err.trim()), ("", "no live sessions"));
        let password = Password::new(issued.password.clone());
        let mut session = database.login(&issued.account, &password).await.unwrap();
        let sessions = app.mayfly(&["lease", "sessions", id, "-o", "json"]).await.json();
        assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{engine}: {sessions}");
        assert!(app.mayfly(&["lease", "sessions", id]).await.ok().contains(&database.sample.names.database));

        let released = app.mayfly(&["lease", "release", id, "--wait"]).await;
        assert_eq!(
            released.ok(),
            format!("{} is released: 1 session ended, the account is gone", issued.lease)
        );
        session.ask("SELECT id FROM orders").await.unwrap_err();
        assert!(database.login(&issued.account, &password).await.is_err());
        assert!(!database.has_account(database.server.unwrap(), &issued.account).await);
        app.mayfly(&["lease", "renew", id]).await.refused(9);
        // Once more changes nothing, and says the same.
        assert_eq!(app.mayfly(&["lease", "release", id, "--wait"]).await.ok(), released.ok());
        assert!(app.mayfly(&["lease", "show", id]).await.ok().contains("the account is gone"));
    }
}

#[tokio::test]
async fn at_its_expiry_a_lease_ends_with_its_sessions_and_its_account() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let issued = app.issue(&format!("{}-write", database.engine), &["--ttl", "3s"]).await;
        let password = Password::new(issued.password);
        let mut session = database.login(&issued.account, &password).await.unwrap();
        session.ask("DELETE FROM orders WHERE id = 1").await.unwrap();
        let lease = app.reaches(&issued.lease, "expired").await;
        assert_eq!(lease["end_report"]["sessions_ended"], 1, "{lease}");
        session.ask("SELECT id FROM orders").await.unwrap_err();
        assert!(database.login(&issued.account, &password).await.is_err());
        assert!(!database.has_account(database.server.unwrap(), &issued.account).await);
    }
}

#[tokio::test]
async fn authority_ends_one_lease_or_all_of_a_principal_a_role_or_a_target() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let (root, app) = (served.administrator(), served.app().await);
    let other = served.member("other", &["readers"]).await;
    for database in &home.databases {
        let engine = database.engine.to_string();
        let (read, write) = (format!("{engine}-read"), format!("{engine}-write"));
        let one = app.issue(&read, &[]).await;
        other.mayfly(&["lease", "revoke", &one.lease, "--reason", "mine now"]).await.refused(4);
        // A stranger's lease is not even there.
        assert!([4, 5].contains(&other.mayfly(&["lease", "show", &one.lease]).await.code()));
        let revoked = root.mayfly(&["lease", "revoke", &one.lease, "--reason", "lost", "--wait"]).await;
        assert!(
            revoked.ok().contains("is revoked") && revoked.out.contains("account is gone"),
            "{revoked:?}"
        );
        assert!(app.lease(&one.lease).await["end_reason"].as_str().unwrap().contains("lost"));

        let leases =
            [app.issue(&read, &[]).await, app.issue(&write, &[]).await, other.issue(&read, &[]).await];
        let revoke = async |arguments: &[&str]| {
            let all = [&["lease", "revoke", "--reason", "drill", "-o", "json"], arguments].concat();
            root.mayfly(&all).await.json()["revoked_count"].clone()
        };
        assert_eq!(revoke(&["--principal", "app", "--role", &write]).await, 1);
        assert_eq!(revoke(&["--principal", "nobody"]).await, 0);
        assert_eq!(revoke(&["--role", &write]).await, 0);
        assert_eq!(revoke(&["--role", &read]).await, 2);
        let more = app.issue(&read, &[]).await;
        let text = root.mayfly(&["lease", "revoke", "--target", &engine, "--reason", "drill"]).await;
        assert_eq!(text.ok(), "1 lease is ending");
        for lease in leases.iter().chain([&more]) {
            root.reaches(&lease.lease, "revoked").await;
            assert!(!database.has_account(database.server.unwrap(), &lease.account).await);
        }
    }
    let leases = root.mayfly(&["lease", "ls", "--limit", "1"]).await;
    assert!(home.databases.is_empty() || leases.err.contains("--limit 0"), "{leases:?}");
}

#[tokio::test]
async fn a_watch_tells_what_there_is_and_then_every_change() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let role = format!("{}-read", home.databases[0].engine);
    let first = app.issue(&role, &[]).await;
    let watch = app.start(&["lease", "watch", "--role", &role, "-o", "json"]);
    let text = app.start(&["lease", "watch"]);
    watch.said("\"synced\":true").await;
    text.logged("changes from here on").await;
    assert!(watch.out().contains(&first.lease));
    let second = app.issue(&role, &[]).await;
    app.mayfly(&["lease", "release", &second.lease, "--wait"]).await.ok();
    let out = watch.said("\"released\"").await;
    let states: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["lease"].clone())
        .filter(|lease| lease["name"] == *second.lease)
        .map(|lease| lease["state"].clone())
        .collect();
    assert_eq!(states.last().unwrap(), "released", "{out}");
    assert!(states.contains(&"active".into()), "{out}");
    text.said("released").await;
    assert!(!out.contains(&second.password));
    // The server tells its watchers when it goes.
    served.process.signal(Signal::TERM);
    assert_eq!(watch.ended().await.code(), 8);
    assert_eq!(text.ended().await.code(), 8);
}
