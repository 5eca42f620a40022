//! `mayfly request create` and `mayfly request extend`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{
    super::{
        CliError, Connection, Context, Exit, approval, duration,
        error::printable,
        moment::{self, When},
        view,
        view_request::{self, GrantView, RequestView},
    },
    present,
};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly request create orders-write --ttl 30m --reason 'fix order 4711' --ticket OPS-4711
  mayfly request create orders-write --start '2026-11-22T22:00:00[Europe/Berlin]' --ttl 2h --reason 'migration'
  mayfly request create orders-read --parallel 8 --reason 'CI matrix' --wait
  mayfly request claim 06dp4f2h9c8x1k3m7q0r --format env

What rules allow is approved at once; the rest waits for reviews (`mayfly roles check ROLE` says whose). The clock
of what is granted starts when it is first claimed, or at its start. `mayfly creds ROLE --wait` asks, waits and
claims in one go.";

/// Why somebody asks.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// What it is for; reviewers see it, and it is kept in the audit log
    #[arg(
        long,
        visible_alias = "purpose",
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// The ticket it belongs to
    #[arg(long, value_name = "TICKET", default_value = "", hide_default_value = true)]
    pub ticket: String,
    /// A key of your choice, unique per attempt: repeating the call with it returns the same request
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub idempotency_key: String,
    /// Wait until it is decided
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `mayfly request create`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CreateArgs {
    /// The role (`mayfly roles ls` shows yours)
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// How long, once it has begun, such as 30m [default: the role's]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
    /// When it is to begin: so long from now (2h), or a moment with its offset or zone [default: when it is claimed]
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    pub start: Option<When>,
    /// Leases at once
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub parallel: u32,
    /// Why.
    #[command(flatten)]
    pub why: WhyArgs,
}

/// Arguments of `mayfly request extend`.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    /// The grant: its identifier, or grants/ID
    #[arg(value_name = "GRANT")]
    pub name: String,
    /// How much longer [default: the role's default]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
    /// Why.
    #[command(flatten)]
    pub why: WhyArgs,
}

pub(super) async fn create(args: CreateArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let now = context.clock.now();
    let message = proto::CreateRequestRequest {
        role: args.role,
        ttl: args.ttl.map(view::to_proto),
        start_time: args.start.map(|start| start.to_proto(now)),
        parallel: args.parallel,
        justification: args.why.reason,
        ticket: args.why.ticket,
        idempotency_key: args.why.idempotency_key,
    };
    let reply = connection.requests().create_request(connection.call(message)).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    if reply.reused && !context.output.is_json() {
        context.output.note("a grant that is live already covers this; nothing new was asked for");
    }
    let request = present(reply.request)?;
    finish(request, reply.grant, args.why.wait, &connection, context).await
}

pub(super) async fn extend(args: ExtendArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let message = proto::ExtendGrantRequest {
        name: view::qualified("grants", &args.name),
        ttl: args.ttl.map(view::to_proto),
        justification: args.why.reason,
        ticket: args.why.ticket,
        idempotency_key: args.why.idempotency_key,
    };
    let reply = connection.grants().extend_grant(connection.call(message)).await;
    let request = present(reply.map_err(|status| connection.explain(&status))?.into_inner().request)?;
    finish(request, None, args.why.wait, &connection, context).await
}

async fn finish(
    request: proto::AccessRequest,
    grant: Option<proto::Grant>,
    wait: bool,
    connection: &Connection,
    context: &mut Context,
) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        request: RequestView,
        #[serde(skip_serializing_if = "Option::is_none")]
        grant: Option<GrantView>,
    }
    let pending = request.state() == proto::RequestState::Pending;
    let request = if wait && pending {
        let waited = approval::unless_interrupted(context, connection, async |waiting| {
            let decided = approval::decided(request, waiting).await?;
            approval::granted(&decided, false, waiting).await.map(|_| decided)
        })
        .await?;
        match waited {
            Ok(request) => request,
            Err(exit) => return Ok(exit),
        }
    } else {
        request
    };
    if context.output.is_json() {
        let grant = grant.as_ref().map(GrantView::from);
        context.output.json(&Reply { request: (&request).into(), grant })?;
        return Ok(Exit::Ok);
    }
    context.output.data(&printable(&request.name))?;
    for line in next(&request, context.clock.now()) {
        context.output.note(&line);
    }
    Ok(Exit::Ok)
}

/// Where a request stands, and what its requester can do next.
fn next(request: &proto::AccessRequest, now: jiff::Timestamp) -> Vec<String> {
    let id = printable(view::bare(&request.name));
    match request.state() {
        proto::RequestState::Pending => vec![
            format!("it {}", view_request::awaited(request, now).unwrap_or_default()),
            format!(
                "wait for it and get the credential: mayfly request claim {id} --wait    withdraw it: mayfly request cancel {id}"
            ),
        ],
        proto::RequestState::Approved if request.kind() == proto::RequestKind::Extension => {
            vec!["it is approved: the grant lasts longer, and its leases can be renewed".to_owned()]
        }
        proto::RequestState::Approved => {
            vec![format!("it is approved; get the credential: mayfly request claim {id}")]
        }
        _ => vec![format!("it is {}", view_request::request_state(request))],
    }
}
