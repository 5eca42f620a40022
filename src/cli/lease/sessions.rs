//! `mayfly lease sessions`.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::{
        CliError, Context, Exit, duration,
        table::{self, Cell, Column},
        view,
    },
    NameArgs,
};
use crate::api::proto;

#[derive(Serialize)]
struct SessionView {
    id: u64,
    client_address: String,
    database: String,
    start_time: Option<Timestamp>,
    activity: String,
}

pub(super) async fn run(args: NameArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        sessions: Vec<SessionView>,
    }
    let connection = context.connect()?;
    let message = proto::ListSessionsRequest { name: view::qualified("leases", &args.name) };
    let reply = connection.leases().list_sessions(connection.call(message)).await;
    let sessions = reply.map_err(|status| connection.explain(&status))?.into_inner().sessions;
    if context.output.is_json() {
        context.output.json(&Reply { sessions: sessions.iter().map(SessionView::from).collect() })?;
    } else if sessions.is_empty() {
        context.output.note("no live sessions");
    } else {
        let now = context.clock.now();
        let rows: Vec<_> = sessions.iter().map(|session| row(session, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

impl From<&proto::Session> for SessionView {
    fn from(session: &proto::Session) -> Self {
        Self {
            id: session.id,
            client_address: session.client_address.clone(),
            database: session.database.clone(),
            start_time: view::moment(session.start_time),
            activity: session.activity.clone(),
        }
    }
}

const COLUMNS: [Column; 5] = [
    Column::whole("SESSION"),
    Column::whole("FROM"),
    Column::cut("DATABASE", 8),
    Column::whole("SINCE"),
    Column::cut("ACTIVITY", 10),
];

fn row(session: &proto::Session, now: Timestamp) -> Vec<Cell> {
    let from = if session.client_address.is_empty() { "local socket" } else { &session.client_address };
    let since = view::moment(session.start_time).map(|at| duration::relative(at, now));
    vec![
        session.id.to_string().into(),
        from.into(),
        (&session.database).into(),
        since.unwrap_or_default().into(),
        (&session.activity).into(),
    ]
}
