//! `mayfly audit`: the audit log.

mod export;
mod filter;
mod search;
mod tail;
mod verify;

use clap::Subcommand;

pub use filter::When;

use super::{CliError, Context, Exit};

/// Subcommands of `mayfly audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show the last records, and new ones with --follow (administrators)
    Tail(tail::TailArgs),
    /// Find records by who, what and when (administrators)
    Search(search::SearchArgs),
    /// Write records, or some of them, as JSON lines or for a SIEM (administrators)
    Export(export::ExportArgs),
    /// Check offline that no record was edited, removed or reordered
    Verify(verify::VerifyArgs),
}

/// Runs `mayfly audit …`.
///
/// # Errors
/// What the server refuses, or a log that cannot be read.
pub async fn run(command: AuditCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        AuditCommand::Tail(args) => tail::run(args, context).await,
        AuditCommand::Search(args) => search::run(args, context).await,
        AuditCommand::Export(args) => export::run(args, context).await,
        AuditCommand::Verify(args) => verify::run(args, context).await,
    }
}
