//! `mayfly dev`: throwaway databases and a server, with samples to play with.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, Context, Exit};

const EXAMPLES: &str = "Examples:
  mayfly dev
  mayfly dev --postgres-bin /usr/lib/postgresql/17/bin
  mayfly dev --no-mysql

Everything lives in a temporary directory, listens on loopback only, and is removed on Ctrl-C.";

/// Arguments of `mayfly dev`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// Directory with initdb and postgres [default: looked for]
    #[arg(long, value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// The MariaDB or MySQL server program [default: looked for]
    #[arg(long, value_name = "FILE")]
    pub mysqld: Option<PathBuf>,
    /// Start no PostgreSQL
    #[arg(long)]
    pub no_postgres: bool,
    /// Start no MariaDB or MySQL
    #[arg(long)]
    pub no_mysql: bool,
}

/// Runs `mayfly dev`.
///
/// # Errors
/// When no server programs are found, or something does not start.
#[expect(clippy::unused_async, reason = "SEAM: the body awaits once the sandbox room is wired in")]
pub async fn run(_args: DevArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::not_built("dev"))
}
