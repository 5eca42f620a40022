//! `mayfly audit …`: what was written can be followed, and what was changed afterwards is found.

use serde_json::Value;

use super::{home::Home, process::Shell};
use crate::support::eventually;

/// Some history; the file has all of it once the server has stopped.
async fn history(home: &Home) -> Vec<String> {
    let served = home.serve().await;
    let app = served.member("app", &["readers"]).await;
    if let Some(database) = home.databases.first() {
        let issued = app.issue(&format!("{}-read", database.engine), &[]).await;
        app.mayfly(&["lease", "release", &issued.lease, "--wait"]).await.ok();
    }
    app.mayfly(&["creds", "no-such-role"]).await.refused(5);
    app.mayfly(&["token", "ls"]).await.refused(4);
    served.stop().await;
    home.read("audit.jsonl").lines().map(str::to_owned).collect()
}

/// `audit verify` on these lines: its exit code and what it says.
async fn verify(home: &Home, lines: &[&str], more: &[&str]) -> (i32, String) {
    home.write("copy.jsonl", &(lines.join("\n") + "\n"));
    let file = home.path("copy.jsonl").display().to_string();
    let ran = home.shell().mayfly(&[&["audit", "verify", &file], more].concat()).await;
    (ran.code(), if ran.code() == 0 { ran.out.trim().to_owned() } else { ran.err })
}

#[tokio::test]
async fn a_log_that_was_edited_shortened_or_shuffled_is_found_out() {
    let Some(home) = Home::somewhere().await else { return };
    let history = history(&home).await;
    let lines: Vec<&str> = history.iter().map(String::as_str).collect();
    assert!(lines.len() > 6, "{lines:?}");
    let (code, head) = verify(&home, &lines, &[]).await;
    assert_eq!(code, 0, "{head}");
    assert!(head.starts_with(&format!("{}:", lines.len())), "{head}");
    assert_eq!(verify(&home, &lines, &["--head", &head]).await, (0, head.clone()));

    let edited = lines[3].replacen("\"action\":\"", "\"action\":\"x", 1);
    assert_ne!(edited, lines[3]);
    let with = |index: usize, line: &str| {
        let mut changed: Vec<String> = history.clone();
        line.clone_into(&mut changed[index]);
        changed
    };
    let swapped = {
        let mut changed = history.clone();
        changed.swap(2, 3);
        changed
    };
    let removed = [&history[..3], &history[4..]].concat();
    let doubled = [&history[..4], &history[3..]].concat();
    let torn = with(lines.len() - 1, &lines.last().unwrap()[..20]);
    for (what, changed) in [
        ("edited", with(3, &edited)),
        ("swapped", swapped),
        ("removed", removed),
        ("doubled", doubled),
        ("torn", torn),
        ("no JSON", with(2, "hello")),
    ] {
        let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
        let (code, words) = verify(&home, &changed, &[]).await;
        assert_eq!(code, 12, "{what}: {words}");
        assert!(words.starts_with("error: ") && words.contains("copy.jsonl"), "{what}: {words}");
    }
    // Cut off at the end, a log is still a log: only who kept its head can tell.
    let short = &lines[..lines.len() - 2];
    assert_eq!(verify(&home, short, &[]).await.0, 0);
    assert_eq!(verify(&home, short, &["--head", &head]).await.0, 12);
    let json = home.shell().mayfly(&["audit", "verify", "/nonexistent", "-o", "json"]).await;
    assert_eq!((json.code(), &*json.out), (1, ""));
}

#[tokio::test]
async fn the_store_is_verified_in_service_and_a_changed_record_in_it_is_found() {
    let Some(home) = Home::somewhere().await else { return };
    let history = history(&home).await;
    let store = home.path("mayfly.db").display().to_string();
    let verify = async |shell: &Shell| shell.mayfly(&["audit", "verify", "--store", &store]).await;
    let head = verify(&home.shell()).await.ok().to_owned();
    assert!(head.starts_with(&format!("{}:", history.len())), "{head}");
    let served = home.serve().await;
    let in_service = verify(&home.shell()).await.ok().to_owned();
    assert!(in_service.starts_with(&format!("{}:", history.len() + 1)), "{in_service}");
    served.stop().await;
    let connection = rusqlite::Connection::open(&store).unwrap();
    let changed = connection
        .execute(
            "UPDATE audit SET record = replace(record, 'token.created', 'token.revoked') WHERE seq = \
             (SELECT max(seq) FROM audit WHERE instr(record, 'token.created') > 0)",
            [],
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(connection);
    let found = verify(&home.shell()).await;
    found.refused(12);
}

#[tokio::test]
async fn the_tail_gives_the_last_records_exactly_as_they_were_sealed() {
    let Some(home) = Home::somewhere().await else { return };
    let history = history(&home).await;
    let served = home.serve().await;
    let root = served.administrator();
    let sealed = root.mayfly(&["audit", "tail", "-n", "500", "-o", "json"]).await;
    assert_eq!(sealed.ok().lines().take(history.len()).collect::<Vec<_>>(), history);
    let (code, _) = verify(&home, &sealed.ok().lines().collect::<Vec<_>>(), &[]).await;
    assert_eq!(code, 0);
    let text = root.mayfly(&["audit", "tail", "-n", "500"]).await;
    assert_eq!(text.ok().lines().count(), sealed.ok().lines().count());
    for word in ["lease.issued", "lease.released", "refused", "app (workload)"] {
        assert!(text.out.contains(word), "{word}: {}", text.out);
    }
    assert_eq!(root.mayfly(&["audit", "tail", "-n", "1"]).await.ok().lines().count(), 1);
    let following = root.start(&["audit", "tail", "-n", "0", "--follow", "-o", "json"]);
    // It follows from whenever it began: until it has, there may be nothing to see.
    eventually("a new record", async || {
        root.mayfly(&["creds", "no-such-role"]).await.refused(5);
        following.out().lines().next().map(str::to_owned)
    })
    .await;
    let first: Value = serde_json::from_str(following.out().lines().next().unwrap()).unwrap();
    assert_eq!(first["outcome"], "refused");
}

#[tokio::test]
async fn records_are_searched_and_exported_by_administrators_only() {
    let Some(home) = Home::somewhere().await else { return };
    history(&home).await;
    let served = home.serve().await;
    let root = served.administrator();
    let whole = root.mayfly(&["audit", "export"]).await.ok().to_owned();
    let lines =
        |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let all = lines(&whole);
    assert!(all.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()));
    let search = async |options: &[&str]| -> Vec<Value> {
        let words = [&["audit", "search", "-o", "json"], options].concat();
        lines(root.mayfly(&words).await.ok())
    };
    let of_app = search(&["--principal", "app", "-n", "0"]).await;
    assert!(of_app.len() >= 5 && of_app.len() < all.len(), "{of_app:?}");
    let issued = search(&["--action", "lease.issued", "--principal", "app"]).await;
    let [issued] = issued.as_slice() else { panic!("{issued:?}") };
    let lease = issued["resource"].as_str().unwrap();
    let life = search(&["--lease", lease, "--oldest-first"]).await;
    let actions: Vec<_> = life.iter().filter_map(|record| record["action"].as_str()).collect();
    assert_eq!(actions, ["lease.requested", "lease.issued", "lease.ending", "lease.released"]);
    let (role, target) = (&issued["details"]["role"], &issued["details"]["target"]);
    for record in &life {
        assert_eq!((&record["details"]["role"], &record["details"]["target"]), (role, target), "{record}");
        assert_eq!(record["details"]["principal"], "app", "{record}");
    }
    let by_role = search(&["--role", role.as_str().unwrap(), "--action", "lease.released"]).await;
    assert_eq!(by_role.len(), 1, "{by_role:?}");
    assert!(search(&["--outcome", "refused", "--since", "1h"]).await.len() >= 2);
    assert_eq!(search(&["--until", "2020-01-01"]).await, [Value::Null; 0]);
    assert_eq!(search(&["-n", "2"]).await.len(), 2);

    let events = root.mayfly(&["audit", "export", "--format", "ocsf", "--lease", lease]).await;
    let classes: Vec<_> = lines(events.ok())
        .iter()
        .map(|event| (event["type_uid"].as_u64(), event["user"]["name"].clone()))
        .collect();
    let app = Value::from("app");
    // Asked for, given, about to be taken, taken.
    let expected = [300_599, 300_501, 300_502, 300_502].map(|kind| (Some(kind), app.clone()));
    assert_eq!(classes, expected);

    let bad = root.mayfly(&["audit", "search", "--lease", "x", "--role", "'; --"]).await;
    bad.refused(6);
    assert!(bad.err.contains("filter.lease") && bad.err.contains("filter.role"), "{}", bad.err);
    let turned = root.mayfly(&["audit", "search", "--since", "2026-01-02", "--until", "2026-01-01"]).await;
    turned.refused(6);
    root.mayfly(&["audit", "search", "--since", "yesterday"]).await.refused(2);
    let app = served.member("other", &[]).await;
    app.mayfly(&["audit", "search"]).await.refused(4);
    app.mayfly(&["audit", "export"]).await.refused(4);
}

#[tokio::test]
async fn a_rotated_file_is_continued_by_the_next() {
    let home = Home::bare();
    let served = home.serve().await;
    let app = served.member("app", &[]).await;
    app.mayfly(&["token", "ls"]).await.refused(4);
    std::fs::rename(home.path("audit.jsonl"), home.path("audit.jsonl.1")).unwrap();
    served.reload("nothing changed").await;
    app.mayfly(&["token", "ls"]).await.refused(4);
    served.stop().await;
    let [old, new] = ["audit.jsonl.1", "audit.jsonl"].map(|name| home.path(name).display().to_string());
    assert!(!home.read("audit.jsonl").is_empty() && !home.read("audit.jsonl.1").is_empty());
    let whole = home.shell().mayfly(&["audit", "verify", &old, &new]).await;
    let store = home.path("mayfly.db").display().to_string();
    assert_eq!(whole.ok(), home.shell().mayfly(&["audit", "verify", "--store", &store]).await.ok());
    home.shell().mayfly(&["audit", "verify", &new, &old]).await.refused(12);
}
