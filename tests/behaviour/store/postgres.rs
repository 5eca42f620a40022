//! The shared store: conformance, and what only several processes on one store can show.

mod entries;
mod faults;
mod replicas;
mod size;

use std::sync::Arc;

use mayfly::{
    clock::SystemClock,
    domain::Engine,
    random::{Random, SystemRandom},
    store::{
        LeaseStore, Store, StoreErrorKind,
        postgres::{Address, PostgresOptions, PostgresSettings, PostgresStore, SchemaName},
    },
};
use proptest::test_runner::{Config as Cases, TestRunner};
use tokio_postgres::{Client, Config, NoTls};

use super::{
    conformance::conformance,
    fixtures::{draft, end, lease, live, records},
    histories::{check_books, play, step},
};
use crate::support::shared_server;

/// A schema of the test's own.
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) schema: SchemaName,
    user: String,
    password: mayfly::domain::Password,
}

impl Place {
    /// On the shared server; `None` when PostgreSQL is not to be tested.
    pub(super) async fn new() -> Option<Self> {
        let server = shared_server(Engine::Postgres).await?;
        let account = server.administrator();
        let schema = format!("store_{:016x}", SystemRandom.bits()).parse().unwrap();
        let (user, password) = (account.user.clone(), account.password.clone());
        Some(Self { port: server.port(), schema, user, password })
    }

    /// How to reach it, as a replica.
    pub(super) fn settings(&self, replica: &str) -> PostgresSettings {
        PostgresSettings {
            address: Address {
                hosts: vec![("127.0.0.1".to_owned(), self.port)],
                user: self.user.clone(),
                database: "postgres".to_owned(),
            },
            password: Some(self.password.clone()),
            tls: None,
            schema: self.schema.clone(),
            replica: replica.parse().unwrap(),
            options: PostgresOptions::default(),
        }
    }

    pub(super) async fn open(&self, replica: &str) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(self.settings(replica), Arc::new(SystemClock)).await.unwrap())
    }

    /// A session of the test's own, in the schema.
    pub(super) async fn client(&self) -> Client {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).dbname("postgres").user(&self.user);
        config.options(format!("-c search_path={}", self.schema.as_str()));
        let (client, connection) = config.password(self.password.expose()).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

struct Fixture(Arc<dyn Store>);

impl Fixture {
    async fn new() -> Option<Self> {
        Some(Self(Place::new().await?.open("one").await))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0)
    }
}

conformance!(match Fixture::new().await {
    Some(fixture) => fixture,
    None => return,
});

#[test]
fn counts_agree_with_the_leases_after_any_history() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let Some(place) = runtime.block_on(Place::new()) else { return };
    drop(place);
    let mut runner = TestRunner::new(Cases { cases: 6, failure_persistence: None, ..Cases::default() });
    let histories = proptest::collection::vec(step(), 0..60);
    runner
        .run(&histories, |history| {
            runtime.block_on(async {
                let store = Place::new().await.unwrap().open("one").await;
                play(&*store, history).await;
                check_books(&*store).await;
                store.close().await;
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let Some(place) = Place::new().await else { return };
    let store = place.open("one").await;
    let kept = live(&*store, lease(1, "ada", "reader"), 600).await;
    let gone = live(&*store, lease(2, "ada", "reader"), 600).await;
    let gone = end(&*store, gone.id, mayfly::domain::EndCause::Released).await;
    let (log, instance) = (records(&*store).await, store.instance());
    store.close().await;

    let store = place.open("one").await;
    assert_eq!(store.instance(), instance);
    assert_eq!(store.lease(kept.id).await.unwrap(), Some(kept.clone()));
    assert_eq!(store.lease(gone.id).await.unwrap(), Some(gone));
    assert_eq!(records(&*store).await, log);
    store.record(draft("server.started", kept.id)).await.unwrap();
    let after = records(&*store).await;
    assert_eq!(after.last().unwrap().previous, log.last().unwrap().hash);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_first_makes_the_schema() {
    let Some(place) = Place::new().await else { return };
    let (a, b, c) = tokio::join!(place.open("a"), place.open("b"), place.open("c"));
    assert_eq!((a.instance(), b.instance()), (b.instance(), c.instance()));
    for store in [a, b, c] {
        store.record(draft("server.started", lease(1, "a", "b").id)).await.unwrap();
        store.close().await;
    }
}

async fn refused(place: &Place) -> mayfly::store::StoreError {
    PostgresStore::open(place.settings("one"), Arc::new(SystemClock)).await.unwrap_err()
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Some(place) = Place::new().await else { return };
    place.open("one").await.close().await;
    place.client().await.batch_execute("UPDATE mayfly_schema SET version = 99").await.unwrap();
    let error = refused(&place).await;
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(error.to_string().contains("newer version of Mayfly (schema 99"), "{error}");
}

#[tokio::test]
async fn another_programs_schema_is_refused_and_left_alone() {
    let Some(place) = Place::new().await else { return };
    let (client, schema) = (place.client().await, place.schema.as_str());
    client.batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE precious (id int)")).await.unwrap();
    let error = refused(&place).await;
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(error.to_string().ends_with("belongs to another program"), "{error}");
    let sql = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1::text)";
    assert_eq!(client.query_one(sql, &[&schema]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_schema_that_its_owner_prepared_needs_no_superuser() {
    let Some(place) = Place::new().await else { return };
    let (client, schema) = (place.client().await, place.schema.as_str());
    let sql = format!(
        "CREATE ROLE {schema} LOGIN PASSWORD 'only a test'; CREATE SCHEMA {schema} AUTHORIZATION {schema}"
    );
    client.batch_execute(&sql).await.unwrap();
    let mut settings = place.settings("one");
    settings.address.user = schema.to_owned();
    settings.password = Some(mayfly::domain::Password::new("only a test".to_owned()));
    let store = PostgresStore::open(settings, Arc::new(SystemClock)).await.unwrap();
    live(&store, lease(1, "ada", "reader"), 600).await;
    store.close().await;
}
