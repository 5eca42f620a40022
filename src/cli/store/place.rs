//! Which store a command is about: a file, or a place in PostgreSQL.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;

use super::super::{CliError, serve};
use crate::{
    app::shared_store,
    config::{Environment as _, SharedStore, StoreSettings, SystemEnvironment},
    domain::Password,
    store::postgres::{Address, PostgresSettings, SchemaName, is_address},
    target::{TlsMode, TlsSettings},
};

/// Where the password of a store in PostgreSQL is taken from when only its place is given.
const PASSWORD: &str = "MAYFLY_STORE_PASSWORD";

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// The store: an SQLite file, or postgres://USER@HOST:PORT/DATABASE with its password in `MAYFLY_STORE_PASSWORD`; left out,
    /// the one the configuration names
    #[arg(long, value_name = "PLACE")]
    pub store: Option<String>,
    /// The configuration
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
}

/// A store.
pub enum Place {
    /// Embedded.
    File(PathBuf),
    /// Shared.
    Shared(Box<PostgresSettings>),
}

impl StoreArgs {
    /// The store they name.
    ///
    /// # Errors
    /// When the configuration is wrong, or the place is none.
    pub async fn place(&self) -> Result<Place, CliError> {
        if let Some(place) = &self.store {
            return named(place);
        }
        match serve::load(&self.config).await?.config.store {
            StoreSettings::File(path) => Ok(Place::File(path)),
            StoreSettings::Shared(shared) => reached(&shared),
        }
    }
}

/// The store at a place that is given in words.
///
/// # Errors
/// When it is no place.
pub fn named(place: &str) -> Result<Place, CliError> {
    if !is_address(place) {
        return Ok(Place::File(Path::new(place).to_owned()));
    }
    let address: Address =
        place.parse().map_err(|error| CliError::usage(format!("the store's place {error}")))?;
    let password =
        SystemEnvironment.variable(PASSWORD).ok().filter(|text| !text.is_empty()).map(Password::new);
    let is_local = address.hosts.iter().all(|(host, _)| is_loopback(host));
    let mode = if is_local { TlsMode::Disable } else { TlsMode::VerifyFull };
    let replica = "offline".parse().map_err(|error| CliError::local("cannot name itself", &error))?;
    reached(&SharedStore {
        address,
        password,
        tls: TlsSettings { mode, ca_file: None, client_certificate: None },
        schema: SchemaName::default(),
        replica,
    })
}

fn reached(shared: &SharedStore) -> Result<Place, CliError> {
    let settings = shared_store(shared).map_err(|error| CliError::local("store.tls", &error))?;
    Ok(Place::Shared(Box::new(settings)))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}
