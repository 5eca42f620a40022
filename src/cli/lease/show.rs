//! `mayfly lease show`.

use jiff::Timestamp;

use super::{
    super::{CliError, Context, Exit, table, view},
    NameArgs, One, get, stamp,
};
use crate::api::proto;

pub(super) async fn run(args: NameArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let lease = get(&args.name, &connection).await?;
    if context.output.is_json() {
        context.output.json(&One { lease: (&lease).into() })?;
    } else {
        let text = text(&lease, context.clock.now());
        context.output.data(&text)?;
    }
    Ok(Exit::Ok)
}

fn text(lease: &proto::Lease, now: Timestamp) -> String {
    let at = |moment| view::moment(moment).map(|at| stamp(at, now)).unwrap_or_default();
    let progress = lease.end_progress.clone().unwrap_or_default();
    let attempts = if progress.attempts == 0 { String::new() } else { progress.attempts.to_string() };
    table::facts(&[
        ("lease", view::bare(&lease.name).to_owned()),
        ("state", view::state_word(lease)),
        ("kind", view::lease_kind_word(lease)),
        ("role", view::bare(&lease.role).to_owned()),
        ("target", view::bare(&lease.target).to_owned()),
        ("principal", format!("{} ({})", lease.principal, view::kind_word(lease.principal_kind()))),
        ("account", lease.account.clone()),
        ("purpose", lease.purpose.clone()),
        ("allowed by", lease.allowed_by.clone()),
        ("created", at(lease.create_time)),
        ("expires", at(lease.expire_time)),
        ("renewable until", at(lease.renewable_until_time)),
        ("ttl", view::duration_words(lease.ttl)),
        ("ends because", lease.end_reason.clone()),
        ("ending since", at(progress.start_time)),
        ("failed attempts", attempts),
        ("last error", progress.last_error),
        ("next attempt", at(progress.next_attempt_time)),
        ("ended", lease.end_report.as_ref().map(|report| at(report.end_time)).unwrap_or_default()),
        (
            "cleaned up",
            lease.end_report.as_ref().map(|report| cleaned(lease.kind(), report)).unwrap_or_default(),
        ),
    ])
}

/// What ending it did, in words.
pub(super) fn cleaned(kind: proto::LeaseKind, report: &proto::EndReport) -> String {
    let counts = [
        (report.sessions_ended, "session", "ended"),
        (report.objects_reassigned, "object", "reassigned"),
        (report.objects_dropped, "object", "dropped"),
        (report.objects_kept, "object", "kept"),
    ];
    let mut parts: Vec<String> = counts
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, noun, done)| format!("{count} {noun}{} {done}", if *count == 1 { "" } else { "s" }))
        .collect();
    if report.account_kept {
        parts.push("the account remains, disabled, for what it owns".to_owned());
    } else if report.was_absent {
        parts.push("the account was gone already".to_owned());
    } else {
        let rest = match kind {
            proto::LeaseKind::Elevation => "the account lost what it was given",
            proto::LeaseKind::Checkout => "the account is locked",
            proto::LeaseKind::Unspecified | proto::LeaseKind::Ephemeral => "the account is gone",
        };
        parts.push(rest.to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_lease_says_what_was_done() {
        let report = proto::EndReport { sessions_ended: 2, objects_dropped: 1, ..Default::default() };
        assert_eq!(
            cleaned(proto::LeaseKind::Ephemeral, &report),
            "2 sessions ended, 1 object dropped, the account is gone"
        );
        let report = proto::EndReport { sessions_ended: 1, ..Default::default() };
        assert_eq!(cleaned(proto::LeaseKind::Checkout, &report), "1 session ended, the account is locked");
        assert_eq!(
            cleaned(proto::LeaseKind::Elevation, &report),
            "1 session ended, the account lost what it was given"
        );
        assert_eq!(
            cleaned(
                proto::LeaseKind::Ephemeral,
                &proto::EndReport { was_absent: true, ..Default::default() }
            ),
            "the account was gone already"
        );
    }

    #[test]
    fn a_lease_that_cannot_be_ended_says_why_and_when_next() {
        let lease = proto::Lease {
            name: "leases/x".into(),
            state: proto::LeaseState::Ending.into(),
            principal: "alice".into(),
            principal_kind: proto::PrincipalKind::Human.into(),
            kind: proto::LeaseKind::Checkout.into(),
            end_progress: Some(proto::EndProgress {
                attempts: 3,
                last_error: "connection refused".into(),
                next_attempt_time: Some(prost_types::Timestamp { seconds: 1060, nanos: 0 }),
                start_time: None,
            }),
            ..Default::default()
        };
        let text = text(&lease, Timestamp::from_second(1000).unwrap());
        assert_eq!(
            text,
            "lease            x\nstate            ending\nkind             checkout\nprincipal        alice (human)\nfailed attempts  3\n\
             last error       connection refused\nnext attempt     in 1m (1970-01-01T00:17:40Z)"
        );
    }
}
