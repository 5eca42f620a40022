//! What the server makes of its configuration, its first administrator and its store.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rustix::process::Signal;

use super::home::Home;

/// As `Home::bare`, but the first token is printed.
fn without_token_file() -> Home {
    let home = Home::bare();
    home.replace("[bootstrap]\nadministrator_token_file = \"administrator.token\"\n", "");
    home
}

#[tokio::test]
async fn the_first_administrators_token_is_printed_once_and_only_on_standard_output() {
    let home = without_token_file();
    let first = home.serve().await;
    let out = first.process.said("\n").await;
    let token = out.trim().to_owned();
    assert_eq!(out, format!("{token}\n"));
    assert!(token.starts_with("mf_") && token.len() == 59, "{out}");
    let caller = first.of(&token).mayfly(&["whoami", "-o", "json"]).await.json();
    assert_eq!((&caller["administrator"], &caller["principal_kind"]), (&true.into(), &"human".into()));
    let ended = first.stop().await;
    assert_eq!(ended.out, out);
    assert!(ended.err.contains("first administrator token") && !ended.err.contains(&token), "{}", ended.err);
    assert!(!home.read("audit.jsonl").contains(&token));

    let second = home.serve().await;
    let caller = second.of(&token).mayfly(&["whoami", "-o", "json"]).await.json();
    assert_eq!(caller["administrator"], true);
    let ended = second.stop().await;
    assert_eq!(ended.out, "");
    assert!(!ended.err.contains("first administrator token"), "{}", ended.err);
}

#[tokio::test]
async fn the_first_administrators_token_can_come_from_a_file_that_is_not_needed_later() {
    let home = Home::bare();
    let served = home.serve().await;
    let caller = served.administrator().mayfly(&["whoami", "-o", "json"]).await.json();
    assert_eq!(caller["administrator"], true);
    let ended = served.stop().await;
    assert_eq!(ended.out, "");
    fs::remove_file(home.path("administrator.token")).unwrap();
    let again = home.serve().await;
    again.process.logged("needed only as long as the store is empty").await;
    again.administrator().mayfly(&["whoami"]).await.ok();
}

#[tokio::test]
async fn a_token_file_that_is_missing_senseless_or_open_to_others_is_told_of_without_its_content() {
    let home = Home::bare();
    home.write_secret("administrator.token", "mf_hunter2hunter2\n");
    let ended = home.start().ended().await;
    let words = ended.err.lines().last().unwrap();
    assert_eq!((ended.code(), &*ended.out), (1, ""), "{ended:?}");
    assert!(words.contains("bootstrap.administrator_token_file"), "{words}");
    assert!(words.contains("not a Mayfly token") && !ended.err.contains("hunter2"), "{words}");

    home.write_secret("administrator.token", "two\nlines\n");
    let ended = home.start().ended().await;
    assert!(ended.refused(2).contains("mayfly.toml:"), "{ended:?}");

    fs::remove_file(home.path("administrator.token")).unwrap();
    let ended = home.start().ended().await;
    assert_eq!((ended.code(), &*ended.out), (1, ""), "{ended:?}");
    assert!(ended.err.contains("administrator_token_file"), "{ended:?}");

    home.write("administrator.token", &home.administrator);
    fs::set_permissions(home.path("administrator.token"), fs::Permissions::from_mode(0o644)).unwrap();
    let served = home.serve().await;
    served.process.logged("administrator.token").await;
    served.administrator().mayfly(&["whoami"]).await.ok();
}

#[tokio::test]
async fn a_store_that_is_in_use_or_no_store_is_left_alone() {
    let home = Home::bare();
    let served = home.serve().await;
    let second = home.start().ended().await;
    assert_eq!(second.code(), 1, "{second:?}");
    assert!(second.err.contains("in use") || second.err.contains("another"), "{second:?}");
    served.administrator().mayfly(&["whoami"]).await.ok();
    served.stop().await;

    home.write("mayfly.db", "this is a letter to my aunt, and no database, however long one looks at it");
    let ended = home.start().ended().await;
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(home.read("mayfly.db").starts_with("this is a letter"));
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let (first, second) = (Home::bare(), Home::bare());
    let served = first.serve().await;
    let taken = served.address.strip_prefix("http://").unwrap();
    second.replace("127.0.0.1:0", taken);
    let ended = second.start().ended().await;
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.err.contains(taken) && ended.err.contains("in use"), "{ended:?}");
}

#[tokio::test]
async fn clear_text_beyond_loopback_must_be_asked_for_in_the_configuration() {
    let home = Home::bare();
    home.replace("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\"");
    let ended = home.start().ended().await;
    let words = ended.refused(2);
    assert!(
        words.contains("mayfly.toml:2:") && words.contains("allow_clear_text_beyond_loopback"),
        "{words}"
    );
    home.replace("[server]\n", "[server]\nallow_clear_text_beyond_loopback = true\n");
    let process = home.start();
    process.logged("clear text").await;
    process.logged("\"message\":\"listening\"").await;
    assert_eq!(process.end(Signal::TERM).await.code(), 0);
}

#[tokio::test]
async fn every_mistake_in_a_configuration_is_told_with_file_and_line() {
    let home = Home::bare();
    let file = home.path("mayfly.toml");
    let file = file.to_str().unwrap();
    let shell = home.shell();
    let checked = shell.mayfly(&["config", "check", "--config", file]).await;
    assert_eq!(checked.ok(), format!("{file}: ok (0 targets, 0 roles)"));
    let lines = home.read("mayfly.toml").lines().count();
    home.append(
        "[roles.reader]\ntarget = \"nowhere\"\ndefault_ttl = \"2h\"\nmax_ttl = \"1h\"\nmember_fo = [\"x\"]\n\
         allow = [\"everybody\"]\n",
    );
    let checked = shell.mayfly(&["config", "check", "--config", file]).await;
    let words = checked.refused(2);
    for (line, key) in [(3, "nowhere"), (4, "default_ttl"), (6, "member_of"), (7, "allow")] {
        let place = format!("mayfly.toml:{}:", lines + line);
        let told = words.lines().any(|told| told.contains(&place));
        assert!(told && words.contains(key), "{place} {key}: {words}");
    }
    let served = home.start().ended().await;
    assert_eq!(served.refused(2), words);
    let checked = shell.mayfly(&["config", "check", "-o", "json", "--config", "/nonexistent.toml"]).await;
    let error: serde_json::Value = serde_json::from_str(&checked.err).unwrap();
    assert_eq!((checked.code(), &error["exit_code"]), (2, &2.into()));
    assert!(error["error"]["message"].as_str().unwrap().contains("/nonexistent.toml"), "{error}");
}
