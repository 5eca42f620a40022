//! Nothing that could be used to log in is ever written down.

use std::fs;

use rustix::process::Signal;

use super::{home::Home, process::Ran};

/// The secrets a run gave out, to be looked for where they must not be.
struct Secrets(Vec<String>);

impl Secrets {
    fn of(home: &Home) -> Self {
        let passwords = home.databases.iter().map(|database| &database.sample.administrator.password);
        let mut all: Vec<String> = passwords.map(|password| password.expose().to_owned()).collect();
        all.push(home.administrator.clone());
        Self(all)
    }

    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for secret in &self.0 {
            // A token is a secret without its prefix, too.
            let secret = secret.strip_prefix("mf_").unwrap_or(secret).as_bytes();
            assert!(secret.len() > 8);
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "a secret is in {place}: {}", String::from_utf8_lossy(bytes));
        }
    }

    /// Keeps the words of a command clean as well.
    fn of_words(&self, ran: &Ran) {
        self.assert_absent("the words of a command", ran.err.as_bytes());
    }
}

#[tokio::test]
async fn no_secret_is_in_the_logs_the_audit_file_the_store_or_the_words_of_a_command() {
    let home = Home::everywhere().await;
    let mut secrets = Secrets::of(&home);
    home.replace("level = \"debug\"", "level = \"trace\"");
    let served = home.serve().await;
    let root = served.administrator();
    let made =
        root.mayfly(&["token", "create", "--principal", "ci", "--kind", "workload", "--group", "readers"]);
    let made = made.await;
    secrets.0.push(made.ok().to_owned());
    secrets.of_words(&made);
    let ci = served.of(made.ok());
    for database in &home.databases {
        let role = format!("{}-read", database.engine);
        let issued = ci.issue(&role, &["--idempotency-key", &role]).await;
        let password = mayfly::domain::Password::new(issued.password.clone());
        let mut session = database.login(&issued.account, &password).await.unwrap();
        session.ask("SELECT id FROM orders").await.unwrap();
        secrets.0.push(issued.password);
        ci.mayfly(&["lease", "renew", &issued.lease]).await.ok();
        ci.mayfly(&["lease", "sessions", &issued.lease]).await.ok();
        for form in ["url", "env"] {
            let ran = ci.mayfly(&["creds", &role, "--format", form]).await;
            let password = ran.ok().lines().find_map(|line| match form {
                "url" => line.split(':').nth(2)?.split('@').next().map(str::to_owned),
                _ => line
                    .split_once("PASSWORD=")
                    .or(line.split_once("PWD="))
                    .map(|(_, value)| value.trim_matches('\'').to_owned()),
            });
            secrets.0.push(password.unwrap());
            secrets.of_words(&ran);
        }
        let script = "printf '%s' \"${PGPASSWORD-$MYSQL_PWD}\"";
        let ran = ci.mayfly(&["run", &role, "--", "sh", "-c", script]).await;
        secrets.0.push(ran.ok().to_owned());
        secrets.of_words(&ran);
        let refused = ci.mayfly(&["creds", &role, "--ttl", "2h"]).await;
        secrets.of_words(&refused);
        let report = root.mayfly(&["doctor", database.engine.as_str()]).await;
        secrets.assert_absent("what doctor says", report.out.as_bytes());
        let all = ["lease", "revoke", "--target", database.engine.as_str(), "--reason", "end"];
        root.mayfly(&all).await.ok();
    }
    let foreign = Home::bare().administrator;
    for bad in [&foreign, &home.administrator[..50]] {
        secrets.of_words(&served.of(bad).mayfly(&["whoami"]).await);
    }
    secrets.0.push(foreign);
    let served_at = served.address.clone();
    served.reload("nothing changed").await;
    // Files are read while it runs, the journal of the store included, and once more after a crash.
    look(&home, &secrets);
    let ended = served.process.end(Signal::KILL).await;
    assert!(ended.err.contains(served_at.strip_prefix("http://").unwrap()));
    assert_eq!(ended.out, "");
    secrets.assert_absent("the log", ended.err.as_bytes());
    let again = home.serve().await.stop().await;
    secrets.assert_absent("the log", again.err.as_bytes());
    look(&home, &secrets);
}

/// Everything beside the configuration's own secret files.
fn look(home: &Home, secrets: &Secrets) {
    let mut looked = Vec::new();
    for entry in fs::read_dir(home.path("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|extension| extension == "password" || extension == "token") {
            continue;
        }
        secrets.assert_absent(&name, &fs::read(&path).unwrap());
        looked.push(name);
    }
    for name in ["mayfly.db", "audit.jsonl", "mayfly.toml"] {
        assert!(looked.iter().any(|looked| looked == name), "{looked:?}");
    }
}
