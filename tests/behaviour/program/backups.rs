//! `mayfly store …`, and what becomes of the time between a backup and its restoration.

use std::{fs, os::unix::fs::PermissionsExt as _};

use mayfly::domain::Password;
use rustix::process::Signal;

use super::home::Home;
use crate::support::{eventually, world::databases};

impl Home {
    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[tokio::test]
async fn what_happened_between_a_backup_and_its_restoration_is_found_out_and_seen_to() {
    for database in databases().await {
        let home = Home::on(vec![database.clone()]);
        let (config, backup) = (home.file("mayfly.toml"), home.file("backup.db"));
        let server = database.server.unwrap();
        let served = home.serve().await;
        let app = served.app().await;
        let role = format!("{}-read", database.engine);
        let (released, kept) = (app.issue(&role, &[]).await, app.issue(&role, &[]).await);
        let made = home.shell().mayfly(&["store", "backup", "--config", &config, &backup]).await;
        made.ok();
        assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
        app.mayfly(&["lease", "release", &released.lease, "--wait"]).await.ok();
        let issued = app.issue(&role, &[]).await;
        let mut session =
            database.login(&issued.account, &Password::new(issued.password.clone())).await.unwrap();

        let running = home.shell().mayfly(&["store", "restore", "--config", &config, &backup]).await;
        assert!(running.refused(9).contains("in use"), "{running:?}");
        served.stop().await;
        let restored = home
            .shell()
            .mayfly(&["store", "restore", "--config", &config, &backup, "-o", "json"])
            .await
            .json();
        assert_eq!((&restored["contents"]["live_leases"], &restored["joined"]), (&2.into(), &true.into()));
        let former = restored["former_audit_file"].as_str().unwrap();
        let head = restored["contents"]["audit_head"].as_str().unwrap();
        home.shell().mayfly(&["audit", "verify", former, "--head", head]).await.ok();
        home.shell().mayfly(&["store", "check", restored["former_store"].as_str().unwrap()]).await.ok();

        let served = home.serve().await;
        let all = served.administrator();
        assert_eq!(all.reaches(&released.lease, "revoked").await["state"], "revoked");
        let adopted = eventually("the account issued since is adopted and gone", async || {
            let ended = !database.has_account(server, &issued.account).await;
            ended.then_some(())?;
            all.leases(&["revoked"]).await.into_iter().find(|lease| lease["name"] == *issued.lease)
        })
        .await;
        assert_eq!(adopted["principal"], "app");
        session.ask("SELECT id FROM orders").await.unwrap_err();
        assert_eq!(all.lease(&kept.lease).await["state"], "active");
        assert!(database.has_account(server, &kept.account).await);
        let again = all.mayfly(&["reconcile", "-o", "json"]).await.json();
        assert_eq!(again["targets"][0]["discrepancies"], serde_json::json!([]));
        served.stop().await;
        let store = home.file("mayfly.db");
        home.shell().mayfly(&["store", "check", &store]).await.ok();
        home.shell().mayfly(&["audit", "verify", "--store", &store, "--head", head]).await.ok();
        home.shell().mayfly(&["audit", "verify", &home.file("audit.jsonl"), "--head", head]).await.ok();
        let log = home.read("audit.jsonl");
        for (action, times) in
            [("store.restored", 1), ("lease.vanished", 1), ("lease.adopted", 1), ("target.reconciled", 2)]
        {
            assert_eq!(log.matches(&format!("\"action\":\"{action}\"")).count(), times, "{action}");
        }
    }
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_a_damaged_one_is_found_out_and_not_restored() {
    let home = Home::bare();
    let served = home.serve().await;
    for number in 0..20 {
        served.member(&format!("app-{number}"), &["readers"]).await;
    }
    let (config, backup, store) = (home.file("mayfly.toml"), home.file("backup.db"), home.file("mayfly.db"));
    let shell = home.shell();
    shell.mayfly(&["store", "backup", "--store", &store, &backup]).await.ok();
    let contents = shell.mayfly(&["store", "check", &backup, "-o", "json"]).await.json();
    assert_eq!((&contents["whole"], &contents["contents"]["tokens"]), (&true.into(), &21.into()));
    let again = shell.mayfly(&["store", "backup", "--config", &config, &backup]).await;
    assert!(again.refused(1).contains("replaces nothing"), "{again:?}");
    served.process.end(Signal::KILL).await;

    // Nothing is left of what was not finished.
    let names = fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("partial")));

    let whole = fs::read(&backup).unwrap();
    let changed = |sql: &str| {
        let path = home.path("changed.db");
        fs::write(&path, &whole).unwrap();
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        fs::read(&path).unwrap()
    };
    for (what, bytes) in [
        (
            "edited",
            changed(
                "UPDATE audit SET record = replace(record, 'token.created', 'token.minted') WHERE seq = 5",
            ),
        ),
        ("miscounted", changed("INSERT INTO live_by_target (target, live) VALUES ('shop', 1)")),
        ("a newer version's", changed("PRAGMA user_version = 99")),
        ("another program's", changed("PRAGMA application_id = 7")),
        ("cut off", whole[..whole.len() - 8192].to_vec()),
        ("empty", Vec::new()),
        ("no database", b"PGDMP and so on, which SQLite did not write\n".repeat(100)),
    ] {
        let damaged = home.file("damaged.db");
        fs::write(&damaged, bytes).unwrap();
        let before = fs::read(&store).unwrap();
        let checked = shell.mayfly(&["store", "check", &damaged]).await;
        assert_eq!(checked.code(), 12, "{what}: {checked:?}");
        let restored = shell.mayfly(&["store", "restore", "--config", &config, &damaged]).await;
        assert_eq!(restored.code(), 12, "{what}: {restored:?}");
        assert_eq!(fs::read(&store).unwrap(), before, "{what}");
    }
    assert_eq!(shell.mayfly(&["store", "check", &home.file("nothing.db")]).await.code(), 1);
    // The store itself was killed in service, and is whole; it can be restored where there is none, too.
    shell.mayfly(&["store", "check", &store]).await.ok();
    for part in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{store}{part}"));
    }
    shell.mayfly(&["store", "restore", "--config", &config, &backup]).await.ok();
    let served = home.serve().await;
    assert_eq!(served.administrator().mayfly(&["token", "ls", "-o", "json"]).await.code(), 0);
    served.stop().await;
}

#[tokio::test]
async fn a_damaged_store_gives_way_to_its_backup_and_is_kept() {
    let home = Home::bare();
    let served = home.serve().await;
    let (config, backup, store) = (home.file("mayfly.toml"), home.file("backup.db"), home.file("mayfly.db"));
    let shell = home.shell();
    shell.mayfly(&["store", "backup", "--config", &config, &backup]).await.ok();
    served.stop().await;
    let broken = b"this is no database any more".repeat(500);
    fs::write(&store, &broken).unwrap();
    let refused = home.start().ended().await;
    assert_ne!(refused.code(), 0, "{refused:?}");
    assert!(refused.err.contains("restore a backup"), "{refused:?}");
    let restored =
        shell.mayfly(&["store", "restore", "--config", &config, &backup, "-o", "json"]).await.json();
    assert_eq!(fs::read(restored["former_store"].as_str().unwrap()).unwrap(), broken);
    home.serve().await.stop().await;
}
