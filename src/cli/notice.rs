//! `mayfly notice`: what is told of what happens, and whether it arrived.

use clap::{Args, Subcommand, ValueEnum};
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

/// Subcommands of `mayfly notice`.
#[derive(Debug, Subcommand)]
pub enum NoticeCommand {
    /// List notices, newest first
    Ls(ListArgs),
    /// Try one again from the beginning, now
    Retry(NoticeArgs),
    /// Let go of one, delivered or not
    Drop(NoticeArgs),
    /// Send something through a channel, and say what came of it
    Test(TestArgs),
}

/// Arguments of `mayfly notice ls`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this channel
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub channel: String,
    /// Only in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub state: Option<State>,
}

/// Arguments of `mayfly notice retry` and `drop`.
#[derive(Debug, Args)]
pub struct NoticeArgs {
    /// The notice's name
    #[arg(value_name = "NOTICE")]
    pub name: String,
}

/// Arguments of `mayfly notice test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The channel's name in the configuration
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
}

/// Where a notice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// To be delivered
    Queued,
    /// Delivered
    Sent,
    /// Given up
    Dead,
}

#[derive(Serialize)]
struct NoticeView {
    name: String,
    channel: String,
    event: String,
    what: String,
    resource: String,
    state: &'static str,
    attempt_count: i32,
    last_error: String,
    create_time: Option<Timestamp>,
    next_attempt_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
}

#[derive(Serialize)]
struct One {
    notice: NoticeView,
}

/// Runs `mayfly notice …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: NoticeCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        NoticeCommand::Ls(args) => list(args, context).await,
        NoticeCommand::Retry(args) => retry(args, context).await,
        NoticeCommand::Drop(args) => let_go(args, context).await,
        NoticeCommand::Test(args) => test(args, context).await,
    }
}

async fn list(args: ListArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        notices: Vec<NoticeView>,
    }
    let connection = context.connect()?;
    let state = args.state.map_or(proto::NoticeState::Unspecified, |state| match state {
        State::Queued => proto::NoticeState::Queued,
        State::Sent => proto::NoticeState::Sent,
        State::Dead => proto::NoticeState::Dead,
    });
    let notices = pages::all(async |page_size, page_token| {
        let request = connection.call(proto::ListNoticesRequest {
            page_size,
            page_token,
            channel: args.channel.clone(),
            state: state.into(),
        });
        let reply = connection.notices().list_notices(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.notices, reply.next_page_token))
    })
    .await?;
    if context.output.is_json() {
        context.output.json(&Reply { notices: notices.iter().map(NoticeView::from).collect() })?;
    } else {
        let now = context.clock.now();
        let rows: Vec<_> = notices.iter().map(|notice| row(notice, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

async fn retry(args: NoticeArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let name = view::qualified("notices", &args.name);
    let request = connection.call(proto::RetryNoticeRequest { name });
    let reply = connection.notices().retry_notice(request).await;
    let notice = reply.map_err(|status| connection.explain(&status))?.into_inner().notice.unwrap_or_default();
    tell(&notice, "is tried again", context)
}

async fn let_go(args: NoticeArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let name = view::qualified("notices", &args.name);
    let request = connection.call(proto::DropNoticeRequest { name });
    let reply = connection.notices().drop_notice(request).await;
    let notice = reply.map_err(|status| connection.explain(&status))?.into_inner().notice.unwrap_or_default();
    tell(&notice, "is dropped", context)
}

async fn test(args: TestArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let channel = args.channel.clone();
    let request = connection.call(proto::TestChannelRequest { channel });
    let reply = connection.notices().test_channel(request).await;
    let notice = reply.map_err(|status| connection.explain(&status))?.into_inner().notice.unwrap_or_default();
    let outcome = match notice.state() {
        proto::NoticeState::Sent => "was delivered".to_owned(),
        _ if notice.last_error.is_empty() => "was not delivered yet".to_owned(),
        _ => format!("was not delivered: {}", printable(&notice.last_error)),
    };
    let delivered = notice.state() == proto::NoticeState::Sent;
    tell(&notice, &outcome, context)?;
    Ok(if delivered { Exit::Ok } else { Exit::Unavailable })
}

fn tell(notice: &proto::Notice, what: &str, context: &mut Context) -> Result<Exit, CliError> {
    if context.output.is_json() {
        context.output.json(&One { notice: NoticeView::from(notice) })?;
    } else {
        let (name, channel) = (printable(&notice.name), printable(&notice.channel));
        context.output.note(&format!("{name} on the channel {channel} {what}"));
    }
    Ok(Exit::Ok)
}

impl From<&proto::Notice> for NoticeView {
    fn from(notice: &proto::Notice) -> Self {
        Self {
            name: notice.name.clone(),
            channel: notice.channel.clone(),
            event: notice.event.clone(),
            what: notice.what.clone(),
            resource: notice.resource.clone(),
            state: word(notice.state()),
            attempt_count: notice.attempt_count,
            last_error: notice.last_error.clone(),
            create_time: view::moment(notice.create_time),
            next_attempt_time: view::moment(notice.next_attempt_time),
            end_time: view::moment(notice.end_time),
        }
    }
}

fn word(state: proto::NoticeState) -> &'static str {
    match state {
        proto::NoticeState::Unspecified => "unknown",
        proto::NoticeState::Queued => "queued",
        proto::NoticeState::Sent => "sent",
        proto::NoticeState::Dead => "dead",
    }
}

const COLUMNS: [Column; 7] = [
    Column::whole("NOTICE"),
    Column::cut("CHANNEL", 10),
    Column::whole("EVENT"),
    Column::cut("ABOUT", 16),
    Column::whole("STATE"),
    Column::whole("ATTEMPTS"),
    Column::cut("LAST ERROR", 16),
];

fn row(notice: &proto::Notice, now: Timestamp) -> Vec<Cell> {
    vec![
        view::bare(&notice.name).into(),
        (&notice.channel).into(),
        (&notice.event).into(),
        (&notice.resource).into(),
        state(notice, now),
        notice.attempt_count.to_string().into(),
        (&notice.last_error).into(),
    ]
}

fn state(notice: &proto::Notice, now: Timestamp) -> Cell {
    let when = |at| view::moment(at).map_or(String::new(), |at| format!(" {}", duration::relative(at, now)));
    match notice.state() {
        proto::NoticeState::Sent => Cell::painted(format!("sent{}", when(notice.end_time)), Paint::Green),
        proto::NoticeState::Dead => Cell::painted(format!("dead{}", when(notice.end_time)), Paint::Red),
        _ => Cell::painted(format!("queued, next{}", when(notice.next_attempt_time)), Paint::Yellow),
    }
}
