//! `mayfly session`: who is signed in.

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

/// Subcommands of `mayfly session`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List sessions, newest first: your own, or others' (administrators)
    Ls(LsArgs),
    /// End a session, now; leases issued in it stay
    Revoke(RevokeArgs),
}

/// Arguments of `mayfly session ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Whose (administrators)
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub principal: Option<String>,
    /// Everybody's (administrators)
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `mayfly session revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The session's name
    #[arg(value_name = "SESSION")]
    pub name: String,
}

/// A session.
#[derive(Debug, Serialize)]
pub(super) struct SessionView {
    name: String,
    principal: String,
    principal_kind: String,
    origin: String,
    create_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    idle_time: Option<Timestamp>,
    use_time: Option<Timestamp>,
    second_factor_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
}

impl From<&proto::SignInSession> for SessionView {
    fn from(session: &proto::SignInSession) -> Self {
        Self {
            name: session.name.clone(),
            principal: session.principal.clone(),
            principal_kind: view::kind_word(session.principal_kind()),
            origin: session.origin.clone(),
            create_time: view::moment(session.create_time),
            expire_time: view::moment(session.expire_time),
            idle_time: view::moment(session.idle_time),
            use_time: view::moment(session.use_time),
            second_factor_time: view::moment(session.second_factor_time),
            end_time: view::moment(session.end_time),
        }
    }
}

/// Runs `mayfly session …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: SessionCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        SessionCommand::Ls(args) => list(args, context).await,
        SessionCommand::Revoke(args) => revoke(args, context).await,
    }
}

async fn list(args: LsArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        sessions: Vec<SessionView>,
    }
    let connection = context.connect()?;
    let principal = args.principal.unwrap_or_default();
    let sessions = pages::all(async |page_size, page_token| {
        let request = connection.call(proto::ListSignInSessionsRequest {
            page_size,
            page_token,
            principal: principal.clone(),
            everybody: args.all,
        });
        let reply = connection.sessions().list_sign_in_sessions(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.sessions, reply.next_page_token))
    })
    .await?;
    if context.output.is_json() {
        context.output.json(&Reply { sessions: sessions.iter().map(SessionView::from).collect() })?;
    } else {
        let now = context.clock.now();
        let rows: Vec<_> = sessions.iter().map(|session| row(session, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

async fn revoke(args: RevokeArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        session: SessionView,
    }
    if args.name.starts_with("mfs_") {
        return Err(CliError::usage("that looks like a session's token, not its name").hint(
            "`mayfly session ls` shows the names; a secret on a command line is known to this machine now",
        ));
    }
    let connection = context.connect()?;
    let name = view::qualified("sessions", &args.name);
    let reply =
        connection.sessions().revoke_session(connection.call(proto::RevokeSessionRequest { name })).await;
    let session =
        reply.map_err(|status| connection.explain(&status))?.into_inner().session.unwrap_or_default();
    if context.output.is_json() {
        context.output.json(&Reply { session: SessionView::from(&session) })?;
    } else {
        let (name, principal) = (printable(&session.name), printable(&session.principal));
        context.output.note(&format!("{name} of {principal} is ended"));
    }
    Ok(Exit::Ok)
}

const COLUMNS: [Column; 6] = [
    Column::whole("SESSION"),
    Column::cut("PRINCIPAL", 12),
    Column::whole("KIND"),
    Column::cut("BY", 8),
    Column::whole("STATE"),
    Column::whole("SECOND FACTOR"),
];

fn row(session: &proto::SignInSession, now: Timestamp) -> Vec<Cell> {
    vec![
        view::bare(&session.name).into(),
        (&session.principal).into(),
        view::kind_word(session.principal_kind()).into(),
        (&session.origin).into(),
        state(session, now),
        second_factor(view::moment(session.second_factor_time), now).into(),
    ]
}

/// When a second factor was given, in words.
pub(super) fn second_factor(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "not given".to_owned(), |at| format!("given {}", duration::relative(at, now)))
}

fn state(session: &proto::SignInSession, now: Timestamp) -> Cell {
    let moments =
        (view::moment(session.end_time), view::moment(session.idle_time), view::moment(session.expire_time));
    match moments {
        (Some(at), ..) => Cell::painted(format!("ended {}", duration::relative(at, now)), Paint::Dim),
        (None, Some(idle), _) if idle <= now => {
            Cell::painted(format!("expired {}", duration::relative(idle, now)), Paint::Dim)
        }
        (None, _, Some(at)) => Cell::painted(format!("until {}", duration::relative(at, now)), Paint::Green),
        (None, _, None) => Cell::painted("unknown", Paint::Yellow),
    }
}
