//! `mayfly grant`: what approvals opened.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    CliError, Connection, Context, Exit, duration,
    error::printable,
    pages,
    table::{self, Cell, Column},
    view,
    view_request::{GrantView, grant_cell, grant_text},
};
use crate::api::proto;

/// Subcommands of `mayfly grant`.
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// List grants, newest first: yours, or all for administrators
    Ls(LsArgs),
    /// Show one grant
    Show(NameArgs),
    /// End a grant and its leases, now: your own, or anybody's by authority
    Revoke(RevokeArgs),
}

/// Arguments of `mayfly grant ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// In this state; may be repeated [default: any]
    #[arg(long = "state", value_enum, value_name = "STATE")]
    pub states: Vec<StateArg>,
    /// Of this principal
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub principal: String,
    /// Under this role
    #[arg(long, value_name = "ROLE", default_value = "", hide_default_value = true)]
    pub role: String,
    /// On this target
    #[arg(long, value_name = "TARGET", default_value = "", hide_default_value = true)]
    pub target: String,
    /// At most this many; 0: all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
}

/// A state, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// It has not begun
    Scheduled,
    /// Leases may be issued under it
    Active,
    /// Its time is over
    Ended,
    /// It was taken back
    Revoked,
}

impl From<StateArg> for proto::GrantState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Scheduled => proto::GrantState::Scheduled,
            StateArg::Active => proto::GrantState::Active,
            StateArg::Ended => proto::GrantState::Ended,
            StateArg::Revoked => proto::GrantState::Revoked,
        }
    }
}

/// One grant.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The grant: its identifier, or grants/ID
    #[arg(value_name = "GRANT")]
    pub name: String,
}

/// Arguments of `mayfly grant revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The grant: its identifier, or grants/ID
    #[arg(value_name = "GRANT")]
    pub name: String,
    /// Why, for its holder and the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// One grant, as a JSON document.
#[derive(Serialize)]
struct One {
    grant: GrantView,
}

/// Runs `mayfly grant …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: GrantCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        GrantCommand::Ls(args) => list(args, context).await,
        GrantCommand::Show(args) => show(args, context).await,
        GrantCommand::Revoke(args) => revoke(args, context).await,
    }
}

fn present(grant: Option<proto::Grant>) -> Result<proto::Grant, CliError> {
    grant.ok_or_else(|| CliError::new(Exit::Internal, "the server's reply is incomplete"))
}

async fn show(args: NameArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let message = proto::GetGrantRequest { name: view::qualified("grants", &args.name) };
    let reply = connection.grants().get_grant(connection.call(message)).await;
    let grant = present(reply.map_err(|status| connection.explain(&status))?.into_inner().grant)?;
    if context.output.is_json() {
        context.output.json(&One { grant: (&grant).into() })?;
    } else {
        let text = grant_text(&grant, context.clock.now());
        context.output.data(&text)?;
    }
    Ok(Exit::Ok)
}

async fn revoke(args: RevokeArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let message =
        proto::RevokeGrantRequest { name: view::qualified("grants", &args.name), reason: args.reason };
    let reply = connection.grants().revoke_grant(connection.call(message)).await;
    let grant = present(reply.map_err(|status| connection.explain(&status))?.into_inner().grant)?;
    if context.output.is_json() {
        context.output.json(&One { grant: (&grant).into() })?;
    } else {
        context.output.note(&format!("{} is revoked; its leases are ending", printable(&grant.name)));
    }
    Ok(Exit::Ok)
}

async fn list(args: LsArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        grants: Vec<GrantView>,
        /// There are more than were asked for.
        truncated: bool,
    }
    let filter = proto::GrantFilter {
        states: args.states.iter().map(|state| proto::GrantState::from(*state).into()).collect(),
        principal: args.principal,
        role: args.role,
        target: args.target,
    };
    let connection = context.connect()?;
    let (grants, truncated) = collect(&filter, args.limit, &connection).await?;
    if context.output.is_json() {
        context.output.json(&Reply { grants: grants.iter().map(GrantView::from).collect(), truncated })?;
        return Ok(Exit::Ok);
    }
    if grants.is_empty() {
        context.output.note("no grants");
        return Ok(Exit::Ok);
    }
    let now = context.clock.now();
    let rows: Vec<_> = grants.iter().map(|grant| row(grant, now)).collect();
    let table = table::render(&COLUMNS, &rows, &context.output);
    context.output.data(&table)?;
    if truncated {
        context.output.note("there are more: --limit 0 shows all");
    }
    Ok(Exit::Ok)
}

async fn collect(
    filter: &proto::GrantFilter,
    limit: usize,
    connection: &Connection,
) -> Result<(Vec<proto::Grant>, bool), CliError> {
    pages::up_to(limit, async |page_size, page_token| {
        let filter = Some(filter.clone());
        let request = connection.call(proto::ListGrantsRequest { page_size, page_token, filter });
        let reply = connection.grants().list_grants(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.grants, reply.next_page_token))
    })
    .await
}

const COLUMNS: [Column; 7] = [
    Column::whole("GRANT"),
    Column::whole("STATE"),
    Column::cut("ROLE", 10),
    Column::cut("PRINCIPAL", 10),
    Column::whole("LEASES"),
    Column::whole("WHEN"),
    Column::cut("PURPOSE", 12),
];

fn row(grant: &proto::Grant, now: Timestamp) -> Vec<Cell> {
    vec![
        view::bare(&grant.name).into(),
        grant_cell(grant),
        view::bare(&grant.role).into(),
        (&grant.principal).into(),
        format!("{} of {}", grant.leases.len(), grant.parallel).into(),
        when(grant, now).into(),
        (&grant.purpose).into(),
    ]
}

/// What matters next or mattered last.
fn when(grant: &proto::Grant, now: Timestamp) -> String {
    let told = |what: &str, at| {
        view::moment(at).map(|at| format!("{what} {}", duration::relative(at, now))).unwrap_or_default()
    };
    match grant.state() {
        proto::GrantState::Scheduled if grant.start_time.is_some() => told("begins", grant.start_time),
        proto::GrantState::Scheduled => told("lapses", grant.claim_by_time),
        proto::GrantState::Active => told("ends", grant.expire_time),
        _ => told("ended", grant.end_time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_says_when() {
        let now = Timestamp::from_second(1000).unwrap();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let grant = proto::Grant {
            claim_by_time: at(1060),
            expire_time: at(1120),
            end_time: at(940),
            ..Default::default()
        };
        let in_state = |state: proto::GrantState| proto::Grant { state: state.into(), ..grant.clone() };
        assert_eq!(when(&in_state(proto::GrantState::Scheduled), now), "lapses in 1m");
        assert_eq!(when(&in_state(proto::GrantState::Active), now), "ends in 2m");
        assert_eq!(when(&in_state(proto::GrantState::Revoked), now), "ended 1m ago");
        let set = proto::Grant { start_time: at(1030), ..in_state(proto::GrantState::Scheduled) };
        assert_eq!(when(&set, now), "begins in 30s");
    }
}
