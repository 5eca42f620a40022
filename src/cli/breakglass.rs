//! `mayfly breakglass`: access at once, which somebody else looks at afterwards.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    CliError, Context, CredentialFormat, Exit, creds, duration,
    error::printable,
    pages,
    request::{One, present, table_of},
    view,
    view_request::RequestView,
};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly breakglass orders-write --reason 'orders are stuck, incident 4711' --ticket INC-4711
  mayfly breakglass ls
  mayfly breakglass sign-off 06dp4f2h9c8x1k3m7q0r --comment 'agreed: incident 4711'

For whom policy allows it, with a second factor given just now: no reviews, short, counted, told to everybody concerned,
and to be signed off afterwards by somebody else.";

/// Arguments of `mayfly breakglass`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BreakGlassArgs {
    /// What to see to afterwards.
    #[command(subcommand)]
    pub command: Option<BreakGlassCommand>,
    /// The role
    #[arg(value_name = "ROLE", required = true)]
    pub role: Option<String>,
    /// Why; it will be looked at
    #[arg(long, value_name = "TEXT", required = true)]
    pub reason: Option<String>,
    /// How long [default: the role's, or as long as is allowed]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
    /// The ticket it belongs to
    #[arg(long, value_name = "TICKET", default_value = "", hide_default_value = true)]
    pub ticket: String,
    /// The form to write the credential in [default: text; json with --output json]
    #[arg(long, value_enum, value_name = "FORM")]
    pub format: Option<CredentialFormat>,
}

/// Subcommands of `mayfly breakglass`.
#[derive(Debug, Subcommand)]
pub enum BreakGlassCommand {
    /// List break-glass accesses that await their sign-off: yours, or all for administrators
    Ls(LsArgs),
    /// Say that you have looked at one of somebody else (administrators)
    SignOff(SignOffArgs),
}

/// Arguments of `mayfly breakglass ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Those that are signed off as well
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `mayfly breakglass sign-off`.
#[derive(Debug, Args)]
pub struct SignOffArgs {
    /// The request of the access: its identifier, or requests/ID
    #[arg(value_name = "REQUEST")]
    pub name: String,
    /// What was found
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub comment: String,
}

/// Runs `mayfly breakglass …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(args: BreakGlassArgs, context: &mut Context) -> Result<Exit, CliError> {
    match args.command {
        Some(BreakGlassCommand::Ls(args)) => list(&args, context).await,
        Some(BreakGlassCommand::SignOff(args)) => sign_off(args, context).await,
        None => obtain(args, context).await,
    }
}

async fn obtain(args: BreakGlassArgs, context: &mut Context) -> Result<Exit, CliError> {
    let format = creds::form(args.format, context.output.is_json())?;
    let connection = context.connect()?;
    let message = proto::BreakGlassRequest {
        role: args.role.unwrap_or_default(),
        ttl: args.ttl.map(view::to_proto),
        reason: args.reason.unwrap_or_default(),
        ticket: args.ticket,
    };
    let spinner = context.output.spinner("breaking the glass");
    let reply = connection.break_glass().break_glass(connection.call(message)).await;
    drop(spinner);
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let (lease, credential) = creds::issued(reply.lease, reply.credential)?;
    if let Some(request) = reply.request.filter(|_| format != CredentialFormat::Json) {
        let name = printable(&request.name);
        context.output.note(&format!("{name} was told to everybody concerned, and awaits its sign-off"));
    }
    creds::write(&lease, &credential, format, &connection, context).await
}

async fn list(args: &LsArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        requests: Vec<RequestView>,
    }
    let connection = context.connect()?;
    let requests = pages::all(async |page_size, page_token| {
        let request =
            connection.call(proto::ListBreakGlassUsesRequest { page_size, page_token, all: args.all });
        let reply = connection.break_glass().list_break_glass_uses(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.requests, reply.next_page_token))
    })
    .await?;
    if context.output.is_json() {
        context.output.json(&Reply { requests: requests.iter().map(RequestView::from).collect() })?;
    } else if requests.is_empty() {
        context.output.note("no break-glass access awaits its sign-off");
    } else {
        let table = table_of(&requests, context);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

async fn sign_off(args: SignOffArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let name = view::qualified("requests", &args.name);
    let message = proto::SignOffBreakGlassRequest { name, comment: args.comment };
    let reply = connection.break_glass().sign_off_break_glass(connection.call(message)).await;
    let request = present(reply.map_err(|status| connection.explain(&status))?.into_inner().request)?;
    if context.output.is_json() {
        context.output.json(&One { request: (&request).into() })?;
    } else {
        context.output.note(&format!("{} is signed off", printable(&request.name)));
    }
    Ok(Exit::Ok)
}
