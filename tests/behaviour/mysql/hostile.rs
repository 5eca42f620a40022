//! Hostile values: whatever they are, nothing but the intended account exists afterwards, and they arrive unchanged.

use std::collections::BTreeSet;

use mayfly::{
    domain::{Engine, Template},
    target::Target,
};
use mysql_async::{Row, prelude::Queryable};
use proptest::{
    prelude::{Strategy, prop},
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    on_both,
    rig::{self, Rig},
};
use crate::support::{MyFixture, own_server};

const CASES: usize = 64;

on_both!(hostile_group_names_are_only_names, nul_is_refused_before_anything_is_sent);

/// Pieces that end strings, names, comments and statements.
const PIECES: [&str; 18] = [
    "'",
    "\"",
    "`",
    "\\",
    ";",
    "--",
    "#",
    "/*",
    "*/",
    "@",
    "%",
    "\n",
    "{{name}}",
    "é",
    "𝄞",
    "'; DROP USER 'root'@'localhost'; --",
    "\\'; CREATE USER evil; --",
    "`; CREATE USER evil; --",
];

/// The same cases each time.
fn cases() -> Vec<String> {
    let letters = prop::sample::select(vec!["a", "B", "0", " ", "_"]);
    let piece = prop::sample::select(PIECES.to_vec());
    let text = prop::collection::vec(proptest::prop_oneof![piece, letters], 1..8)
        .prop_map(|pieces| pieces.concat().chars().take(60).collect::<String>());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..CASES).map(|_| text.new_tree(&mut runner).unwrap().current()).collect()
}

async fn accounts(rig: &Rig) -> BTreeSet<String> {
    let question = format!(
        "SELECT CONCAT(User, '@', Host) FROM mysql.user WHERE User LIKE 'mf\\_%{0}' OR User LIKE 'evil%' OR User = 'root'",
        ""
    );
    rig.fixture.root().await.query(question).await.unwrap().into_iter().collect()
}

/// Group names are the one free text that reaches statements on the way of an account.
async fn hostile_group_names_are_only_names(rig: Rig) {
    let mut root = rig.fixture.root().await;
    for (number, text) in cases().into_iter().enumerate() {
        // MySQL cuts trailing blanks off account names; and names are 32 characters there.
        let text: String = format!("{number}{text}").replace('𝄞', "").chars().take(28).collect();
        let group = format!("{text}x");
        let quoted = format!("`{}`", group.replace('`', "``"));
        if root.query_drop(format!("CREATE ROLE {quoted}")).await.is_err() {
            continue;
        }
        let with = if rig.engine == Engine::Mysql { "@'%'" } else { "" };
        root.query_drop(format!("GRANT {quoted} TO {} WITH ADMIN OPTION", rig.administrator()))
            .await
            .unwrap();
        let mut role = rig.role();
        role.member_of = vec![group.clone()];
        let issued = rig.issue(&role).await;
        let mut session = rig.fixture.connect(issued.name(), issued.secret.password.expose()).await.unwrap();
        let active: Option<String> = session.query_first("SELECT CURRENT_ROLE()").await.unwrap();
        let expected = if rig.engine == Engine::Mysql { format!("{quoted}@`%`") } else { group.clone() };
        assert_eq!(active, Some(expected));
        let evil: Option<Row> =
            root.query_first("SELECT 1 FROM mysql.user WHERE User = 'evil'").await.unwrap();
        assert!(evil.is_none(), "{group:?}");
        drop(session);
        assert!(rig.end(&issued).await, "{group:?}");
        root.query_drop(format!("DROP ROLE {quoted}{with}")).await.unwrap();
    }
    assert!(accounts(&rig).await.contains("root@localhost"));
}

async fn nul_is_refused_before_anything_is_sent(rig: Rig) {
    let mut role = rig.role();
    role.member_of = vec!["a\0b".to_owned()];
    let issued = rig.plan(&role).await;
    let error = rig.target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert!(error.message.contains("NUL"), "{error}");
    assert!(!rig.has(&issued).await);
}

/// Values come back as they went, whatever the server's own idea of quoting is.
#[tokio::test]
async fn values_round_trip_under_every_default_of_the_server() {
    const MODES: [&str; 2] = ["ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT", ""];
    for engine in [Engine::Mysql, Engine::Mariadb] {
        let Some(server) = own_server(engine, |_| ()).await else { continue };
        let fixture = MyFixture::on(server).await;
        let (database, administrator) =
            (&fixture.sample.names.database, fixture.sample.administrator.clone());
        let table = format!("`{database}`.`notes`");
        let mut root = fixture.root().await;
        root.query_drop(format!("CREATE TABLE {table} (value varchar(200) CHARACTER SET utf8mb4)"))
            .await
            .unwrap();
        root.query_drop(format!("GRANT INSERT ON {table} TO `{}`@'%'", administrator.user)).await.unwrap();
        for mode in MODES {
            root.query_drop(format!("SET GLOBAL sql_mode = '{mode}'")).await.unwrap();
            let settings =
                rig::settings(engine, fixture.port(), &administrator.user, administrator.password.clone());
            let target = mayfly::target::mysql::Mysql::new(settings, rig::surroundings()).unwrap();
            let insert = format!("INSERT INTO {table} VALUES ({{{{role}}}})");
            let mut issued =
                rig::Issued::planned(engine, &rig::role(&fixture.sample.names.read), &target).await;
            target.create(issued.new_account(), &issued.secret).await.unwrap();
            issued.plan.renew = vec![Template::parse(&insert).unwrap()];
            for text in cases() {
                let leased = mayfly::target::LeasedAccount { role: &text, ..issued.leased() };
                target.renew(leased, issued.new_account().expires_at).await.unwrap();
                let back: Option<String> =
                    root.query_first(format!("SELECT value FROM {table}")).await.unwrap();
                assert_eq!(back.as_ref(), Some(&text));
                root.query_drop(format!("DELETE FROM {table}")).await.unwrap();
            }
            let session = fixture.login(issued.name(), issued.secret.password.expose()).await;
            assert!(session.is_ok(), "{mode}");
            session.unwrap().disconnect().await.unwrap();
            target.disable(issued.leased()).await.unwrap();
            target.end_sessions(issued.leased()).await.unwrap();
            assert!(target.remove(issued.leased()).await.unwrap());
        }
        let evil: Option<Row> =
            root.query_first("SELECT 1 FROM mysql.user WHERE User LIKE 'evil%'").await.unwrap();
        assert!(evil.is_none());
    }
}
