//! Hostile strings in every place that takes one.

use mayfly::target::{Target, TargetErrorKind};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{House, house, templates};

/// Text that likes to break out of quotations.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("$$".to_owned()),
        Just("--".to_owned()),
        Just("/*".to_owned()),
        Just("; DROP ROLE postgres;".to_owned()),
        Just("'; CREATE ROLE owned SUPERUSER; --".to_owned()),
        Just("\\'; CREATE ROLE owned SUPERUSER; --".to_owned()),
        Just("{{password}}".to_owned()),
        Just("\n".to_owned()),
        Just("E'".to_owned()),
        any::<char>().prop_filter("the server has no NUL", |c| *c != '\0').prop_map(String::from),
    ];
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

async fn roles_and_settings(house: &House, name: &str) -> (i64, Option<String>) {
    let superuser = house.pg.superuser().await;
    let row = superuser
        .query_one(
            "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'owned%' OR rolname = $1), \
             (SELECT s.value FROM pg_roles r, unnest(r.rolconfig) c (entry), \
                LATERAL (SELECT substr(c.entry, 12) AS value) s WHERE r.rolname = $1 AND c.entry LIKE 'app.hostile=%')",
            &[&name],
        )
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

async fn settings_keep_their_value(house: &House, value: &str) {
    let mut role = house.reader();
    role.settings.insert("app.hostile".to_owned(), value.to_owned());
    role.statements.create = templates(&["SELECT {{principal}}, {{name_literal}}"]);
    let (lease, secret) = house.issue(&role).await;
    assert_eq!(roles_and_settings(house, lease.name()).await.0, 1, "{value:?}");
    let client = house.login(&lease, &secret).await.unwrap();
    let row = client.query_one("SELECT current_setting('app.hostile')", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), value);
    house.target.end_sessions(lease.leased()).await.unwrap();
    assert!(house.target.remove(lease.leased()).await.unwrap());
}

async fn names_are_names(house: &House, name: &str) {
    let mut role = house.reader();
    role.member_of = vec![name.to_owned()];
    role.statements.create = templates(&["GRANT {{group}} TO {{name}}"]);
    let lease = super::Lease::under(&role);
    let error = house.create(&role, &lease).await.unwrap_err();
    assert!(matches!(error.kind, TargetErrorKind::Refused | TargetErrorKind::Denied), "{name:?}: {error}");
    role.member_of = vec![house.pg.sample.names.read.clone()];
    role.settings.insert(name.to_owned(), "1".to_owned());
    assert!(house.create(&role, &lease).await.is_err(), "{name:?}");
    assert_eq!(roles_and_settings(house, lease.name()).await.0, 0, "{name:?}");
}

#[test]
fn nothing_but_the_intended_account_exists_and_values_stay_what_they_are() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(house) = runtime.block_on(house()) else { return };
    runtime.block_on(async {
        let user = &house.pg.sample.administrator.user;
        let superuser = house.pg.superuser().await;
        let may = if house.pg.server.version().major >= 15 {
            format!("GRANT SET ON PARAMETER app.hostile TO {user}")
        } else {
            format!("ALTER ROLE {user} SUPERUSER")
        };
        superuser.batch_execute(&may).await.unwrap();
    });
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    runner
        .run(&hostile(), |text| {
            runtime.block_on(async {
                settings_keep_their_value(&house, &text).await;
                names_are_names(&house, &text).await;
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn what_cannot_be_quoted_is_refused_before_it_is_sent() {
    let Some(house) = house().await else { return };
    for (name, value) in [("work_mem", "a\0b"), ("", "1"), ("app.", "1"), ("a\0b", "1")] {
        let mut role = house.reader();
        role.settings.insert(name.to_owned(), value.to_owned());
        let lease = super::Lease::under(&role);
        let error = house.create(&role, &lease).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused, "{error}");
    }
    for group in ["", "a\0b", &"g".repeat(64), &"g".repeat(10_240)] {
        let mut role = house.reader();
        role.member_of.push(group.to_owned());
        let lease = super::Lease::under(&role);
        let error = house.create(&role, &lease).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused, "{error}");
        assert!(error.to_string().len() < 200);
    }
}
