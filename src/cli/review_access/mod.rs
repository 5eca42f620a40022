//! `mayfly review-access`: who holds or could obtain what, to be certified or taken back.

mod apply;
mod decide;
mod list;
mod sheet;
mod view;

use clap::{Args, Subcommand, ValueEnum};

use super::{CliError, Connection, Context, Exit, audit::When, pages};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly review-access                                      who holds or could obtain what
  mayfly review-access --unused --since 90d                 what nobody used for 90 days
  mayfly review-access --format csv > access.csv            to fill in the column `decision` …
  mayfly review-access apply access.csv --dry-run           … see what that comes to …
  mayfly review-access apply access.csv                     … and carry it out
  mayfly review-access certify --principal alice --comment 'on the payments team'
  mayfly review-access revoke --principal alice --role orders-write --comment 'moved to another team'

Whom only an outside provider knows, and who was not here in the period, nobody can list.";

/// Arguments of `mayfly review-access`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct ReviewAccessArgs {
    /// What to decide.
    #[command(subcommand)]
    pub command: Option<ReviewAccessCommand>,
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Only what was not used in the period
    #[arg(long)]
    pub unused: bool,
    /// The form to write it in [default: table; json with --output json]
    #[arg(long, value_enum, value_name = "FORM")]
    pub format: Option<Form>,
}

/// Which accesses.
#[derive(Debug, Args)]
pub struct Which {
    /// Of this principal
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub principal: String,
    /// To this role
    #[arg(long, value_name = "ROLE", default_value = "", hide_default_value = true)]
    pub role: String,
    /// On this target
    #[arg(long, value_name = "TARGET", default_value = "", hide_default_value = true)]
    pub target: String,
    /// The period in which uses count: from 2026-11-22, 2026-11-22T08:00:00Z, or so long ago
    #[arg(long, value_name = "WHEN", value_parser = When::parse, default_value = "90d")]
    pub since: When,
}

/// The form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// For a spreadsheet, and to be given to `apply` once the column `decision` is filled in
    Csv,
}

/// Subcommands of `mayfly review-access`.
#[derive(Debug, Subcommand)]
pub enum ReviewAccessCommand {
    /// Say that accesses of others are right; recorded, and shown the next time
    Certify(decide::CertifyArgs),
    /// End what is held: leases, grants and requests; says what could still be obtained, and by which rule
    Revoke(decide::RevokeArgs),
    /// Carry out the decisions in a sheet that `--format csv` wrote; all are checked before the first is
    Apply(apply::ApplyArgs),
}

/// Runs `mayfly review-access …`.
///
/// # Errors
/// What the server refuses, or a sheet that makes no sense.
pub async fn run(args: ReviewAccessArgs, context: &mut Context) -> Result<Exit, CliError> {
    match args.command {
        Some(ReviewAccessCommand::Certify(args)) => decide::certify(args, context).await,
        Some(ReviewAccessCommand::Revoke(args)) => decide::revoke(args, context).await,
        Some(ReviewAccessCommand::Apply(args)) => apply::run(args, context).await,
        None => list::run(&args, context).await,
    }
}

/// What was found, and from when on uses were counted.
struct Found {
    items: Vec<proto::AccessItem>,
    counted_since: Option<prost_types::Timestamp>,
}

async fn find(
    connection: &Connection,
    which: &Which,
    unused: bool,
    now: jiff::Timestamp,
) -> Result<Found, CliError> {
    let mut counted_since = None;
    let items = pages::all(async |page_size, page_token| {
        let message = proto::ListAccessRequest {
            page_size,
            page_token,
            principal: which.principal.clone(),
            role: which.role.clone(),
            target: which.target.clone(),
            since_time: Some(which.since.to_proto(now)),
            unused,
        };
        let reply = connection.access().list_access(connection.call(message)).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        counted_since = reply.counted_since_time;
        Ok((reply.items, reply.next_page_token))
    })
    .await?;
    Ok(Found { items, counted_since })
}

/// One or many.
fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
