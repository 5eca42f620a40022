//! Accounts: created, limited, given fresh passwords.

use std::time::Duration;

use futures_util::future::join_all;
use mayfly::{
    clock::{Clock, SystemClock},
    domain::{Engine, Template},
    target::{AuthPlugin, Target, TargetErrorKind},
};
use mysql_async::prelude::Queryable;

use super::{
    on_both,
    rig::{Issued, Rig},
};

on_both!(
    an_account_logs_in_and_may_do_what_its_group_may,
    a_connection_limit_is_kept,
    only_the_hosts_of_the_role_may_connect,
    several_groups_are_all_active_or_refused,
    an_account_that_exists_is_not_created_again,
    what_is_created_in_part_is_dropped,
    a_caller_that_gives_up_blocks_nobody,
    a_fresh_password_replaces_the_old_one,
    templates_run_with_their_values,
    a_failing_template_leaves_no_account,
    a_renewal_runs_its_statements_on_an_account_that_exists,
    many_are_created_at_once,
);

async fn an_account_logs_in_and_may_do_what_its_group_may(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let mut session = rig.login(&issued).await.unwrap();
    let orders: Option<u64> = session.query_first("SELECT COUNT(*) FROM orders").await.unwrap();
    assert_eq!(orders, Some(4));
    let denied = session.query_drop("DELETE FROM orders").await.unwrap_err();
    assert!(denied.to_string().contains("denied"), "{denied}");
    let foreign = rig.fixture.login(issued.name(), "another password").await;
    assert!(foreign.is_err());
    if rig.engine == Engine::Mysql {
        let question = format!(
            "SELECT ATTRIBUTE->>'$.mayfly.lease' FROM information_schema.USER_ATTRIBUTES WHERE USER = '{}'",
            issued.name()
        );
        assert_eq!(rig.root_knows(question).await, Some(issued.lease.to_string()));
    }
}

async fn a_connection_limit_is_kept(rig: Rig) {
    let issued = rig.issue(&mayfly::domain::Role { connection_limit: Some(1), ..rig.role() }).await;
    let _first = rig.login(&issued).await.unwrap();
    let second = rig.login(&issued).await.unwrap_err();
    assert!(second.to_string().contains("max_user_connections"), "{second}");
}

async fn only_the_hosts_of_the_role_may_connect(rig: Rig) {
    let mut role = rig.role();
    role.hosts = vec!["10.9.8.7".parse().unwrap()];
    let elsewhere = rig.issue(&role).await;
    assert!(rig.login(&elsewhere).await.is_err());
    role.hosts.push("127.0.0.%".parse().unwrap());
    let both = rig.issue(&role).await;
    let mut session = rig.login(&both).await.unwrap();
    let orders: Option<u64> = session.query_first("SELECT COUNT(*) FROM orders").await.unwrap();
    assert_eq!(orders, Some(4));
    let question = format!("SELECT COUNT(*) FROM mysql.user WHERE User = '{}'", both.name());
    assert_eq!(rig.root_knows(question).await.as_deref(), Some("2"));
    drop(session);
    assert!(rig.end(&both).await);
    assert!(!rig.has(&both).await);
}

async fn several_groups_are_all_active_or_refused(rig: Rig) {
    let mut role = rig.role();
    role.member_of.push(rig.fixture.sample.names.write.clone());
    let issued = rig.plan(&role).await;
    let outcome = rig.target.create(issued.new_account(), &issued.secret).await;
    if rig.engine == Engine::Mysql {
        outcome.unwrap();
        let mut session = rig.login(&issued).await.unwrap();
        session.query_drop("INSERT INTO customers (name) VALUES ('Alan')").await.unwrap();
    } else {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused);
        assert!(error.remedy.unwrap().starts_with("CREATE ROLE `one_for_all`; GRANT `shop_read"));
        assert!(!rig.has(&issued).await);
    }
}

async fn an_account_that_exists_is_not_created_again(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let error = rig.target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Exists, "{error}");
    assert!(rig.login(&issued).await.is_ok(), "the account that was there stays");
}

async fn what_is_created_in_part_is_dropped(rig: Rig) {
    let mut role = rig.role();
    role.hosts.push("10.1.%".parse().unwrap());
    let issued = rig.plan(&role).await;
    rig.as_root(format!("CREATE USER '{}'@'10.1.%'", issued.name())).await;
    let error = rig.target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Exists, "{error}");
    let mut root = rig.fixture.root().await;
    let question = format!("SELECT Host FROM mysql.user WHERE User = '{}'", issued.name());
    let left: Vec<String> = root.query(question).await.unwrap();
    assert_eq!(left, ["10.1.%"], "only what was there before");
}

async fn a_caller_that_gives_up_blocks_nobody(rig: Rig) {
    let target = rig.another(|settings| settings.pool.issuing = 1).unwrap();
    target.ping().await.unwrap();
    for micros in [0, 50, 200, 500, 1000, 2000] {
        let issued = rig.plan(&rig.role()).await;
        let creation = target.create(issued.new_account(), &issued.secret);
        let _ = tokio::time::timeout(Duration::from_micros(micros), creation).await;
    }
    let issued = rig.plan(&rig.role()).await;
    target.create(issued.new_account(), &issued.secret).await.unwrap();
    assert!(rig.login(&issued).await.is_ok());
}

async fn a_fresh_password_replaces_the_old_one(rig: Rig) {
    let mut issued = rig.issue(&rig.role()).await;
    let fresh = rig.target.prepare(&issued.role).await.unwrap();
    rig.target.replace_secret(issued.leased(), &fresh).await.unwrap();
    assert!(rig.login(&issued).await.is_err());
    issued.secret = fresh;
    assert!(rig.login(&issued).await.is_ok());
    assert!(rig.end(&issued).await);
    let error = rig.target.replace_secret(issued.leased(), &issued.secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing, "{error}");
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

/// A table the administration account may write to.
async fn notes(rig: &Rig) -> String {
    let table = format!("`{}`.`notes`", rig.fixture.sample.names.database);
    rig.as_root(format!("CREATE TABLE {table} (what varchar(20), value varchar(200), at datetime(6))")).await;
    rig.as_root(format!("GRANT SELECT, INSERT ON {table} TO {}", rig.administrator())).await;
    table
}

async fn templates_run_with_their_values(rig: Rig) {
    let table = notes(&rig).await;
    let mut role = rig.role();
    role.statements.create = vec![
        template("ALTER USER {{name}} WITH MAX_QUERIES_PER_HOUR 3"),
        template(&format!("INSERT INTO {table} VALUES ('lease;x', {{{{lease}}}}, {{{{expiration}}}})")),
        template(&format!("INSERT INTO {table} VALUES ('role', {{{{role}}}}, NULL)")),
        template(&format!("INSERT INTO {table} VALUES ('principal', {{{{principal}}}}, NULL)")),
        template(&format!("INSERT INTO {table} VALUES ('name', {{{{name_literal}}}}, NULL)")),
        template("SET SESSION sql_mode = 'ANSI_QUOTES'"),
    ];
    let issued = rig.issue(&role).await;
    let value = async |what: &str| {
        rig.root_knows(format!("SELECT value FROM {table} WHERE what = '{what}'")).await.unwrap()
    };
    assert_eq!(value("lease;x").await, issued.lease.to_string());
    assert_eq!(value("role").await, "orders-read");
    assert_eq!(value("principal").await, "alice@example.com");
    assert_eq!(value("name").await, issued.name());
    let question = format!(
        "SELECT ABS(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), at)) BETWEEN 580 AND 601 FROM {table} WHERE at IS NOT NULL"
    );
    assert_eq!(rig.root_knows(question).await.as_deref(), Some("1"));
    let question = format!("SELECT max_questions FROM mysql.user WHERE User = '{}'", issued.name());
    assert_eq!(rig.root_knows(question).await.as_deref(), Some("3"));
    // What a template did to its session is not met by the next one.
    assert!(rig.end(&rig.issue(&rig.role()).await).await);
}

async fn a_failing_template_leaves_no_account(rig: Rig) {
    let mut role = rig.role();
    role.statements.create =
        vec![template("SELECT 1"), template("INSERT INTO nowhere.nothing VALUES ({{password}})")];
    let issued = rig.plan(&role).await;
    let error = rig.target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert!(error.message.contains("statement 2 of the role"), "{error}");
    let told = format!("{error:?}");
    assert!(!told.contains(issued.secret.password.expose()), "{told}");
    assert!(!rig.has(&issued).await);
}

async fn a_renewal_runs_its_statements_on_an_account_that_exists(rig: Rig) {
    let table = notes(&rig).await;
    let mut role = rig.role();
    role.statements.renew =
        vec![template(&format!("INSERT INTO {table} VALUES ('renewed', {{{{lease}}}}, {{{{expiration}}}})"))];
    let issued = rig.issue(&role).await;
    let later = SystemClock.now() + Duration::from_secs(3000);
    rig.target.renew(issued.leased(), later).await.unwrap();
    let question = format!("SELECT value FROM {table} WHERE what = 'renewed'");
    assert_eq!(rig.root_knows(question).await, Some(issued.lease.to_string()));
    assert!(rig.end(&issued).await);
    let error = rig.target.renew(issued.leased(), later).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing);
}

async fn many_are_created_at_once(rig: Rig) {
    let role = rig.role();
    let all = join_all((0..16).map(|_| rig.issue(&role))).await;
    for issued in &all {
        assert!(rig.login(issued).await.is_ok());
    }
    let gone = join_all(all.iter().map(|issued| rig.end(issued))).await;
    assert!(gone.into_iter().all(|gone| gone));
}

#[tokio::test]
async fn ed25519_verifiers_are_what_the_plugin_expects() {
    let Some(rig) = super::rig::mariadb().await else { return };
    let question = "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'ed25519'";
    if rig.root_knows(question).await.as_deref() != Some("ACTIVE") {
        return;
    }
    let target = rig.another(|settings| settings.auth_plugin = AuthPlugin::Ed25519).unwrap();
    let issued = Issued::planned(rig.engine, &rig.role(), &target).await;
    target.create(issued.new_account(), &issued.secret).await.unwrap();
    let mut session = rig.login(&issued).await.unwrap();
    session.query_drop("SELECT * FROM orders").await.unwrap();
    assert!(rig.fixture.login(issued.name(), "another password of the same").await.is_err());
    let question = format!("SELECT plugin FROM mysql.user WHERE User = '{}'", issued.name());
    assert_eq!(rig.root_knows(question).await.as_deref(), Some("ed25519"));
}
