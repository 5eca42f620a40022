//! A target replaced by another server under the same address.

use mayfly::{domain::Engine, sandbox::Sample};

use super::home::Home;
use crate::support::{
    eventually, own_server,
    proxy::Proxy,
    world::{Database, databases},
};

#[tokio::test]
async fn nothing_is_done_on_another_server_until_an_administrator_agrees() {
    let Some(database) = databases().await.into_iter().find(|it| it.engine == Engine::Postgres) else {
        return;
    };
    let Some(other) = own_server(Engine::Postgres, |_| {}).await else { return };
    let names = database.sample.names.clone();
    let sample = Sample::install(&other, names, &mayfly::random::SystemRandom).await.unwrap();
    let other_database = Database::on(&other, sample);
    let password = database.sample.administrator.password.expose();
    let same = format!("ALTER ROLE {} PASSWORD '{password}'", database.sample.names.administrator);
    other_database.ask_superuser(&other, &same).await;

    let proxy = Proxy::to(database.port).await;
    let home = Home::on(vec![Database { port: proxy.port(), ..database.clone() }]);
    let served = home.serve().await;
    let (app, administrator) = (served.app().await, served.administrator());
    let role = format!("{}-read", database.engine);
    let (first, second) = (app.issue(&role, &[]).await, app.issue(&role, &[]).await);
    let known = |shell: &super::process::Shell| {
        let shell = shell.clone();
        async move { shell.mayfly(&["targets", "ls", "-o", "json"]).await.json()["targets"][0].clone() }
    };
    let before = known(&administrator).await;
    let identity = before["server_identity"].as_str().unwrap().to_owned();
    assert!(!identity.is_empty());
    let nothing = administrator.mayfly(&["target", "accept", "postgres", "--yes"]).await;
    assert!(nothing.err.contains("nothing to agree to"), "{nothing:?}");

    proxy.lead_to(other.port());
    let refused = app.mayfly(&["creds", &role]).await;
    assert!(refused.refused(8).contains("another server"), "{refused:?}");
    let renewed = app.mayfly(&["lease", "renew", &first.lease, "--ttl", "20m"]).await;
    assert!(renewed.refused(8).contains("another server"), "{renewed:?}");
    app.mayfly(&["lease", "release", &first.lease]).await.ok();
    let waiting = eventually("the end is refused", async || {
        let lease = app.lease(&first.lease).await;
        let error = lease["end_progress"]["last_error"].as_str().unwrap_or_default().to_owned();
        error.contains("another server").then_some(lease)
    })
    .await;
    assert_eq!(waiting["state"], "ending");
    assert!(database.has_account(database.server.unwrap(), &first.account).await);
    let after = known(&administrator).await;
    let found = after["other_server_identity"].as_str().unwrap().to_owned();
    assert_eq!(after["server_identity"], *identity);
    assert!(after["last_error"].as_str().unwrap().contains(&found));
    let doctor = administrator.mayfly(&["doctor", "postgres"]).await;
    assert_eq!(doctor.code(), 11, "{doctor:?}");
    assert!(doctor.out.contains("another server answers"), "{doctor:?}");
    let reconciled = administrator.mayfly(&["reconcile"]).await;
    assert_eq!(reconciled.code(), 8, "{reconciled:?}");

    // Without a terminal to ask on, or for another server than the one that answers, nobody has agreed.
    let asked = administrator.mayfly(&["target", "accept", "postgres"]).await;
    assert_eq!(asked.code(), 2, "{asked:?}");
    assert!(asked.err.contains(&identity) && asked.err.contains(&found), "{asked:?}");
    let wrong = administrator.mayfly(&["target", "accept", "postgres", "--yes", "--identity", "1"]).await;
    assert_eq!(wrong.code(), 9, "{wrong:?}");
    let denied = app.mayfly(&["target", "accept", "postgres", "--yes"]).await;
    assert_eq!(denied.code(), 4, "{denied:?}");
    app.mayfly(&["creds", &role]).await.refused(8);

    let agree = ["target", "accept", "postgres", "--yes", "--identity", &found];
    assert!(administrator.mayfly(&agree).await.ok().contains(&found));
    app.reaches(&second.lease, "revoked").await;
    app.reaches(&first.lease, "released").await;
    let issued = app.issue(&role, &[]).await;
    assert!(other_database.has_account(&other, &issued.account).await);
    assert_eq!(known(&administrator).await["server_identity"], *found);
    assert_eq!(administrator.mayfly(&["reconcile"]).await.code(), 0);
    // What is on the former server is out of reach, and untouched.
    assert!(database.has_account(database.server.unwrap(), &second.account).await);
    served.stop().await;
    let log = home.read("audit.jsonl");
    for action in ["target.recognised", "target.replaced", "lease.vanished"] {
        assert_eq!(log.matches(&format!("\"action\":\"{action}\"")).count(), 1, "{action}");
    }
    assert!(log.contains("\"action\":\"target.accepted\""));
}
