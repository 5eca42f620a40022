//! Why Mayfly does not start, or does not take a new configuration.

use std::{error::Error, io, net::SocketAddr};

use crate::{
    api::grpc::{BindError, ServeError, TlsError},
    audit::SinkError,
    domain::TargetName,
    identity::IdentityError,
    issuer::Refusal,
    notify::TransportError,
    store::StoreError,
    target::TargetError,
};

/// Mayfly cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The TLS files of a store in PostgreSQL.
    #[error("store.tls: {0}")]
    StoreTls(#[source] TargetError),
    /// A target's settings (never its server: targets may be down at start).
    #[error("targets.{name}: {source}")]
    Target {
        /// Which target.
        name: TargetName,
        /// Why.
        source: TargetError,
    },
    /// The file that is to hold the first administrator's token.
    #[error("bootstrap.administrator_token_file: {0}")]
    Bootstrap(#[source] Box<dyn Error + Send + Sync>),
    /// The first administrator could not be kept.
    #[error(transparent)]
    FirstToken(#[from] Refusal),
    /// The audit file.
    #[error("audit.file: {0}")]
    AuditFile(#[from] SinkError),
    /// Those whose word is taken for who calls.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A channel of notifications.
    #[error(transparent)]
    Notifications(#[from] TransportError),
    /// Listening.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Listening for those who want numbers.
    #[error("metrics.listen: cannot listen on {address}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Serving ended by itself.
    #[error("serving ended by itself")]
    Serve(#[from] ServeError),
}

/// A new configuration was refused as a whole; the old one stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It changes what only a restart can change.
    #[error("these changes need a restart: {}", .0.join("; "))]
    NeedsRestart(Vec<String>),
    /// It removes a target that still has live leases.
    #[error("targets.{name} has {live} live leases; revoke them first (mayfly lease revoke --target {name})")]
    TargetInUse {
        /// Which.
        name: TargetName,
        /// How many.
        live: u64,
    },
    /// A target's settings.
    #[error("targets.{name}: {source}")]
    Target {
        /// Which.
        name: TargetName,
        /// Why.
        source: TargetError,
    },
    /// Those whose word is taken for who calls.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate files.
    #[error("server.tls: {0}")]
    Tls(#[from] TlsError),
    /// A channel of notifications.
    #[error(transparent)]
    Notifications(#[from] TransportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
