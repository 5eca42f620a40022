//! `SIGHUP`: the configuration is taken over live, all or nothing.

use super::home::{Home, role_section};

#[tokio::test]
async fn a_new_role_is_usable_at_once_and_a_removed_one_is_gone() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    let original = home.read("mayfly.toml");
    for database in &home.databases {
        let role = format!("{}-new", database.engine);
        app.mayfly(&["creds", &role]).await.refused(5);
        home.write(
            "mayfly.toml",
            &(original.clone() + &role_section(&role, database, "read", "principal:app")),
        );
        served.reload(&format!("roles.{role}")).await;
        let issued = app.issue(&role, &[]).await;
        home.write("mayfly.toml", &original);
        served.reload(&format!("roles.{role}")).await;
        app.mayfly(&["creds", &role]).await.refused(5);
        // Its lease lives on, and can be ended.
        app.mayfly(&["lease", "release", &issued.lease, "--wait"]).await.ok();
        assert!(!database.has_account(database.server.unwrap(), &issued.account).await);
    }
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_says_so() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let role = format!("{}-read", home.databases[0].engine);
    let original = home.read("mayfly.toml");
    for broken in [original.replace("max_ttl", "max_tlt"), "[[[".to_owned(), String::new()] {
        home.write("mayfly.toml", &broken);
        let told = served.reload("the configuration stays as it was").await;
        assert!(told.contains("mayfly.toml") && told.contains("ERROR"), "{told}");
        app.issue(&role, &[]).await;
    }
    home.write("mayfly.toml", &original);
    served.reload("nothing changed").await;
}

#[tokio::test]
async fn what_needs_a_restart_is_refused_as_a_whole() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let original = home.read("mayfly.toml");
    home.replace("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"");
    home.append(&role_section("later", &home.databases[0], "read", "principal:app"));
    let told = served.reload("the configuration stays as it was").await;
    assert!(told.contains("server.listen") && told.contains("restart"), "{told}");
    app.mayfly(&["creds", "later"]).await.refused(5);
    home.write("mayfly.toml", &original);
    home.append(&role_section("later", &home.databases[0], "read", "principal:app"));
    served.reload("roles.later").await;
    app.issue("later", &[]).await;
}

#[tokio::test]
async fn a_target_with_live_leases_stays() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let engine = home.databases[0].engine;
    let issued = app.issue(&format!("{engine}-read"), &[]).await;
    let original = home.read("mayfly.toml");
    home.write("mayfly.toml", original.split("\n[targets.").next().unwrap());
    let told = served.reload("the configuration stays as it was").await;
    assert!(told.contains(&format!("mayfly lease revoke --target {engine}")), "{told}");
    app.issue(&format!("{engine}-read"), &[]).await;
    let root = served.administrator();
    root.mayfly(&["lease", "revoke", "--target", engine.as_str(), "--reason", "moving out"]).await.ok();
    root.reaches(&issued.lease, "revoked").await;
    crate::support::eventually("the target is empty", async || {
        root.leases(&["active", "ending", "provisioning"]).await.is_empty().then_some(())
    })
    .await;
    served.reload(&format!("targets.{engine}")).await;
    assert_eq!(root.mayfly(&["targets", "ls", "-o", "json"]).await.json()["targets"], serde_json::json!([]));
    app.mayfly(&["creds", &format!("{engine}-read")]).await.refused(5);
    // The books of what was stay readable.
    assert_eq!(root.lease(&issued.lease).await["state"], "revoked");
}
