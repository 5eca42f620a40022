//! Accounts, as administrators see and change them.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{UserView, state, when};
use crate::{
    api::proto,
    cli::{
        CliError, Context, Exit, duration,
        error::printable,
        pages,
        table::{self, Cell, Column, Paint},
        view,
    },
};

const ADD_EXAMPLES: &str = "Examples:
  mayfly user add alice --group payments --display-name 'Alice Doe' --mail alice@example.com
  mayfly user add root2 --group administrators --ttl 1h > code

The code alone goes to standard output, once. Give it to the person, who sets a password with `mayfly user enrol`.";

/// Arguments of `mayfly user add`.
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub struct AddArgs {
    /// The principal's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A group; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// The person's name
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub display_name: String,
    /// Where mail reaches the person
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    pub mail: String,
    /// How long the code works, such as 1h or 3d [default: 3d]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
}

/// Arguments of commands about one account.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Whose
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Arguments of `mayfly user groups`.
#[derive(Debug, Args)]
pub struct GroupsArgs {
    /// Whose
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Put into a group; may be repeated
    #[arg(long, value_name = "GROUP", required_unless_present = "remove")]
    pub add: Vec<String>,
    /// Take out of a group; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub remove: Vec<String>,
}

/// Arguments of `mayfly user reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Whose
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Take the second factor and the recovery codes away as well: for who lost both
    #[arg(long)]
    pub second_factor: bool,
    /// How long the code works, such as 1h or 3d [default: 3d]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
}

#[derive(Serialize)]
struct Reply {
    user: UserView,
}

pub(super) async fn add(args: AddArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let request = connection.call(proto::CreateUserRequest {
        user: args.name,
        display_name: args.display_name,
        mail: args.mail,
        groups: args.groups,
        ttl: args.ttl.map(view::to_proto),
    });
    let reply = connection.users().create_user(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    show_code(&reply.user.unwrap_or_default(), &zeroize::Zeroizing::new(reply.code), context)
}

pub(super) async fn reset(args: ResetArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let request = connection.call(proto::ResetUserRequest {
        name: view::qualified("users", &args.name),
        second_factor: args.second_factor,
        ttl: args.ttl.map(view::to_proto),
    });
    let reply = connection.users().reset_user(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    show_code(&reply.user.unwrap_or_default(), &zeroize::Zeroizing::new(reply.code), context)
}

fn show_code(user: &proto::User, code: &str, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply<'a> {
        user: UserView,
        code: &'a str,
    }
    let now = context.clock.now();
    if context.output.is_json() {
        context.output.json(&Reply { user: UserView::of(user, now), code })?;
        return Ok(Exit::Ok);
    }
    context.output.data(code)?;
    let name = printable(view::bare(&user.name));
    let until = when(user.enrolment_expire_time, now);
    context.output.note(&format!("{name} sets a password with: mayfly user enrol --user {name}"));
    context.output.note(&format!("the code expires {until} and is not shown again"));
    Ok(Exit::Ok)
}

pub(super) async fn list(context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        users: Vec<UserView>,
    }
    let connection = context.connect()?;
    let mut users = pages::all(async |page_size, page_token| {
        let request = connection.call(proto::ListUsersRequest { page_size, page_token });
        let reply = connection.users().list_users(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.users, reply.next_page_token))
    })
    .await?;
    users.reverse();
    let now = context.clock.now();
    if context.output.is_json() {
        context.output.json(&Reply { users: users.iter().map(|user| UserView::of(user, now)).collect() })?;
    } else {
        let rows: Vec<_> = users.iter().map(|user| row(user, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

const COLUMNS: [Column; 6] = [
    Column::cut("USER", 12),
    Column::cut("NAME", 10),
    Column::cut("GROUPS", 10),
    Column::whole("STATE"),
    Column::whole("SECOND FACTOR"),
    Column::whole("LAST SIGN-IN"),
];

fn row(user: &proto::User, now: Timestamp) -> Vec<Cell> {
    let state = state(user, now);
    let paint = match state {
        "active" => Paint::Green,
        "disabled" => Paint::Dim,
        "locked" => Paint::Red,
        _ => Paint::Yellow,
    };
    let signed_in = when(user.sign_in_time, now);
    vec![
        view::bare(&user.name).into(),
        (&user.display_name).into(),
        user.groups.join(", ").into(),
        Cell::painted(state, paint),
        if user.has_second_factor { "yes" } else { "no" }.into(),
        if signed_in.is_empty() { "never".to_owned() } else { signed_in }.into(),
    ]
}

pub(super) async fn show(name: Option<String>, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let name = if let Some(name) = name {
        name
    } else {
        let reply = connection.server().who_am_i(connection.call(proto::WhoAmIRequest {})).await;
        reply.map_err(|status| connection.explain(&status))?.into_inner().principal
    };
    let request = connection.call(proto::GetUserRequest { name: view::qualified("users", &name) });
    let reply = connection.users().get_user(request).await;
    let user = reply.map_err(|status| connection.explain(&status))?.into_inner().user.unwrap_or_default();
    let now = context.clock.now();
    if context.output.is_json() {
        context.output.json(&Reply { user: UserView::of(&user, now) })?;
    } else {
        let text = facts(&user, now);
        context.output.data(&text)?;
    }
    Ok(Exit::Ok)
}

fn facts(user: &proto::User, now: Timestamp) -> String {
    let factor = match (user.has_second_factor, user.recovery_codes) {
        (false, _) => "none".to_owned(),
        (true, left) => format!("authenticator, {left} recovery codes left"),
    };
    table::facts(&[
        ("user", view::bare(&user.name).to_owned()),
        ("name", user.display_name.clone()),
        ("mail", user.mail.clone()),
        ("groups", user.groups.join(", ")),
        ("state", state(user, now).to_owned()),
        ("disabled", when(user.disable_time, now)),
        ("locked until", when(user.lock_expire_time, now)),
        ("failed attempts", if user.failures == 0 { String::new() } else { user.failures.to_string() }),
        ("password", if user.has_password { "set" } else { "not set" }.to_owned()),
        ("code expires", when(user.enrolment_expire_time, now)),
        ("second factor", factor),
        ("created", when(user.create_time, now)),
        ("last sign-in", when(user.sign_in_time, now)),
    ])
}

fn changed(user: Option<proto::User>, what: &str, context: &mut Context) -> Result<Exit, CliError> {
    let user = user.unwrap_or_default();
    if context.output.is_json() {
        let now = context.clock.now();
        context.output.json(&Reply { user: UserView::of(&user, now) })?;
    } else {
        let name = printable(view::bare(&user.name));
        context.output.note(&format!("{name} {what}"));
    }
    Ok(Exit::Ok)
}

pub(super) async fn disable(args: NameArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let request = connection.call(proto::DisableUserRequest { name: view::qualified("users", &args.name) });
    let reply = connection.users().disable_user(request).await;
    let user = reply.map_err(|status| connection.explain(&status))?.into_inner().user;
    changed(user, "is disabled; sessions are ended, API tokens and leases stay", context)
}

pub(super) async fn enable(args: NameArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let request = connection.call(proto::EnableUserRequest { name: view::qualified("users", &args.name) });
    let reply = connection.users().enable_user(request).await;
    let user = reply.map_err(|status| connection.explain(&status))?.into_inner().user;
    changed(user, "is enabled", context)
}

pub(super) async fn remove(args: NameArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let request = connection.call(proto::DeleteUserRequest { name: view::qualified("users", &args.name) });
    let reply = connection.users().delete_user(request).await;
    let user = reply.map_err(|status| connection.explain(&status))?.into_inner().user;
    changed(user, "is removed; sessions are ended, API tokens and leases stay", context)
}

pub(super) async fn groups(args: GroupsArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let name = view::qualified("users", &args.name);
    let reply =
        connection.users().get_user(connection.call(proto::GetUserRequest { name: name.clone() })).await;
    let user = reply.map_err(|status| connection.explain(&status))?.into_inner().user.unwrap_or_default();
    let groups: BTreeSet<String> = user.groups.into_iter().chain(args.add).collect();
    let groups: Vec<String> = groups.into_iter().filter(|group| !args.remove.contains(group)).collect();
    let words = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
    let request = connection.call(proto::SetUserGroupsRequest { name, groups });
    let reply = connection.users().set_user_groups(request).await;
    let user = reply.map_err(|status| connection.explain(&status))?.into_inner().user;
    changed(user, &format!("is in {}", printable(&words)), context)
}
