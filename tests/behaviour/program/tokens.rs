//! Tokens by the command line: made, bound, listed, revoked.

use super::home::Home;

#[tokio::test]
async fn a_token_is_made_used_listed_revoked_and_refused_at_once() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let root = served.administrator();
    let made = root
        .mayfly(&[
            "token",
            "create",
            "--principal",
            "ci",
            "--kind",
            "workload",
            "--group",
            "readers",
            "--ttl",
            "12h",
            "--description",
            "the builds",
        ])
        .await;
    let secret = made.ok().to_owned();
    assert_eq!(made.out, format!("{secret}\n"));
    assert!(made.err.starts_with("tokens/") && made.err.contains("ci expires in"), "{made:?}");
    assert!(!made.err.contains(&secret));
    let name = made.err.split_whitespace().next().unwrap();

    let ci = served.of(&secret);
    for database in &home.databases {
        ci.issue(&format!("{}-read", database.engine), &[]).await;
        ci.mayfly(&["creds", &format!("{}-write", database.engine)]).await.refused(4);
    }
    ci.mayfly(&["token", "ls"]).await.refused(4);
    ci.mayfly(&["token", "create", "--principal", "me", "--kind", "human"]).await.refused(4);

    let listed = root.mayfly(&["token", "ls"]).await;
    assert!(listed.ok().contains("ci") && !listed.out.contains(&secret), "{listed:?}");
    let document = root.mayfly(&["token", "ls", "-o", "json"]).await.json();
    let mine = document["tokens"].as_array().unwrap().iter().find(|token| token["name"] == name).unwrap();
    assert_eq!((&mine["principal"], &mine["description"]), (&"ci".into(), &"the builds".into()));
    assert!(mine["revoke_time"].is_null());

    root.mayfly(&["token", "revoke", name.strip_prefix("tokens/").unwrap()]).await.ok();
    let refused = ci.mayfly(&["whoami"]).await;
    assert!(refused.refused(3).contains("revoked"), "{refused:?}");
    let refused = ci.mayfly(&["whoami", "-o", "json"]).await;
    let error: serde_json::Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!((refused.code(), &error["exit_code"]), (3, &3.into()));
    root.mayfly(&["token", "revoke", "tokens/00000000000000000000"]).await.refused(5);
}

#[tokio::test]
async fn a_token_bound_to_a_network_works_nowhere_else() {
    let home = Home::bare();
    let served = home.serve().await;
    let root = served.administrator();
    let made = |cidr: &'static str| {
        let root = root.clone();
        async move {
            root.mayfly(&["token", "create", "--principal", "ci", "--kind", "workload", "--cidr", cidr]).await
        }
    };
    served.of(made("127.0.0.0/8").await.ok()).mayfly(&["whoami"]).await.ok();
    let refused = served.of(made("10.0.0.0/8").await.ok()).mayfly(&["whoami"]).await;
    assert!(refused.refused(3).contains("from this address"), "{refused:?}");
    made("10.0.0.0/33").await.refused(6);
    made("somewhere").await.refused(6);
}

#[tokio::test]
async fn no_token_and_no_good_token_are_refused_and_nothing_is_repeated() {
    let home = Home::bare();
    let served = home.serve().await;
    let good = &home.administrator;
    let refused = served.of("").mayfly(&["whoami"]).await;
    assert!(refused.refused(3).contains("MAYFLY_TOKEN"), "{refused:?}");
    let foreign = Home::bare().administrator;
    for bad in [&good[..58], &good[3..], &foreign, "mf_", "Bearer x", "password", &"x".repeat(10_000)] {
        let refused = served.of(bad).mayfly(&["whoami"]).await;
        let words = refused.refused(3);
        assert!(words.len() < 400 && (bad.len() < 10 || !words.contains(bad)), "{words}");
    }
    // A file works as well, and where there is one it is enough.
    let file = home.path("administrator.token").display().to_string();
    served.of("").mayfly(&["--token-file", &file, "whoami"]).await.ok();
    served.of("").mayfly(&["--token-file", "/nonexistent", "whoami"]).await.refused(1);
}
