//! `mayfly roles`: what may be asked for.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    CliError, Context, Exit, duration, pages,
    table::{self, Cell, Column, Paint},
    view, view_request,
};
use crate::api::proto;

/// Subcommands of `mayfly roles`.
#[derive(Debug, Subcommand)]
pub enum RolesCommand {
    /// List the roles you may use (administrators: all)
    Ls,
    /// May I, for how long, and why (not)?
    Check(CheckArgs),
}

/// Arguments of `mayfly roles check`.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 when a lease would be issued now, and with 4 when not.")]
pub struct CheckArgs {
    /// The role
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// How long one would ask for [default: the role's]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
}

#[derive(Serialize)]
struct RoleView {
    name: String,
    target: String,
    engine: String,
    description: String,
    member_of: Vec<String>,
    default_ttl_seconds: Option<i64>,
    max_ttl_seconds: Option<i64>,
    allowed: bool,
    reviews: u32,
}

impl From<&proto::Role> for RoleView {
    fn from(role: &proto::Role) -> Self {
        Self {
            name: role.name.clone(),
            target: role.target.clone(),
            engine: view::engine_word(role.engine()),
            description: role.description.clone(),
            member_of: role.member_of.clone(),
            default_ttl_seconds: view::seconds(role.default_ttl),
            max_ttl_seconds: view::seconds(role.max_ttl),
            allowed: role.allowed,
            reviews: role.reviews,
        }
    }
}

/// Runs `mayfly roles …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: RolesCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        RolesCommand::Ls => list(context).await,
        RolesCommand::Check(args) => check(args, context).await,
    }
}

async fn list(context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        roles: Vec<RoleView>,
    }
    let connection = context.connect()?;
    let roles = pages::all(async |page_size, page_token| {
        let request = connection.call(proto::ListRolesRequest { page_size, page_token });
        let reply = connection.roles().list_roles(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.roles, reply.next_page_token))
    })
    .await?;
    if context.output.is_json() {
        context.output.json(&Reply { roles: roles.iter().map(RoleView::from).collect() })?;
    } else if roles.is_empty() {
        context.output.note("there is no role you may use");
    } else {
        let rows: Vec<_> = roles.iter().map(row).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

const COLUMNS: [Column; 7] = [
    Column::whole("ROLE"),
    Column::whole("TARGET"),
    Column::whole("ENGINE"),
    Column::whole("TTL"),
    Column::whole("MAX"),
    Column::whole("ALLOWED"),
    Column::cut("DESCRIPTION", 12),
];

fn row(role: &proto::Role) -> Vec<Cell> {
    let allowed = match (role.allowed, role.reviews) {
        (false, _) => Cell::painted("no", Paint::Dim),
        (true, 0) => Cell::painted("yes", Paint::Green),
        (true, 1) => Cell::painted("after a review", Paint::Yellow),
        (true, many) => Cell::painted(format!("after {many} reviews"), Paint::Yellow),
    };
    vec![
        view::bare(&role.name).into(),
        view::bare(&role.target).into(),
        view::engine_word(role.engine()).into(),
        view::duration_words(role.default_ttl).into(),
        view::duration_words(role.max_ttl).into(),
        allowed,
        (&role.description).into(),
    ]
}

async fn check(args: CheckArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        allowed: bool,
        reason: String,
        ttl_seconds: Option<i64>,
        live_leases: u32,
        max_leases: u32,
        steps: Vec<view_request::StepView>,
        role: Option<RoleView>,
    }
    let connection = context.connect()?;
    let request =
        connection.call(proto::CheckRoleRequest { name: args.role, ttl: args.ttl.map(view::to_proto) });
    let reply = connection.roles().check_role(request).await.map_err(|status| connection.explain(&status))?;
    let reply = reply.into_inner();
    let exit = if reply.allowed { Exit::Ok } else { Exit::Denied };
    if context.output.is_json() {
        context.output.json(&Reply {
            allowed: reply.allowed,
            reason: reply.reason,
            ttl_seconds: view::seconds(reply.ttl),
            live_leases: reply.live_leases,
            max_leases: reply.max_leases,
            steps: reply.steps.iter().map(view_request::StepView::from).collect(),
            role: reply.role.as_ref().map(RoleView::from),
        })?;
    } else {
        context.output.data(&verdict(&reply))?;
    }
    Ok(exit)
}

fn verdict(reply: &proto::CheckRoleResponse) -> String {
    let max_ttl = reply.role.as_ref().map(|role| view::duration_words(role.max_ttl)).unwrap_or_default();
    let ttl = match (reply.allowed, max_ttl.is_empty()) {
        (false, _) => String::new(),
        (true, true) => view::duration_words(reply.ttl),
        (true, false) => format!("{} (at most {max_ttl})", view::duration_words(reply.ttl)),
    };
    let steps: Vec<String> = reply.steps.iter().map(view_request::step_words).collect();
    table::facts(&[
        ("allowed", if reply.allowed { "yes" } else { "no" }.to_owned()),
        ("because", reply.reason.clone()),
        ("ttl", ttl),
        ("leases", format!("{} of {} live", reply.live_leases, reply.max_leases)),
        ("reviews", steps.join("; then ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_says_how_long_and_why() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let reply = proto::CheckRoleResponse {
            role: Some(proto::Role { max_ttl: seconds(3600), ..Default::default() }),
            allowed: true,
            reason: "group:readers may use it".into(),
            ttl: seconds(1800),
            live_leases: 1,
            max_leases: 5,
            steps: Vec::new(),
        };
        assert_eq!(
            verdict(&reply),
            "allowed  yes\nbecause  group:readers may use it\nttl      30m (at most 1h)\nleases   1 of 5 live"
        );
        assert!(verdict(&proto::CheckRoleResponse { allowed: false, ..reply }).starts_with("allowed  no\n"));
    }
}
