//! Whatever is wrong with a command ends it with the code and the words that say so, and changes nothing.

use mayfly::domain::Engine;
use serde_json::Value;

use super::{
    home::{self, Home},
    process::{Mayfly, Shell},
};
use crate::support::{own_server, world::Database};

#[tokio::test]
async fn each_kind_of_refusal_has_its_code_and_its_words() {
    let Some(home) = Home::somewhere().await else { return };
    let role = format!("{}-read", home.databases[0].engine);
    let served = home.serve().await;
    let app = served.member("app", &["readers"]).await;
    let stranger = served.member("stranger", &[]).await;
    let refused = |shell: &Shell, arguments: &[&str], code: i32, word: &'static str| {
        let (shell, arguments) = (shell.clone(), arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>());
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ran = shell.mayfly(&arguments).await;
            let words = ran.refused(code).to_owned();
            assert!(words.contains(word), "{word:?}: {words}");
            let ran = shell.mayfly(&[&["-o", "json"], &*arguments].concat()).await;
            let document: Value = serde_json::from_str(&ran.err).unwrap();
            assert_eq!((ran.code(), &*ran.out, &document["exit_code"]), (code, "", &code.into()));
            let message = document["error"]["message"].as_str().unwrap();
            assert_eq!(words.lines().next().unwrap(), format!("error: {message}"));
            assert!(!document["error"]["reason"].as_str().unwrap().is_empty());
        }
    };
    refused(&app, &["creds", "no-such-role"], 5, "no-such-role").await;
    refused(&stranger, &["creds", &role], 4, "whoami").await;
    refused(&app, &["creds", &role, "--ttl", "61m"], 6, "1h").await;
    refused(&app, &["creds", &role, "--ttl", "9999d"], 6, "ttl").await;
    refused(&served.of(""), &["creds", &role], 3, "token").await;
    refused(&app.towards("http://127.0.0.1:1"), &["creds", &role], 8, "cannot reach Mayfly").await;
    refused(&app, &["lease", "show", "00000000000000000000"], 5, "lease").await;
    refused(&app, &["lease", "revoke", "--role", &role, "--reason", "x"], 4, "").await;
    refused(&app, &["targets", "ls"], 4, "").await;
    refused(&app, &["audit", "tail"], 4, "").await;
    refused(&served.administrator(), &["doctor", "nowhere"], 5, "nowhere").await;
    refused(&app.towards("ftp://127.0.0.1"), &["whoami"], 2, "ftp").await;
    // What clap refuses it words itself.
    for ttl in ["0s", "-5m", "5", "soon", "10000d", "99999999999999999999d", "", "∞"] {
        let ran = app.mayfly(&["creds", &role, &format!("--ttl={ttl}")]).await;
        assert_eq!((ran.code(), &*ran.out), (2, ""), "{ttl}: {ran:?}");
        assert!(ran.err.starts_with("error: "), "{ran:?}");
    }
    assert_eq!(served.administrator().leases(&[]).await, Vec::<Value>::new());
}

async fn target_down(engine: Engine) {
    let Some(mut own) = own_server(engine, |_| {}).await else { return };
    let names = mayfly::sandbox::SampleNames::default();
    let sample = mayfly::sandbox::Sample::install(&own, names, &mayfly::random::SystemRandom).await.unwrap();
    let database = Database::on(&own, sample);
    let home = Home::on(vec![database.clone()]);
    let served = home.serve().await;
    let app = served.app().await;
    let role = format!("{engine}-read");
    let before = app.issue(&role, &[]).await;
    own.halt().await.unwrap();
    let refused = app.mayfly(&["creds", &role]).await;
    let words = refused.refused(8);
    assert!(
        words.contains(&format!("the target {engine} cannot be reached"))
            && words.contains("hint: try again in"),
        "{words}"
    );
    let doctor = served.administrator().mayfly(&["doctor", engine.as_str()]).await;
    assert_eq!(doctor.code(), 11, "{doctor:?}");
    let released = app.mayfly(&["lease", "release", &before.lease, "--wait", "--timeout", "1s"]).await;
    assert_eq!(released.code(), 10, "{released:?}");
    let targets = served.administrator().mayfly(&["targets", "ls", "-o", "json"]).await.json();
    assert!(!targets["targets"][0]["last_error"].as_str().unwrap().is_empty(), "{targets}");
    own.start_again().await.unwrap();
    app.reaches(&before.lease, "released").await;
    app.mayfly(&["creds", &role]).await.ok();
    assert_eq!(home::accounts(&database, &own).await.len(), 1);
}

#[tokio::test]
async fn a_postgres_target_that_is_down_is_unavailable_and_told_so() {
    target_down(Engine::Postgres).await;
}

#[tokio::test]
async fn a_mariadb_target_that_is_down_is_unavailable_and_told_so() {
    target_down(Engine::Mariadb).await;
}

/// What could hurt if it were put into SQL, a shell, a path or a terminal. An argument cannot have a NUL in it.
fn hostile() -> Vec<String> {
    let mut all: Vec<String> = [
        "x' OR '1'='1",
        "x'; DROP TABLE orders; --",
        "a\"b",
        "a`b",
        "a;b",
        "a\\",
        "a\nb",
        "\u{1b}[31mred",
        "ünïcode",
        "名前",
        "%s%n",
        " ",
    ]
    .map(str::to_owned)
    .into();
    all.push("x".repeat(10_000));
    all
}

async fn census(served: &Mayfly<'_>) -> (usize, usize) {
    let root = served.administrator();
    let tokens = root.mayfly(&["token", "ls", "-o", "json"]).await.json();
    (root.leases(&[]).await.len(), tokens["tokens"].as_array().unwrap().len())
}

#[tokio::test]
async fn hostile_names_are_refused_in_words_wherever_they_are_typed() {
    let Some(home) = Home::somewhere().await else { return };
    let role = format!("{}-read", home.databases[0].engine);
    let served = home.serve().await;
    let app = served.member("app", &["readers", "administrators"]).await;
    app.issue(&role, &[]).await;
    let before = census(&served).await;
    // Slashes are only for the names of principals.
    for path in ["x/../../etc/passwd", "leases/leases/x"] {
        for command in [["creds"].as_slice(), &["lease", "show"], &["doctor"], &["token", "revoke"]] {
            let ran = app.mayfly(&[command, &[path]].concat()).await;
            ran.refused(6);
        }
    }
    for name in hostile() {
        let name = name.as_str();
        for arguments in [
            vec!["creds", name],
            vec!["roles", "check", name],
            vec!["lease", "show", name],
            vec!["lease", "release", name],
            vec!["lease", "revoke", name, "--reason", "x"],
            vec!["lease", "revoke", "--principal", name, "--reason", "x"],
            vec!["lease", "revoke", "--role", name, "--reason", "x"],
            vec!["lease", "revoke", "--target", name, "--reason", "x"],
            vec!["lease", "ls", "--role", name],
            vec!["doctor", name],
            vec!["token", "create", "--kind", "human", "--principal", name],
            vec!["token", "create", "--kind", "human", "--principal", "p", "--group", name],
            vec!["token", "revoke", name],
        ] {
            let ran = app.mayfly(&arguments).await;
            let words = ran.err.trim();
            assert!([5, 6].contains(&ran.code()), "{arguments:?}: {ran:?}");
            assert!(ran.out.is_empty() && words.starts_with("error: ") && words.len() < 1000, "{ran:?}");
            assert!(!words.contains('\u{1b}'), "{words:?}");
        }
    }
    assert_eq!(census(&served).await, before);
    assert_eq!(app.leases(&["active"]).await.len(), 1);
}

#[tokio::test]
async fn texts_for_people_are_kept_as_they_are_or_refused_and_never_run() {
    let home = Home::everywhere().await;
    let served = home.serve().await;
    let app = served.member("app", &["readers", "administrators"]).await;
    let purpose = "it's \"quoted\" `so`; DROP TABLE orders; -- \\ ünïcode 名前 $1 {{name}} %s";
    for database in &home.databases {
        let role = format!("{}-read", database.engine);
        let issued = app.issue(&role, &["--purpose", purpose]).await;
        assert_eq!(app.lease(&issued.lease).await["purpose"], purpose);
        for bad in ["two\nlines".to_owned(), "\u{1b}[31mred".to_owned(), "x".repeat(10_000)] {
            app.mayfly(&["creds", &role, "--purpose", &bad]).await.refused(6);
            app.mayfly(&["lease", "revoke", &issued.lease, "--reason", &bad]).await.refused(6);
        }
        let revoked = app.mayfly(&["lease", "revoke", &issued.lease, "--reason", purpose, "--wait"]).await;
        assert!(revoked.ok().contains("revoked"), "{revoked:?}");
        assert!(!database.has_account(database.server.unwrap(), &issued.account).await);
    }
    assert_eq!(app.leases(&["active"]).await, Vec::<Value>::new());
    let records = home.read("audit.jsonl");
    assert!(records.contains("ünïcode 名前 $1"), "{records}");
}
