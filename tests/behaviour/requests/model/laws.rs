//! What must hold whatever happened. Nothing here knows the model: only what is in the store.

use std::collections::BTreeSet;

use mayfly::domain::{
    Grant, GrantState, Lease, LeaseState, LockSubject, PrincipalName, Request, RequestState, RoleName,
    TargetName, Verdict,
};

use super::{
    books::{BY_RULE, QUORUM},
    seen::Seen,
};

/// Fails the test unless they hold.
pub(super) fn hold(seen: &Seen) {
    seen.requests.values().for_each(|request| decided_by_others(request, seen));
    seen.grants.values().for_each(|grant| no_wider_than_agreed(grant, seen));
    seen.leases.values().for_each(|lease| covered(lease, seen));
    nothing_locked_lives(seen);
}

fn decided_by_others(request: &Request, seen: &Seen) {
    let voices: BTreeSet<_> = request.reviews.iter().map(|review| &review.reviewer).collect();
    assert_eq!(voices.len(), request.reviews.len(), "each reviews once: {request:?}");
    assert!(!voices.contains(&request.requester.name), "nobody decides for himself: {request:?}");
    let RequestState::Approved { grant, .. } = request.state else { return };
    let agreed = request.reviews.iter().filter(|review| review.verdict != Verdict::Deny).count();
    assert!(agreed >= QUORUM, "{request:?}");
    assert!(seen.grants.contains_key(&grant), "what is approved has its grant: {request:?}");
}

fn no_wider_than_agreed(grant: &Grant, seen: &Seen) {
    let request = &seen.requests[&grant.request];
    assert!(
        matches!(request.state, RequestState::Approved { grant: id, .. } if id == grant.id),
        "{request:?}"
    );
    assert_eq!(grant.principal, request.requester.reference());
    assert!(grant.ttl == request.granted().0 && grant.ttl <= request.terms.ttl, "{grant:?} {request:?}");
    assert_eq!(grant.parallel, request.terms.parallel);
    let GrantState::Active { since, until } = grant.state else { return };
    assert!(request.terms.start.is_none_or(|start| start <= since), "{grant:?} {request:?}");
    // With what was agreed to be added, and nothing else.
    let extensions = seen.requests.values().filter(|other| {
        other.id != request.id
            && matches!(other.state, RequestState::Approved { grant: id, .. } if id == grant.id)
    });
    let longest = extensions.map(|extension| extension.granted().0).chain([grant.ttl]);
    let longest: u64 = longest.map(|ttl| ttl.duration().as_secs()).sum();
    assert_eq!(until.duration_since(since).as_secs().unsigned_abs(), longest, "{grant:?}");
}

/// At rest, a lease is live by a rule, or under a live grant that it does not outlive, and of which there are no more than it allows.
fn covered(lease: &Lease, seen: &Seen) {
    let LeaseState::Active { expires_at } = lease.state else { return };
    let Some(grant) = lease.terms.grant else {
        assert_eq!(lease.role.as_str(), BY_RULE, "{lease:?}");
        return;
    };
    let grant = &seen.grants[&grant];
    assert!(grant.until().is_some_and(|until| expires_at <= until), "{lease:?} under {grant:?}");
    assert_eq!((&lease.principal, &lease.role), (&grant.principal, &grant.role));
    let live = |other: &&Lease| other.terms.grant == Some(grant.id) && other.state.name().is_live();
    let at_once = seen.leases.values().filter(live).count();
    assert!(at_once <= usize::try_from(grant.parallel).unwrap(), "{at_once} under {grant:?}");
    assert!(grant.leases.contains(&lease.id), "a grant knows its leases: {lease:?} under {grant:?}");
}

fn nothing_locked_lives(seen: &Seen) {
    let locked = |principal: &PrincipalName, role: &RoleName, target: &TargetName| {
        let subjects = LockSubject::of_access(principal, role, target);
        seen.locks.iter().any(|lock| subjects.contains(&lock.subject))
    };
    for request in seen.requests.values().filter(|request| request.is_pending()) {
        let terms = &request.terms;
        assert!(!locked(&request.requester.name, &terms.role, &terms.target), "{request:?}");
    }
    for grant in seen.grants.values().filter(|grant| grant.state.is_live()) {
        assert!(!locked(&grant.principal.name, &grant.role, &grant.target), "{grant:?}");
    }
    for lease in seen.leases.values().filter(|lease| lease.state.name().is_live()) {
        assert!(!locked(&lease.principal.name, &lease.role, &lease.target), "{lease:?}");
    }
}
