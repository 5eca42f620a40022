//! `mayfly request ls`.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::super::{
    CliError, Connection, Context, Exit, duration, pages,
    table::{self, Cell, Column},
    view,
    view_request::{RequestView, request_cell},
};
use crate::api::proto;

/// Arguments of `mayfly request ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// In this state; may be repeated [default: any]
    #[arg(long = "state", value_enum, value_name = "STATE")]
    pub states: Vec<StateArg>,
    /// Asked for by this principal
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub requester: String,
    /// For this role
    #[arg(long, value_name = "ROLE", default_value = "", hide_default_value = true)]
    pub role: String,
    /// For this target
    #[arg(long, value_name = "TARGET", default_value = "", hide_default_value = true)]
    pub target: String,
    /// At most this many; 0: all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
}

/// A state, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// Reviews are awaited
    Pending,
    /// Granted
    Approved,
    /// Not granted
    Denied,
    /// Withdrawn
    Cancelled,
    /// Nobody decided in time
    Expired,
}

impl From<StateArg> for proto::RequestState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Pending => proto::RequestState::Pending,
            StateArg::Approved => proto::RequestState::Approved,
            StateArg::Denied => proto::RequestState::Denied,
            StateArg::Cancelled => proto::RequestState::Cancelled,
            StateArg::Expired => proto::RequestState::Expired,
        }
    }
}

pub(super) async fn run(args: LsArgs, context: &mut Context) -> Result<Exit, CliError> {
    let filter = proto::RequestFilter {
        states: args.states.iter().map(|state| proto::RequestState::from(*state).into()).collect(),
        requester: args.requester,
        role: args.role,
        target: args.target,
        to_review: false,
    };
    list(filter, args.limit, context).await
}

/// Lists the requests that a filter finds.
///
/// # Errors
/// What the server refuses.
pub(in super::super) async fn list(
    filter: proto::RequestFilter,
    limit: usize,
    context: &mut Context,
) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        requests: Vec<RequestView>,
        /// There are more than were asked for.
        truncated: bool,
    }
    let connection = context.connect()?;
    let (requests, truncated) = collect(&filter, limit, &connection).await?;
    if context.output.is_json() {
        let requests = requests.iter().map(RequestView::from).collect();
        context.output.json(&Reply { requests, truncated })?;
        return Ok(Exit::Ok);
    }
    if requests.is_empty() {
        context.output.note("no requests");
        return Ok(Exit::Ok);
    }
    let table = table_of(&requests, context);
    context.output.data(&table)?;
    if truncated {
        context.output.note("there are more: --limit 0 shows all");
    }
    Ok(Exit::Ok)
}

/// Requests as a table.
pub(in super::super) fn table_of(requests: &[proto::AccessRequest], context: &Context) -> String {
    let now = context.clock.now();
    let rows: Vec<_> = requests.iter().map(|request| row(request, now)).collect();
    table::render(&columns(), &rows, &context.output)
}

async fn collect(
    filter: &proto::RequestFilter,
    limit: usize,
    connection: &Connection,
) -> Result<(Vec<proto::AccessRequest>, bool), CliError> {
    pages::up_to(limit, async |page_size, page_token| {
        let filter = Some(filter.clone());
        let request = connection.call(proto::ListRequestsRequest { page_size, page_token, filter });
        let reply = connection.requests().list_requests(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.requests, reply.next_page_token))
    })
    .await
}

/// The columns of a table of requests.
fn columns() -> [Column; 7] {
    [
        Column::whole("REQUEST"),
        Column::whole("STATE"),
        Column::cut("ROLE", 10),
        Column::cut("REQUESTER", 10),
        Column::whole("TTL"),
        Column::whole("WHEN"),
        Column::cut("REASON", 12),
    ]
}

/// A request in such a table.
fn row(request: &proto::AccessRequest, now: Timestamp) -> Vec<Cell> {
    vec![
        view::bare(&request.name).into(),
        request_cell(request),
        view::bare(&request.role).into(),
        (&request.requester).into(),
        view::duration_words(request.granted_ttl.or(request.ttl)).into(),
        when(request, now).into(),
        (&request.justification).into(),
    ]
}

/// What matters next or mattered last.
fn when(request: &proto::AccessRequest, now: Timestamp) -> String {
    let relative = |at| view::moment(at).map(|at| duration::relative(at, now)).unwrap_or_default();
    match request.state() {
        proto::RequestState::Pending => format!("expires {}", relative(request.expire_time)),
        _ => format!("decided {}", relative(request.decide_time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_says_when() {
        let now = Timestamp::from_second(1000).unwrap();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let request = proto::AccessRequest {
            state: proto::RequestState::Pending.into(),
            expire_time: at(1840),
            decide_time: at(820),
            ..Default::default()
        };
        assert_eq!(when(&request, now), "expires in 14m");
        let denied = proto::AccessRequest { state: proto::RequestState::Denied.into(), ..request };
        assert_eq!(when(&denied, now), "decided 3m ago");
    }
}
