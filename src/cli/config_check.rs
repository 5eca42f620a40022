//! `mayfly config check`: whether the configuration is right.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CliError, Context, Exit};

/// Subcommands of `mayfly config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration: every mistake with its file and line; ends with 2 when there is one
    Check(CheckArgs),
}

/// Arguments of `mayfly config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
}

/// Runs `mayfly config …`.
///
/// # Errors
/// What is wrong with the configuration.
#[expect(
    clippy::unused_async,
    reason = "SEAM: every command has the same shape; the config room is to be wired in"
)]
pub async fn run(command: ConfigCommand, _context: &mut Context) -> Result<Exit, CliError> {
    match command {
        ConfigCommand::Check(_args) => Err(CliError::not_built("config check")),
    }
}
