//! A sample: a small shop, two groups that may read or write it, and an administration account for Mayfly that is
//! neither superuser nor root.

use std::error::Error;

use mysql_async::prelude::Queryable;

use super::{
    binaries::ServerVersion,
    mysql, postgres,
    server::{Administrator, Server, password},
    sql, statements,
};
use crate::{
    domain::{Engine, Password},
    random::Random,
    target::mysql::SWITCH_STATEMENTS,
};

/// What things are called in a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleNames {
    /// The database; on PostgreSQL the tables are in its schema `public`.
    pub database: String,
    /// The group that may read.
    pub read: String,
    /// The group that may read and write.
    pub write: String,
    /// PostgreSQL: the role without privileges that takes over what ended accounts leave.
    pub owner: String,
    /// The account Mayfly administers the server with.
    pub administrator: String,
}

impl Default for SampleNames {
    fn default() -> Self {
        Self {
            database: "shop".to_owned(),
            read: "shop_read".to_owned(),
            write: "shop_write".to_owned(),
            owner: "shop_owner".to_owned(),
            administrator: "mayfly".to_owned(),
        }
    }
}

impl SampleNames {
    /// The usual names, each with `_suffix`: many samples fit on one server.
    pub fn with_suffix(suffix: &str) -> Self {
        let usual = Self::default();
        let named = |name: String| format!("{name}_{suffix}");
        Self {
            database: named(usual.database),
            read: named(usual.read),
            write: named(usual.write),
            owner: named(usual.owner),
            administrator: named(usual.administrator),
        }
    }

    /// Puts names and a password into a statement.
    fn render(&self, engine: Engine, statement: &str, password: &Password) -> String {
        let names = [
            ("{database}", &self.database),
            ("{read}", &self.read),
            ("{write}", &self.write),
            ("{owner}", &self.owner),
            ("{administrator}", &self.administrator),
        ];
        let quote =
            |text: String, (slot, name): &(&str, &String)| text.replace(slot, &sql::identifier(engine, name));
        let text = names.iter().fold(statement.to_owned(), quote);
        text.replace("{password}", &sql::literal(engine, password.expose()))
    }
}

/// A sample on a server.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What things are called.
    pub names: SampleNames,
    /// The account for Mayfly.
    pub administrator: Administrator,
}

/// Why a sample could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The server's administrator could not log in.
    #[error("the sandbox's {} server cannot be reached", .0.title())]
    Connect(Engine, #[source] Box<dyn Error + Send + Sync>),
    /// A statement failed.
    #[error("the sample cannot be written: {statement}")]
    Statement {
        /// The statement, before names and password were put in.
        statement: &'static str,
        /// What the server said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Sample {
    /// Writes a sample with these names to a server.
    ///
    /// # Errors
    /// When a statement fails, for example because the names are taken.
    pub async fn install(
        server: &Server,
        names: SampleNames,
        random: &dyn Random,
    ) -> Result<Self, SampleError> {
        let administrator = Administrator { user: names.administrator.clone(), password: password(random) };
        let sample = Self { names, administrator };
        match server.engine() {
            Engine::Postgres => sample.install_postgres(server).await?,
            Engine::Mysql | Engine::Mariadb => sample.install_mysql(server).await?,
        }
        Ok(sample)
    }

    async fn install_postgres(&self, server: &Server) -> Result<(), SampleError> {
        self.run_on_postgres(server, "postgres", server_statements(server.version())).await?;
        self.run_on_postgres(server, &self.names.database, statements::POSTGRES_DATABASE.to_vec()).await
    }

    /// Grants Mayfly's account what it can do without, but not everything: details of sessions, and the removal of what
    /// leased accounts leave.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn add_comfort(&self, server: &Server) -> Result<(), SampleError> {
        match server.engine() {
            Engine::Postgres => {
                self.run_on_postgres(server, "postgres", statements::POSTGRES_COMFORT.to_vec()).await
            }
            Engine::Mysql => {
                self.run_on_mysql(server, server.administrator(), statements::MYSQL_COMFORT.to_vec()).await
            }
            Engine::Mariadb => Ok(()),
        }
    }

    /// Makes an account on PostgreSQL that is handed to one holder at a time: `batch`, of which a server has one.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn add_batch_account(&self, server: &Server) -> Result<(), SampleError> {
        if server.engine() != Engine::Postgres {
            return Ok(());
        }
        let more = if server.version().major >= 16 { statements::POSTGRES_BATCH_FROM_16 } else { &[] };
        self.run_on_postgres(server, "postgres", [statements::POSTGRES_BATCH, more].concat()).await
    }

    async fn run_on_postgres(
        &self,
        server: &Server,
        database: &str,
        statements: Vec<&'static str>,
    ) -> Result<(), SampleError> {
        let client = postgres::connect(server.port(), server.administrator(), database)
            .await
            .map_err(|source| SampleError::Connect(Engine::Postgres, source.into()))?;
        for statement in statements {
            client
                .simple_query(&self.names.render(Engine::Postgres, statement, &self.administrator.password))
                .await
                .map_err(|source| SampleError::Statement { statement, source: source.into() })?;
        }
        Ok(())
    }

    async fn install_mysql(&self, server: &Server) -> Result<(), SampleError> {
        self.run_on_mysql(server, server.administrator(), mysql_statements(server.engine())).await?;
        // The dead-man's switch runs with the rights of the account that installs it. It is the server's: the first sample's.
        self.run_on_mysql(server, &self.administrator, SWITCH_STATEMENTS.to_vec()).await
    }

    async fn run_on_mysql(
        &self,
        server: &Server,
        account: &Administrator,
        statements: Vec<&'static str>,
    ) -> Result<(), SampleError> {
        let engine = server.engine();
        let mut connection = mysql::connect(server.port(), account)
            .await
            .map_err(|source| SampleError::Connect(engine, source.into()))?;
        for statement in statements {
            connection
                .query_drop(self.names.render(engine, statement, &self.administrator.password))
                .await
                .map_err(|source| SampleError::Statement { statement, source: source.into() })?;
        }
        connection.disconnect().await.map_err(|source| SampleError::Connect(engine, source.into()))
    }
}

/// The statements that make a sample, for people to read: with `…` in place of the password.
pub fn sample_statements(engine: Engine, version: ServerVersion, names: &SampleNames) -> Vec<String> {
    let statements = match engine {
        Engine::Postgres => [&server_statements(version), statements::POSTGRES_DATABASE].concat(),
        Engine::Mysql | Engine::Mariadb => [mysql_statements(engine), SWITCH_STATEMENTS.to_vec()].concat(),
    };
    let password = Password::new("…".to_owned());
    statements.iter().map(|statement| names.render(engine, statement, &password)).collect()
}

fn mysql_statements(engine: Engine) -> Vec<&'static str> {
    let account = match engine {
        Engine::Mysql => statements::MYSQL_ADMINISTRATOR,
        _ => statements::MARIADB_ADMINISTRATOR,
    };
    [statements::MYSQL_DATABASE, account].concat()
}

fn server_statements(version: ServerVersion) -> Vec<&'static str> {
    let grants = if version.major >= 16 { statements::POSTGRES_FROM_16 } else { statements::POSTGRES_TO_15 };
    [statements::POSTGRES_SERVER, grants].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_password_are_quoted_by_type() {
        let names = SampleNames { read: "a\"b`c".to_owned(), ..SampleNames::with_suffix("x1") };
        let password = Password::new("it's".to_owned());
        let render = |engine| names.render(engine, "GRANT {read} TO {administrator} {password}", &password);
        assert_eq!(render(Engine::Postgres), "GRANT \"a\"\"b`c\" TO \"mayfly_x1\" 'it''s'");
        assert_eq!(render(Engine::Mysql), "GRANT `a\"b``c` TO `mayfly_x1` 'it''s'");
    }

    #[test]
    fn every_slot_is_filled() {
        let version = |major| ServerVersion { major, minor: 0 };
        for (engine, major) in
            [(Engine::Postgres, 15), (Engine::Postgres, 16), (Engine::Mysql, 8), (Engine::Mariadb, 10)]
        {
            for statement in sample_statements(engine, version(major), &SampleNames::default()) {
                assert!(!statement.contains(['{', '}']), "{statement}");
            }
        }
    }
}
