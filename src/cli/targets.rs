//! `mayfly targets`: the databases.

mod accept;
mod checkouts;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

pub use accept::AcceptArgs;
pub use checkouts::CheckoutsArgs;

use super::{
    CliError, Connection, Context, Exit, duration, pages, rotate,
    table::{self, Cell, Column, Paint},
    view,
};
use crate::{api::proto, target::NOTABLE_OFFSET};

/// Subcommands of `mayfly targets`.
#[derive(Debug, Subcommand)]
pub enum TargetsCommand {
    /// List the databases, with their state as last seen; asks none of them anything
    Ls,
    /// Show the accounts that are handed out: who holds them, until when, and who waits
    Checkouts(CheckoutsArgs),
    /// Agree to another server answering for a target than the one known
    Accept(AcceptArgs),
    /// Give the administration account of a database a new password, which nobody is shown
    Rotate(rotate::RotateArgs),
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
    circuit_state: String,
    circuit_since_time: Option<Timestamp>,
    next_probe_time: Option<Timestamp>,
    clock_offset_seconds: Option<f64>,
}

/// Runs `mayfly targets …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: TargetsCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        TargetsCommand::Ls => list(context).await,
        TargetsCommand::Checkouts(args) => checkouts::run(args, context).await,
        TargetsCommand::Accept(args) => accept::run(args, context).await,
        TargetsCommand::Rotate(args) => rotate::rotate(args, context).await,
    }
}

/// All targets there are.
pub(super) async fn all(connection: &Connection) -> Result<Vec<proto::Target>, CliError> {
    pages::all(async |page_size, page_token| {
        let request = connection.call(proto::ListTargetsRequest { page_size, page_token });
        let reply = connection.targets().list_targets(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.targets, reply.next_page_token))
    })
    .await
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
            circuit_state: view::circuit_word(target.circuit_state()),
            circuit_since_time: view::moment(target.circuit_since_time),
            next_probe_time: view::moment(target.next_probe_time),
            clock_offset_seconds: target.clock_offset.map(view::offset_seconds),
        }
    }
}

const COLUMNS: [Column; 7] = [
    Column::whole("TARGET"),
    Column::whole("ENGINE"),
    Column::cut("ENDPOINTS", 15),
    Column::whole("LEASES"),
    Column::cut("ROLES", 8),
    Column::whole("CLOCK"),
    Column::cut("STATE", 12),
];

fn row(target: &proto::Target, now: Timestamp) -> Vec<Cell> {
    let endpoints: Vec<_> = target.endpoints.iter().map(view::host_port).collect();
    let roles: Vec<_> = target.roles.iter().map(|role| view::bare(role)).collect();
    vec![
        view::bare(&target.name).into(),
        view::engine_word(target.engine()).into(),
        endpoints.join(", ").into(),
        target.live_leases.to_string().into(),
        roles.join(", ").into(),
        clock(target),
        state(target, now),
    ]
}

/// How far the target's clock is ahead.
fn clock(target: &proto::Target) -> Cell {
    let Some(offset) = target.clock_offset.map(view::offset_seconds) else { return "".into() };
    let paint = if offset.abs() > NOTABLE_OFFSET.as_secs_f64() { Paint::Yellow } else { Paint::None };
    Cell::painted(format!("{offset:+.1}s"), paint)
}

fn state(target: &proto::Target, now: Timestamp) -> Cell {
    let next = |what: &str, at| {
        view::moment(at).map(|at| format!("; {what} {}", duration::relative(at, now))).unwrap_or_default()
    };
    let since = view::moment(target.circuit_since_time).map(|since| duration::relative(since, now));
    let error = target.last_error.as_str();
    let ending = next("ending is tried", target.next_attempt_time);
    match (target.circuit_state(), since) {
        (proto::CircuitState::Open, Some(since)) => {
            let probe = next("next probe", target.next_probe_time);
            Cell::painted(format!("open since {since}: {error}{probe}{ending}"), Paint::Red)
        }
        (proto::CircuitState::HalfOpen, Some(since)) => {
            Cell::painted(format!("open since {since}, being probed: {error}{ending}"), Paint::Red)
        }
        _ if error.is_empty() => Cell::painted("fine", Paint::Green),
        _ => Cell::painted(format!("{error}{ending}"), Paint::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    fn text(target: &proto::Target) -> String {
        format!("{:?}", state(target, Timestamp::from_second(100).unwrap()))
    }

    #[test]
    fn the_state_says_whether_callers_go_through_why_not_since_when_and_until_when() {
        let mut target = proto::Target::default();
        assert!(text(&target).contains("fine"));
        target.last_error = "no answer".to_owned();
        target.next_attempt_time = Some(at(160));
        assert!(text(&target).contains("no answer; ending is tried in 1m"), "{}", text(&target));
        target.circuit_state = proto::CircuitState::Open.into();
        target.circuit_since_time = Some(at(40));
        target.next_probe_time = Some(at(104));
        let open = "open since 1m ago: no answer; next probe in 4s; ending is tried in 1m";
        assert!(text(&target).contains(open), "{}", text(&target));
        target.circuit_state = proto::CircuitState::HalfOpen.into();
        assert!(text(&target).contains("open since 1m ago, being probed: no answer"), "{}", text(&target));
    }

    #[test]
    fn a_clock_is_shown_with_its_sign_once_it_is_known() {
        let mut target = proto::Target::default();
        assert_eq!(TargetView::from(&target).clock_offset_seconds, None);
        target.clock_offset = Some(prost_types::Duration { seconds: -7, nanos: -250_000_000 });
        assert!(format!("{:?}", clock(&target)).contains("-7.2s"));
        assert_eq!(TargetView::from(&target).clock_offset_seconds, Some(-7.25));
    }
}
