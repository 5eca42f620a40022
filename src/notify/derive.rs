//! From audit records to events.

use jiff::SignedDuration;

use super::{
    Event, EventKind,
    timing::{kept, lease},
};
use crate::{
    audit::{Actor, AuditOutcome, Record},
    domain::{EndCause, Grant, LeaseState, Principal, Request, RequestKind},
    store::{EntryKind, Store, StoreError},
};

/// What kind of event a record tells of, if any, and what exactly happened; from the record alone.
pub(super) fn kind_of(record: &Record) -> Option<(EventKind, &'static str)> {
    use AuditOutcome::{Done, Failed, Refused};
    use EventKind::{
        BreakGlass, Decision, Drift, EndFailing, Ended, Escalation, Expiring, Lock, Reminder, Request, Server,
    };
    Some(match (record.action.as_str(), record.outcome) {
        ("request.created", Done) => (Request, "made"),
        ("request.approved", Done) => (Decision, "approved"),
        ("request.denied", Done) => (Decision, "denied"),
        ("request.cancelled", Done) => (Decision, "cancelled"),
        ("request.expired", Done) => (Decision, "expired"),
        ("request.escalated", Done) => (Escalation, "escalated"),
        ("request.reminded", Done) => (Reminder, "for a review"),
        ("break_glass.used", Done) => (BreakGlass, "used"),
        ("break_glass.signed_off", Done) => (BreakGlass, "signed off"),
        ("lease.issued" | "grant.opened" | "grant.activated" | "grant.claimed", Done) => {
            (Expiring, "expiring")
        }
        ("lease.expired", Done) => (Ended, "expired"),
        ("lease.revoked", Done) => (Ended, "revoked"),
        ("lease.released", Done) => (Ended, "released"),
        ("lease.end_failed", Failed) => (EndFailing, "cannot be ended"),
        ("lock.set", Done) => (Lock, "set"),
        ("lock.removed", Done) => (Lock, "lifted"),
        ("lock.lapsed", Done) => (Lock, "over"),
        ("lease.drifted", Done) => (Drift, "altered"),
        ("lease.vanished", Done) => (Drift, "gone"),
        ("lease.adopted", Done) => (Drift, "without a lease"),
        ("lease.disputed", Done) => (Drift, "disputed"),
        ("target.replaced", Refused) => (Server, "replaced"),
        ("target.accepted", Done) => (Server, "accepted"),
        _ => return None,
    })
}

/// How long what a record tells of lasts, as far as it says so.
pub(super) fn lasts(record: &Record) -> Option<SignedDuration> {
    let (mut seconds, mut number) = (0_i64, 0_i64);
    for character in record.details.get("ttl")?.chars() {
        let unit = match character {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            digit => {
                number = number.checked_mul(10)?.checked_add(digit.to_digit(10)?.into())?;
                continue;
            }
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        number = 0;
    }
    Some(SignedDuration::from_secs(seconds))
}

/// The event a record tells of, with what else is known; `None`: there is nothing to tell any more.
///
/// # Errors
/// When the store fails.
pub(super) async fn event(
    store: &dyn Store,
    record: &Record,
    (kind, what): (EventKind, &str),
) -> Result<Option<Event>, StoreError> {
    let mut event = Event::new(kind, record.at, record.resource.as_str(), what);
    event.actor = match &record.actor {
        Actor::Principal { name, .. } => Some(name.clone()),
        Actor::Unauthenticated { .. } | Actor::System => None,
    };
    said(&mut event, record);
    match record.resource.split_once('/') {
        Some(("leases", _)) => about_lease(store, &mut event).await?,
        Some(("requests", id)) => {
            let Some(request) = kept::<Request>(store, EntryKind::Request, id).await? else {
                return Ok(Some(event));
            };
            return Ok(about_request(event, request));
        }
        Some(("grants", id)) => {
            if let Some(grant) = kept::<Grant>(store, EntryKind::Grant, id).await? {
                event.principal = Some(grant.principal.name);
                (event.role, event.target) = (Some(grant.role), Some(grant.target));
                event.ttl = Some(grant.ttl.to_string());
                event.reason = grant.purpose;
                event.mail = requester(store, &grant.request.to_string()).await?.as_ref().and_then(mail_of);
            }
        }
        Some(("targets", name)) => event.target = name.parse().ok(),
        _ => {}
    }
    Ok(Some(event))
}

/// What the record itself says: facts that are names and words, and none that could be anything else.
fn said(event: &mut Event, record: &Record) {
    let fact = |name: &str| record.details.get(name).filter(|value| !value.is_empty());
    event.role = fact("role").and_then(|name| name.parse().ok());
    event.target = fact("target").and_then(|name| name.parse().ok());
    event.principal = fact("principal").or_else(|| fact("requester")).and_then(|name| {
        let name = name.rsplit_once(':').map_or(name.as_str(), |(_, name)| name);
        name.parse().ok()
    });
    event.ticket = fact("ticket").cloned();
    event.ttl = fact("ttl").cloned();
    let words = ["reason", "comment", "drift", "justification"].into_iter().find_map(fact);
    event.reason = words.cloned().unwrap_or_default();
    if event.kind == EventKind::Server && event.what == "replaced" {
        let server = |name| fact(name).map_or("?", String::as_str);
        event.reason = format!("known is {}, found was {}", server("known"), server("found"));
    }
}

async fn about_lease(store: &dyn Store, event: &mut Event) -> Result<(), StoreError> {
    let Some(lease) = lease(store, event).await? else { return Ok(()) };
    event.until = lease.expires_at();
    if let LeaseState::Ending { cause, .. } | LeaseState::Ended { cause, .. } = &lease.state
        && let EndCause::Revoked { reason } = cause
        && event.reason.is_empty()
    {
        event.reason.clone_from(reason);
    }
    if let Some(grant) = &lease.terms.grant
        && let Some(grant) = kept::<Grant>(store, EntryKind::Grant, &grant.to_string()).await?
    {
        event.mail = requester(store, &grant.request.to_string()).await?.as_ref().and_then(mail_of);
    }
    event.principal = Some(lease.principal.name);
    (event.role, event.target) = (Some(lease.role), Some(lease.target));
    event.ttl = Some(lease.terms.ttl.to_string());
    Ok(())
}

fn about_request(mut event: Event, request: Request) -> Option<Event> {
    event.mail = mail_of(&request.requester);
    let is_break_glass = matches!(request.kind, RequestKind::BreakGlass);
    match event.kind {
        // Decided by rule, or by somebody since: nobody is waited for.
        EventKind::Reminder if is_break_glass => "for its sign-off".clone_into(&mut event.what),
        EventKind::Request | EventKind::Escalation | EventKind::Reminder if request.step().is_none() => {
            return None;
        }
        // By rule, at once: whoever asked has it already.
        EventKind::Decision if event.what == "approved" && request.reviews.is_empty() => return None,
        _ => {}
    }
    let asked_why = matches!(
        event.kind,
        EventKind::Request | EventKind::Escalation | EventKind::Reminder | EventKind::BreakGlass
    );
    if event.reason.is_empty() || (asked_why && event.what != "signed off") {
        event.reason.clone_from(&request.terms.justification);
    }
    let (ttl, _) = request.granted();
    event.ttl = Some(ttl.to_string());
    event.ticket = request.terms.ticket;
    event.principal = Some(request.requester.name);
    (event.role, event.target) = (Some(request.terms.role), Some(request.terms.target));
    Some(event)
}

async fn requester(store: &dyn Store, request: &str) -> Result<Option<Principal>, StoreError> {
    let request = kept::<Request>(store, EntryKind::Request, request).await?;
    Ok(request.map(|request| request.requester))
}

/// The mail address an identity provider gave.
fn mail_of(principal: &Principal) -> Option<String> {
    ["mail", "email"].into_iter().find_map(|name| principal.attributes.get(name)).cloned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        audit::{Digest, Draft},
        domain::Ttl,
    };

    #[test]
    fn a_record_says_how_long_a_lease_lasts() {
        for seconds in [1, 59, 60, 900, 3600, 5400, 90_061, 366 * 86_400] {
            let ttl = Ttl::try_from(seconds).unwrap().to_string();
            let draft = Draft::new(Timestamp::UNIX_EPOCH, Actor::System, "lease.issued", "leases/x");
            let record = Record::seal(draft.with("ttl", ttl), 1, Digest::GENESIS);
            assert_eq!(lasts(&record).unwrap().as_secs(), i64::try_from(seconds).unwrap());
        }
    }

    #[test]
    fn what_was_refused_is_not_told_as_done() {
        let draft = Draft::new(Timestamp::UNIX_EPOCH, Actor::System, "lock.set", "locks/x");
        let record = |draft| Record::seal(draft, 1, Digest::GENESIS);
        assert_eq!(kind_of(&record(draft.clone())), Some((EventKind::Lock, "set")));
        assert_eq!(kind_of(&record(draft.refused("no"))), None);
    }
}
