//! `mayfly serve`: the server.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, Context, Exit};

const EXAMPLES: &str = "Examples:
  mayfly config check --config mayfly.toml && mayfly serve --config mayfly.toml
  kill -HUP PID        read the configuration again, all or nothing

On an empty store the first administrator token is printed once, on standard output.";

/// Arguments of `mayfly serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// The configuration
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
}

/// Runs `mayfly serve`.
///
/// # Errors
/// When the configuration is wrong, or the server cannot start.
#[expect(clippy::unused_async, reason = "SEAM: the body awaits once the app room is wired in")]
pub async fn run(_args: ServeArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::not_built("serve"))
}
