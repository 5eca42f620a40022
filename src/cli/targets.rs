//! `mayfly targets`: the databases.

mod accept;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

pub use accept::AcceptArgs;

use super::{
    CliError, Connection, Context, Exit, duration,
    table::{self, Cell, Column, Paint},
    view,
};
use crate::api::proto;

/// Subcommands of `mayfly targets`.
#[derive(Debug, Subcommand)]
pub enum TargetsCommand {
    /// List the databases, with their state as last seen; asks none of them anything
    Ls,
    /// Agree to another server answering for a target than the one known
    Accept(AcceptArgs),
}

#[derive(Serialize)]
struct TargetView {
    name: String,
    engine: String,
    endpoints: Vec<view::EndpointView>,
    live_leases: u64,
    roles: Vec<String>,
    last_error: String,
    next_attempt_time: Option<Timestamp>,
    server_identity: String,
    server_known_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    other_server_identity: String,
}

/// Runs `mayfly targets …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: TargetsCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        TargetsCommand::Ls => list(context).await,
        TargetsCommand::Accept(args) => accept::run(args, context).await,
    }
}

/// All targets there are.
pub(super) async fn all(connection: &Connection) -> Result<Vec<proto::Target>, CliError> {
    let mut targets = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = connection.call(proto::ListTargetsRequest { page_size: 500, page_token });
        let reply = connection.targets().list_targets(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        targets.extend(reply.targets);
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            return Ok(targets);
        }
    }
}

async fn list(context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        targets: Vec<TargetView>,
    }
    let connection = context.connect()?;
    let targets = all(&connection).await?;
    if context.output.is_json() {
        context.output.json(&Reply { targets: targets.iter().map(TargetView::from).collect() })?;
    } else {
        let now = context.clock.now();
        let rows: Vec<_> = targets.iter().map(|target| row(target, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

impl From<&proto::Target> for TargetView {
    fn from(target: &proto::Target) -> Self {
        Self {
            name: target.name.clone(),
            engine: view::engine_word(target.engine()),
            endpoints: view::endpoints(&target.endpoints),
            live_leases: target.live_leases,
            roles: target.roles.clone(),
            last_error: target.last_error.clone(),
            next_attempt_time: view::moment(target.next_attempt_time),
            server_identity: target.server_identity.clone(),
            server_known_since: view::moment(target.server_known_since),
            other_server_identity: target.other_server_identity.clone(),
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::whole("TARGET"),
    Column::whole("ENGINE"),
    Column::cut("ENDPOINTS", 15),
    Column::whole("LEASES"),
    Column::cut("ROLES", 8),
    Column::cut("STATE", 12),
];

fn row(target: &proto::Target, now: Timestamp) -> Vec<Cell> {
    let endpoints: Vec<_> = target.endpoints.iter().map(view::host_port).collect();
    let roles: Vec<_> = target.roles.iter().map(|role| view::bare(role)).collect();
    let state = match (target.last_error.as_str(), view::moment(target.next_attempt_time)) {
        ("", _) => Cell::painted("fine", Paint::Green),
        (error, None) => Cell::painted(error, Paint::Red),
        (error, Some(at)) => {
            Cell::painted(format!("{error}; next try {}", duration::relative(at, now)), Paint::Red)
        }
    };
    vec![
        view::bare(&target.name).into(),
        view::engine_word(target.engine()).into(),
        endpoints.join(", ").into(),
        target.live_leases.to_string().into(),
        roles.join(", ").into(),
        state,
    ]
}
