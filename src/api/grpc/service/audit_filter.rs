//! Which audit records, as a request says it.

use super::super::{
    page::Listing,
    parse::{Fields, optional, resource},
};
use crate::{
    api::proto,
    audit::{AuditFilter, AuditOutcome},
};

/// Bytes an action may have.
const LONGEST_ACTION: usize = 64;

/// Why a part of a filter was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum FilterError {
    #[error("is no action: such as lease.issued, or lease for all of them")]
    Action,
    #[error("is no outcome")]
    Outcome,
    #[error("is no time")]
    Time,
    #[error("must be after the start")]
    Period,
}

/// The filter of a request; an absent one lets everything pass.
pub(super) fn parse(fields: &mut Fields, asked: Option<&proto::AuditFilter>) -> Option<AuditFilter> {
    let Some(asked) = asked else { return Some(AuditFilter::default()) };
    let principal = fields.take("filter.principal", optional(&asked.principal, str::parse));
    let role = fields.take("filter.role", optional(&asked.role, |text| resource("roles", text)));
    let target = fields.take("filter.target", optional(&asked.target, |text| resource("targets", text)));
    let request = fields.take("filter.request", optional(&asked.request, |text| resource("requests", text)));
    let grant = fields.take("filter.grant", optional(&asked.grant, |text| resource("grants", text)));
    let lease = fields.take("filter.lease", optional(&asked.lease, |text| resource("leases", text)));
    let action = fields.take("filter.action", optional(&asked.action, action));
    let outcome = fields.take("filter.outcome", outcome(asked.outcome));
    let from = fields.take("filter.start_time", moment(asked.start_time.as_ref()));
    let until = fields.take("filter.end_time", moment(asked.end_time.as_ref()));
    if let (Some(Some(from)), Some(Some(until))) = (from, until)
        && until <= from
    {
        fields.take::<(), _>("filter.end_time", Err(FilterError::Period));
        return None;
    }
    Some(AuditFilter {
        principal: principal?,
        role: role?,
        target: target?,
        request: request?,
        grant: grant?,
        lease: lease?,
        action: action?,
        outcome: outcome?,
        from: from?,
        until: until?,
    })
}

/// The listing of what a filter passes.
pub(super) fn listing(filter: &AuditFilter, newest_first: bool) -> Listing {
    let text = |value: Option<String>| value.map_or_else(String::new, |text| format!("={text}"));
    let parts = [
        text(filter.principal.as_ref().map(ToString::to_string)),
        text(filter.role.as_ref().map(ToString::to_string)),
        text(filter.target.as_ref().map(ToString::to_string)),
        text(filter.request.map(|id| id.to_string())),
        text(filter.grant.map(|id| id.to_string())),
        text(filter.lease.map(|id| id.to_string())),
        text(filter.action.clone()),
        text(filter.outcome.map(|outcome| format!("{outcome:?}"))),
        text(filter.from.map(|at| at.to_string())),
        text(filter.until.map(|at| at.to_string())),
        newest_first.to_string(),
    ];
    Listing::filtered("audit search", &parts)
}

fn action(text: &str) -> Result<String, FilterError> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    let fits = text.len() <= LONGEST_ACTION && text.bytes().all(known);
    if fits { Ok(text.to_owned()) } else { Err(FilterError::Action) }
}

fn outcome(asked: i32) -> Result<Option<AuditOutcome>, FilterError> {
    match proto::AuditOutcome::try_from(asked) {
        Ok(proto::AuditOutcome::Unspecified) => Ok(None),
        Ok(proto::AuditOutcome::Done) => Ok(Some(AuditOutcome::Done)),
        Ok(proto::AuditOutcome::Refused) => Ok(Some(AuditOutcome::Refused)),
        Ok(proto::AuditOutcome::Failed) => Ok(Some(AuditOutcome::Failed)),
        Err(_) => Err(FilterError::Outcome),
    }
}

fn moment(asked: Option<&prost_types::Timestamp>) -> Result<Option<jiff::Timestamp>, FilterError> {
    let moment = |asked: &prost_types::Timestamp| {
        if !(0..1_000_000_000).contains(&asked.nanos) {
            return Err(FilterError::Time);
        }
        jiff::Timestamp::new(asked.seconds, asked.nanos).map_err(|_| FilterError::Time)
    };
    asked.map(moment).transpose()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn time(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn a_filter_is_taken_field_by_field() {
        let asked = proto::AuditFilter {
            principal: "ada".to_owned(),
            role: "roles/orders".to_owned(),
            target: "main".to_owned(),
            action: "lease".to_owned(),
            outcome: proto::AuditOutcome::Refused.into(),
            start_time: Some(time(5)),
            end_time: Some(time(6)),
            ..proto::AuditFilter::default()
        };
        let filter = parse(&mut Fields::default(), Some(&asked)).unwrap();
        assert_eq!(filter.role.unwrap().as_str(), "orders");
        assert_eq!(filter.action.as_deref(), Some("lease"));
        assert_eq!(filter.outcome, Some(AuditOutcome::Refused));
        assert_eq!(filter.until.unwrap().as_second(), 6);
        assert_eq!(parse(&mut Fields::default(), None), Some(AuditFilter::default()));
    }

    #[test]
    fn every_bad_field_is_named() {
        let bad = proto::AuditFilter {
            principal: "no body".to_owned(),
            role: "'; --".to_owned(),
            target: "-".to_owned(),
            request: "x".to_owned(),
            grant: "x".to_owned(),
            lease: "x".to_owned(),
            action: "lease.*".to_owned(),
            outcome: 9,
            start_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            end_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        };
        let mut fields = Fields::default();
        assert_eq!(parse(&mut fields, Some(&bad)), None);
        let refused = fields.refuse().get_details_bad_request().unwrap();
        assert_eq!(refused.field_violations.len(), 10, "{refused:?}");
        let turned = proto::AuditFilter {
            start_time: Some(time(6)),
            end_time: Some(time(6)),
            ..proto::AuditFilter::default()
        };
        let mut fields = Fields::default();
        assert_eq!(parse(&mut fields, Some(&turned)), None);
        let refused = fields.refuse().get_details_bad_request().unwrap();
        assert_eq!(refused.field_violations[0].description, "must be after the start");
    }

    #[test]
    fn a_token_fits_only_its_filter_and_order() {
        let one = AuditFilter { action: Some("lease".to_owned()), ..AuditFilter::default() };
        let token = listing(&one, true).token("a:1");
        let cursor = |text: &str| Some(text.to_owned());
        assert!(listing(&one, true).cursor(&token, cursor).is_ok());
        assert!(listing(&one, false).cursor(&token, cursor).is_err());
        assert!(listing(&AuditFilter::default(), true).cursor(&token, cursor).is_err());
    }
}
