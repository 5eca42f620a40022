//! Locking by the command line.

use super::home::Home;

#[tokio::test]
async fn a_principal_is_locked_seen_to_be_and_unlocked() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let (root, app) = (served.administrator(), served.app().await);
    let mut issued = Vec::new();
    for database in &home.databases {
        issued.push(app.issue(&format!("{}-read", database.engine), &[]).await);
    }
    let locked = root.mayfly(&["lock", "principal", "app", "--reason", "its token was in a log"]).await;
    assert_eq!(locked.ok(), "");
    let words = format!("principal/app is locked: {} lease", issued.len());
    assert!(locked.err.starts_with(&words), "{locked:?}");
    for issued in &issued {
        app.reaches(&issued.lease, "revoked").await;
    }
    let role = format!("{}-read", home.databases[0].engine);
    let refused = app.mayfly(&["creds", &role]).await;
    assert_eq!(refused.refused(9), "error: you are locked; ask an administrator");
    app.mayfly(&["whoami"]).await.ok();
    let check = app.mayfly(&["roles", "check", &role]).await;
    assert!(check.code() == 4 && check.out.contains("you are locked"), "{check:?}");
    let listed = root.mayfly(&["lock", "ls"]).await;
    for word in ["principal/app", "stands", "administrator", "its token was in a log"] {
        assert!(listed.ok().contains(word), "{listed:?}");
    }
    let document = root.mayfly(&["lock", "ls", "-o", "json"]).await.json();
    assert_eq!(document["locks"][0]["subject"], "principal/app");
    assert_eq!(document["locks"][0]["carried_out"], true);
    let unlocked = root.mayfly(&["unlock", "principal", "app"]).await;
    assert_eq!(unlocked.ok(), "");
    app.issue(&role, &[]).await;
    root.mayfly(&["unlock", "principal", "app"]).await.refused(5);
}

#[tokio::test]
async fn bad_locks_are_refused() {
    let home = Home::bare();
    let served = home.serve().await;
    let (root, app) = (served.administrator(), served.member("app", &[]).await);
    app.mayfly(&["lock", "principal", "administrator"]).await.refused(4);
    app.mayfly(&["lock", "ls"]).await.refused(4);
    let own = root.mayfly(&["lock", "principal", "administrator"]).await;
    assert!(own.refused(6).contains("locks you out"), "{own:?}");
    root.mayfly(&["lock", "role", "nothing"]).await.refused(5);
    root.mayfly(&["lock", "target", "nothing"]).await.refused(5);
    root.mayfly(&["lock", "principal", "a b"]).await.refused(6);
    root.mayfly(&["lock", "principal", "app", "--for", "0s"]).await.refused(2);
    root.mayfly(&["unlock", "principal", "app"]).await.refused(5);
    let lapsing = root.mayfly(&["lock", "principal", "app", "--for", "2h", "-o", "json"]).await.json();
    assert!(lapsing["lock"]["expire_time"].is_string() && lapsing["leases_ended"] == 0, "{lapsing}");
}
