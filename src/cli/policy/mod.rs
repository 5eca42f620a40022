//! `mayfly policy …`: checks policies, explains what they come to, and tests them. Needs no server, no database and no secret.

mod case;
mod check;
mod explain;
mod source;
mod test;

use clap::Subcommand;

use super::{CliError, Context, Exit};

/// Subcommands of `mayfly policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check policy files: every mistake with its file and line; ends with 2 when there is one
    Check(check::CheckArgs),
    /// Say what a request would come to, by which policies, and what would change that
    Explain(Box<explain::ExplainArgs>),
    /// Try the cases of test files (*.test.toml); ends with 11 when one comes to something else than it expects
    Test(test::TestArgs),
}

/// Runs `mayfly policy …`.
///
/// # Errors
/// What is wrong with the files or the arguments.
pub async fn run(command: PolicyCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        PolicyCommand::Check(args) => check::run(args, context).await,
        PolicyCommand::Explain(args) => explain::run(*args, context).await,
        PolicyCommand::Test(args) => test::run(args, context).await,
    }
}
