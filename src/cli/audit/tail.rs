//! `mayfly audit tail`.

use clap::Args;
use tonic::Request;

use super::super::{CliError, Context, Exit, error::printable, table::Paint};
use crate::{
    api::proto,
    audit::{Actor, AuditOutcome, Record},
};

const EXAMPLES: &str = "Examples:
  mayfly audit tail -n 100
  mayfly audit tail --follow
  mayfly audit tail -n 500 -o json > records.jsonl      the records exactly as they are sealed";

/// Arguments of `mayfly audit tail`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TailArgs {
    /// How many of the last records; at most 500
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(i32).range(0..=500))]
    pub lines: i32,
    /// Go on with every new record, until interrupted
    #[arg(short, long)]
    pub follow: bool,
}

pub(super) async fn run(args: TailArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let message = proto::TailAuditRecordsRequest { last_count: args.lines, stop_at_end: !args.follow };
    // Following has no deadline.
    let request = if args.follow { Request::new(message) } else { connection.call(message) };
    let reply = connection.audit().tail_audit_records(request).await;
    let mut records = reply.map_err(|status| connection.explain(&status))?.into_inner();
    while let Some(reply) = records.message().await.map_err(|status| connection.explain(&status))? {
        let record = reply.record.unwrap_or_default();
        let line =
            if context.output.is_json() { record.json } else { line(&record, context.output.colour()) };
        context.output.data(&line)?;
    }
    if args.follow {
        return Err(CliError::new(Exit::Unavailable, "the server ended the tail"));
    }
    Ok(Exit::Ok)
}

/// One record for people; one that this client cannot read is shown as it is.
pub(super) fn line(record: &proto::AuditRecord, colour: bool) -> String {
    let Ok(sealed) = serde_json::from_str::<Record>(&record.json) else {
        return printable(&record.json);
    };
    let (outcome, paint) = match sealed.outcome {
        AuditOutcome::Done => ("done   ", Paint::Green),
        AuditOutcome::Refused => ("refused", Paint::Yellow),
        AuditOutcome::Failed => ("failed ", Paint::Red),
    };
    let details: Vec<String> =
        sealed.details.iter().map(|(fact, value)| format!("  {fact}={value}")).collect();
    let head = format!("{:>6}  {:.0}", sealed.seq, sealed.at);
    let body =
        format!("{}  {}  {}{}", sealed.action, actor(&sealed.actor), sealed.resource, details.concat());
    format!("{head}  {}  {}", paint.on(outcome, colour), printable(&body))
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Principal { name, kind, .. } => format!("{name} ({kind})"),
        Actor::Unauthenticated { address: Some(address) } => format!("somebody at {address}"),
        Actor::Unauthenticated { address: None } => "somebody".to_owned(),
        Actor::System => "mayfly".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::audit::{Digest, Draft};

    #[test]
    fn a_record_is_one_line() {
        let at = Timestamp::from_second(1_795_305_600).unwrap();
        let draft = Draft::new(at, Actor::System, "lease.expired", "leases/x").with("sessions", "1\u{1b}");
        let json = serde_json::to_string(&Record::seal(draft, 7, Digest::GENESIS)).unwrap();
        assert_eq!(
            line(&proto::AuditRecord { seq: 7, json, chain: String::new() }, false),
            "     7  2026-11-22T00:00:00Z  done     lease.expired  mayfly  leases/x  sessions=1 "
        );
    }

    #[test]
    fn a_record_of_a_newer_server_is_shown_as_it_is() {
        let json = r#"{"seq":1,"new":true}"#;
        assert_eq!(
            line(&proto::AuditRecord { seq: 1, json: json.into(), chain: String::new() }, false),
            json
        );
    }
}
