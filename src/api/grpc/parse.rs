//! Requests become domain values here, or are refused with every bad field named.

use std::{fmt::Display, net::IpAddr, str::FromStr, time::Duration};

use ipnet::IpNet;
use tonic::Status;
use tonic_types::FieldViolation;

use super::{convert, status};
use crate::{
    api::proto,
    domain::{RoleName, TargetName, Ttl},
    store::LeaseFilter,
};

/// Violations told of at once: the reply's headers must stay small whatever was sent.
const TOLD: usize = 16;

/// Collects what is wrong with a request, field by field.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<FieldViolation>);

impl Fields {
    /// The value of a field; `None` when it is bad, which is kept.
    pub(super) fn take<T, E: Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.0.push(FieldViolation::new(field.into(), error.to_string()))).ok()
    }

    /// All values of a repeated field; `None` when one is bad. Each bad one is named by its index.
    pub(super) fn each<I, T, E: Display>(
        &mut self,
        field: &str,
        values: impl IntoIterator<Item = I>,
        parse: impl Fn(I) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let mut taken = Some(Vec::new());
        for (index, value) in values.into_iter().enumerate() {
            match (parse(value), &mut taken) {
                (Ok(value), Some(taken)) => taken.push(value),
                (Ok(_), None) => {}
                (Err(error), _) => {
                    self.take::<T, E>(format!("{field}[{index}]"), Err(error));
                    taken = None;
                }
            }
            if self.0.len() >= TOLD {
                return None;
            }
        }
        taken
    }

    /// The refusal of the whole request.
    pub(super) fn refuse(self) -> Status {
        status::bad_fields(self.0.into_iter().take(TOLD).collect())
    }
}

/// What the field `name` of a message names, when nothing else in the message can be wrong.
pub(super) fn named<T: FromStr<Err: Display>>(collection: &str, name: &str) -> Result<T, Status> {
    let mut fields = Fields::default();
    fields.take("name", resource(collection, name)).ok_or_else(|| fields.refuse())
}

/// A field that must not be empty, with or without the collection of its resource name: `roles/orders` or `orders`.
pub(super) fn resource<T: FromStr>(collection: &str, text: &str) -> Result<T, T::Err> {
    let bare = text.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
    bare.unwrap_or(text).parse()
}

/// A field that may be empty.
pub(super) fn optional<T, E>(text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<Option<T>, E> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// Why a duration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct DurationError(String);

/// A duration that is not negative.
pub(super) fn duration(duration: &prost_types::Duration) -> Result<Duration, DurationError> {
    let nanos = duration.nanos;
    if !(-999_999_999..=999_999_999).contains(&nanos) {
        return Err(DurationError("has nanos beyond a second".to_owned()));
    }
    match (u64::try_from(duration.seconds), u32::try_from(nanos)) {
        (Ok(seconds), Ok(nanos)) => Ok(Duration::new(seconds, nanos)),
        (Ok(seconds), Err(_)) if seconds > 0 => {
            Err(DurationError("has seconds and nanos of different sign".to_owned()))
        }
        _ => Err(DurationError("is negative".to_owned())),
    }
}

/// A TTL; `None` when it is not set.
pub(super) fn ttl(asked: Option<&prost_types::Duration>) -> Result<Option<Ttl>, DurationError> {
    let ttl = |asked| Ttl::new(duration(asked)?).map_err(|error| DurationError(error.to_string()));
    asked.map(ttl).transpose()
}

/// The text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no network: expected an address with a prefix length, such as 10.0.0.0/8 or fd00::/8, or one address"
)]
pub(super) struct NetworkError;

/// A network, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, NetworkError> {
    let network = text.parse::<IpNet>().map(|network| network.trunc());
    network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| NetworkError)
}

/// The filter of a request; an absent one lets everything pass.
pub(super) fn lease_filter(fields: &mut Fields, asked: Option<&proto::LeaseFilter>) -> Option<LeaseFilter> {
    let Some(asked) = asked else { return Some(LeaseFilter::default()) };
    let states = fields.each("filter.states", &asked.states, |state| convert::state_from_proto(*state));
    let principal = fields.take("filter.principal", optional(&asked.principal, str::parse));
    let role = fields.take("filter.role", optional(&asked.role, |text| resource::<RoleName>("roles", text)));
    let target =
        fields.take("filter.target", optional(&asked.target, |text| resource::<TargetName>("targets", text)));
    let mut states: Vec<_> = states?.into_iter().flatten().collect();
    states.sort_unstable();
    states.dedup();
    Some(LeaseFilter { states, principal: principal?, role: role?, target: target? })
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::domain::{LeaseId, StateName};

    fn asked(seconds: i64, nanos: i32) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos }
    }

    #[test]
    fn ttls_that_are_zero_negative_or_absurd_are_refused_in_words() {
        for (seconds, nanos, message) in [
            (0, 0, "a TTL is at least one second"),
            (0, 999_999_999, "a TTL is at least one second"),
            (-1, 0, "is negative"),
            (i64::MIN, -1, "is negative"),
            (0, -1, "is negative"),
            (1, -1, "has seconds and nanos of different sign"),
            (1, i32::MAX, "has nanos beyond a second"),
            (i64::MAX, 0, "a TTL is at most 366 days"),
        ] {
            assert_eq!(ttl(Some(&asked(seconds, nanos))).unwrap_err().to_string(), message);
        }
        assert_eq!(ttl(None), Ok(None));
        assert_eq!(ttl(Some(&asked(90, 0))).unwrap().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn resource_names_are_read_with_and_without_their_collection() {
        for text in ["roles/orders", "orders"] {
            assert_eq!(resource::<RoleName>("roles", text).unwrap().as_str(), "orders");
        }
        for text in ["", "roles/", "roles/roles/orders", "targets/orders", "roles/a'b", "rolesorders/x"] {
            assert!(resource::<RoleName>("roles", text).is_err(), "{text}");
        }
        assert!(resource::<LeaseId>("leases", "leases/-").is_err());
    }

    #[test]
    fn networks_are_read_and_their_host_bits_cut() {
        for (text, expected) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("fd00::1/8", "fd00::/8")]
        {
            assert_eq!(network(text).unwrap().to_string(), expected);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "example.com", "10.0.0.0/8; drop"] {
            assert_eq!(network(text), Err(NetworkError), "{text}");
        }
    }

    #[test]
    fn every_bad_field_of_a_filter_is_named() {
        let filter = proto::LeaseFilter {
            states: vec![proto::LeaseState::Active.into(), 99],
            principal: "a b".to_owned(),
            role: "x;y".to_owned(),
            target: "\0".to_owned(),
        };
        let mut fields = Fields::default();
        assert!(lease_filter(&mut fields, Some(&filter)).is_none());
        let status = fields.refuse();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let named: Vec<String> = status
            .get_details_bad_request()
            .unwrap()
            .field_violations
            .into_iter()
            .map(|violation| violation.field)
            .collect();
        assert_eq!(named, ["filter.states[1]", "filter.principal", "filter.role", "filter.target"]);
    }

    #[test]
    fn a_filter_names_each_state_once_and_any_state_by_none() {
        let states = [proto::LeaseState::Ending, proto::LeaseState::Active, proto::LeaseState::Ending];
        let filter = proto::LeaseFilter { states: states.map(Into::into).to_vec(), ..Default::default() };
        let parsed = lease_filter(&mut Fields::default(), Some(&filter)).unwrap();
        assert_eq!(parsed.states, [StateName::Active, StateName::Ending]);
        let any = proto::LeaseFilter { states: vec![0], ..Default::default() };
        assert_eq!(lease_filter(&mut Fields::default(), Some(&any)).unwrap(), LeaseFilter::default());
    }

    #[test]
    fn a_refusal_stays_small_whatever_was_sent() {
        let mut fields = Fields::default();
        let bad = vec!["'".repeat(10_240); 10_000];
        assert!(fields.each("cidrs", &bad, |text| network(text)).is_none());
        let status = fields.refuse();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), TOLD);
        assert!(status.details().len() < 4_096, "{}", status.details().len());
    }
}
