//! `mayfly review`: deciding on what others ask for.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{
    CliError, Context, Exit, duration,
    error::printable,
    moment::{self, When},
    request::{One, list, present},
    view, view_request,
};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly review ls
  mayfly review approve 06dp4f2h9c8x1k3m7q0r --ttl 15m --comment 'only as long as the fix takes'
  mayfly review deny 06dp4f2h9c8x1k3m7q0r --comment 'use the replica'

A review may shorten what was asked for or put its start off; it never widens. Nobody reviews a request of his own.";

/// Subcommands of `mayfly review`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum ReviewCommand {
    /// List the requests that await your review
    Ls,
    /// Approve a request, perhaps for less
    Approve(ApproveArgs),
    /// Deny a request
    Deny(DenyArgs),
}

/// Arguments of `mayfly review approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The request: its identifier, or requests/ID
    #[arg(value_name = "REQUEST")]
    pub name: String,
    /// Not longer than this [default: as asked for]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
    /// Not before this: so long from now (2h), or a moment with its offset or zone [default: as asked for]
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    pub start: Option<When>,
    /// Why; its requester sees it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub comment: String,
}

/// Arguments of `mayfly review deny`.
#[derive(Debug, Args)]
pub struct DenyArgs {
    /// The request: its identifier, or requests/ID
    #[arg(value_name = "REQUEST")]
    pub name: String,
    /// Why; its requester sees it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub comment: String,
}

/// Runs `mayfly review …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: ReviewCommand, context: &mut Context) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let review = match command {
        ReviewCommand::Ls => {
            let filter = proto::RequestFilter { to_review: true, ..Default::default() };
            return list(filter, 0, context).await;
        }
        ReviewCommand::Approve(args) => proto::ReviewRequestRequest {
            name: view::qualified("requests", &args.name),
            verdict: proto::Verdict::Approve.into(),
            ttl: args.ttl.map(view::to_proto),
            start_time: args.start.map(|start| start.to_proto(now)),
            comment: args.comment,
        },
        ReviewCommand::Deny(args) => proto::ReviewRequestRequest {
            name: view::qualified("requests", &args.name),
            verdict: proto::Verdict::Deny.into(),
            comment: args.comment,
            ..Default::default()
        },
    };
    let connection = context.connect()?;
    let reply = connection.requests().review_request(connection.call(review)).await;
    let request = present(reply.map_err(|status| connection.explain(&status))?.into_inner().request)?;
    if context.output.is_json() {
        context.output.json(&One { request: (&request).into() })?;
    } else {
        let stands = view_request::awaited(&request, now)
            .unwrap_or_else(|| format!("is {}", view_request::request_state(&request)));
        context.output.note(&format!("{} {stands}", printable(&request.name)));
    }
    Ok(Exit::Ok)
}
