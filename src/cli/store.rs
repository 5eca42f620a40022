//! `mayfly store`: what Mayfly keeps.

use clap::Subcommand;

use super::{CliError, Context, Exit, rotate, sealing_key};

/// Subcommands of `mayfly store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Seal the passwords that are kept anew with the first of the configured keys (administrators)
    Reseal(rotate::ResealArgs),
    /// Draw a key to seal administration accounts' passwords with
    SealingKey(sealing_key::SealingKeyArgs),
}

/// Runs `mayfly store …`.
///
/// # Errors
/// What the server refuses, or a file that cannot be written.
pub async fn run(command: StoreCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        StoreCommand::Reseal(args) => rotate::reseal(args, context).await,
        StoreCommand::SealingKey(args) => sealing_key::run(args, context).await,
    }
}
