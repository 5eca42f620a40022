//! Leases, tokens and drafts to store.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use mayfly::{
    audit::{Actor, Draft, Record},
    domain::{
        Account, AccountName, EndCause, EndPlan, EndReport, Engine, Lease, LeaseEvent, LeaseId, LeaseKind,
        LeaseLimits, LeaseState, LeaseTerms, OwnedObjects, Principal, PrincipalKind, PrincipalRef, Template,
        TokenId, Ttl,
    },
    store::{NewLease, Store, StoredToken, TokenHash},
};

/// A moment: seconds after a fixed beginning.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_305_600).unwrap() + SignedDuration::from_secs(second)
}

/// A lease about to begin: the `n`th, of a principal under a role; the target is named after the role.
pub(crate) fn lease(n: u32, principal: &str, role: &str) -> Lease {
    let created_at = at(0) + SignedDuration::from_millis(i64::from(n));
    let id = LeaseId::new(created_at, u64::from(n));
    let (principal, role) = (principal.parse().unwrap(), role.parse().unwrap());
    let target = format!("db-{role}").parse().unwrap();
    let name = AccountName::compose(Engine::Postgres, &role, &principal, id);
    Lease {
        id,
        kind: LeaseKind::Ephemeral,
        role,
        target,
        principal: PrincipalRef { name: principal, kind: PrincipalKind::Workload },
        account: Account { name, hosts: vec!["10.0.0.%".parse().unwrap()] },
        terms: LeaseTerms {
            ttl: Ttl::new(Duration::from_secs(600)).unwrap(),
            renewable_until: created_at + SignedDuration::from_secs(3600),
            purpose: "a \"quoted\" purpose; with ünïcode".to_owned(),
            allowed_by: "role list".to_owned(),
            grant: None,
        },
        end_plan: EndPlan {
            owned_objects: OwnedObjects::Reassign("attic".to_owned()),
            member_of: vec!["readers".to_owned()],
            renew: vec![],
            end: vec![Template::parse("CALL goodbye({{name}})").unwrap()],
            end_sessions: true,
        },
        idempotency_key: None,
        created_at,
        updated_at: created_at,
        state: LeaseState::Provisioning { deadline: created_at + SignedDuration::from_secs(30) },
    }
}

/// With limits that do not matter.
pub(crate) fn unlimited(lease: Lease) -> NewLease {
    NewLease { lease, limits: LeaseLimits { per_principal: u32::MAX, total: u32::MAX }, entries: Vec::new() }
}

/// A draft that tells of something done to a lease.
pub(crate) fn draft(action: &'static str, lease: LeaseId) -> Draft {
    Draft::new(at(1), Actor::System, action, format!("leases/{lease}")).with("note", "naïve \"text\"\n")
}

pub(crate) fn activated(expiry: i64) -> LeaseEvent {
    LeaseEvent::Activated { expires_at: at(expiry) }
}

pub(crate) fn end_requested(second: i64, cause: EndCause) -> LeaseEvent {
    LeaseEvent::EndRequested { at: at(second), cause, not_before: at(second) }
}

pub(crate) fn ended(second: i64) -> LeaseEvent {
    LeaseEvent::Ended { at: at(second), report: EndReport { sessions_ended: 2, ..EndReport::default() } }
}

/// Begins a lease and brings it to life.
pub(crate) async fn live(store: &dyn Store, lease: Lease, expiry: i64) -> Lease {
    let id = lease.id;
    store.begin(unlimited(lease), draft("lease.begun", id)).await.unwrap();
    store.apply(id, activated(expiry), at(2), Some(draft("lease.issued", id))).await.unwrap()
}

/// Takes a live lease to its end.
pub(crate) async fn end(store: &dyn Store, id: LeaseId, cause: EndCause) -> Lease {
    store.apply(id, end_requested(3, cause), at(3), Some(draft("lease.ending", id))).await.unwrap();
    store.apply(id, ended(4), at(4), Some(draft("lease.ended", id))).await.unwrap()
}

/// The `n`th token.
pub(crate) fn token(n: u32) -> StoredToken {
    let mut hash = [7; 32];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    let groups = BTreeSet::from(["administrators".parse().unwrap()]);
    StoredToken {
        id: TokenId::new(at(i64::from(n)), u64::from(n)),
        hash: TokenHash(hash),
        principal: Principal {
            name: "ci/build".parse().unwrap(),
            kind: PrincipalKind::Workload,
            groups,
            attributes: [].into(),
        },
        cidrs: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        description: "for the build".to_owned(),
        created_at: at(i64::from(n)),
        expires_at: n.is_multiple_of(2).then(|| at(1000)),
        revoked_at: None,
    }
}

/// The whole audit log.
pub(crate) async fn records(store: &dyn Store) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(0, |record| record.seq);
        let more = store.read_after(after, 100).await.unwrap();
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

/// What was done, in order.
pub(crate) async fn actions(store: &dyn Store) -> Vec<String> {
    records(store).await.into_iter().map(|record| record.action).collect()
}
