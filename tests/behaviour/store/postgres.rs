//! The shared store: conformance, and what only several processes on one store can show.

use std::sync::Arc;

use mayfly::{
    clock::SystemClock,
    domain::Engine,
    random::{Random, SystemRandom},
    store::{
        Store,
        postgres::{Address, PostgresOptions, PostgresSettings, PostgresStore, SchemaName},
    },
};
use tokio_postgres::{Client, Config, NoTls};

use super::conformance::conformance;
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
