//! `mayfly lease watch`.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use tonic::Request;

use super::{
    super::{CliError, Context, Exit, error::printable, view},
    FilterArgs, paint, when,
};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly lease watch --role orders-write
  mayfly lease watch -o json | jq 'select(.lease.state == \"ending\")'

With --output json: one document a line, {\"lease\": …} for each lease and change,
and once {\"synced\": true} when what follows are changes.";

/// Arguments of `mayfly lease watch`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WatchArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// One line of the JSON stream: a lease, or that all that existed have been sent.
#[derive(Serialize)]
struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<view::LeaseView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synced: Option<bool>,
}

impl From<&proto::WatchLeasesResponse> for Event {
    fn from(event: &proto::WatchLeasesResponse) -> Self {
        Self { lease: event.lease.as_ref().map(view::LeaseView::from), synced: event.synced.then_some(true) }
    }
}

pub(super) async fn run(args: WatchArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    // No deadline: it is watched until somebody hangs up.
    let message = Request::new(proto::WatchLeasesRequest { filter: Some(args.filter.to_proto()) });
    let reply = connection.leases().watch_leases(message).await;
    let mut events = reply.map_err(|status| connection.explain(&status))?.into_inner();
    while let Some(event) = events.message().await.map_err(|status| connection.explain(&status))? {
        show(&event, context)?;
    }
    Err(CliError::new(Exit::Unavailable, "the server ended the watch"))
}

fn show(event: &proto::WatchLeasesResponse, context: &mut Context) -> Result<(), CliError> {
    if context.output.is_json() {
        return context.output.json(&Event::from(event));
    }
    if event.synced {
        context.output.note("(changes from here on)");
    }
    if let Some(lease) = &event.lease {
        let line = line(lease, context.clock.now(), context.output.colour());
        context.output.data(&line)?;
    }
    Ok(())
}

fn line(lease: &proto::Lease, now: Timestamp, colour: bool) -> String {
    let at = view::moment(lease.update_time).unwrap_or(now);
    // Padded before it is coloured, so that the columns stand.
    let state = format!("{:<12}", view::state_word(lease));
    let facts = format!(
        "{}  {}  {}  {}",
        view::bare(&lease.role),
        lease.principal,
        view::bare(&lease.target),
        when(lease, now)
    );
    format!(
        "{at:.0}  {}  {}  {}",
        printable(view::bare(&lease.name)),
        paint(lease).on(&state, colour),
        printable(&facts)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line() {
        let lease = proto::Lease {
            name: "leases/x".into(),
            role: "roles/r".into(),
            target: "targets/t".into(),
            principal: "alice".into(),
            state: proto::LeaseState::Active.into(),
            expire_time: Some(prost_types::Timestamp { seconds: 1060, nanos: 0 }),
            update_time: Some(prost_types::Timestamp { seconds: 1000, nanos: 5 }),
            ..Default::default()
        };
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(
            line(&lease, now, false),
            "1970-01-01T00:16:40Z  x  active        r  alice  t  expires in 1m"
        );
    }

    #[test]
    fn events_are_told_apart_in_json() {
        let json = |lease, synced| {
            serde_json::to_string(&Event::from(&proto::WatchLeasesResponse { lease, synced })).unwrap()
        };
        assert_eq!(json(None, true), r#"{"synced":true}"#);
        assert!(json(Some(proto::Lease::default()), false).starts_with(r#"{"lease":{"#));
    }
}
