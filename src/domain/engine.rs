//! The database engines.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a target runs, as configured. MySQL and MariaDB share a driver; which of the two answers is detected from the
/// server's version and must agree with what was configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL 13 or later.
    Postgres,
    /// MySQL 8.0.21 or later.
    Mysql,
    /// MariaDB 10.6 or later.
    Mariadb,
}

impl Engine {
    /// Bytes an account name may have. PostgreSQL: `NAMEDATALEN - 1`; MySQL: `mysql.user.User`; MariaDB: likewise.
    pub fn account_name_limit(self) -> usize {
        match self {
            Engine::Postgres => 63,
            Engine::Mysql => 32,
            Engine::Mariadb => 80,
        }
    }

    /// The port the engine listens on unless told otherwise.
    pub fn default_port(self) -> u16 {
        match self {
            Engine::Postgres => 5432,
            Engine::Mysql | Engine::Mariadb => 3306,
        }
    }

    /// As written in the configuration, the API and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres",
            Engine::Mysql => "mysql",
            Engine::Mariadb => "mariadb",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Engine::Postgres => "PostgreSQL",
            Engine::Mysql => "MySQL",
            Engine::Mariadb => "MariaDB",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
