//! `mayfly store`: what Mayfly keeps: the embedded store as a file, whole stores moved, and what is sealed in them.

mod backup;
mod check;
mod place;
mod restore;
mod sealing_key;
mod transfer;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

pub use place::{Place, StoreArgs, named};

use super::{CliError, Context, Exit, rotate, serve, table};
use crate::{
    config::Config,
    store::{StoreError, StoreErrorKind, sqlite::Contents},
};

/// Subcommands of `mayfly store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Copy the store to a new file, while the server runs, and check the copy
    Backup(backup::BackupArgs),
    /// Check a store's file or a backup: whole, of a known version, with an unbroken audit log
    Check(check::CheckArgs),
    /// Put a backup in the store's place, while no server runs; what was there is kept beside it
    Restore(restore::RestoreArgs),
    /// Write everything a store holds to standard output, to be imported into another
    Export(transfer::ExportArgs),
    /// Fill a fresh store from standard input with what was exported from another
    Import(transfer::ImportArgs),
    /// Seal the passwords that are kept anew with the first of the configured keys (administrators)
    Reseal(rotate::ResealArgs),
    /// Draw a key to seal administration accounts' passwords with
    SealingKey(sealing_key::SealingKeyArgs),
}

/// Which configuration names the store.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
}

impl ConfigArgs {
    async fn load(&self) -> Result<Config, CliError> {
        Ok(serve::load(&self.config).await?.config)
    }
}

/// The file of the embedded store.
///
/// # Errors
/// When the configuration names another store.
fn embedded(config: &Config) -> Result<PathBuf, CliError> {
    config.store.path().map(Path::to_owned).ok_or_else(|| {
        CliError::usage("the configured store is in PostgreSQL: back it up and restore it by that server's own means (pg_dump, or a base backup)")
    })
}

/// Runs `mayfly store …`.
///
/// # Errors
/// When a file cannot be read or written, or is not what it should be.
pub async fn run(command: StoreCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        StoreCommand::Backup(args) => backup::run(args, context).await,
        StoreCommand::Check(args) => check::run(args, context).await,
        StoreCommand::Restore(args) => restore::run(args, context).await,
        StoreCommand::Export(args) => transfer::export(args, context).await,
        StoreCommand::Import(args) => transfer::import(args, context).await,
        StoreCommand::Reseal(args) => rotate::reseal(args, context).await,
        StoreCommand::SealingKey(args) => sealing_key::run(args, context).await,
    }
}

/// What is in a store's file, ready to be shown.
#[derive(Debug, Serialize)]
struct ContentsView {
    schema: usize,
    instance: Option<String>,
    leases: u64,
    live_leases: u64,
    tokens: u64,
    entries: u64,
    audit_head: String,
}

impl From<&Contents> for ContentsView {
    fn from(contents: &Contents) -> Self {
        Self {
            schema: contents.schema,
            instance: contents.instance.map(|instance| instance.to_string()),
            leases: contents.leases,
            live_leases: contents.live,
            tokens: contents.tokens,
            entries: contents.entries,
            audit_head: contents.head.to_string(),
        }
    }
}

impl ContentsView {
    fn text(&self) -> String {
        table::facts(&[
            ("installation", self.instance.clone().unwrap_or_default()),
            ("schema", self.schema.to_string()),
            ("leases", format!("{}, {} of them live", self.leases, self.live_leases)),
            ("tokens", self.tokens.to_string()),
            ("requests, grants, users and the like", self.entries.to_string()),
            ("audit log ends", self.audit_head.clone()),
        ])
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, CliError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| CliError::local("the work was interrupted", &error))?;
    done.map_err(|error| explain(&error))
}

fn explain(error: &StoreError) -> CliError {
    match error.kind {
        StoreErrorKind::Corrupt => CliError::caused(Exit::Unverified, error),
        StoreErrorKind::Held => CliError::caused(Exit::Precondition, error).hint("stop the server first"),
        _ => CliError::caused(Exit::Failure, error),
    }
}
