//! Rotating administration passwords, as operators do it.

use std::os::unix::fs::PermissionsExt as _;

use mayfly::domain::Password;
use serde_json::json;

use super::home::Home;

#[tokio::test]
async fn a_rotation_survives_a_restart_and_its_password_is_nowhere_to_be_read() {
    let home = Home::everywhere().await;
    let key = home.path("sealing.key");
    home.shell().mayfly(&["store", "sealing-key", key.to_str().unwrap()]).await.ok();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    home.shell().mayfly(&["store", "sealing-key", key.to_str().unwrap()]).await.refused(1);
    home.replace("level = \"debug\"", "level = \"trace\"");
    let served = home.serve().await;
    let root = served.administrator();
    for database in &home.databases {
        let refused = root.mayfly(&["target", "rotate", database.engine.as_str()]).await;
        assert!(refused.refused(9).contains("mayfly store sealing-key"), "{refused:?}");
    }
    home.append("[sealing]\nkey_file = \"sealing.key\"\n");
    served.reload("sealing").await;
    let app = served.app().await;
    for database in &home.databases {
        let engine = database.engine.as_str();
        app.mayfly(&["targets", "rotate", engine]).await.refused(4);
        let done = root.mayfly(&["target", "rotate", engine, "-o", "json"]).await.json();
        assert_eq!((&done["name"], &done["resumed"]), (&json!(format!("targets/{engine}")), &json!(false)));
        app.issue(&format!("{engine}-read"), &[]).await;
    }
    let done = root.mayfly(&["store", "reseal", "-o", "json"]).await.json();
    assert_eq!(done["unchanged_count"], home.databases.len());
    let first = served.stop().await;

    // The file's password works no more; what is kept does, for the server and for the doctor.
    let served = home.serve().await;
    let app = served.of(&app_token(&served).await);
    let config = home.path("mayfly.toml");
    for database in &home.databases {
        let engine = database.engine.as_str();
        app.issue(&format!("{engine}-read"), &[]).await;
        let words = ["doctor", engine, "--config", config.to_str().unwrap(), "-o", "json"];
        let examined = home.shell().mayfly(&words).await;
        assert!(
            !examined.out.contains("does not let") && !examined.out.contains("authentication"),
            "{examined:?}"
        );
    }
    let second = served.stop().await;
    let store = std::fs::read(home.path("mayfly.db")).unwrap();
    let audit = home.read("audit.jsonl");
    assert!(audit.contains("target.rotation_began") && audit.contains("target.rotated"));
    let key = home.read("sealing.key");
    for written in [first.err.as_bytes(), second.err.as_bytes(), audit.as_bytes(), &store] {
        assert!(
            !written.windows(20).any(|window| window == &key.as_bytes()[..20]),
            "the key is written down"
        );
        for password in passwords(&home) {
            let found = written.windows(password.expose().len()).any(|w| w == password.expose().as_bytes());
            assert!(!found, "a password is written down");
        }
    }
}

async fn app_token(served: &super::process::Mayfly<'_>) -> String {
    let root = served.administrator();
    let made =
        root.mayfly(&["token", "create", "--principal", "again", "--kind", "workload", "--group", "readers"]);
    made.await.ok().to_owned()
}

/// The passwords of the last rotations.
fn passwords(home: &Home) -> Vec<Password> {
    let keyring = mayfly::sealing::Keyring::parse(&home.read("sealing.key")).unwrap();
    let open = |database: &crate::support::world::Database| {
        let target = database.engine.as_str().parse().unwrap();
        let (instance, kept) = mayfly::store::sqlite::read_secret(&home.path("mayfly.db"), &target).unwrap();
        let kept = kept.unwrap();
        let place = mayfly::sealing::Place { instance, target: &target, account: &kept.account };
        keyring.open(place, &kept.current.unwrap()).unwrap()
    };
    home.databases.iter().map(open).collect()
}
