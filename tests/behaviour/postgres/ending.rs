//! No login, no session, no account.

use mayfly::{
    domain::Engine,
    target::{Glance, SessionsEnded, Survey, Target, TargetErrorKind},
};

use super::{House, Lease, code, house, templates};
use crate::support::{self, PgFixture, eventually};

#[tokio::test]
async fn a_disabled_account_is_refused_before_its_sessions_end() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    let client = house.login(&lease, &secret).await.unwrap();
    let survey = house.target.disable(lease.leased()).await.unwrap();
    assert_eq!(survey, Survey { present: true, sessions: 1, has_objects: false });
    assert_eq!(code(&house.login(&lease, &secret).await.err().unwrap()), "28P01");
    client.query("SELECT FROM customers", &[]).await.unwrap();
    let ended = house.target.end_sessions(lease.leased()).await.unwrap();
    assert_eq!(ended, SessionsEnded { ended: 1, remaining: 0 });
    assert!(client.query("SELECT FROM customers", &[]).await.is_err());
    assert!(house.target.remove(lease.leased()).await.unwrap());
    assert!(!house.exists(lease.name()).await);
}

#[tokio::test]
async fn an_absent_account_is_no_error_at_any_step() {
    let Some(house) = house().await else { return };
    let lease = Lease::under(&house.reader());
    let survey = house.target.disable(lease.leased()).await.unwrap();
    assert_eq!(survey, Survey { present: false, sessions: 0, has_objects: false });
    house.end(&lease).await;
    assert!(house.target.sessions(&lease.account).await.unwrap().is_empty());
}

#[tokio::test]
async fn sessions_in_another_role_in_a_transaction_and_at_work_all_end() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.writer()).await;
    let other_role = house.login(&lease, &secret).await.unwrap();
    other_role.batch_execute(&format!("SET ROLE {}", house.pg.sample.names.write)).await.unwrap();
    let in_transaction = house.login(&lease, &secret).await.unwrap();
    in_transaction.batch_execute("BEGIN; INSERT INTO customers (name) VALUES ('Eve')").await.unwrap();
    let at_work = house.login(&lease, &secret).await.unwrap();
    let sleeping = tokio::spawn(async move { at_work.batch_execute("SELECT pg_sleep(60)").await });
    let seen = eventually("all three are seen", async || {
        let seen = house.target.sessions(&lease.account).await.unwrap();
        (seen.len() == 3).then_some(seen)
    })
    .await;
    assert!(seen.iter().all(|s| s.database.as_ref() == Some(&house.pg.sample.names.database)));
    assert_eq!(house.target.disable(lease.leased()).await.unwrap().sessions, 3);
    let ended = house.target.end_sessions(lease.leased()).await.unwrap();
    assert_eq!(ended, SessionsEnded { ended: 3, remaining: 0 });
    assert!(sleeping.await.unwrap().is_err());
    assert!(other_role.query("SELECT FROM customers", &[]).await.is_err());
    let superuser = house.pg.superuser().await;
    let row = superuser.query_one("SELECT count(*) FROM customers", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3, "what was not committed is rolled back");
    house.end(&lease).await;
}

#[tokio::test]
async fn sessions_are_shown_in_full_to_those_who_may_read_them() {
    let Some(house) = house().await else { return };
    let user = &house.pg.sample.administrator.user;
    let grant = format!("GRANT pg_read_all_stats TO {user}");
    house.pg.superuser().await.batch_execute(&grant).await.unwrap();
    let (lease, secret) = house.issue(&house.reader()).await;
    let _client = house.login(&lease, &secret).await.unwrap();
    let seen = eventually("it is idle", async || {
        let seen = house.target.sessions(&lease.account).await.unwrap();
        (seen.first()?.activity.as_deref() == Some("idle")).then_some(seen)
    })
    .await;
    let session = seen.first().unwrap();
    assert_eq!(session.client.unwrap().to_string(), "127.0.0.1");
    assert!(session.started_at.unwrap().duration_since(super::now()).abs().as_secs() < 60);
}

#[tokio::test]
async fn a_session_that_is_still_there_at_the_drop_is_ended_first() {
    let Some(house) = house().await else { return };
    let (lease, secret) = house.issue(&house.reader()).await;
    house.target.disable(lease.leased()).await.unwrap();
    // A login that was let in while the account was being disabled looks like this.
    let superuser = house.pg.superuser().await;
    let again = format!("ALTER ROLE {} LOGIN PASSWORD '{}'", lease.name(), secret.verifier.as_str());
    superuser.batch_execute(&again).await.unwrap();
    let straggler = house.login(&lease, &secret).await.unwrap();
    assert!(house.target.remove(lease.leased()).await.unwrap());
    assert!(straggler.query("SELECT FROM customers", &[]).await.is_err());
    assert!(!house.exists(lease.name()).await);
}

#[tokio::test]
async fn the_roles_own_statements_for_the_end_run() {
    let Some(house) = house().await else { return };
    let mut role = house.reader();
    role.statements.end = templates(&["REVOKE {{group}} FROM {{name}}", "SELECT {{lease}}, {{role}}"]);
    let (lease, _) = house.issue(&role).await;
    house.target.settle_objects(lease.leased()).await.unwrap();
    let members = "SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1";
    assert!(house.pg.superuser().await.query(members, &[&lease.name()]).await.unwrap().is_empty());
    house.end(&lease).await;
}

#[tokio::test]
async fn a_prepared_transaction_does_not_outlive_its_account() {
    let adjust = |spec: &mut mayfly::sandbox::ServerSpec| {
        spec.settings.push(("max_prepared_transactions".to_owned(), "4".to_owned()));
    };
    let Some(server) = support::own_server(Engine::Postgres, adjust).await else { return };
    let house = House::on(PgFixture::on(server).await);
    let (lease, secret) = house.issue(&house.writer()).await;
    let client = house.login(&lease, &secret).await.unwrap();
    let prepare = "BEGIN; CREATE TABLE drafts.later (id int); PREPARE TRANSACTION 'it''s later'";
    client.batch_execute(prepare).await.unwrap();
    let survey = house.target.disable(lease.leased()).await.unwrap();
    assert!(survey.has_objects);
    house.end(&lease).await;
    let prepared = house.pg.superuser().await.query("SELECT FROM pg_prepared_xacts", &[]).await.unwrap();
    assert!(prepared.is_empty());
}

#[tokio::test]
async fn many_accounts_are_told_apart_and_end_in_one_go() {
    let Some(house) = house().await else { return };
    let (used, secret) = house.issue(&house.reader()).await;
    let client = house.login(&used, &secret).await.unwrap();
    let (owning, secret) = house.issue(&house.writer()).await;
    let owner = house.login(&owning, &secret).await.unwrap();
    owner.batch_execute(&format!("CREATE TABLE drafts.{} (id int)", owning.name())).await.unwrap();
    drop(owner);
    eventually("its session has ended", async || {
        house.target.sessions(&owning.account).await.unwrap().is_empty().then_some(())
    })
    .await;
    let (bare, secret) = house.issue(&house.reader()).await;
    let gone = Lease::under(&house.reader());
    let all = [&used, &owning, &bare, &gone].map(Lease::leased);
    let seen = house.target.disable_many(&all).await.unwrap();
    assert_eq!(seen, [Glance::InUse, Glance::Laden, Glance::Bare, Glance::Absent]);
    assert_eq!(house.target.disable_many(&all).await.unwrap(), seen, "twice has the effect of once");
    assert_eq!(code(&house.login(&bare, &secret).await.err().unwrap()), "28P01");
    let ended = house.target.end_sessions_of_many(&all).await.unwrap();
    let none = SessionsEnded::default();
    assert_eq!(ended, [SessionsEnded { ended: 1, remaining: 0 }, none, none, none]);
    assert!(client.query("SELECT FROM customers", &[]).await.is_err());
    let removable = [used.leased(), bare.leased(), gone.leased()];
    assert_eq!(house.target.disable_many(&removable[..1]).await.unwrap(), [Glance::Bare]);
    for _ in 0..2 {
        assert_eq!(house.target.remove_many(&removable).await.unwrap(), [true; 3]);
    }
    assert!(!house.exists(used.name()).await && !house.exists(bare.name()).await);
    assert!(house.target.remove_many(&all).await.is_err(), "what owns something is not dropped");
    house.end(&owning).await;
}

#[tokio::test]
async fn many_accounts_are_not_dropped_while_one_has_a_session() {
    let Some(house) = house().await else { return };
    let (used, secret) = house.issue(&house.reader()).await;
    let (bare, _) = house.issue(&house.reader()).await;
    let _client = house.login(&used, &secret).await.unwrap();
    assert!(house.target.remove_many(&[used.leased(), bare.leased()]).await.is_err());
    assert!(house.exists(used.name()).await && house.exists(bare.name()).await);
    house.end(&used).await;
    house.end(&bare).await;
}

#[tokio::test]
async fn a_batch_does_not_wait_for_an_account_that_somebody_holds() {
    let Some(house) = house().await else { return };
    let (held, _) = house.issue(&house.reader()).await;
    let (other, secret) = house.issue(&house.reader()).await;
    let holder = house.pg.superuser().await;
    holder.batch_execute(&format!("BEGIN; ALTER ROLE {} CONNECTION LIMIT 1", held.name())).await.unwrap();
    let error = house.target.disable_many(&[other.leased(), held.leased()]).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Busy, "{error}");
    house.login(&other, &secret).await.unwrap();
    holder.batch_execute("ROLLBACK").await.unwrap();
    house.end(&held).await;
    house.end(&other).await;
}
