//! `mayfly completions`: completion scripts.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, CliError, Context, Exit};

const EXAMPLES: &str = "Examples:
  mayfly completions bash > ~/.local/share/bash-completion/completions/mayfly
  mayfly completions zsh  > ~/.zfunc/_mayfly
  mayfly completions fish > ~/.config/fish/completions/mayfly.fish";

/// Arguments of `mayfly completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs `mayfly completions`.
///
/// # Errors
/// When the script cannot be written.
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub async fn run(args: CompletionsArgs, context: &mut Context) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mayfly", &mut script);
    context.output.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
