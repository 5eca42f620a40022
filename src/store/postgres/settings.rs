//! Where the store is, and who asks.

use std::{fmt, str::FromStr, time::Duration};

use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::domain::Password;

/// The port of PostgreSQL.
const PORT: u16 = 5432;

/// Characters a replica's name or a schema's may have.
const LONGEST_NAME: usize = 63;

/// A store's place: `postgres://USER@HOST[:PORT][,HOST…]/DATABASE`. Never a password, and no options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Hosts and ports, tried in order; the one that accepts writes is used.
    pub hosts: Vec<(String, u16)>,
    /// The account, which owns the schema.
    pub user: String,
    /// The database.
    pub database: String,
}

/// Why a text is no store's place. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the form.
    #[error("is not of the form postgres://USER@HOST:PORT/DATABASE")]
    Form,
    /// A password is in it.
    #[error("has a password in it: name the password's file or environment variable beside it instead")]
    Password,
    /// Something follows the database.
    #[error("has options after a question mark: they are written as keys of their own")]
    Options,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !is_address(text) {
            return Err(AddressError::Form);
        }
        if text.contains('?') {
            return Err(AddressError::Options);
        }
        let config: tokio_postgres::Config = text.parse().map_err(|_| AddressError::Form)?;
        if config.get_password().is_some() {
            return Err(AddressError::Password);
        }
        let ports = config.get_ports();
        let port = |position: usize| match ports {
            [] => PORT,
            [port] => *port,
            ports => ports.get(position).copied().unwrap_or(PORT),
        };
        let host = |(position, host): (usize, &Host)| match host {
            Host::Tcp(name) if !name.is_empty() => Ok((name.clone(), port(position))),
            _ => Err(AddressError::Form),
        };
        let hosts = config.get_hosts().iter().enumerate().map(host).collect::<Result<Vec<_>, _>>()?;
        let named = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(str::to_owned);
        match (named(config.get_user()), named(config.get_dbname())) {
            (Some(user), Some(database)) if !hosts.is_empty() => Ok(Self { hosts, user, database }),
            _ => Err(AddressError::Form),
        }
    }
}

/// Whether a text is meant to be a store's place rather than a file.
pub fn is_address(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (position, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "{comma}{open}{host}{close}:{port}")?;
        }
        write!(f, "/{}", self.database)
    }
}

/// A replica's name: what names its audit chain. 1 to 63 of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaName(String);

/// A text that is no replica's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a replica's name: 1 to {LONGEST_NAME} of A-Z, a-z, 0-9, '.', '_' and '-'")]
pub struct ReplicaNameError;

impl ReplicaName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplicaName {
    type Err = ReplicaNameError;

    fn from_str(text: &str) -> Result<Self, ReplicaNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(ReplicaNameError) }
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A schema's name, of a form that needs no quotes anywhere: a lower-case letter or `_`, then also digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName(String);

/// A text that is no schema's name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a schema's name: a lower-case letter or '_', then up to 62 of a-z, 0-9 and '_'")]
pub struct SchemaNameError;

impl SchemaName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self("mayfly".to_owned())
    }
}

impl FromStr for SchemaName {
    type Err = SchemaNameError;

    fn from_str(text: &str) -> Result<Self, SchemaNameError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let reserved = text.starts_with("pg_");
        let fits = starts && !reserved && text.len() <= LONGEST_NAME && text.chars().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(SchemaNameError) }
    }
}

/// How to reach the store, and under which name.
#[derive(Clone)]
pub struct PostgresSettings {
    /// Where.
    pub address: Address,
    /// The account's password; `None` when the server asks for none.
    pub password: Option<Password>,
    /// TLS; `None`: clear text.
    pub tls: Option<MakeRustlsConnect>,
    /// The schema that holds the tables.
    pub schema: SchemaName,
    /// This process's name among those that share the store.
    pub replica: ReplicaName,
    /// Limits.
    pub options: PostgresOptions,
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("address", &self.address)
            .field("schema", &self.schema)
            .field("replica", &self.replica)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Limits of a [`PostgresStore`](super::PostgresStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Writes that may wait; beyond that callers are told that it is busy.
    pub queue: usize,
    /// Writes in one transaction.
    pub batch: usize,
    /// Connections that read.
    pub readers: usize,
    /// Changes a receiver of `changes()` may be behind before it must read again.
    pub changes: usize,
    /// How long connecting may take, all hosts together.
    pub connect: Duration,
    /// How long the server may take for one exchange, waiting for locks included; then its connection is given up.
    pub exchange: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            queue: 4096,
            batch: 256,
            readers: 3,
            changes: 4096,
            connect: Duration::from_secs(2),
            exchange: Duration::from_millis(2_500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_hosts_an_account_and_a_database() {
        let read = |text: &str| text.parse::<Address>();
        let one = read("postgres://mayfly@db1/state").unwrap();
        assert_eq!(one.hosts, [("db1".to_owned(), 5432)]);
        assert_eq!((one.user.as_str(), one.database.as_str()), ("mayfly", "state"));
        let two = read("postgresql://m@db1:6000,db2:6001/state").unwrap();
        assert_eq!(two.hosts, [("db1".to_owned(), 6000), ("db2".to_owned(), 6001)]);
        assert_eq!(two.to_string(), "postgres://m@db1:6000,db2:6001/state");
        assert_eq!(read("postgres://m:secret@db1/state"), Err(AddressError::Password));
        assert_eq!(read("postgres://m@db1/state?sslmode=disable"), Err(AddressError::Options));
        for text in ["", "db1", "/var/lib/mayfly.db", "postgres://", "postgres://db1/x", "postgres://m@db1"] {
            assert_eq!(read(text), Err(AddressError::Form), "{text:?}");
        }
    }

    #[test]
    fn names_need_no_quotes() {
        for name in ["mayfly-1", "a", "host.example.com"] {
            assert_eq!(name.parse::<ReplicaName>().unwrap().as_str(), name);
        }
        for name in ["", "a b", "a=b", "ä", &"x".repeat(64)] {
            assert!(name.parse::<ReplicaName>().is_err(), "{name:?}");
        }
        assert_eq!("mayfly_2".parse::<SchemaName>().unwrap().as_str(), "mayfly_2");
        for name in ["", "Mayfly", "2mayfly", "may fly", "a\"b", "pg_catalog", &"x".repeat(64)] {
            assert!(name.parse::<SchemaName>().is_err(), "{name:?}");
        }
    }
}
