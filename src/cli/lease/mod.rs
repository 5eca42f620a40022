//! `mayfly lease`: leases, seen, renewed and ended.

mod end;
mod ls;
mod sessions;
mod show;
mod watch;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    CliError, Connection, Context, Exit, duration,
    table::{Cell, Paint},
    view,
};
use crate::api::proto;

/// Subcommands of `mayfly lease`.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// List leases, newest first: yours, or all for administrators
    Ls(ls::LsArgs),
    /// Show one lease
    Show(NameArgs),
    /// Move the expiry of a lease, up to the role's maximum
    Renew(RenewArgs),
    /// End a lease of your own
    Release(end::ReleaseArgs),
    /// End leases by authority: one, or all of a principal, role or target
    Revoke(end::RevokeArgs),
    /// List the live sessions of a lease's account
    Sessions(NameArgs),
    /// Show leases as they are, then every change, until interrupted
    Watch(watch::WatchArgs),
}

/// One lease.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The lease: its identifier, or leases/ID
    #[arg(value_name = "LEASE")]
    pub name: String,
}

/// Arguments of `mayfly lease renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// The lease: its identifier, or leases/ID
    #[arg(value_name = "LEASE")]
    pub name: String,
    /// How long from now [default: as long as it was issued for]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
}

/// Which leases.
#[derive(Debug, Clone, Args)]
pub struct FilterArgs {
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
}

/// A state, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// Being created
    Provisioning,
    /// In use
    Active,
    /// Being removed
    Ending,
    /// Ended by the clock
    Expired,
    /// Ended by an authority
    Revoked,
    /// Ended by its holder
    Released,
    /// Never became active
    Failed,
}

impl From<StateArg> for proto::LeaseState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Provisioning => proto::LeaseState::Provisioning,
            StateArg::Active => proto::LeaseState::Active,
            StateArg::Ending => proto::LeaseState::Ending,
            StateArg::Expired => proto::LeaseState::Expired,
            StateArg::Revoked => proto::LeaseState::Revoked,
            StateArg::Released => proto::LeaseState::Released,
            StateArg::Failed => proto::LeaseState::Failed,
        }
    }
}

impl FilterArgs {
    fn to_proto(&self) -> proto::LeaseFilter {
        proto::LeaseFilter {
            states: self.states.iter().map(|state| proto::LeaseState::from(*state).into()).collect(),
            principal: self.principal.clone(),
            role: self.role.clone(),
            target: self.target.clone(),
        }
    }
}

/// One lease, as a JSON document.
#[derive(Serialize)]
struct One {
    lease: view::LeaseView,
}

/// Runs `mayfly lease …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: LeaseCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        LeaseCommand::Ls(args) => ls::run(args, context).await,
        LeaseCommand::Show(args) => show::run(args, context).await,
        LeaseCommand::Renew(args) => renew(args, context).await,
        LeaseCommand::Release(args) => end::release(args, context).await,
        LeaseCommand::Revoke(args) => end::revoke(args, context).await,
        LeaseCommand::Sessions(args) => sessions::run(args, context).await,
        LeaseCommand::Watch(args) => watch::run(args, context).await,
    }
}

async fn renew(args: RenewArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let message = proto::RenewLeaseRequest {
        name: view::qualified("leases", &args.name),
        ttl: args.ttl.map(view::to_proto),
    };
    let reply = connection.leases().renew_lease(connection.call(message)).await;
    let lease = reply.map_err(|status| connection.explain(&status))?.into_inner().lease;
    let lease = present(lease)?;
    if context.output.is_json() {
        context.output.json(&One { lease: (&lease).into() })?;
    } else {
        let text = expiry(&lease, context.clock.now());
        context.output.data(&format!("{} expires {text}", lease.name))?;
    }
    Ok(Exit::Ok)
}

/// The lease of a reply.
fn present(lease: Option<proto::Lease>) -> Result<proto::Lease, CliError> {
    lease.ok_or_else(|| CliError::new(Exit::Internal, "the server's reply is incomplete"))
}

async fn get(name: &str, connection: &Connection) -> Result<proto::Lease, CliError> {
    let message = proto::GetLeaseRequest { name: view::qualified("leases", name) };
    let reply = connection.leases().get_lease(connection.call(message)).await;
    present(reply.map_err(|status| connection.explain(&status))?.into_inner().lease)
}

/// The state in its colour.
fn state(lease: &proto::Lease) -> Cell {
    Cell::painted(view::state_word(lease), paint(lease))
}

fn paint(lease: &proto::Lease) -> Paint {
    let stuck = lease.end_progress.as_ref().is_some_and(|progress| !progress.last_error.is_empty());
    match lease.state() {
        proto::LeaseState::Active => Paint::Green,
        proto::LeaseState::Ending if stuck => Paint::Red,
        proto::LeaseState::Provisioning | proto::LeaseState::Ending => Paint::Yellow,
        proto::LeaseState::Failed => Paint::Red,
        proto::LeaseState::Unspecified => Paint::None,
        proto::LeaseState::Expired | proto::LeaseState::Revoked | proto::LeaseState::Released => Paint::Dim,
    }
}

/// `in 14m (2026-…)`.
fn expiry(lease: &proto::Lease, now: Timestamp) -> String {
    view::moment(lease.expire_time).map_or("never".to_owned(), |at| stamp(at, now))
}

fn stamp(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({at:.0})", duration::relative(at, now))
}

/// What matters next or mattered last: when it expires, is tried again, or ended.
fn when(lease: &proto::Lease, now: Timestamp) -> String {
    let relative = |at| duration::relative(at, now);
    let ended = lease.end_report.as_ref().and_then(|report| view::moment(report.end_time));
    let next = lease.end_progress.as_ref().and_then(|progress| view::moment(progress.next_attempt_time));
    match lease.state() {
        proto::LeaseState::Ending => next.map(|at| format!("next try {}", relative(at))),
        proto::LeaseState::Active | proto::LeaseState::Provisioning => {
            view::moment(lease.expire_time).map(|at| format!("expires {}", relative(at)))
        }
        _ => ended.map(|at| format!("ended {}", relative(at))),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn each_state_says_when() {
        let now = Timestamp::from_second(1000).unwrap();
        let lease = |state: proto::LeaseState| proto::Lease { state: state.into(), ..Default::default() };
        let active = proto::Lease { expire_time: Some(moment(1840)), ..lease(proto::LeaseState::Active) };
        assert_eq!(when(&active, now), "expires in 14m");
        let progress = proto::EndProgress { next_attempt_time: Some(moment(1005)), ..Default::default() };
        let ending = proto::Lease { end_progress: Some(progress), ..lease(proto::LeaseState::Ending) };
        assert_eq!(when(&ending, now), "next try in 5s");
        let report = proto::EndReport { end_time: Some(moment(820)), ..Default::default() };
        let ended = proto::Lease { end_report: Some(report), ..lease(proto::LeaseState::Revoked) };
        assert_eq!(when(&ended, now), "ended 3m ago");
    }

    #[test]
    fn a_lease_that_cannot_be_ended_stands_out() {
        let progress = proto::EndProgress { last_error: "connection refused".into(), ..Default::default() };
        let ending = proto::LeaseState::Ending.into();
        let mut lease = proto::Lease { state: ending, end_progress: Some(progress), ..Default::default() };
        assert_eq!(paint(&lease), Paint::Red);
        lease.end_progress = None;
        assert_eq!(paint(&lease), Paint::Yellow);
    }

    #[test]
    fn filters_name_states_as_the_api_does() {
        let filter = FilterArgs {
            states: vec![StateArg::Active, StateArg::Ending],
            principal: "alice".into(),
            role: String::new(),
            target: String::new(),
        };
        assert_eq!(filter.to_proto().states, [2, 3]);
    }
}
