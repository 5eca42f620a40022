//! Which audit records, as typed.

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::super::{CliError, Connection, duration};
use crate::api::proto;

/// Records asked for at once.
const PAGE: usize = 500;

/// Which records.
#[derive(Debug, Clone, Args)]
pub struct FilterArgs {
    /// Done by this principal, or about it
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub principal: String,
    /// Under or about this role
    #[arg(long, value_name = "ROLE", default_value = "", hide_default_value = true)]
    pub role: String,
    /// On or about this target
    #[arg(long, value_name = "TARGET", default_value = "", hide_default_value = true)]
    pub target: String,
    /// About this request
    #[arg(long, value_name = "REQUEST", default_value = "", hide_default_value = true)]
    pub request: String,
    /// About or under this grant
    #[arg(long, value_name = "GRANT", default_value = "", hide_default_value = true)]
    pub grant: String,
    /// About this lease
    #[arg(long, value_name = "LEASE", default_value = "", hide_default_value = true)]
    pub lease: String,
    /// This action, such as lease.issued, or all of a noun, such as lease
    #[arg(long, value_name = "ACTION", default_value = "", hide_default_value = true)]
    pub action: String,
    /// With this outcome [default: any]
    #[arg(long, value_enum, value_name = "OUTCOME")]
    pub outcome: Option<OutcomeArg>,
    /// From this moment, included: 2026-11-22, 2026-11-22T08:00:00Z, or so long ago, such as 7d (dates are UTC)
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub since: Option<When>,
    /// Until this moment, not included
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub until: Option<When>,
}

/// An outcome, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutcomeArg {
    /// It was done
    Done,
    /// It was refused
    Refused,
    /// It was tried and did not work
    Failed,
}

/// A moment, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// A moment.
    At(Timestamp),
    /// So long ago.
    Ago(SignedDuration),
}

/// The text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a date (2026-11-22), a moment (2026-11-22T08:00:00Z) or how long ago (90m, 7d)")]
pub(in super::super) struct WhenError;

impl When {
    /// Reads it.
    ///
    /// # Errors
    /// [`WhenError`].
    pub(in super::super) fn parse(text: &str) -> Result<Self, WhenError> {
        if let Ok(ago) = duration::parse(text) {
            return SignedDuration::try_from(ago).map(When::Ago).map_err(|_| WhenError);
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(When::At(at));
        }
        // A moment without its zone is no date: it would be taken for the beginning of its day.
        let date: Date =
            if text.len() == 10 { text.parse().map_err(|_| WhenError)? } else { return Err(WhenError) };
        date.to_zoned(TimeZone::UTC).map(|day| When::At(day.timestamp())).map_err(|_| WhenError)
    }

    fn at(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(at) => at,
            When::Ago(ago) => now.saturating_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }

    /// For the API.
    pub(in super::super) fn to_proto(self, now: Timestamp) -> prost_types::Timestamp {
        let at = self.at(now);
        // The fraction is never negative in the API.
        let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
        if nanos < 0 {
            prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 }
        } else {
            prost_types::Timestamp { seconds, nanos }
        }
    }
}

impl FilterArgs {
    fn to_proto(&self, now: Timestamp) -> proto::AuditFilter {
        let outcome = match self.outcome {
            None => proto::AuditOutcome::Unspecified,
            Some(OutcomeArg::Done) => proto::AuditOutcome::Done,
            Some(OutcomeArg::Refused) => proto::AuditOutcome::Refused,
            Some(OutcomeArg::Failed) => proto::AuditOutcome::Failed,
        };
        let moment = |when: Option<When>| when.map(|when| when.to_proto(now));
        proto::AuditFilter {
            principal: self.principal.clone(),
            role: self.role.clone(),
            target: self.target.clone(),
            request: self.request.clone(),
            grant: self.grant.clone(),
            lease: self.lease.clone(),
            action: self.action.clone(),
            outcome: outcome.into(),
            start_time: moment(self.since),
            end_time: moment(self.until),
        }
    }
}

/// A search that is under way: page after page.
pub(super) struct Pages<'a> {
    connection: &'a Connection,
    request: proto::SearchAuditRecordsRequest,
    over: bool,
}

impl<'a> Pages<'a> {
    /// Begins a search at `now`.
    pub(super) fn of(
        args: &FilterArgs,
        connection: &'a Connection,
        newest_first: bool,
        now: Timestamp,
    ) -> Self {
        let filter = Some(args.to_proto(now));
        let request = proto::SearchAuditRecordsRequest { filter, newest_first, ..Default::default() };
        Self { connection, request, over: false }
    }

    /// Whether everything was looked at.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The next page, of at most `wanted` records; perhaps of none.
    pub(super) async fn next(&mut self, wanted: usize) -> Result<Vec<proto::AuditRecord>, CliError> {
        self.request.page_size = i32::try_from(wanted.min(PAGE)).unwrap_or(i32::MAX);
        let request = self.connection.call(self.request.clone());
        let reply = self.connection.audit().search_audit_records(request).await;
        let reply = reply.map_err(|status| self.connection.explain(&status))?.into_inner();
        self.over = reply.next_page_token.is_empty();
        self.request.page_token = reply.next_page_token;
        Ok(reply.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (text, moment) in [
            ("7d", "2026-11-15T12:00:00Z"),
            ("90m", "2026-11-22T10:30:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20T08:00:00+02:00", "2026-11-20T06:00:00Z"),
        ] {
            assert_eq!(When::parse(text).unwrap().at(now).to_string(), moment);
        }
        for text in ["", "yesterday", "2026-11-20T08:00", "2026-13-01", "7"] {
            assert_eq!(When::parse(text), Err(WhenError), "{text}");
        }
    }
}
