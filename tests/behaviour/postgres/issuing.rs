//! What a leased account can do, for how long, and when it is refused.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use mayfly::target::{Target, TargetErrorKind};

use super::{Lease, code, house, now, templates};

#[tokio::test]
async fn an_account_can_do_what_its_group_can_and_no_more() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    let client = house.login(&lease, &secret).await.unwrap();
    let row = client.query_one("SELECT count(*) FROM customers", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
    let refused = client.execute("INSERT INTO customers (name) VALUES ('Eve')", &[]).await.unwrap_err();
    assert_eq!(code(&refused), "42501");
    let refused = client.batch_execute("CREATE ROLE eve").await.unwrap_err();
    assert_eq!(code(&refused), "42501");
    let wrong = house.pg.login(lease.name(), "not it").await.err().unwrap();
    assert_eq!(code(&wrong), "28P01");
}

#[tokio::test]
async fn an_account_carries_its_lease_and_nothing_but_a_verifier() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    let row = house
        .pg
        .superuser()
        .await
        .query_one(
            "SELECT shobj_description(oid, 'pg_authid'), rolpassword, rolsuper OR rolcreaterole OR rolcreatedb \
             OR rolreplication OR rolbypassrls FROM pg_authid WHERE rolname = $1",
            &[&lease.name()],
        )
        .await
        .unwrap();
    let instance = crate::support::instance();
    let mark = format!(
        "mayfly instance={instance} lease={} role=orders requester=human:alice@example.com",
        lease.id
    );
    assert_eq!(row.get::<_, String>(0), mark);
    assert_eq!(row.get::<_, String>(1), secret.verifier.as_str());
    assert!(!row.get::<_, bool>(2));
}

#[tokio::test]
async fn limits_and_settings_are_applied() {
    let Some(house) = house().await else { return };
    let mut role = house.reader();
    role.connection_limit = Some(1);
    for (name, value) in [
        ("statement_timeout", "1234ms"),
        ("default_transaction_read_only", "on"),
        ("search_path", "drafts, \"Odd, one\", public"),
        ("application_name", "it's \\ \"quoted\"; DROP"),
    ] {
        role.settings.insert(name.to_owned(), value.to_owned());
    }
    let (lease, secret) = house.issue(&role).await;
    let client = house.login(&lease, &secret).await.unwrap();
    for (name, value) in [
        ("statement_timeout", "1234ms"),
        ("default_transaction_read_only", "on"),
        ("search_path", "drafts, \"Odd, one\", public"),
        ("application_name", "it's \\ \"quoted\"; DROP"),
    ] {
        let row = client.query_one("SELECT current_setting($1)", &[&name]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), value, "{name}");
    }
    let second = house.login(&lease, &secret).await.err().unwrap();
    assert_eq!(code(&second), "53300");
}

#[tokio::test]
async fn the_database_refuses_an_account_after_its_expiry() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    assert!(house.login(&lease, &secret).await.is_ok());
    house.target.renew(lease.leased(), now() - SignedDuration::from_secs(1)).await.unwrap();
    assert_eq!(code(&house.login(&lease, &secret).await.err().unwrap()), "28P01");
    house.target.renew(lease.leased(), now() + SignedDuration::from_mins(1)).await.unwrap();
    assert!(house.login(&lease, &secret).await.is_ok());
}

#[tokio::test]
async fn a_replaced_password_is_the_only_one() {
    let Some(house) = house().await else { return };
    let role = house.reader();
    let (lease, first) = house.issue(&role).await;
    let second = house.target.prepare(&role).await.unwrap();
    house.target.replace_secret(lease.leased(), &second).await.unwrap();
    assert!(house.login(&lease, &second).await.is_ok());
    assert!(house.login(&lease, &first).await.is_err());
}

#[tokio::test]
async fn an_account_that_is_there_already_and_one_that_is_not_are_told_apart() {
    let Some(house) = house().await else { return };
    let role = house.reader();
    let (lease, secret) = house.issue(&role).await;
    assert_eq!(house.create(&role, &lease).await.unwrap_err().kind, TargetErrorKind::Exists);
    assert!(house.login(&lease, &secret).await.is_ok());
    let absent = Lease::under(&role);
    let error = house.target.replace_secret(absent.leased(), &secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing);
    let error = house.target.renew(absent.leased(), now()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing);
}

#[tokio::test]
async fn many_accounts_are_created_at_once_under_one_group() {
    let Some(house) = house().await else { return };
    let role = house.reader();
    let issued = join_all((0..16).map(|_| house.issue(&role))).await;
    let logins = join_all(issued.iter().map(|(lease, secret)| house.login(lease, secret))).await;
    assert!(logins.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_roles_own_statements_run_in_the_same_transaction() {
    let Some(house) = house().await else { return };
    let mut role = house.reader();
    role.member_of.push(house.pg.sample.names.write.clone());
    role.statements.create = templates(&[
        "ALTER ROLE {{name}} SET work_mem = '5MB' -- a comment at the end",
        "REVOKE {{group}} FROM {{name}}; ALTER ROLE {{name}} CONNECTION LIMIT 7; /* two in one */",
    ]);
    let (lease, secret) = house.issue(&role).await;
    let client = house.login(&lease, &secret).await.err();
    assert_eq!(code(&client.unwrap()), "42501", "no group is left that may connect");
    let row = house
        .pg
        .superuser()
        .await
        .query_one("SELECT rolconnlimit, rolconfig::text FROM pg_roles WHERE rolname = $1", &[&lease.name()])
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), (7, "{work_mem=5MB}"));
    role.statements.create.extend(templates(&["ALTER ROLE {{name}} SET no_such_setting = 1"]));
    let failed = Lease::under(&role);
    assert_eq!(house.create(&role, &failed).await.unwrap_err().kind, TargetErrorKind::Refused);
    assert!(!house.exists(failed.name()).await);
}

#[tokio::test]
async fn statements_that_break_out_of_the_transaction_leave_no_account() {
    let Some(house) = house().await else { return };
    for statement in [
        "COMMIT",
        "SELECT 1; COMMIT; SELECT 2",
        "BEGIN",
        "SELECT 1; ROLLBACK",
        "SELECT 1; COMMIT; SELECT no_such_column",
        "SELECT '",
        "/* open",
        "SET ROLE NONE; SELECT {{expiration}}, {{verifier}}; COMMIT; BEGIN",
    ] {
        let mut role = house.reader();
        role.statements.create = templates(&[statement, "SELECT {{principal}}, ''"]);
        let lease = Lease::under(&role);
        let error = house.create(&role, &lease).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused, "{statement}: {error}");
        assert!(!house.exists(lease.name()).await, "{statement}");
    }
    house.issue(&house.reader()).await;
}

#[tokio::test]
async fn what_a_roles_statements_set_does_not_reach_the_next_account() {
    let Some(mut house) = house().await else { return };
    let mut settings = super::settings(&house.pg);
    settings.pool.issuing = 1;
    house.target = mayfly::target::postgres::Postgres::new(settings, super::surroundings()).unwrap();
    let mut role = house.reader();
    role.statements.create = templates(&["SET search_path = public; SET DateStyle = 'SQL, DMY'"]);
    house.issue(&role).await;
    role.statements.create = templates(&[
        "SELECT 1 / (current_setting('search_path') = 'pg_catalog,pg_temp' AND current_setting('DateStyle') LIKE 'ISO%')::int",
    ]);
    house.issue(&role).await;
}

#[tokio::test]
async fn a_secret_never_appears_in_an_error() {
    let Some(house) = house().await else { return };
    let mut role = house.reader();
    role.statements.create = templates(&["SELECT {{password}}::int", "SELECT {{verifier}}::int"]);
    let lease = Lease::under(&role);
    let secret = house.target.prepare(&role).await.unwrap();
    let new = mayfly::target::NewAccount {
        instance: crate::support::instance(),
        account: &lease.account,
        role: &role,
        lease: lease.id,
        principal: &lease.principal,
        expires_at: now(),
    };
    let error = house.target.create(new, &secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused);
    assert!(!format!("{error} {error:?}").contains(secret.password.expose()));
    assert!(!house.exists(lease.name()).await);
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_pool_usable() {
    let Some(mut house) = house().await else { return };
    let mut settings = super::settings(&house.pg);
    settings.pool.issuing = 1;
    house.target = mayfly::target::postgres::Postgres::new(settings, super::surroundings()).unwrap();
    let mut slow = house.reader();
    slow.statements.create = templates(&["SELECT pg_sleep(5)"]);
    let lease = Lease::under(&slow);
    let creation = house.create(&slow, &lease);
    assert!(tokio::time::timeout(Duration::from_millis(300), creation).await.is_err());
    house.issue(&house.reader()).await;
    let user = house.pg.sample.administrator.user.clone();
    let superuser = house.pg.superuser().await;
    crate::support::eventually("the abandoned statement is cancelled", async || {
        let active = "SELECT FROM pg_stat_activity WHERE usename = $1 AND query LIKE '%pg_sleep%' AND state = 'active'";
        superuser.query(active, &[&user]).await.unwrap().is_empty().then_some(())
    })
    .await;
    assert!(!house.exists(lease.name()).await);
}
