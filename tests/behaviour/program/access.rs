//! Reviewing access by the command line.

use super::home::Home;

#[tokio::test]
async fn a_sheet_goes_out_comes_back_decided_and_is_carried_out() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let (root, app) = (served.administrator(), served.app().await);
    let role = format!("{}-read", home.databases[0].engine);
    let issued = app.issue(&role, &[]).await;
    let table = root.mayfly(&["review-access"]).await;
    for word in ["PRINCIPAL", "app", &role, "at once", "1 lease", "allow group:readers"] {
        assert!(table.ok().contains(word), "{word}: {table:?}");
    }
    let listed = root.mayfly(&["review-access", "--principal", "app", "-o", "json"]).await.json();
    assert_eq!((&listed["items"][0]["reach"], &listed["items"][0]["uses"]), (&"at_once".into(), &1.into()));
    let sheet = root.mayfly(&["review-access", "--format", "csv"]).await;
    let line = |decide: &str| -> String {
        let decided = sheet.out.lines().map(|line| {
            let hit = line.contains(",app,") && line.contains(&role);
            if hit { format!("{decide}{line}") } else { line.to_owned() }
        });
        decided.collect::<Vec<_>>().join("\r\n")
    };
    home.write("access.csv", &line("certify"));
    let file = home.path("access.csv").display().to_string();
    let planned = root.mayfly(&["review-access", "apply", &file, "--dry-run"]).await;
    assert!(planned.err.contains("1 decision would be carried out; nothing was done"), "{planned:?}");
    let done = root.mayfly(&["review-access", "apply", &file]).await;
    assert!(done.ok().contains("certify") && done.err.contains("1 decision carried out"), "{done:?}");
    let listed = root.mayfly(&["review-access", "--principal", "app", "-o", "json"]).await.json();
    assert_eq!(listed["items"][0]["certified_by"], "administrator");
    home.write("access.csv", &line("revoke"));
    let done = root.mayfly(&["review-access", "apply", &file]).await;
    assert!(done.ok().contains("1 lease") && done.out.contains("allow group:readers"), "{done:?}");
    app.reaches(&issued.lease, "revoked").await;
    app.mayfly(&["review-access"]).await.refused(4);
}

#[tokio::test]
async fn a_malformed_sheet_is_refused_with_file_and_line_and_nothing_is_done() {
    let Some(home) = Home::somewhere().await else { return };
    let served = home.serve().await;
    let (root, app) = (served.administrator(), served.app().await);
    let role = format!("{}-read", home.databases[0].engine);
    let issued = app.issue(&role, &[]).await;
    let file = home.path("access.csv").display().to_string();
    let apply = async |text: &str| {
        home.write("access.csv", text);
        root.mayfly(&["review-access", "apply", &file]).await
    };
    let good = format!("decision,principal,role\nrevoke,app,{role}\n");
    let refused = apply(&format!("{good}maybe,bob,{role}\nrevoke,app\nrevoke,a b,{role}\n")).await;
    assert!(refused.refused(2).contains(&format!("{file}:4: has 2 cells")), "{refused:?}");
    let refused = apply(&format!("{good}maybe,bob,{role}\nrevoke,a b,{role}\n")).await;
    for words in [":3: the decision is none", ":4: the principal has ' '"] {
        assert!(refused.refused(2).contains(words), "{refused:?}");
    }
    // The server refuses one: none is carried out.
    apply(&format!("{good}revoke,bob,{role}\n")).await.refused(5);
    apply(&format!("{good}certify,administrator,{role}\n")).await.refused(4);
    let stale = format!("decision,principal,role,etag\nrevoke,app,{role},0000000000000000\n");
    assert!(apply(&stale).await.err.contains("has changed since it was listed"));
    let lease = app.mayfly(&["lease", "show", &issued.lease, "-o", "json"]).await.json();
    assert_eq!(lease["lease"]["state"], "active", "{lease}");
    let nothing = apply(&format!("decision,principal,role\n,app,{role}\n")).await;
    assert!(nothing.ok().is_empty() && nothing.err.contains("decides nothing"), "{nothing:?}");
    root.mayfly(&["review-access", "apply", "/does/not/exist.csv"]).await.refused(1);
    root.mayfly(&["review-access", "revoke", "--comment", "x"]).await.refused(2);
}
