//! Requests and grants as messages, and the few values that come back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::convert::{duration, kind, timestamp};
use crate::{
    api::proto,
    domain::{
        Grant, GrantState, Request, RequestKind, RequestState, Review, ReviewStep, Risk, RiskFactor, Ttl,
        Verdict,
    },
    issuer::SeenRequest,
};

fn unsigned(wait: Duration) -> prost_types::Duration {
    duration(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX))
}

fn ttl(ttl: Ttl) -> prost_types::Duration {
    unsigned(ttl.duration())
}

/// The message is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no point in time between the years 1 and 9999")]
pub(super) struct MomentError;

/// A point in time; `None` when it is not set. It is absolute: whatever zone or season its author had in mind is settled by then.
pub(super) fn moment(asked: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>, MomentError> {
    let Some(asked) = asked else { return Ok(None) };
    if !(0..1_000_000_000).contains(&asked.nanos) {
        return Err(MomentError);
    }
    let at = Timestamp::new(asked.seconds, asked.nanos).map_err(|_| MomentError)?;
    // The store keeps microseconds.
    Timestamp::from_microsecond(at.as_microsecond()).map(Some).map_err(|_| MomentError)
}

/// The number names nothing this server knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no known {1}")]
pub(super) struct Unknown(i32, &'static str);

/// A state of requests in a filter, by name; `None`: any.
pub(super) fn request_state(number: i32) -> Result<Option<&'static str>, Unknown> {
    let state = proto::RequestState::try_from(number).map_err(|_| Unknown(number, "request state"))?;
    Ok(match state {
        proto::RequestState::Unspecified => None,
        proto::RequestState::Pending => Some("pending"),
        proto::RequestState::Approved => Some("approved"),
        proto::RequestState::Denied => Some("denied"),
        proto::RequestState::Cancelled => Some("cancelled"),
        proto::RequestState::Expired => Some("expired"),
    })
}

/// A state of grants in a filter, by name; `None`: any.
pub(super) fn grant_state(number: i32) -> Result<Option<&'static str>, Unknown> {
    let state = proto::GrantState::try_from(number).map_err(|_| Unknown(number, "grant state"))?;
    Ok(match state {
        proto::GrantState::Unspecified => None,
        proto::GrantState::Scheduled => Some("scheduled"),
        proto::GrantState::Active => Some("active"),
        proto::GrantState::Ended => Some("ended"),
        proto::GrantState::Revoked => Some("revoked"),
    })
}

/// Yes or no, which must be said.
pub(super) fn verdict(number: i32) -> Result<proto::Verdict, Unknown> {
    match proto::Verdict::try_from(number) {
        Ok(said @ (proto::Verdict::Approve | proto::Verdict::Deny)) => Ok(said),
        Ok(proto::Verdict::Unspecified) | Err(_) => Err(Unknown(number, "verdict")),
    }
}

/// A step of reviews.
pub(super) fn step(step: &ReviewStep) -> proto::ReviewStep {
    proto::ReviewStep {
        name: step.name.clone(),
        reviewers: step.reviewers.iter().map(ToString::to_string).collect(),
        quorum: step.quorum,
        denials: step.denials,
        escalate_after: step.escalate_after.map(unsigned),
        escalate_to: step.escalate_to.iter().map(ToString::to_string).collect(),
    }
}

fn review(review: &Review) -> proto::Review {
    let (said, narrowed, start) = match &review.verdict {
        Verdict::Approve { ttl, start } => (proto::Verdict::Approve, *ttl, *start),
        Verdict::Deny => (proto::Verdict::Deny, None, None),
    };
    proto::Review {
        reviewer: review.reviewer.to_string(),
        verdict: said.into(),
        ttl: narrowed.map(ttl),
        start_time: start.map(timestamp),
        comment: review.comment.clone(),
        step: u32::try_from(review.step).unwrap_or(u32::MAX),
        create_time: Some(timestamp(review.at)),
    }
}

fn risk(risk: &Risk) -> proto::Risk {
    let factor = |factor: &RiskFactor| proto::RiskFactor {
        name: factor.name.clone(),
        points: factor.points,
        because: factor.because.clone(),
    };
    proto::Risk { score: risk.score, factors: risk.factors.iter().map(factor).collect() }
}

/// Where it stands; since when, by whom and why, once it is decided.
fn decision(state: &RequestState) -> (proto::RequestState, Option<Timestamp>, String, String) {
    let nobody = String::new;
    match state {
        RequestState::Pending { .. } => (proto::RequestState::Pending, None, nobody(), nobody()),
        RequestState::Approved { at, .. } => (proto::RequestState::Approved, Some(*at), nobody(), nobody()),
        RequestState::Denied { at, by, reason } => {
            (proto::RequestState::Denied, Some(*at), by.to_string(), reason.clone())
        }
        RequestState::Cancelled { at, by, reason } => {
            let by = by.as_ref().map(ToString::to_string).unwrap_or_default();
            (proto::RequestState::Cancelled, Some(*at), by, reason.clone())
        }
        RequestState::Expired { at } => (proto::RequestState::Expired, Some(*at), nobody(), nobody()),
    }
}

/// A request as its reader sees it.
pub(super) fn request(seen: &SeenRequest) -> proto::AccessRequest {
    let request: &Request = &seen.request;
    let (state, decided_at, decided_by, reason) = decision(&request.state);
    let (awaited, escalated) = match request.state {
        RequestState::Pending { step, escalated, .. } => (u32::try_from(step).ok(), escalated),
        _ => (None, false),
    };
    let (asked_as, extends) = match request.kind {
        RequestKind::Access => (proto::RequestKind::Access, None),
        RequestKind::Extension { extends } => (proto::RequestKind::Extension, Some(extends)),
        RequestKind::BreakGlass => (proto::RequestKind::BreakGlass, None),
    };
    let grant = match request.state {
        RequestState::Approved { grant, .. } => Some(grant),
        _ => extends,
    };
    let (granted_ttl, granted_start) = request.granted();
    let sign_off = request.sign_off.as_ref();
    proto::AccessRequest {
        name: request.resource_name(),
        kind: asked_as.into(),
        requester: request.requester.name.to_string(),
        requester_kind: kind(request.requester.kind).into(),
        sponsor: request.sponsor.as_ref().map(ToString::to_string).unwrap_or_default(),
        role: format!("roles/{}", request.terms.role),
        target: format!("targets/{}", request.terms.target),
        ttl: Some(ttl(request.terms.ttl)),
        start_time: request.terms.start.map(timestamp),
        parallel: request.terms.parallel,
        justification: request.terms.justification.clone(),
        ticket: request.terms.ticket.clone().unwrap_or_default(),
        state: state.into(),
        steps: request.requirement.steps.iter().map(step).collect(),
        step: awaited,
        escalated,
        reviews: request.reviews.iter().map(review).collect(),
        risk: Some(risk(&request.requirement.risk)),
        policies: request.requirement.policies.clone(),
        policy_set: request.requirement.policy_set.clone(),
        create_time: Some(timestamp(request.created_at)),
        expire_time: Some(timestamp(request.expires_at)),
        decide_time: decided_at.map(timestamp),
        decided_by,
        decision_reason: reason,
        grant: grant.map(|grant| format!("grants/{grant}")).unwrap_or_default(),
        granted_ttl: Some(ttl(granted_ttl)),
        granted_start_time: granted_start.map(timestamp),
        reviewable: seen.reviewable,
        signed_off_by: sign_off.map(|sign_off| sign_off.by.to_string()).unwrap_or_default(),
        sign_off_time: sign_off.map(|sign_off| timestamp(sign_off.at)),
        sign_off_comment: sign_off.map(|sign_off| sign_off.comment.clone()).unwrap_or_default(),
    }
}

/// A grant.
pub(super) fn grant(grant: &Grant) -> proto::Grant {
    let mut message = proto::Grant {
        name: grant.resource_name(),
        request: format!("requests/{}", grant.request),
        principal: grant.principal.name.to_string(),
        principal_kind: kind(grant.principal.kind).into(),
        role: format!("roles/{}", grant.role),
        target: format!("targets/{}", grant.target),
        ttl: Some(ttl(grant.ttl)),
        parallel: grant.parallel,
        purpose: grant.purpose.clone(),
        basis: grant.basis.clone(),
        break_glass: grant.break_glass,
        create_time: Some(timestamp(grant.created_at)),
        leases: grant.leases.iter().map(|lease| format!("leases/{lease}")).collect(),
        ..proto::Grant::default()
    };
    match &grant.state {
        GrantState::Scheduled { start, claim_by } => {
            message.set_state(proto::GrantState::Scheduled);
            message.start_time = start.map(timestamp);
            message.claim_by_time = start.is_none().then(|| timestamp(*claim_by));
        }
        GrantState::Active { since, until } => {
            message.set_state(proto::GrantState::Active);
            message.active_time = Some(timestamp(*since));
            message.expire_time = Some(timestamp(*until));
        }
        GrantState::Ended { at, lapsed } => {
            message.set_state(proto::GrantState::Ended);
            message.end_time = Some(timestamp(*at));
            message.lapsed = *lapsed;
        }
        GrantState::Revoked { at, by, reason } => {
            message.set_state(proto::GrantState::Revoked);
            message.end_time = Some(timestamp(*at));
            message.revoked_by = by.as_ref().map(ToString::to_string).unwrap_or_default();
            message.revoke_reason.clone_from(reason);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_absolute_and_what_is_none_is_refused() {
        let at = |seconds, nanos| prost_types::Timestamp { seconds, nanos };
        assert_eq!(moment(None), Ok(None));
        let read = moment(Some(&at(1_774_747_800, 999_999_999))).unwrap().unwrap();
        assert_eq!(read.to_string(), "2026-03-29T01:30:00.999999Z");
        for bad in [at(0, -1), at(0, 1_000_000_000), at(i64::MAX, 0), at(i64::MIN, 0)] {
            assert_eq!(moment(Some(&bad)), Err(MomentError));
        }
    }
}
