//! `mayfly policy`, which needs no server; and policies of a server that is running.

use std::{fs, path::Path};

use super::{
    home::{Home, role_section},
    process::{Process, Ran, program},
};

/// The starter set of this repository.
const STARTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

async fn policy(arguments: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.arg("policy").args(arguments);
    Process::spawn(command).ended().await
}

fn write(directory: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn the_starter_policies_come_to_what_their_tests_expect() {
    let tested = policy(&["test", STARTER]).await;
    assert!(tested.ok().contains("cases, as expected"), "{tested:?}");
    let configuration = format!("{STARTER}/mayfly.toml");
    let checked = policy(&["check", "--config", &configuration, "-o", "json"]).await.json();
    assert!(checked["policies"].as_u64().unwrap() > 10, "{checked}");
    assert_eq!(checked["warnings"], serde_json::json!([]));
    policy(&["check", STARTER]).await.ok();
}

#[tokio::test]
async fn a_case_that_misses_is_told_with_its_line_and_ends_with_11() {
    let directory = tempfile::tempdir().unwrap();
    let cases = format!(
        "configuration = \"{STARTER}/mayfly.toml\"\n\
         [[case]]\nname = \"right\"\nprincipal = \"ann\"\nrole = \"orders-read\"\nexpect = \"deny\"\n\
         [[case]]\nname = \"wrong\"\nprincipal = \"ann\"\nrole = \"orders-read\"\nexpect = \"allow\"\n\
         [[case]]\nname = \"no role\"\nprincipal = \"ann\"\nrole = \"nothing\"\nexpect = \"deny\"\n\
         [[case]]\nname = \"no key\"\nprincipal = \"ann\"\nrle = \"orders-read\"\nexpect = \"deny\"\n"
    );
    let file = write(directory.path(), "a.test.toml", cases);
    let tested = policy(&["test", &file, "-o", "json"]).await;
    assert_eq!(tested.code(), 11, "{tested:?}");
    let told: serde_json::Value = serde_json::from_str(&tested.out).unwrap();
    assert_eq!(told["cases"], 4);
    let missed: Vec<&str> =
        told["misses"].as_array().unwrap().iter().map(|miss| miss["case"].as_str().unwrap()).collect();
    assert_eq!(missed, ["wrong", "no role", "no key"]);
    assert_eq!(told["misses"][0]["found"], "deny");
    assert_eq!(policy(&["test", &file]).await.code(), 11);
}

#[tokio::test]
async fn files_that_are_none_are_told_with_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (text, expected) in [
        (&b"permit (principal, action"[..], ":1:"),
        (b"\n\npermit (principal, action, resource);", ":3:1: has no id"),
        (b"\xff\xfe", "it is not UTF-8"),
    ] {
        let file = write(path, "own.cedar", text);
        for arguments in [["check", &file], ["check", path.to_str().unwrap()]] {
            let told = policy(&arguments).await;
            assert!(told.refused(2).contains(expected), "{told:?}");
        }
    }
    assert!(policy(&["check", "/nowhere"]).await.refused(2).contains("/nowhere"));
}

#[tokio::test]
async fn what_a_request_comes_to_is_explained_with_what_would_change_it() {
    let configuration = format!("{STARTER}/mayfly.toml");
    let explain = async |more: &[&str]| {
        let mut arguments = vec![
            "explain",
            "orders-write",
            "--config",
            &configuration,
            "--principal",
            "ann",
            "--group",
            "developers",
            "--at",
            "2026-03-11T10:00",
            "--from",
            "10.1.2.3",
            "--used-before",
            "true",
            "--reason",
            "looking into order 4711",
        ];
        arguments.extend(more);
        policy(&arguments).await
    };
    let denied = explain(&[]).await;
    assert_eq!(denied.code(), 4, "{denied:?}");
    for expected in
        ["production.ticket-to-change", "name the ticket", "+30 sensitive:", "name a ticket, such as OPS-1:"]
    {
        assert!(denied.out.contains(expected), "{}\n{expected}", denied.out);
    }
    let reviewed = explain(&["--ticket", "OPS-7", "-o", "json"]).await.json();
    assert_eq!((&reviewed["outcome"], &reviewed["risk"]), (&"review".into(), &60.into()));
    assert_eq!(reviewed["steps"][1]["name"], "data owner");
}

#[tokio::test]
async fn a_running_server_takes_new_policies_over_and_keeps_the_old_ones_when_they_are_broken() {
    let Some(home) = Home::somewhere().await else { return };
    let role = "ruled";
    home.append(&role_section(role, &home.databases[0], "read", "principal:app"));
    home.append("\n[policy]\nfiles = [\"own.cedar\"]\n");
    home.write("own.cedar", "// nothing yet\n");
    let served = home.serve().await;
    let app = served.app().await;
    app.issue(role, &[]).await;
    let forbid = "@id(\"own.stop\")\n@advice(\"not today\")\n\
                  forbid (principal, action == Action::\"request\", resource == Role::\"ruled\");\n";
    home.write("own.cedar", forbid);
    served.reload("policy changes from sha256:").await;
    let denied = app.mayfly(&["creds", role]).await;
    assert!(denied.refused(4).contains("policy own.stop forbids it: not today"), "{denied:?}");
    home.write("own.cedar", &forbid.replace("request", "reqest"));
    let told = served.reload("the configuration stays as it was").await;
    assert!(told.contains("own.cedar:3:") && told.contains("ERROR"), "{told}");
    app.mayfly(&["creds", role]).await.refused(4);
    home.write("own.cedar", "// nothing more\n");
    served.reload("policy changes from sha256:").await;
    app.issue(role, &[]).await;
}
