//! `mayfly run` and `mayfly connect` with the real clients.

use std::path::Path;

use mayfly::domain::Engine;
use rustix::process::Signal;

use super::{home::Home, process::Shell};
use crate::support::{eventually, world::Database};

fn role(database: &Database) -> String {
    format!("{}-read", database.engine)
}

/// The only lease of the caller has been released and its account is gone.
async fn released(shell: &Shell, database: &Database, name: &str) {
    let lease = shell.reaches(name, "released").await;
    let account = lease["account"].as_str().unwrap();
    assert!(!database.has_account(database.server.unwrap(), account).await, "{account}");
}

#[tokio::test]
async fn the_clients_find_the_credential_in_their_environment_and_the_lease_ends_with_them() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let query = match database.engine {
            Engine::Postgres => "psql -XAtc 'select count(*) from orders'",
            _ => "mariadb -Ne 'select count(*) from orders'",
        };
        let script = format!(
            "{query}; echo \"$MAYFLY_LEASE\"; echo \"${{MAYFLY_TOKEN-none}}\"; echo \"${{MYSQL_HOME-/nowhere}}\"; \
             echo \"$DATABASE_URL\"; exit 7"
        );
        // What is in the user's own environment leads nobody astray.
        let shell = app.with("PGHOST", "192.0.2.1").with("PGSERVICE", "other").with("MYSQL_PWD", "wrong");
        let ran = shell.mayfly(&["run", &role(database), "--", "sh", "-c", &script]).await;
        assert_eq!(ran.code(), 7, "{}: {ran:?}", database.engine);
        let lines: Vec<&str> = ran.out.lines().collect();
        let [count, lease, token, files, url] = lines[..] else { panic!("{ran:?}") };
        assert_eq!((count, token), ("4", "none"), "{}: {ran:?}", database.engine);
        assert!(url.contains(&format!("@127.0.0.1:{}/", database.port)), "{url}");
        assert!(!Path::new(files).exists(), "{files}");
        released(&app, database, lease).await;
    }
}

#[tokio::test]
async fn a_child_that_is_killed_ends_its_lease_all_the_same() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let script = "echo \"$MAYFLY_LEASE\"; kill -KILL $$";
        let ran = app.mayfly(&["run", &role(database), "--", "sh", "-c", script]).await;
        assert_eq!(ran.code(), 137, "{ran:?}");
        released(&app, database, ran.out.trim()).await;
    }
}

#[tokio::test]
async fn signals_reach_the_child_and_its_answer_comes_back() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let database = &home.databases[0];
    for (name, signal) in [("TERM", Signal::TERM), ("INT", Signal::INT), ("USR1", Signal::USR1)] {
        let script =
            format!("trap 'exit 9' {name}; echo \"$MAYFLY_LEASE\" ready; while :; do sleep 0.02; done");
        let running = app.start(&["run", &role(database), "--", "sh", "-c", &script]);
        let out = running.said("ready").await;
        let ended = running.end(signal).await;
        assert_eq!(ended.code(), 9, "{name}: {ended:?}");
        released(&app, database, out.split_whitespace().next().unwrap()).await;
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_told_before_anything_is_issued() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let role = role(&home.databases[0]);
    app.mayfly(&["run", &role, "--", "no-such-program-anywhere"]).await.refused(127);
    app.mayfly(&["run", &role, "--", "/etc/passwd"]).await.refused(126);
    app.mayfly(&["run", "no-such-role", "--", "true"]).await.refused(5);
    let ran = app.mayfly(&["run", &role]).await;
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert_eq!(app.leases(&[]).await.len(), 0);
}

#[tokio::test]
async fn a_lease_that_ends_under_a_running_command_is_told_and_the_command_goes_on() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let database = &home.databases[0];
    let mut running = app.start(&[
        "run",
        &role(database),
        "--",
        "sh",
        "-c",
        "echo \"$MAYFLY_LEASE\" ready; read x; echo $x",
    ]);
    let out = running.said("ready").await;
    let lease = out.split_whitespace().next().unwrap();
    served.administrator().mayfly(&["lease", "revoke", lease, "--reason", "leaked", "--wait"]).await.ok();
    running.feed("bye\n").await;
    let ended = running.ended().await;
    assert_eq!((ended.code(), ended.out.lines().last()), (0, Some("bye")), "{ended:?}");
    assert_eq!(app.lease(lease).await["state"], "revoked");
}

#[tokio::test]
async fn connect_opens_the_engines_own_client_and_leaves_nothing_behind() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    // Tells where the client's secrets are, which its arguments and environment would otherwise keep to themselves.
    std::fs::create_dir(home.path("bin")).unwrap();
    for name in ["psql", "mariadb", "mysql"] {
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = '--no-defaults --version' ] || {{ echo \"file ${{PGPASSFILE-$1}}\"; \
             echo \"password ${{PGPASSWORD-none}} ${{MYSQL_PWD-none}}\"; }}\n\
             exec /usr/bin/{} \"$@\"\n",
            name.replace("mysql", "mariadb"),
        );
        home.write(&format!("bin/{name}"), &script);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(home.path(&format!("bin/{name}")), mode).unwrap();
    }
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    for database in &home.databases {
        let arguments: &[&str] = match database.engine {
            Engine::Postgres => &["-XAtc", "select count(*) from orders"],
            _ => &["-Ne", "select count(*) from orders"],
        };
        let role = role(database);
        let arguments = [&["connect", &role, "--ttl", "2m", "--"], arguments].concat();
        let ran = app.with("PATH", &path).mayfly(&arguments).await;
        let lines: Vec<&str> = ran.ok().lines().collect();
        let [file, password, count] = lines[..] else { panic!("{ran:?}") };
        assert_eq!((password, count), ("password none none", "4"), "{ran:?}");
        let file = file.strip_prefix("file ").unwrap();
        let file = Path::new(file.strip_prefix("--defaults-file=").unwrap_or(file));
        assert!(file.is_absolute() && !file.exists() && !file.parent().unwrap().exists(), "{ran:?}");
        // The client's own failure is the command's.
        let wrong = match database.engine {
            Engine::Postgres => ["-Xc", "select nonsense"],
            _ => ["-e", "select nonsense"],
        };
        let ran = app.mayfly(&[&["connect", &role, "--"], &wrong[..]].concat()).await;
        assert!(ran.code() == 1 && ran.err.contains("nonsense"), "{ran:?}");
    }
    eventually("nothing is live", async || app.leases(&["active", "ending"]).await.is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_its_command_runs() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let app = served.app().await;
    let database = &home.databases[0];
    let script = "echo \"$MAYFLY_LEASE\" ready; read x";
    let mut running = app.start(&["run", &role(database), "--ttl", "3s", "--", "sh", "-c", script]);
    let out = running.said("ready").await;
    let lease = out.split_whitespace().next().unwrap();
    let first = app.lease(lease).await["expire_time"].clone();
    eventually("the expiry moves", async || (app.lease(lease).await["expire_time"] != first).then_some(()))
        .await;
    running.feed("go\n").await;
    let ended = running.ended().await;
    assert_eq!((ended.code(), &*ended.err), (0, ""), "{ended:?}");
    released(&app, database, lease).await;
}

#[tokio::test]
async fn connecting_without_a_client_says_what_to_install_and_leaves_nothing() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.app().await;
    for database in &home.databases {
        let ran = app.with("PATH", "/nonexistent").mayfly(&["connect", &role(database)]).await;
        assert!(ran.refused(127).contains("apt install"), "{ran:?}");
    }
    let live = ["active", "ending", "provisioning"];
    eventually("nothing is live", async || app.leases(&live).await.is_empty().then_some(())).await;
}
