//! PostgreSQL for one test.

use std::borrow::Borrow;

use mayfly::{
    domain::Engine,
    sandbox::{Sample, Server},
};
use tokio_postgres::{Client, Config, NoTls};

use super::servers::{fresh_sample, shared_server};

/// A sample of the test's own on a server: database, groups, administration account.
pub(crate) struct PgFixture<S = &'static Server> {
    pub(crate) server: S,
    pub(crate) sample: Sample,
}

/// A fresh sample on the shared server; `None` when PostgreSQL is not to be tested.
pub(crate) async fn postgres() -> Option<PgFixture> {
    let server = shared_server(Engine::Postgres).await?;
    Some(PgFixture { server, sample: fresh_sample(server).await })
}

impl PgFixture<Server> {
    /// A fresh sample on a server of one's own.
    pub(crate) async fn on(server: Server) -> Self {
        let sample = fresh_sample(&server).await;
        Self { server, sample }
    }
}

impl<S: Borrow<Server>> PgFixture<S> {
    /// The server.
    pub(crate) fn server(&self) -> &Server {
        self.server.borrow()
    }

    /// The server's port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.server().port()
    }

    /// Logs the superuser in to the sample's database.
    pub(crate) async fn superuser(&self) -> Client {
        let account = self.server().administrator();
        self.login(&account.user, account.password.expose()).await.unwrap()
    }

    /// Logs Mayfly's administration account in to the sample's database.
    pub(crate) async fn administrator(&self) -> Client {
        let account = &self.sample.administrator;
        self.login(&account.user, account.password.expose()).await.unwrap()
    }

    /// Logs anybody in to the sample's database, or tries to.
    pub(crate) async fn login(&self, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port()).dbname(&self.sample.names.database);
        let (client, connection) = config.user(user).password(password).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}
