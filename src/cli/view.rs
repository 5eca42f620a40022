//! Replies as JSON documents and as words.
//!
//! JSON keeps the field names of the proto files; resource names stay whole (`leases/…`), states are lower-case words, moments
//! RFC 3339 in UTC, durations whole seconds in a field that says so.

use jiff::Timestamp;
use prost_types::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};
use serde::Serialize;

use crate::api::proto;

/// A moment of the API; `None` when it is not set or out of range.
pub(super) fn moment(at: Option<ProtoTimestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}

/// Whole seconds of a duration of the API.
pub(super) fn seconds(duration: Option<ProtoDuration>) -> Option<i64> {
    duration.map(|duration| duration.seconds)
}

/// A duration for the API.
pub(super) fn to_proto(duration: std::time::Duration) -> ProtoDuration {
    ProtoDuration { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

/// A duration of the API in words; empty when it is not set or negative.
pub(super) fn duration_words(duration: Option<ProtoDuration>) -> String {
    let whole = seconds(duration).and_then(|seconds| u64::try_from(seconds).ok());
    whole.map(|whole| super::duration::words(std::time::Duration::from_secs(whole))).unwrap_or_default()
}

/// `leases/x` → `x`; anything else as it is.
pub(super) fn bare(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

/// `x` or `leases/x` → `leases/x`.
pub(super) fn qualified(collection: &str, name: &str) -> String {
    let prefix = format!("{collection}/");
    if name.starts_with(&prefix) { name.to_owned() } else { prefix + name }
}

/// `LEASE_STATE_ACTIVE` → `active`.
fn word(enum_name: &str, prefix: &str) -> String {
    enum_name.strip_prefix(prefix).unwrap_or(enum_name).to_lowercase()
}

/// The state in one word.
pub(super) fn state_word(lease: &proto::Lease) -> String {
    word(lease.state().as_str_name(), "LEASE_STATE_")
}

/// What kind of access a lease is, in one word.
pub(super) fn lease_kind_word(lease: &proto::Lease) -> String {
    word(lease.kind().as_str_name(), "LEASE_KIND_")
}

/// The kind of principal in one word.
pub(super) fn kind_word(kind: proto::PrincipalKind) -> String {
    word(kind.as_str_name(), "PRINCIPAL_KIND_")
}

/// The engine in one word.
pub(super) fn engine_word(engine: proto::Engine) -> String {
    word(engine.as_str_name(), "ENGINE_")
}

/// A circuit's state in one word.
pub(super) fn circuit_word(state: proto::CircuitState) -> String {
    word(state.as_str_name(), "CIRCUIT_STATE_")
}

/// A difference of clocks in seconds.
#[expect(clippy::cast_precision_loss, reason = "clock offsets worth showing are far below 2^52 seconds")]
pub(super) fn offset_seconds(offset: ProtoDuration) -> f64 {
    offset.seconds as f64 + f64::from(offset.nanos) / 1e9
}

/// A lease.
#[derive(Debug, Serialize)]
pub(super) struct LeaseView {
    name: String,
    kind: String,
    role: String,
    target: String,
    principal: String,
    principal_kind: String,
    account: String,
    state: String,
    purpose: String,
    allowed_by: String,
    create_time: Option<Timestamp>,
    update_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    renewable_until_time: Option<Timestamp>,
    ttl_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_progress: Option<EndProgressView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_report: Option<EndReportView>,
    end_reason: String,
}

#[derive(Debug, Serialize)]
struct EndProgressView {
    attempts: u32,
    last_error: String,
    next_attempt_time: Option<Timestamp>,
    start_time: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct EndReportView {
    end_time: Option<Timestamp>,
    sessions_ended: u32,
    objects_reassigned: u32,
    objects_dropped: u32,
    objects_kept: u32,
    was_absent: bool,
    account_kept: bool,
}

impl From<&proto::Lease> for LeaseView {
    fn from(lease: &proto::Lease) -> Self {
        Self {
            name: lease.name.clone(),
            kind: lease_kind_word(lease),
            role: lease.role.clone(),
            target: lease.target.clone(),
            principal: lease.principal.clone(),
            principal_kind: kind_word(lease.principal_kind()),
            account: lease.account.clone(),
            state: state_word(lease),
            purpose: lease.purpose.clone(),
            allowed_by: lease.allowed_by.clone(),
            create_time: moment(lease.create_time),
            update_time: moment(lease.update_time),
            expire_time: moment(lease.expire_time),
            renewable_until_time: moment(lease.renewable_until_time),
            ttl_seconds: seconds(lease.ttl),
            end_progress: lease.end_progress.as_ref().map(EndProgressView::from),
            end_report: lease.end_report.as_ref().map(EndReportView::from),
            end_reason: lease.end_reason.clone(),
        }
    }
}

impl From<&proto::EndProgress> for EndProgressView {
    fn from(progress: &proto::EndProgress) -> Self {
        Self {
            attempts: progress.attempts,
            last_error: progress.last_error.clone(),
            next_attempt_time: moment(progress.next_attempt_time),
            start_time: moment(progress.start_time),
        }
    }
}

impl From<&proto::EndReport> for EndReportView {
    fn from(report: &proto::EndReport) -> Self {
        Self {
            end_time: moment(report.end_time),
            sessions_ended: report.sessions_ended,
            objects_reassigned: report.objects_reassigned,
            objects_dropped: report.objects_dropped,
            objects_kept: report.objects_kept,
            was_absent: report.was_absent,
            account_kept: report.account_kept,
        }
    }
}

/// Where to connect.
#[derive(Debug, Serialize)]
pub(super) struct EndpointView {
    host: String,
    port: u32,
}

/// Endpoints, in order.
pub(super) fn endpoints(endpoints: &[proto::Endpoint]) -> Vec<EndpointView> {
    endpoints
        .iter()
        .map(|endpoint| EndpointView { host: endpoint.host.clone(), port: endpoint.port })
        .collect()
}

/// `host:port`, IPv6 addresses in brackets.
pub(super) fn host_port(endpoint: &proto::Endpoint) -> String {
    if endpoint.host.contains(':') {
        format!("[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("{}:{}", endpoint.host, endpoint.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_bare_and_whole() {
        assert_eq!(qualified("leases", "abc"), "leases/abc");
        assert_eq!(qualified("leases", "leases/abc"), "leases/abc");
        assert_eq!((bare("leases/abc"), bare("abc")), ("abc", "abc"));
    }

    #[test]
    fn a_lease_reads_as_documented() {
        let lease = proto::Lease {
            name: "leases/06dp4f2h9c8x1k3m7q0r".into(),
            kind: proto::LeaseKind::Ephemeral.into(),
            state: proto::LeaseState::Active.into(),
            principal_kind: proto::PrincipalKind::Workload.into(),
            expire_time: Some(ProtoTimestamp { seconds: 1_795_305_600, nanos: 0 }),
            ttl: Some(to_proto(std::time::Duration::from_secs(1800))),
            ..Default::default()
        };
        let json = serde_json::to_value(LeaseView::from(&lease)).unwrap();
        assert_eq!(json["state"], "active");
        assert_eq!(json["kind"], "ephemeral");
        assert_eq!(json["principal_kind"], "workload");
        assert_eq!(json["expire_time"], "2026-11-22T00:00:00Z");
        assert_eq!(json["ttl_seconds"], 1800);
        assert!(json.get("end_report").is_none());
    }

    #[test]
    fn moments_out_of_range_are_none() {
        assert_eq!(moment(Some(ProtoTimestamp { seconds: i64::MAX, nanos: 0 })), None);
    }
}
