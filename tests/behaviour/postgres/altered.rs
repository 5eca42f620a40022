//! Accounts altered behind our back: put right while their lease lives, ended all the same when it ends.

use jiff::{SignedDuration, Timestamp};
use mayfly::{
    domain::Drift,
    target::{Target, TargetError, TargetErrorKind},
};

use super::{House, Lease, house, now};

/// From here on, a grant is its grantor's to revoke.
const GRANTORS_MATTER: u32 = 16;

async fn altered(house: &House, statements: &str) {
    let outcome = house.pg.superuser().await.batch_execute(statements).await;
    outcome.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

/// Puts right twice what has drifted; what only an administrator may do, he does with the remedy.
async fn put_right(
    house: &House,
    lease: &Lease,
    drift: &[Drift],
    expires_at: Timestamp,
) -> Option<TargetError> {
    let mut refused = None;
    for _ in 0..2 {
        match house.target.put_right(lease.leased(), drift, expires_at).await {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind, TargetErrorKind::Denied, "{error:?}");
                altered(house, error.remedy.as_ref().unwrap()).await;
                refused = Some(error);
            }
        }
    }
    refused
}

#[tokio::test]
async fn what_drifted_is_put_right() {
    let Some(house) = house().await else { return };
    let role = house.reader();
    let (names, later) = (&house.pg.sample.names, now() + SignedDuration::from_hours(9));
    let major = house.pg.server.version().major;
    for (statement, denied) in [
        (format!("ALTER ROLE {{}} VALID UNTIL '{later}'"), false),
        ("ALTER ROLE {} VALID UNTIL 'infinity'".to_owned(), false),
        ("ALTER ROLE {} VALID UNTIL '2001-01-01'".to_owned(), false),
        ("ALTER ROLE {} NOLOGIN VALID UNTIL 'infinity'".to_owned(), false),
        (format!("REVOKE {} FROM {{}} GRANTED BY {}", names.read, names.administrator), false),
        ("ALTER ROLE {} CREATEROLE".to_owned(), false),
        ("ALTER ROLE {} CREATEDB".to_owned(), major >= GRANTORS_MATTER),
        ("ALTER ROLE {} SUPERUSER".to_owned(), true),
        ("ALTER ROLE {} REPLICATION BYPASSRLS".to_owned(), true),
        (format!("GRANT {} TO {{}}", names.write), major >= GRANTORS_MATTER),
        (format!("GRANT {} TO {{}} WITH ADMIN OPTION", names.read), major >= GRANTORS_MATTER),
        (format!("GRANT {} TO {{}} GRANTED BY {}", names.write, names.administrator), false),
    ] {
        // Up to 15, only the superuser himself may be named as the grantor by him.
        if statement.contains("GRANTED BY") && major < GRANTORS_MATTER {
            continue;
        }
        let (lease, expires_at) = (Lease::under(&role), now() + SignedDuration::from_mins(10));
        house.create_until(&role, &lease, expires_at).await.unwrap();
        altered(&house, &statement.replace("{}", lease.name())).await;
        let drift = house.drift(&lease, &role.member_of, expires_at).await;
        assert!(!drift.is_empty(), "{statement}");
        let refused = put_right(&house, &lease, &drift, expires_at).await;
        assert_eq!(refused.is_some(), denied, "{statement}: {refused:?}");
        assert_eq!(house.drift(&lease, &role.member_of, expires_at).await, [], "{statement}");
        house.end(&lease).await;
    }
}

#[tokio::test]
async fn what_cannot_be_put_right_is_said_plainly_and_leaves_the_rest_as_it_was() {
    let Some(house) = house().await else { return };
    let role = house.reader();
    let (lease, expires_at) = (Lease::under(&role), now() + SignedDuration::from_mins(10));
    house.create_until(&role, &lease, expires_at).await.unwrap();
    altered(&house, &format!("ALTER ROLE {} SUPERUSER VALID UNTIL 'infinity'", lease.name())).await;
    let drift = house.drift(&lease, &role.member_of, expires_at).await;
    let error = house.target.put_right(lease.leased(), &drift, expires_at).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied);
    assert!(error.message.contains("was given SUPERUSER"), "{error}");
    assert!(error.message.contains("by an administrator of the server only"), "{error}");
    assert_eq!(house.drift(&lease, &role.member_of, expires_at).await, drift, "all or nothing");
    altered(&house, &error.remedy.unwrap()).await;
    assert_eq!(house.drift(&lease, &role.member_of, expires_at).await, []);
    let groups = [role.member_of[0].clone(), format!("{}_gone", role.member_of[0])];
    let drift = house.drift(&lease, &groups, expires_at).await;
    let error = house.target.put_right(lease.leased(), &drift, expires_at).await.unwrap_err();
    assert_eq!(error.remedy.unwrap(), format!("CREATE ROLE \"{}\" NOLOGIN;", groups[1]));
    house.end(&lease).await;
    let error = house.target.put_right(lease.leased(), &drift, expires_at).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing);
}

#[tokio::test]
async fn a_session_that_became_a_role_it_was_given_does_not_stay_it() {
    let Some(house) = house().await else { return };
    let role = house.reader();
    let (lease, expires_at) = (Lease::under(&role), now() + SignedDuration::from_mins(10));
    let secret = house.create_until(&role, &lease, expires_at).await.unwrap();
    let write = &house.pg.sample.names.write;
    let grant = format!("GRANT {write} TO {}", lease.name());
    house.pg.administrator().await.batch_execute(&grant).await.unwrap();
    let session = house.login(&lease, &secret).await.unwrap();
    session.batch_execute(&format!("SET ROLE {write}; UPDATE customers SET name = name")).await.unwrap();
    let drift = house.drift(&lease, &role.member_of, expires_at).await;
    assert_eq!(drift, [Drift::JoinedGroup(write.clone())]);
    house.target.put_right(lease.leased(), &drift, expires_at).await.unwrap();
    assert!(session.batch_execute("UPDATE customers SET name = name").await.is_err());
    // The holder has not lost what was agreed.
    let session = house.login(&lease, &secret).await.unwrap();
    session.query("SELECT FROM customers", &[]).await.unwrap();
}

#[tokio::test]
async fn a_kept_account_that_may_log_in_again_is_disabled_again() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    let session = house.login(&lease, &secret).await.unwrap();
    house.target.put_right(lease.leased(), &[Drift::LoginEnabled], now()).await.unwrap();
    assert!(house.login(&lease, &secret).await.is_err());
    assert!(session.query("SELECT", &[]).await.is_err());
    assert!(!house.found(&lease).await.may_log_in);
}

#[tokio::test]
async fn an_account_made_superuser_is_ended_once_it_is_none_any_more() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    altered(&house, &format!("ALTER ROLE {} SUPERUSER REPLICATION", lease.name())).await;
    let session = house.login(&lease, &secret).await.unwrap();
    for error in [
        house.target.disable(lease.leased()).await.unwrap_err(),
        house.target.end_sessions(lease.leased()).await.unwrap_err(),
        house.target.remove(lease.leased()).await.err().unwrap_or_else(|| unreachable!("it has a session")),
    ] {
        assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
        assert_eq!(
            error.remedy.unwrap(),
            format!("ALTER ROLE \"{}\" NOSUPERUSER NOREPLICATION;", lease.name())
        );
    }
    altered(&house, &format!("ALTER ROLE \"{}\" NOSUPERUSER NOREPLICATION;", lease.name())).await;
    house.end(&lease).await;
    assert!(session.query("SELECT", &[]).await.is_err());
}

#[tokio::test]
async fn an_account_altered_in_every_way_is_ended() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    let (name, names) = (lease.name(), &house.pg.sample.names);
    let friend = format!("{}_friend", names.read);
    altered(
        &house,
        &format!(
            "GRANT {write} TO {name} WITH ADMIN OPTION; ALTER ROLE {name} CREATEROLE CREATEDB BYPASSRLS; \
             COMMENT ON ROLE {name} IS NULL; CREATE ROLE {friend}; \
             CREATE SCHEMA of_{name} AUTHORIZATION {name}; ALTER ROLE {name} CONNECTION LIMIT 50; \
             ALTER ROLE {name} SET search_path = nowhere; GRANT CREATE ON DATABASE {database} TO {name}",
            write = names.write,
            database = names.database,
        ),
    )
    .await;
    let session = house.login(&lease, &secret).await.unwrap();
    let handed_on = format!("GRANT {write} TO {friend}; SET ROLE {write}", write = names.write);
    session.batch_execute(&handed_on).await.unwrap();
    let survey = house.target.disable(lease.leased()).await.unwrap();
    assert!(survey.has_objects && survey.sessions == 1, "{survey:?}");
    // What the server's administrator granted is his to revoke; the refusal names the statement.
    house.target.end_sessions(lease.leased()).await.unwrap();
    let error = house.target.settle_objects(lease.leased()).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
    altered(&house, &error.remedy.unwrap()).await;
    // Somebody lets it in again in the midst of it.
    let again = format!("ALTER ROLE {name} LOGIN PASSWORD '{}'", secret.verifier.as_str());
    altered(&house, &again).await;
    let _straggler = house.login(&lease, &secret).await;
    house.end(&lease).await;
    assert!(session.query("SELECT", &[]).await.is_err());
    if house.pg.server.version().major >= GRANTORS_MATTER {
        let members =
            "SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1";
        let left = house.pg.superuser().await.query(members, &[&friend]).await.unwrap();
        assert!(left.is_empty(), "what it handed on is gone with it");
    }
    altered(&house, &format!("DROP ROLE {friend}")).await;
}
