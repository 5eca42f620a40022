//! How to reach and administer a target; what the configuration says of it.

use std::{path::PathBuf, time::Duration};

use crate::domain::{Engine, Password, TargetName};

/// One target, as configured.
#[derive(Debug, Clone)]
pub struct TargetSettings {
    /// Unique name.
    pub name: TargetName,
    /// What it runs.
    pub engine: Engine,
    /// Where Mayfly connects: hosts and ports, tried in order. On PostgreSQL the one that accepts writes is used.
    pub hosts: Vec<(String, u16)>,
    /// Where clients connect, when that differs from `hosts`.
    pub client_hosts: Vec<(String, u16)>,
    /// The database Mayfly connects to for administration (PostgreSQL; default `postgres`), and the one clients are
    /// pointed at unless the role names another.
    pub database: Option<String>,
    /// The administration account.
    pub user: String,
    /// Its password; `None` when the server asks for none (client certificate).
    pub password: Option<Password>,
    /// TLS towards the target.
    pub tls: TlsSettings,
    /// Connections and bounds.
    pub pool: PoolSettings,
    /// MariaDB: which verifier new accounts get. Ignored elsewhere.
    pub auth_plugin: AuthPlugin,
    /// MySQL and MariaDB: who sees to it that accounts expire. Ignored elsewhere.
    pub expiry: Expiry,
    /// How it is compared with the store.
    pub reconcile: ReconcileSettings,
}

/// How a target is compared with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconcileSettings {
    /// How often by itself; `None`: never.
    pub every: Option<Duration>,
    /// What becomes of an account that was altered behind Mayfly's back.
    pub on_drift: OnDrift,
}

impl Default for ReconcileSettings {
    fn default() -> Self {
        Self { every: Some(Duration::from_secs(15 * 60)), on_drift: OnDrift::PutRight }
    }
}

/// What becomes of an account that was altered behind Mayfly's back. It is audited in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrift {
    /// Nothing.
    Report,
    /// What was altered is undone; a lease whose account can do more than agreed, and that cannot be undone, is ended.
    PutRight,
    /// Its lease is ended.
    End,
}

/// How far TLS towards a target must go; libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Clear text.
    Disable,
    /// Encrypted; the server's certificate is not verified.
    Require,
    /// Encrypted; the certificate is verified against `ca` (or the system's roots) and must name the host.
    VerifyFull,
}

/// TLS towards a target.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// How far.
    pub mode: TlsMode,
    /// PEM file with the authorities to trust; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files with a client certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Connections and bounds of a target.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Connections for issuing and renewing.
    pub issuing: usize,
    /// Connections for ending, never lent to issuing.
    pub ending: usize,
    /// How long to wait for a free connection.
    pub wait: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long a statement may take; the server is told as well, where it can be.
    pub statement: Duration,
    /// PostgreSQL from 16 on, unless the administration account is a superuser: accounts that it creates by itself, and then through each
    /// of its deputies, before there is another; 0: it has none.
    pub accounts_per_deputy: u32,
    /// Issues that may wait for their turn.
    pub queue: usize,
    /// How long an issue may wait for its turn.
    pub turn: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            issuing: 16,
            ending: 4,
            wait: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            statement: Duration::from_secs(10),
            accounts_per_deputy: 250,
            queue: 256,
            turn: Duration::from_secs(2),
        }
    }
}

impl PoolSettings {
    /// The longest the statements of a creation can take together.
    pub fn longest_statements(&self) -> Duration {
        self.statement * 2 + Duration::from_secs(2)
    }

    /// Issues under way at once: as many as there are connections, and as many again that are at the store meanwhile.
    pub fn under_way(&self) -> usize {
        self.issuing.saturating_mul(2).max(1)
    }

    /// The longest a creation can take, all waits included; beyond it, nobody is working on it any more, here or on the
    /// server.
    pub fn longest_creation(&self) -> Duration {
        self.wait + self.connect + self.longest_statements() + Duration::from_secs(3)
    }
}

/// Who sees to it that accounts expire, where a server cannot let them expire by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The server, by the dead-man's switch installed on it; nothing is issued without it.
    Server,
    /// The issuer alone where there is no such switch: while it is not running, nothing expires.
    Issuer,
}

/// Which verifier new MariaDB accounts get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPlugin {
    /// `mysql_native_password`: every client knows it; unsalted SHA-1 of a 190-bit random password.
    NativePassword,
    /// `ed25519`: the server needs the plugin of that name, and clients must know it.
    Ed25519,
}
