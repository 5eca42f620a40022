//! People by the command line: made, enrolled, signed in with a second factor, signed out.

use std::{fs, os::unix::fs::PermissionsExt as _};

use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::Password,
    identity::people::TotpSecret,
};

use super::{
    home::Home,
    process::{Ran, Shell},
};

const PASSWORD: &str = "correct horse battery";

/// Runs a command with lines of standard input.
async fn fed(shell: &Shell, arguments: &[&str], lines: &str) -> Ran {
    let mut process = shell.start(arguments);
    process.feed(lines).await;
    process.ended().await
}

#[tokio::test]
async fn a_person_is_made_enrols_signs_in_with_a_second_factor_and_signs_out() {
    let home = Home::bare();
    home.write_secret("sealing.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    home.append("[sealing]\nkey_file = \"sealing.key\"\n");
    let served = home.serve().await;
    let (root, alice) = (served.administrator(), served.of(""));
    let made =
        root.mayfly(&["user", "add", "alice", "--group", "payments", "--mail", "alice@example.com"]).await;
    let code = made.ok().to_owned();
    assert!(made.err.contains("mayfly user enrol --user alice") && !made.err.contains(&code), "{made:?}");
    assert!(root.mayfly(&["user", "ls"]).await.ok().contains("invited"));

    alice.mayfly(&["whoami"]).await.refused(3);
    let enrolled = fed(&alice, &["user", "enrol", "--user", "alice"], &format!("{code}\n{PASSWORD}\n")).await;
    assert_eq!(enrolled.ok(), "", "{enrolled:?}");
    fed(&alice, &["login", "--user", "alice"], "wrong wrong wrong\n").await.refused(3);
    let signed_in = fed(&alice, &["login", "--user", "alice"], &format!("{PASSWORD}\n")).await;
    assert!(
        signed_in.ok().is_empty() && signed_in.err.contains("signed in as alice; the session ends in"),
        "{signed_in:?}"
    );
    let me = alice.mayfly(&["whoami", "-o", "json"]).await.json();
    assert_eq!((&me["principal"], &me["groups"][0]), (&"alice".into(), &"payments".into()));
    assert!(me["session"]["expire_time"].is_string() && me["second_factor_time"].is_null(), "{me}");
    kept_privately(&home);

    // The authenticator is set up in one command, which asks for the first code in its middle.
    let mut setting_up = alice.start(&["user", "totp", "enrol"]);
    setting_up.say(&format!("{PASSWORD}\n")).await;
    let shown = setting_up.logged("secret: ").await;
    let secret = Password::new(shown.trim().trim_start_matches("secret: ").to_owned());
    let secret = TotpSecret::read(&secret, "alice").unwrap();
    setting_up.say(&format!("{}\n", secret.code(SystemClock.now()))).await;
    let set_up = setting_up.ended().await;
    let recovery: Vec<&str> = set_up.ok().lines().collect();
    assert_eq!(recovery.len(), 10, "{set_up:?}");

    // Each code is good for one use only: the next one is a step later, or one of those that stand in.
    let signed_in =
        fed(&alice, &["login", "--user", "alice"], &format!("{PASSWORD}\n{}\n", recovery[0])).await;
    assert!(signed_in.ok().is_empty() && signed_in.err.contains("with a second factor"), "{signed_in:?}");
    let stepped = alice.mayfly(&["login", "--step-up", "--code", recovery[1]]).await;
    assert!(stepped.ok().is_empty() && stepped.err.contains("second factor given"), "{stepped:?}");
    alice.mayfly(&["login", "--step-up", "--code", recovery[1]]).await.refused(3);
    let shown = root.mayfly(&["user", "show", "alice"]).await;
    assert!(shown.ok().contains("authenticator, 8 recovery codes left"), "{shown:?}");
    assert_eq!(
        alice.mayfly(&["session", "ls", "-o", "json"]).await.json()["sessions"].as_array().unwrap().len(),
        2
    );

    let signed_out = alice.mayfly(&["logout"]).await;
    assert!(signed_out.ok().is_empty() && signed_out.err.contains("signed out"), "{signed_out:?}");
    alice.mayfly(&["whoami"]).await.refused(3);
    alice.mayfly(&["logout"]).await.ok();
    root.mayfly(&["user", "disable", "alice"]).await.ok();
    let refused = alice.mayfly(&["login", "--user", "alice", "--password-file", "/nonexistent"]).await;
    assert!(refused.refused(1).contains("/nonexistent"), "{refused:?}");
    root.mayfly(&["user", "rm", "alice"]).await.ok();
    root.mayfly(&["user", "show", "alice"]).await.refused(5);
}

#[tokio::test]
async fn a_session_for_a_script_is_written_out_and_kept_nowhere() {
    let home = Home::bare();
    let served = home.serve().await;
    let (root, alice) = (served.administrator(), served.of(""));
    let code = root.mayfly(&["user", "add", "alice"]).await.ok().to_owned();
    fed(&alice, &["user", "enrol", "--user", "alice"], &format!("{code}\n{PASSWORD}\n")).await.ok();
    let printed = fed(&alice, &["login", "--user", "alice", "--print"], &format!("{PASSWORD}\n")).await;
    let token = printed.ok().to_owned();
    assert!(token.starts_with("mfs_") && !printed.err.contains(&token), "{printed:?}");
    assert!(!home.path(".local").exists());
    served.of(&token).mayfly(&["whoami"]).await.ok();
    let name = served.of(&token).mayfly(&["whoami", "-o", "json"]).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    root.mayfly(&["session", "revoke", &name]).await.ok();
    let refused = served.of(&token).mayfly(&["whoami"]).await;
    assert!(refused.refused(3).contains("mayfly login"), "{refused:?}");
    let remote = alice.towards("http://192.0.2.1:7440");
    let refused = fed(&remote, &["login", "--user", "alice"], &format!("{PASSWORD}\n")).await;
    assert!(refused.refused(2).contains("in clear text"), "{refused:?}");
}

fn kept_privately(home: &Home) {
    let directory = home.path(".local/state/mayfly/sessions");
    let file = fs::read_dir(directory).unwrap().next().unwrap().unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}
