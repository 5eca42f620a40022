//! What every test needs: real servers, shared by all tests of the process, and a fresh sample on them for each test.
//!
//! `let Some(pg) = support::postgres().await else { return };` gives a database, groups and a non-superuser
//! administration account that belong to this test alone; tests run in parallel and clean nothing up, because the
//! servers and their data end with the process.
//!
//! All three engines run by default. `MAYFLY_TEST_ENGINES=postgres,mariadb` limits them (tests of the others return at
//! once, and say so); `MAYFLY_POSTGRES_BIN`, `MAYFLY_MARIADBD` and `MAYFLY_MYSQLD` choose the programs.

mod key_server;
pub(crate) mod meddler;
mod mysql;
mod postgres;
pub(crate) mod provider;
pub(crate) mod proxy;
pub(crate) mod sabotage;
mod servers;
pub(crate) mod slate;
mod tls;
mod waiting;
pub(crate) mod world;

pub(crate) use key_server::{Answer, KeyServer};
pub(crate) use mysql::{MyFixture, mariadb, mysql};
pub(crate) use postgres::{PgFixture, postgres};
pub(crate) use servers::{is_wanted, own_server, shared_server};
pub(crate) use tls::TestCertificates;
pub(crate) use waiting::eventually;

/// The installation that tests create accounts as, where no store says which.
pub(crate) fn instance() -> mayfly::domain::InstanceId {
    "7e57000000000000000a".parse().unwrap()
}
