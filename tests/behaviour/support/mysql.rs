//! MySQL or MariaDB for one test.

use std::borrow::Borrow;

use mayfly::{
    domain::Engine,
    sandbox::{Sample, Server},
};
use mysql_async::{Conn, OptsBuilder};

use super::servers::{fresh_sample, shared_server};

/// A sample of the test's own on a server: database, groups, administration account.
pub(crate) struct MyFixture<S = &'static Server> {
    pub(crate) server: S,
    pub(crate) sample: Sample,
}

/// A fresh sample on the shared MySQL server; `None` when MySQL is not to be tested.
pub(crate) async fn mysql() -> Option<MyFixture> {
    fixture(Engine::Mysql).await
}

/// A fresh sample on the shared MariaDB server; `None` when MariaDB is not to be tested.
pub(crate) async fn mariadb() -> Option<MyFixture> {
    fixture(Engine::Mariadb).await
}

async fn fixture(engine: Engine) -> Option<MyFixture> {
    let server = shared_server(engine).await?;
    Some(MyFixture { server, sample: fresh_sample(server).await })
}

impl MyFixture<Server> {
    /// A fresh sample on a server of one's own.
    pub(crate) async fn on(server: Server) -> Self {
        let sample = fresh_sample(&server).await;
        Self { server, sample }
    }
}

impl<S: Borrow<Server>> MyFixture<S> {
    /// The server.
    pub(crate) fn server(&self) -> &Server {
        self.server.borrow()
    }

    /// The server's port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.server().port()
    }

    /// Logs root in to the sample's database.
    pub(crate) async fn root(&self) -> Conn {
        let account = self.server().administrator();
        self.login(&account.user, account.password.expose()).await.unwrap()
    }

    /// Logs Mayfly's administration account in, to no database: it has no rights in the sample's.
    pub(crate) async fn administrator(&self) -> Conn {
        let account = &self.sample.administrator;
        self.connect(&account.user, account.password.expose()).await.unwrap()
    }

    /// Logs anybody in to no database, or tries to.
    pub(crate) async fn connect(&self, user: &str, password: &str) -> mysql_async::Result<Conn> {
        Conn::new(self.options(user, password)).await
    }

    /// Logs anybody in to the sample's database, or tries to.
    pub(crate) async fn login(&self, user: &str, password: &str) -> mysql_async::Result<Conn> {
        let database = Some(&self.sample.names.database);
        Conn::new(self.options(user, password).db_name(database)).await
    }

    fn options(&self, user: &str, password: &str) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port())
            .prefer_socket(false)
            .user(Some(user))
            .pass(Some(password))
    }
}
