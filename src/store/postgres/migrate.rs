//! The schema: made and brought up to date by whoever comes first.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;

use super::{
    failure::Failure,
    session::Session,
    settings::{PostgresSettings, SchemaName},
};
use crate::{audit::Digest, store::StoreErrorKind};

/// Every version of the schema is the one before it and one of these.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001_initial.sql"),
    include_str!("schema/0002_entries.sql"),
    include_str!("schema/0003_changes.sql"),
];

/// How long bringing the schema up to date may take, waiting for others who do it included.
const BOUND: Duration = Duration::from_secs(120);

/// The first half of the keys of Mayfly's advisory locks: "MAYF".
pub(super) const LOCKS: i32 = 0x4d41_5946;

/// The other half of an advisory lock's key. That two names share one costs them a wait.
pub(super) fn lock_key(schema: &SchemaName, what: &str) -> i32 {
    let Digest(bytes) = Digest::of(format!("{}/{what}", schema.as_str()).as_bytes());
    let [a, b, c, d, ..] = bytes;
    i32::from_be_bytes([a, b, c, d])
}

/// What a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Empty,
    Version(usize),
    Foreign,
}

/// Brings the schema up to date.
pub(super) async fn migrate(session: &Session, settings: &PostgresSettings) -> Result<(), Failure> {
    if look(session, &settings.schema).await? == Found::Version(MIGRATIONS.len()) {
        return Ok(());
    }
    let migrated = timeout(BOUND, run(session, &settings.schema)).await;
    let outcome = migrated.unwrap_or_else(|_| Err(Failure::timed_out(BOUND)));
    if outcome.is_err() {
        // The session is not used further; what is open in it ends with it.
        session.abandon();
    }
    outcome
}

/// Refuses a schema that is not there or not of this version, without changing anything.
pub(super) async fn check(session: &Session, settings: &PostgresSettings) -> Result<(), Failure> {
    match look(session, &settings.schema).await? {
        Found::Version(version) if version == MIGRATIONS.len() => Ok(()),
        Found::Version(version) if version < MIGRATIONS.len() => Err(Failure::new(
            StoreErrorKind::Other,
            "the store is of an older version: start Mayfly once, which brings it up to date",
        )),
        Found::Version(version) => Err(newer(&settings.schema, version)),
        Found::Nothing | Found::Empty | Found::Foreign => Err(Failure::new(
            StoreErrorKind::Other,
            format!("the schema {} holds no store", settings.schema.as_str()),
        )),
    }
}

async fn run(session: &Session, schema: &SchemaName) -> Result<(), Failure> {
    let lock = format!(
        "BEGIN; SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = '60s'; \
         SELECT pg_advisory_xact_lock({LOCKS}, {})",
        lock_key(schema, "schema")
    );
    session.client.batch_execute(&lock).await?;
    // Looked at anew: somebody else may have been quicker.
    let version = match look(session, schema).await? {
        Found::Nothing => {
            session.client.batch_execute(&format!("CREATE SCHEMA {}", schema.as_str())).await?;
            0
        }
        Found::Empty => 0,
        Found::Version(version) if version > MIGRATIONS.len() => return Err(newer(schema, version)),
        Found::Version(version) => version,
        Found::Foreign => {
            let message =
                format!("the schema {} of the store's database belongs to another program", schema.as_str());
            return Err(Failure::new(StoreErrorKind::Corrupt, message));
        }
    };
    for migration in MIGRATIONS.get(version..).unwrap_or_default() {
        session.client.batch_execute(migration).await?;
    }
    let mark = format!(
        "CREATE TABLE IF NOT EXISTS mayfly_schema (version INTEGER NOT NULL); DELETE FROM mayfly_schema; \
         INSERT INTO mayfly_schema (version) VALUES ({}); COMMIT",
        MIGRATIONS.len()
    );
    Ok(session.client.batch_execute(&mark).await?)
}

fn newer(schema: &SchemaName, version: usize) -> Failure {
    let message = format!(
        "the store in the schema {} was written by a newer version of Mayfly (schema {version}; this version knows up to \
         {}): run that version, or restore a backup made before the upgrade",
        schema.as_str(),
        MIGRATIONS.len()
    );
    Failure::new(StoreErrorKind::Corrupt, message)
}

async fn look(session: &Session, schema: &SchemaName) -> Result<Found, Failure> {
    let name = schema.as_str();
    let sql = format!(
        "SELECT to_regnamespace('{name}') IS NOT NULL, to_regclass('{name}.mayfly_schema') IS NOT NULL, \
         (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('{name}'))"
    );
    let answer = one_row(session, &sql).await?;
    let is = |column: usize| answer.get(column).is_some_and(|text| text == "t");
    if !is(0) {
        return Ok(Found::Nothing);
    }
    if !is(1) {
        let empty = answer.get(2).is_some_and(|count| count == "0");
        return Ok(if empty { Found::Empty } else { Found::Foreign });
    }
    let version = one_row(session, "SELECT version FROM mayfly_schema").await?;
    Ok(version.first().and_then(|text| text.parse().ok()).map_or(Found::Foreign, Found::Version))
}

async fn one_row(session: &Session, sql: &str) -> Result<Vec<String>, Failure> {
    let answer = session.client.simple_query(sql).await?;
    let row = answer.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let texts =
        row.map(|row| (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect());
    Ok(texts.unwrap_or_default())
}
