//! What may I ask for, who am I, and is the database fit for it.

use mayfly::domain::Engine;
use serde_json::Value;

use super::{home::Home, process::Ran};
use crate::support::world::Database;

#[tokio::test]
async fn roles_and_callers_are_told_in_words_and_in_json() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.member("app", &["readers"]).await;
    let caller = app.mayfly(&["whoami"]).await;
    for line in
        ["principal      app", "kind           workload", "groups         readers", "administrator  no"]
    {
        assert!(caller.ok().contains(line), "{caller:?}");
    }
    let roles = app.mayfly(&["roles", "ls", "-o", "json"]).await.json();
    let listed = app.mayfly(&["roles", "ls"]).await;
    for database in &home.databases {
        let (read, write) = (format!("{}-read", database.engine), format!("{}-write", database.engine));
        assert!(listed.ok().contains(&read), "{listed:?}");
        let found = |name: &str| {
            let all = roles["roles"].as_array().unwrap();
            all.iter().find(|role| role["name"] == format!("roles/{name}")).cloned()
        };
        assert_eq!(found(&read).unwrap()["allowed"], true);
        assert!(found(&write).is_none_or(|role| role["allowed"] == false));
        let check = app.mayfly(&["roles", "check", &read, "--ttl", "10m"]).await;
        assert!(check.ok().contains("allowed  yes") && check.out.contains("10m (at most 1h)"), "{check:?}");
        let check = app.mayfly(&["roles", "check", &write, "-o", "json"]).await;
        let document: Value = serde_json::from_str(&check.out).unwrap();
        assert_eq!((check.code(), &document["allowed"]), (4, &false.into()), "{check:?}");
    }
    let root = served.administrator();
    let targets = root.mayfly(&["targets", "ls", "-o", "json"]).await.json();
    assert_eq!(targets["targets"].as_array().unwrap().len(), home.databases.len());
    for database in &home.databases {
        assert!(root.mayfly(&["targets", "ls"]).await.ok().contains(&database.port.to_string()));
    }
}

#[tokio::test]
async fn checking_a_configuration_against_its_databases_finds_an_owner_who_may_do_more_than_own() {
    let Some(home) = Home::somewhere().await else { return };
    let (shell, path) = (home.shell(), home.path("mayfly.toml").display().to_string());
    let check = ["config", "check", "--config", &path];
    let connect = [&check[..], &["--connect"]].concat();
    let before = shell.mayfly(&connect).await;
    assert!(before.out.contains(": ok (1 target, 2 roles)"), "{before:?}");
    let names = home.databases[0].sample.names.clone();
    let mut text = home.read("mayfly.toml");
    // To the group of the other role: it may read or write what is not its own.
    for owner in [&names.write, &names.read] {
        text = text.replacen("owned_objects = \"drop\"", &format!("owned_objects = \"reassign:{owner}\""), 1);
    }
    home.write("mayfly.toml", &text);
    shell.mayfly(&check).await.ok();
    let checked = shell.mayfly(&connect).await;
    assert_eq!(checked.code(), 11, "{checked:?}");
    let problem =
        |line: &&str| line.contains('✗') && line.contains(&names.write) && !before.out.contains(*line);
    assert!(checked.out.lines().any(|line| problem(&line)), "{checked:?}");
    let told = shell.mayfly(&[&connect[..], &["-o", "json"]].concat()).await;
    let told: Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{told:?}"));
    let findings = told["examined"][0]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["severity"] == "problem"), "{told}");
}

#[tokio::test]
async fn health_needs_no_token_and_tells_a_server_that_is_not_there() {
    let home = Home::bare();
    let served = home.serve().await;
    assert_eq!(served.of("").mayfly(&["health"]).await.ok(), "serving");
    assert_eq!(served.of("").mayfly(&["health", "-o", "json"]).await.json()["status"], "serving");
    let shell = served.of("");
    served.stop().await;
    shell.mayfly(&["health"]).await.refused(8);
}

#[tokio::test]
async fn completions_are_scripts_that_their_shells_read() {
    let home = Home::bare();
    for (shell, check) in [("bash", "bash -n"), ("zsh", "zsh -n"), ("fish", "fish -n")] {
        let script = home.shell().mayfly(&["completions", shell]).await;
        assert!(script.ok().contains("idempotency-key") && script.err.is_empty(), "{shell}");
        home.write(shell, &script.out);
        let file = home.path(shell).display().to_string();
        let script = format!("if command -v {shell} >/dev/null; then {check} \"$1\"; fi");
        super::credentials::sh(&home, &script, &[&file]).await;
    }
}

/// What the administration account loses, as the superuser takes it.
fn theft(database: &Database) -> String {
    let administrator = &database.sample.names.administrator;
    match database.engine {
        Engine::Postgres => format!("ALTER ROLE \"{administrator}\" NOCREATEROLE"),
        _ => format!("REVOKE CREATE USER ON *.* FROM `{administrator}`@'%'"),
    }
}

/// What doctor reports to be missing, as statements; it must have ended as its findings say.
fn remedies(ran: &Ran) -> Vec<String> {
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let problems = findings.iter().filter(|finding| finding["severity"] == "problem");
    let remedies: Vec<_> = problems.map(|finding| finding["remedy"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ran.code(), if remedies.is_empty() { 0 } else { 11 }, "{ran:?}");
    remedies
}

#[tokio::test]
async fn doctor_names_the_statement_that_mends_a_target_and_is_content_once_it_was_run() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let root = served.administrator();
    let config = home.path("mayfly.toml").display().to_string();
    for database in &home.databases {
        let (engine, superuser) = (database.engine.as_str(), database.server.unwrap());
        let there = async || remedies(&root.mayfly(&["doctor", engine, "-o", "json"]).await);
        let here =
            async || remedies(&root.mayfly(&["doctor", engine, "--config", &config, "-o", "json"]).await);
        let mend = async || {
            for statement in there().await {
                database.ask_superuser(superuser, &statement).await;
            }
            assert_eq!((there().await, here().await), (Vec::new(), Vec::new()), "{engine}");
        };
        mend().await;
        assert!(root.mayfly(&["doctor", engine]).await.ok().contains('✓'));

        database.ask_superuser(superuser, &theft(database)).await;
        let missing = there().await;
        assert!(!missing.is_empty(), "{engine}");
        assert_eq!(here().await, missing);
        let text = root.mayfly(&["doctor", engine]).await;
        assert_eq!((text.code(), &*text.err), (11, ""), "{text:?}");
        assert!(missing.iter().all(|statement| text.out.contains(statement)), "{missing:?}: {text:?}");
        mend().await;
    }
    root.mayfly(&["doctor", "nowhere", "--config", &config]).await.refused(5);
}
