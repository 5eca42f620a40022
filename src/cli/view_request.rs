//! Requests and grants as JSON documents and as words; see [`super::view`].

use jiff::Timestamp;
use serde::Serialize;

use super::{
    duration,
    error::printable,
    table::{self, Cell, Paint},
    view::{bare, duration_words, kind_word, moment, seconds},
};
use crate::api::proto;

/// `REQUEST_STATE_PENDING` → `pending`.
fn word(enum_name: &str, prefix: &str) -> String {
    enum_name.strip_prefix(prefix).unwrap_or(enum_name).to_lowercase()
}

/// The state of a request in one word.
pub(super) fn request_state(request: &proto::AccessRequest) -> String {
    word(request.state().as_str_name(), "REQUEST_STATE_")
}

/// The state of a grant in one word.
pub(super) fn grant_state(grant: &proto::Grant) -> String {
    word(grant.state().as_str_name(), "GRANT_STATE_")
}

/// A request.
#[derive(Debug, Serialize)]
pub(super) struct RequestView {
    name: String,
    kind: String,
    state: String,
    requester: String,
    requester_kind: String,
    sponsor: String,
    role: String,
    target: String,
    ttl_seconds: Option<i64>,
    start_time: Option<Timestamp>,
    parallel: u32,
    justification: String,
    ticket: String,
    steps: Vec<StepView>,
    step: Option<u32>,
    escalated: bool,
    reviews: Vec<ReviewView>,
    risk: RiskView,
    policies: Vec<String>,
    policy_set: String,
    create_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    decide_time: Option<Timestamp>,
    decided_by: String,
    decision_reason: String,
    grant: String,
    granted_ttl_seconds: Option<i64>,
    granted_start_time: Option<Timestamp>,
    reviewable: bool,
    signed_off_by: String,
    sign_off_time: Option<Timestamp>,
    sign_off_comment: String,
}

/// A step of reviews.
#[derive(Debug, Serialize)]
pub(super) struct StepView {
    name: String,
    reviewers: Vec<String>,
    quorum: u32,
    denials: u32,
    escalate_after_seconds: Option<i64>,
    escalate_to: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ReviewView {
    reviewer: String,
    verdict: String,
    ttl_seconds: Option<i64>,
    start_time: Option<Timestamp>,
    comment: String,
    step: u32,
    create_time: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct RiskView {
    score: u32,
    factors: Vec<FactorView>,
}

#[derive(Debug, Serialize)]
struct FactorView {
    name: String,
    points: u32,
    because: String,
}

impl From<&proto::ReviewStep> for StepView {
    fn from(step: &proto::ReviewStep) -> Self {
        Self {
            name: step.name.clone(),
            reviewers: step.reviewers.clone(),
            quorum: step.quorum,
            denials: step.denials,
            escalate_after_seconds: seconds(step.escalate_after),
            escalate_to: step.escalate_to.clone(),
        }
    }
}

impl From<&proto::Review> for ReviewView {
    fn from(review: &proto::Review) -> Self {
        Self {
            reviewer: review.reviewer.clone(),
            verdict: word(review.verdict().as_str_name(), "VERDICT_"),
            ttl_seconds: seconds(review.ttl),
            start_time: moment(review.start_time),
            comment: review.comment.clone(),
            step: review.step,
            create_time: moment(review.create_time),
        }
    }
}

impl RiskView {
    fn of(risk: Option<&proto::Risk>) -> Self {
        let factor = |factor: &proto::RiskFactor| FactorView {
            name: factor.name.clone(),
            points: factor.points,
            because: factor.because.clone(),
        };
        let factors = risk.map(|risk| risk.factors.iter().map(factor).collect()).unwrap_or_default();
        Self { score: risk.map(|risk| risk.score).unwrap_or_default(), factors }
    }
}

impl From<&proto::AccessRequest> for RequestView {
    fn from(request: &proto::AccessRequest) -> Self {
        Self {
            name: request.name.clone(),
            kind: word(request.kind().as_str_name(), "REQUEST_KIND_"),
            state: request_state(request),
            requester: request.requester.clone(),
            requester_kind: kind_word(request.requester_kind()),
            sponsor: request.sponsor.clone(),
            role: request.role.clone(),
            target: request.target.clone(),
            ttl_seconds: seconds(request.ttl),
            start_time: moment(request.start_time),
            parallel: request.parallel,
            justification: request.justification.clone(),
            ticket: request.ticket.clone(),
            steps: request.steps.iter().map(StepView::from).collect(),
            step: request.step,
            escalated: request.escalated,
            reviews: request.reviews.iter().map(ReviewView::from).collect(),
            risk: RiskView::of(request.risk.as_ref()),
            policies: request.policies.clone(),
            policy_set: request.policy_set.clone(),
            create_time: moment(request.create_time),
            expire_time: moment(request.expire_time),
            decide_time: moment(request.decide_time),
            decided_by: request.decided_by.clone(),
            decision_reason: request.decision_reason.clone(),
            grant: request.grant.clone(),
            granted_ttl_seconds: seconds(request.granted_ttl),
            granted_start_time: moment(request.granted_start_time),
            reviewable: request.reviewable,
            signed_off_by: request.signed_off_by.clone(),
            sign_off_time: moment(request.sign_off_time),
            sign_off_comment: request.sign_off_comment.clone(),
        }
    }
}

/// A grant.
#[derive(Debug, Serialize)]
pub(super) struct GrantView {
    name: String,
    request: String,
    state: String,
    principal: String,
    principal_kind: String,
    role: String,
    target: String,
    ttl_seconds: Option<i64>,
    parallel: u32,
    purpose: String,
    basis: String,
    break_glass: bool,
    create_time: Option<Timestamp>,
    start_time: Option<Timestamp>,
    claim_by_time: Option<Timestamp>,
    active_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    lapsed: bool,
    revoked_by: String,
    revoke_reason: String,
    leases: Vec<String>,
}

impl From<&proto::Grant> for GrantView {
    fn from(grant: &proto::Grant) -> Self {
        Self {
            name: grant.name.clone(),
            request: grant.request.clone(),
            state: grant_state(grant),
            principal: grant.principal.clone(),
            principal_kind: kind_word(grant.principal_kind()),
            role: grant.role.clone(),
            target: grant.target.clone(),
            ttl_seconds: seconds(grant.ttl),
            parallel: grant.parallel,
            purpose: grant.purpose.clone(),
            basis: grant.basis.clone(),
            break_glass: grant.break_glass,
            create_time: moment(grant.create_time),
            start_time: moment(grant.start_time),
            claim_by_time: moment(grant.claim_by_time),
            active_time: moment(grant.active_time),
            expire_time: moment(grant.expire_time),
            end_time: moment(grant.end_time),
            lapsed: grant.lapsed,
            revoked_by: grant.revoked_by.clone(),
            revoke_reason: grant.revoke_reason.clone(),
            leases: grant.leases.clone(),
        }
    }
}

/// The state in its colour.
pub(super) fn request_cell(request: &proto::AccessRequest) -> Cell {
    let paint = match request.state() {
        proto::RequestState::Pending => Paint::Yellow,
        proto::RequestState::Approved => Paint::Green,
        proto::RequestState::Denied => Paint::Red,
        proto::RequestState::Cancelled | proto::RequestState::Expired => Paint::Dim,
        proto::RequestState::Unspecified => Paint::None,
    };
    Cell::painted(request_state(request), paint)
}

/// Likewise.
pub(super) fn grant_cell(grant: &proto::Grant) -> Cell {
    let paint = match grant.state() {
        proto::GrantState::Scheduled => Paint::Yellow,
        proto::GrantState::Active => Paint::Green,
        proto::GrantState::Ended => Paint::Dim,
        proto::GrantState::Revoked => Paint::Red,
        proto::GrantState::Unspecified => Paint::None,
    };
    Cell::painted(grant_state(grant), paint)
}

/// `in 14m (2026-…)`; empty when it is not set.
fn stamp(at: Option<prost_types::Timestamp>, now: Timestamp) -> String {
    moment(at).map(|at| format!("{} ({at:.0})", duration::relative(at, now))).unwrap_or_default()
}

/// A step in words: `lead: 1 of group:leads`.
pub(super) fn step_words(step: &proto::ReviewStep) -> String {
    let escalation = if step.escalate_to.is_empty() {
        String::new()
    } else {
        format!(", after {} also {}", duration_words(step.escalate_after), step.escalate_to.join(", "))
    };
    format!("{}: {} of {}{escalation}", step.name, step.quorum, step.reviewers.join(", "))
}

/// What a pending request waits for; `None`: for nothing.
pub(super) fn awaited(request: &proto::AccessRequest, now: Timestamp) -> Option<String> {
    let at = request.step?;
    let step = request.steps.get(usize::try_from(at).ok()?)?;
    let yes = request
        .reviews
        .iter()
        .filter(|review| review.step == at && review.verdict() == proto::Verdict::Approve);
    let missing = usize::try_from(step.quorum).unwrap_or(usize::MAX).saturating_sub(yes.count());
    let more = if request.escalated { &*step.escalate_to } else { &[] };
    let who: Vec<&str> = step.reviewers.iter().chain(more).map(String::as_str).collect();
    let reviews = if missing == 1 { "1 review".to_owned() } else { format!("{missing} reviews") };
    let expires = moment(request.expire_time)
        .map(|at| format!("; expires {}", duration::relative(at, now)))
        .unwrap_or_default();
    Some(printable(&format!("awaits {reviews} in the step {} ({}){expires}", step.name, who.join(", "))))
}

fn review_words(review: &proto::Review) -> String {
    let mut text = match review.verdict() {
        proto::Verdict::Approve => format!("{} approved", review.reviewer),
        proto::Verdict::Deny => format!("{} denied", review.reviewer),
        proto::Verdict::Unspecified => review.reviewer.clone(),
    };
    if review.ttl.is_some() {
        text = format!("{text} for at most {}", duration_words(review.ttl));
    }
    if let Some(start) = moment(review.start_time) {
        text = format!("{text} from {start:.0}");
    }
    if review.comment.is_empty() { text } else { format!("{text}: {}", review.comment) }
}

fn risk_words(risk: &proto::Risk) -> String {
    let factors: Vec<String> =
        risk.factors.iter().map(|factor| format!("{} {}", factor.name, factor.points)).collect();
    if factors.is_empty() {
        risk.score.to_string()
    } else {
        format!("{} ({})", risk.score, factors.join(", "))
    }
}

/// A request as aligned facts.
pub(super) fn request_text(request: &proto::AccessRequest, now: Timestamp) -> String {
    let joined = |lines: Vec<String>| lines.join("; ");
    let (ttl, granted) = (duration_words(request.ttl), duration_words(request.granted_ttl));
    let narrowed = if granted.is_empty() || granted == ttl { String::new() } else { granted };
    let kind = word(request.kind().as_str_name(), "REQUEST_KIND_").replace('_', "-");
    table::facts(&[
        ("request", bare(&request.name).to_owned()),
        ("kind", if kind == "access" { String::new() } else { kind }),
        ("state", request_state(request)),
        ("role", bare(&request.role).to_owned()),
        ("target", bare(&request.target).to_owned()),
        ("requester", format!("{} ({})", request.requester, kind_word(request.requester_kind()))),
        ("sponsor", request.sponsor.clone()),
        ("ttl", ttl),
        ("narrowed to", narrowed),
        ("begins", stamp(request.granted_start_time.or(request.start_time), now)),
        ("leases at once", if request.parallel > 1 { request.parallel.to_string() } else { String::new() }),
        ("reason", request.justification.clone()),
        ("ticket", request.ticket.clone()),
        ("risk", request.risk.as_ref().map(risk_words).unwrap_or_default()),
        ("steps", joined(request.steps.iter().map(step_words).collect())),
        ("now", awaited(request, now).unwrap_or_default()),
        ("reviews", joined(request.reviews.iter().map(review_words).collect())),
        ("decided", stamp(request.decide_time, now)),
        ("decided by", request.decided_by.clone()),
        ("because", request.decision_reason.clone()),
        ("grant", bare(&request.grant).to_owned()),
        ("signed off by", request.signed_off_by.clone()),
        ("sign-off", request.sign_off_comment.clone()),
        ("allowed by", request.policies.join(", ")),
        ("created", stamp(request.create_time, now)),
    ])
}

/// A grant as aligned facts.
pub(super) fn grant_text(grant: &proto::Grant, now: Timestamp) -> String {
    let leases: Vec<&str> = grant.leases.iter().map(|lease| bare(lease)).collect();
    table::facts(&[
        ("grant", bare(&grant.name).to_owned()),
        ("state", grant_state(grant)),
        ("role", bare(&grant.role).to_owned()),
        ("target", bare(&grant.target).to_owned()),
        ("principal", format!("{} ({})", grant.principal, kind_word(grant.principal_kind()))),
        ("purpose", grant.purpose.clone()),
        ("given", grant.basis.clone()),
        ("break-glass", if grant.break_glass { "yes".to_owned() } else { String::new() }),
        ("request", bare(&grant.request).to_owned()),
        ("ttl", duration_words(grant.ttl)),
        ("begins", stamp(grant.start_time, now)),
        ("claim by", stamp(grant.claim_by_time, now)),
        ("active since", stamp(grant.active_time, now)),
        ("ends", stamp(grant.expire_time, now)),
        ("ended", stamp(grant.end_time, now)),
        ("never claimed", if grant.lapsed { "yes".to_owned() } else { String::new() }),
        ("revoked by", grant.revoked_by.clone()),
        ("because", grant.revoke_reason.clone()),
        ("leases", format!("{} of {}", leases.len(), grant.parallel)),
        ("live", leases.join(", ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> proto::AccessRequest {
        let review = |reviewer: &str, step| proto::Review {
            reviewer: reviewer.into(),
            verdict: proto::Verdict::Approve.into(),
            step,
            ..Default::default()
        };
        let step = |name: &str, quorum| proto::ReviewStep {
            name: name.into(),
            reviewers: vec!["group:leads".into()],
            quorum,
            ..Default::default()
        };
        proto::AccessRequest {
            name: "requests/abc".into(),
            state: proto::RequestState::Pending.into(),
            steps: vec![step("lead", 1), step("security", 2)],
            step: Some(1),
            reviews: vec![review("bob", 0), review("carol", 1)],
            expire_time: Some(prost_types::Timestamp { seconds: 4600, nanos: 0 }),
            ..Default::default()
        }
    }

    #[test]
    fn a_pending_request_says_what_it_waits_for() {
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(
            awaited(&pending(), now).unwrap(),
            "awaits 1 review in the step security (group:leads); expires in 1h"
        );
        assert_eq!(awaited(&proto::AccessRequest::default(), now), None);
    }

    #[test]
    fn a_request_reads_as_documented() {
        let json = serde_json::to_value(RequestView::from(&pending())).unwrap();
        assert_eq!((&json["state"], &json["step"]), (&"pending".into(), &1.into()));
        assert_eq!(json["reviews"][0]["verdict"], "approve");
        assert_eq!(json["expire_time"], "1970-01-01T01:16:40Z");
    }

    #[test]
    fn reviews_say_what_they_narrowed() {
        let review = proto::Review {
            reviewer: "bob".into(),
            verdict: proto::Verdict::Approve.into(),
            ttl: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
            comment: "enough".into(),
            ..Default::default()
        };
        assert_eq!(review_words(&review), "bob approved for at most 15m: enough");
    }
}
