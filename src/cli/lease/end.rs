//! `mayfly lease release` and `mayfly lease revoke`.

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::{
    super::{CliError, Context, Exit, error::printable, view},
    One, present, show,
};
use crate::api::proto;

/// Arguments of `mayfly lease release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The lease: its identifier, or leases/ID
    #[arg(value_name = "LEASE")]
    pub name: String,
    /// Wait until the account is gone, at most --timeout
    #[arg(long)]
    pub wait: bool,
}

const EXAMPLES: &str = "Examples:
  mayfly lease revoke 06dp4f2h9c8x1k3m7q0r --reason 'laptop lost' --wait
  mayfly lease revoke --principal ci --reason 'token leaked'
  mayfly lease revoke --role orders-write --target orders --reason 'incident 4711'

With several conditions, leases that meet all of them are revoked.";

/// Arguments of `mayfly lease revoke`.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    group = ArgGroup::new("which").required(true).multiple(true).args(["name", "principal", "role", "target"])
)]
pub struct RevokeArgs {
    /// One lease: its identifier, or leases/ID
    #[arg(value_name = "LEASE", conflicts_with_all = ["principal", "role", "target"])]
    pub name: Option<String>,
    /// All of this principal
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// All under this role
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// All on this target
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Why; kept with the lease and in the audit log
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Wait until the account is gone, at most --timeout (one lease only)
    #[arg(long, conflicts_with_all = ["principal", "role", "target"])]
    pub wait: bool,
}

pub(super) async fn release(args: ReleaseArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let spinner = context.output.spinner("releasing");
    let message = proto::ReleaseLeaseRequest { name: view::qualified("leases", &args.name), wait: args.wait };
    let reply = connection.leases().release_lease(connection.call(message)).await;
    drop(spinner);
    let lease = reply.map_err(|status| connection.explain(&status))?.into_inner().lease;
    ended(&present(lease)?, args.wait, context)
}

pub(super) async fn revoke(args: RevokeArgs, context: &mut Context) -> Result<Exit, CliError> {
    match &args.name {
        Some(name) => {
            let name = view::qualified("leases", name);
            revoke_one(proto::RevokeLeaseRequest { name, reason: args.reason, wait: args.wait }, context)
                .await
        }
        None => revoke_all(args, context).await,
    }
}

async fn revoke_one(message: proto::RevokeLeaseRequest, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let spinner = context.output.spinner("revoking");
    let wait = message.wait;
    let reply = connection.leases().revoke_lease(connection.call(message)).await;
    drop(spinner);
    let lease = reply.map_err(|status| connection.explain(&status))?.into_inner().lease;
    ended(&present(lease)?, wait, context)
}

async fn revoke_all(args: RevokeArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        revoked_count: u32,
    }
    let connection = context.connect()?;
    let filter = proto::LeaseFilter {
        states: Vec::new(),
        principal: args.principal.unwrap_or_default(),
        role: args.role.unwrap_or_default(),
        target: args.target.unwrap_or_default(),
    };
    let message = proto::RevokeLeasesRequest { filter: Some(filter), reason: args.reason };
    let reply = connection.leases().revoke_leases(connection.call(message)).await;
    let revoked_count = reply.map_err(|status| connection.explain(&status))?.into_inner().revoked_count;
    if context.output.is_json() {
        context.output.json(&Reply { revoked_count })?;
    } else {
        let leases = if revoked_count == 1 { "lease is" } else { "leases are" };
        context.output.data(&format!("{revoked_count} {leases} ending"))?;
    }
    Ok(Exit::Ok)
}

/// Says where the lease stands. Asked to wait, a lease that has not ended yet is no success.
fn ended(lease: &proto::Lease, waited: bool, context: &mut Context) -> Result<Exit, CliError> {
    if context.output.is_json() {
        context.output.json(&One { lease: lease.into() })?;
    } else {
        context.output.data(&outcome(lease))?;
    }
    let still_there = lease.end_report.is_none();
    Ok(if waited && still_there { Exit::Deadline } else { Exit::Ok })
}

fn outcome(lease: &proto::Lease) -> String {
    let name = printable(&lease.name);
    let error = lease.end_progress.as_ref().map(|progress| progress.last_error.as_str()).unwrap_or_default();
    match &lease.end_report {
        Some(report) => {
            format!("{name} is {}: {}", view::state_word(lease), show::cleaned(lease.kind(), report))
        }
        None if error.is_empty() => format!("{name} is {}", view::state_word(lease)),
        None => format!("{name} is {}, and is tried again: {}", view::state_word(lease), printable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_says_whether_the_account_is_gone() {
        let mut lease = proto::Lease {
            name: "leases/x".into(),
            state: proto::LeaseState::Ending.into(),
            ..Default::default()
        };
        assert_eq!(outcome(&lease), "leases/x is ending");
        lease.end_progress =
            Some(proto::EndProgress { last_error: "connection refused".into(), ..Default::default() });
        assert_eq!(outcome(&lease), "leases/x is ending, and is tried again: connection refused");
        lease.state = proto::LeaseState::Released.into();
        lease.end_report = Some(proto::EndReport { sessions_ended: 1, ..Default::default() });
        assert_eq!(outcome(&lease), "leases/x is released: 1 session ended, the account is gone");
    }
}
