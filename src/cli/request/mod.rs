//! `mayfly request`: access that is asked for, and what comes of it.

mod claim;
mod create;
mod ls;

use clap::{Args, Subcommand};
use serde::Serialize;

pub(super) use ls::{list, table_of};

use super::{
    CliError, Connection, Context, Exit,
    error::printable,
    view,
    view_request::{RequestView, request_text},
};
use crate::api::proto;

/// Subcommands of `mayfly request`.
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// Ask for access under a role
    Create(create::CreateArgs),
    /// List requests, newest first: yours and those you may review, or all for administrators
    Ls(ls::LsArgs),
    /// Show one request, with its reviews
    Show(NameArgs),
    /// Withdraw a request
    Cancel(CancelArgs),
    /// Get a credential under what a request was granted
    Claim(claim::ClaimArgs),
    /// Ask for more time than a grant allows
    Extend(create::ExtendArgs),
}

/// One request.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The request: its identifier, or requests/ID
    #[arg(value_name = "REQUEST")]
    pub name: String,
}

/// Arguments of `mayfly request cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The request: its identifier, or requests/ID
    #[arg(value_name = "REQUEST")]
    pub name: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// One request, as a JSON document.
#[derive(Serialize)]
pub(super) struct One {
    pub(super) request: RequestView,
}

/// Runs `mayfly request …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: RequestCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        RequestCommand::Create(args) => create::create(args, context).await,
        RequestCommand::Ls(args) => ls::run(args, context).await,
        RequestCommand::Show(args) => show(args, context).await,
        RequestCommand::Cancel(args) => cancel(args, context).await,
        RequestCommand::Claim(args) => claim::run(args, context).await,
        RequestCommand::Extend(args) => create::extend(args, context).await,
    }
}

/// The request of a reply.
pub(super) fn present(request: Option<proto::AccessRequest>) -> Result<proto::AccessRequest, CliError> {
    request.ok_or_else(|| CliError::new(Exit::Internal, "the server's reply is incomplete"))
}

async fn get(name: &str, connection: &Connection) -> Result<proto::AccessRequest, CliError> {
    let message = proto::GetRequestRequest { name: view::qualified("requests", name) };
    let reply = connection.requests().get_request(connection.call(message)).await;
    present(reply.map_err(|status| connection.explain(&status))?.into_inner().request)
}

async fn show(args: NameArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let request = get(&args.name, &connection).await?;
    if context.output.is_json() {
        context.output.json(&One { request: (&request).into() })?;
    } else {
        let text = request_text(&request, context.clock.now());
        context.output.data(&text)?;
    }
    Ok(Exit::Ok)
}

async fn cancel(args: CancelArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let message =
        proto::CancelRequestRequest { name: view::qualified("requests", &args.name), reason: args.reason };
    let reply = connection.requests().cancel_request(connection.call(message)).await;
    let request = present(reply.map_err(|status| connection.explain(&status))?.into_inner().request)?;
    if context.output.is_json() {
        context.output.json(&One { request: (&request).into() })?;
    } else {
        context.output.note(&format!("{} is withdrawn", printable(&request.name)));
    }
    Ok(Exit::Ok)
}
