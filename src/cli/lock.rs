//! `mayfly lock`, `mayfly unlock`: principals, roles and targets on which nothing is issued.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    CliError, Context, Exit, duration,
    error::printable,
    pages,
    table::{self, Cell, Column, Paint},
    view,
};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly lock principal ci --reason 'its token was in a log'
  mayfly lock target orders --for 2h --reason 'restore under way'
  mayfly lock ls
  mayfly unlock principal ci

While a lock stands nothing is issued, renewed, requested, claimed or checked out on it; setting it ends the leases there are, \
cancels the requests and revokes the grants. A locked principal can still see what is its own, and release it.";

/// Subcommands of `mayfly lock`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum LockCommand {
    /// Lock a principal: its leases end, and it gets nothing more
    Principal(LockArgs),
    /// Lock a role: the leases under it end, and nothing is issued under it
    Role(LockArgs),
    /// Lock a target: the leases on it end, and nothing is issued on it
    Target(LockArgs),
    /// List the locks
    Ls,
}

/// Subcommands of `mayfly unlock`.
#[derive(Debug, Subcommand)]
pub enum UnlockCommand {
    /// Unlock a principal
    Principal(UnlockArgs),
    /// Unlock a role
    Role(UnlockArgs),
    /// Unlock a target
    Target(UnlockArgs),
}

/// Arguments of `mayfly lock principal|role|target`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Why, for the audit log and other administrators
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
    /// For how long, such as 2h [default: until it is unlocked]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    pub life: Option<Duration>,
    /// Also if it is yourself: only another administrator can unlock you then
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `mayfly unlock principal|role|target`.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Serialize)]
struct LockView {
    name: String,
    subject: String,
    locked_by: String,
    reason: String,
    create_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    carried_out: bool,
}

impl From<&proto::Lock> for LockView {
    fn from(lock: &proto::Lock) -> Self {
        Self {
            name: lock.name.clone(),
            subject: lock.subject.clone(),
            locked_by: lock.locked_by.clone(),
            reason: lock.reason.clone(),
            create_time: view::moment(lock.create_time),
            expire_time: view::moment(lock.expire_time),
            carried_out: lock.carried_out,
        }
    }
}

/// `roles/x` or `x` → `role/x`.
fn subject(kind: &str, name: &str) -> String {
    format!("{kind}/{}", name.strip_prefix(&format!("{kind}s/")).unwrap_or(name))
}

/// Runs `mayfly lock …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: LockCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        LockCommand::Principal(args) => lock("principal", args, context).await,
        LockCommand::Role(args) => lock("role", args, context).await,
        LockCommand::Target(args) => lock("target", args, context).await,
        LockCommand::Ls => list(context).await,
    }
}

async fn lock(kind: &str, args: LockArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        lock: LockView,
        leases_ended: u32,
        requests_cancelled: u32,
        grants_revoked: u32,
    }
    let connection = context.connect()?;
    let request = connection.call(proto::CreateLockRequest {
        subject: subject(kind, &args.name),
        reason: args.reason,
        ttl: args.life.map(view::to_proto),
        force: args.force,
    });
    let reply = connection.locks().create_lock(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let lock = reply.lock.clone().unwrap_or_default();
    if context.output.is_json() {
        context.output.json(&Reply {
            lock: LockView::from(&lock),
            leases_ended: reply.leases_ended,
            requests_cancelled: reply.requests_cancelled,
            grants_revoked: reply.grants_revoked,
        })?;
    } else {
        let note = set(&lock, &reply, context.clock.now());
        context.output.note(&note);
    }
    Ok(Exit::Ok)
}

fn set(lock: &proto::Lock, reply: &proto::CreateLockResponse, now: Timestamp) -> String {
    let lapses = view::moment(lock.expire_time)
        .map_or_else(String::new, |at| format!(", lapses {}", duration::relative(at, now)));
    let count = |number: u32, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    };
    format!(
        "{} is locked{lapses}: {}, {}, {}",
        printable(&lock.subject),
        count(reply.leases_ended, "lease ends", "leases end"),
        count(reply.requests_cancelled, "request is cancelled", "requests are cancelled"),
        count(reply.grants_revoked, "grant is revoked", "grants are revoked"),
    )
}

async fn list(context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        locks: Vec<LockView>,
    }
    let connection = context.connect()?;
    let locks = pages::all(async |page_size, page_token| {
        let request = connection.call(proto::ListLocksRequest { page_size, page_token });
        let reply = connection.locks().list_locks(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.locks, reply.next_page_token))
    })
    .await?;
    if context.output.is_json() {
        context.output.json(&Reply { locks: locks.iter().map(LockView::from).collect() })?;
    } else {
        let now = context.clock.now();
        let rows: Vec<_> = locks.iter().map(|lock| row(lock, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

const COLUMNS: [Column; 5] = [
    Column::whole("LOCKED"),
    Column::whole("STATE"),
    Column::cut("BY", 10),
    Column::whole("SINCE"),
    Column::cut("REASON", 12),
];

fn row(lock: &proto::Lock, now: Timestamp) -> Vec<Cell> {
    let since = view::moment(lock.create_time).map(|at| duration::relative(at, now)).unwrap_or_default();
    vec![
        (&lock.subject).into(),
        state(lock, now),
        (&lock.locked_by).into(),
        since.into(),
        (&lock.reason).into(),
    ]
}

fn state(lock: &proto::Lock, now: Timestamp) -> Cell {
    match view::moment(lock.expire_time) {
        _ if !lock.carried_out => Cell::painted("ending what there was", Paint::Yellow),
        Some(at) if at <= now => Cell::painted(format!("lapsed {}", duration::relative(at, now)), Paint::Dim),
        Some(at) => Cell::painted(format!("lapses {}", duration::relative(at, now)), Paint::Red),
        None => Cell::painted("stands", Paint::Red),
    }
}

/// Runs `mayfly unlock …`.
///
/// # Errors
/// What the server refuses.
pub async fn unlock(command: UnlockCommand, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        lock: LockView,
    }
    let (kind, args) = match command {
        UnlockCommand::Principal(args) => ("principal", args),
        UnlockCommand::Role(args) => ("role", args),
        UnlockCommand::Target(args) => ("target", args),
    };
    let connection = context.connect()?;
    let name = format!("locks/{}", subject(kind, &args.name));
    let request = connection.call(proto::DeleteLockRequest { name, reason: args.reason });
    let reply = connection.locks().delete_lock(request).await;
    let lock = reply.map_err(|status| connection.explain(&status))?.into_inner().lock.unwrap_or_default();
    if context.output.is_json() {
        context.output.json(&Reply { lock: LockView::from(&lock) })?;
    } else {
        let note = format!("{} is unlocked; what the lock ended stays ended", printable(&lock.subject));
        context.output.note(&note);
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_bare_and_whole() {
        assert_eq!(subject("role", "orders"), "role/orders");
        assert_eq!(subject("role", "roles/orders"), "role/orders");
        assert_eq!(subject("principal", "spiffe://x"), "principal/spiffe://x");
    }

    #[test]
    fn what_a_lock_did_is_told_in_words() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let lock = proto::Lock {
            subject: "role/orders".into(),
            expire_time: Some(prost_types::Timestamp { seconds: 1_007_200, nanos: 0 }),
            ..Default::default()
        };
        let reply =
            proto::CreateLockResponse { leases_ended: 1, requests_cancelled: 2, ..Default::default() };
        assert_eq!(
            set(&lock, &reply, now),
            "role/orders is locked, lapses in 2h: 1 lease ends, 2 requests are cancelled, 0 grants are revoked"
        );
    }

    #[test]
    fn a_lock_says_whether_it_still_stands() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let lock = |expire_time, carried_out| proto::Lock { expire_time, carried_out, ..Default::default() };
        assert_eq!(state(&lock(None, true), now), Cell::painted("stands", Paint::Red));
        assert_eq!(state(&lock(at(1_000_060), true), now), Cell::painted("lapses in 1m", Paint::Red));
        assert_eq!(state(&lock(at(999_940), true), now), Cell::painted("lapsed 1m ago", Paint::Dim));
        assert_eq!(state(&lock(None, false), now), Cell::painted("ending what there was", Paint::Yellow));
    }
}
