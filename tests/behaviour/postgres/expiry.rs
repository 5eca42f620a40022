//! With Mayfly gone: what the server does by itself at an account's expiry, and what `pg_cron` adds to it.

use std::fs;

use jiff::SignedDuration;
use mayfly::{
    domain::Engine,
    sandbox::Server,
    target::{Finding, Severity, Target, postgres::Postgres},
};
use tokio_postgres::Client;

use super::{House, Lease, code, now, settings, surroundings};
use crate::support::{self, PgFixture, eventually};

/// A server of one's own: the job sees every account on it.
async fn own_house() -> Option<House<Server>> {
    let server = support::own_server(Engine::Postgres, |_| {}).await?;
    Some(House::on(PgFixture::on(server).await))
}

async fn script(house: &House<Server>) -> String {
    house.target.installation_script().await.unwrap()
}

/// What `pg_cron` would run.
async fn command(house: &House<Server>) -> String {
    script(house).await.split("$mayfly$").nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn with_mayfly_gone_the_server_refuses_logins_at_the_expiry_and_sessions_stay_until_the_job_ends_them()
{
    let Some(house) = own_house().await else { return };
    let role = house.writer();
    let (expiring, lasting) = (Lease::under(&role), Lease::under(&role));
    let secret = house.create_until(&role, &expiring, now() + SignedDuration::from_secs(2)).await.unwrap();
    let lasting_secret = house.create(&role, &lasting).await.unwrap();
    let session = house.login(&expiring, &secret).await.unwrap();
    session.batch_execute("CREATE TABLE drafts.mine (id int)").await.unwrap();
    let write = &house.pg.sample.names.write;
    let other_role = house.login(&expiring, &secret).await.unwrap();
    other_role.batch_execute(&format!("SET ROLE {write}")).await.unwrap();
    let lasting_session = house.login(&lasting, &lasting_secret).await.unwrap();
    let superuser = house.pg.superuser().await;
    let boss = format!(
        "CREATE ROLE mf_boss LOGIN PASSWORD 'b'; GRANT CONNECT ON DATABASE {} TO mf_boss",
        house.pg.sample.names.database
    );
    superuser.batch_execute(&boss).await.unwrap();
    let boss = house.pg.login("mf_boss", "b").await.unwrap();
    superuser.batch_execute("ALTER ROLE mf_boss VALID UNTIL '2001-01-01'").await.unwrap();
    let settings = settings(&house.pg);
    let House { pg, target } = house;
    drop(target);

    // New logins: refused, by the server alone.
    let refused = eventually("the server refuses it", async || {
        pg.login(expiring.name(), secret.password.expose()).await.err()
    })
    .await;
    assert_eq!(code(&refused), "28P01");
    // Open sessions and objects: as they were.
    session.query("SELECT FROM drafts.mine", &[]).await.unwrap();
    other_role.query("SELECT FROM customers", &[]).await.unwrap();

    let house = House { target: Postgres::new(settings, surroundings()).unwrap(), pg };
    let command = command(&house).await;
    let ended = superuser.query_one(&command, &[]).await.unwrap();
    assert_eq!(ended.get::<_, i64>(0), 2);
    eventually("they have ended", async || other_role.query("SELECT", &[]).await.err()).await;
    eventually("they have ended", async || session.query("SELECT", &[]).await.err()).await;
    // Nobody else's: neither a lease's that lasts, nor of an account that is none of ours.
    lasting_session.query("SELECT FROM customers", &[]).await.unwrap();
    boss.query("SELECT", &[]).await.unwrap();
    house.end(&expiring).await;
}

/// Something that looks like `pg_cron`, which is not to be had here: its table with its row security, as an extension's own.
const LIKE_PG_CRON: &str = "\
    SET allow_system_table_mods = on; \
    CREATE SCHEMA cron; \
    CREATE TABLE cron.job (jobid bigserial PRIMARY KEY, schedule text, command text, username text DEFAULT current_user, \
      active bool NOT NULL DEFAULT true, jobname text UNIQUE); \
    ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY; \
    CREATE POLICY cron_job_policy ON cron.job USING (username = current_user); \
    CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS \
      'INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3) RETURNING jobid'; \
    INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) \
      VALUES (99999, 'pg_cron', 10, 'cron'::regnamespace, false, '1.6'); \
    ALTER EXTENSION pg_cron ADD TABLE cron.job";

async fn maintenance(house: &House<Server>) -> Client {
    let mut config = tokio_postgres::Config::new();
    let administrator = house.pg.server.administrator();
    config.host("127.0.0.1").port(house.pg.port()).dbname("postgres").user(&administrator.user);
    let (client, connection) =
        config.password(administrator.password.expose()).connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What is said of the job.
async fn said(house: &House<Server>) -> Vec<Finding> {
    let examination = house.target.examine(&[&house.writer()]).await;
    assert!(
        examination.findings.iter().all(|finding| finding.severity < Severity::Problem),
        "{examination:?}"
    );
    examination.findings.into_iter().filter(|finding| finding.summary.contains("pg_cron")).collect()
}

#[tokio::test]
async fn doctor_says_whether_the_job_is_there_where_pg_cron_is() {
    let Some(house) = own_house().await else { return };
    let superuser = maintenance(&house).await;
    assert!(said(&house).await.is_empty(), "it is optional");
    superuser.batch_execute(LIKE_PG_CRON).await.unwrap();
    let missing = said(&house).await;
    assert!(missing[0].summary.contains("no job mayfly-expire"), "{missing:?}");
    superuser.batch_execute(&script(&house).await).await.unwrap();
    assert_eq!(said(&house).await[0].severity, Severity::Fine);
    // Of the jobs, that is the only one that the administration account sees.
    superuser.batch_execute("SELECT cron.schedule('other', '* * * * *', 'SELECT 1')").await.unwrap();
    let mut config = tokio_postgres::Config::new();
    let administrator = &house.pg.sample.administrator;
    config.host("127.0.0.1").port(house.pg.port()).dbname("postgres").user(&administrator.user);
    let (client, connection) =
        config.password(administrator.password.expose()).connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(client.query("SELECT FROM cron.job", &[]).await.unwrap().len(), 1);
    for (change, word) in [
        ("UPDATE cron.job SET active = false", "switched off"),
        ("UPDATE cron.job SET active = true, command = 'SELECT 1'", "does not do what it does"),
    ] {
        superuser.batch_execute(change).await.unwrap();
        assert!(said(&house).await[0].summary.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_table_that_only_looks_like_pg_crons_is_not_read() {
    let Some(house) = own_house().await else { return };
    let trap = "CREATE SCHEMA cron; CREATE TABLE cron.job (jobname text, active bool, command text); \
         GRANT USAGE ON SCHEMA cron TO PUBLIC; GRANT SELECT ON cron.job TO PUBLIC; \
         INSERT INTO cron.job VALUES ('mayfly-expire', true, 'trap')";
    maintenance(&house).await.batch_execute(trap).await.unwrap();
    assert!(said(&house).await.is_empty());
}

#[tokio::test]
async fn the_document_shows_the_job_as_it_is_printed() {
    let Some(house) = super::house().await else { return };
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dead-mans-switch.md")).unwrap();
    let script = house.target.installation_script().await.unwrap();
    let script = script.replace(&format!("\"{}\"", house.pg.sample.administrator.user), "\"mayfly\"");
    assert!(text.contains(&script), "docs/dead-mans-switch.md does not show:\n{script}");
}
