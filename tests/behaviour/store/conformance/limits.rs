//! Idempotency keys and limits.

use std::sync::Arc;

use mayfly::{
    domain::{EndCause, Lease, LeaseLimits},
    store::{BeginError, Begun, LeaseFilter, NewLease},
};

use super::{Subject, whole};
use crate::store::fixtures::{actions, at, draft, end_requested, ended, lease, live, records, unlimited};

fn keyed(n: u32, principal: &str) -> Lease {
    Lease { idempotency_key: Some("deploy-42".to_owned()), ..lease(n, principal, "reader") }
}

pub(crate) async fn the_same_key_and_terms_bring_back_the_same_lease(store: Subject) {
    let first = live(&*store, keyed(1, "ada"), 600).await;
    let second = keyed(2, "ada");
    // Even when the limit is reached: by that very lease.
    let limits = LeaseLimits { per_principal: 1, total: 1 };
    let repeated = store
        .begin(
            NewLease { lease: second.clone(), limits, entries: Vec::new() },
            draft("lease.begun", second.id),
        )
        .await;
    assert_eq!(repeated.unwrap(), Begun::Repeated(first));
    assert_eq!(store.lease(second.id).await.unwrap(), None);
    assert_eq!(actions(&*store).await, ["lease.begun", "lease.issued"]);
}

pub(crate) async fn the_same_key_with_other_terms_is_refused(store: Subject) {
    let first = live(&*store, keyed(1, "ada"), 600).await;
    let other_role = Lease { role: "writer".parse().unwrap(), ..keyed(2, "ada") };
    let mut other_purpose = keyed(3, "ada");
    other_purpose.terms.purpose = String::from("something else");
    let mut other_ttl = keyed(4, "ada");
    other_ttl.terms.ttl = 601.try_into().unwrap();
    for other in [other_role, other_purpose, other_ttl] {
        let id = other.id;
        match store.begin(unlimited(other), draft("lease.begun", id)).await {
            Err(BeginError::KeyReused(earlier)) => assert_eq!(*earlier, first),
            unexpected => panic!("{unexpected:?}"),
        }
        assert_eq!(store.lease(id).await.unwrap(), None);
    }
    assert_eq!(actions(&*store).await, ["lease.begun", "lease.issued"]);
}

pub(crate) async fn a_key_belongs_to_its_principal(store: Subject) {
    for (n, principal) in [(1, "ada"), (2, "grace")] {
        let new = keyed(n, principal);
        let begun = store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
        assert_eq!(begun, Begun::Fresh(new));
    }
}

pub(super) async fn begin_limited(
    store: &Subject,
    lease: Lease,
    per_principal: u32,
    total: u32,
) -> Result<Begun, BeginError> {
    let id = lease.id;
    let limits = LeaseLimits { per_principal, total };
    store.begin(NewLease { lease, limits, entries: Vec::new() }, draft("lease.begun", id)).await
}

pub(crate) async fn one_principal_cannot_exceed_its_limit(store: Subject) {
    for n in 0..2 {
        begin_limited(&store, lease(n, "ada", "reader"), 2, 100).await.unwrap();
    }
    let refused = begin_limited(&store, lease(2, "ada", "reader"), 2, 100).await;
    assert!(matches!(refused, Err(BeginError::PrincipalLimit { live: 2, limit: 2 })), "{refused:?}");
    begin_limited(&store, lease(3, "grace", "reader"), 2, 100).await.unwrap();
    begin_limited(&store, lease(4, "ada", "writer"), 2, 100).await.unwrap();
    let (reader, ada) = ("reader".parse().unwrap(), "ada".parse().unwrap());
    assert_eq!(store.live_under_role(&reader, &ada).await.unwrap(), (2, 3));
    assert_eq!(actions(&*store).await.len(), 4);
}

pub(crate) async fn all_principals_together_cannot_exceed_the_roles_limit(store: Subject) {
    for (n, principal) in [(0, "ada"), (1, "grace")] {
        begin_limited(&store, lease(n, principal, "reader"), 9, 2).await.unwrap();
    }
    let refused = begin_limited(&store, lease(9, "joan", "reader"), 9, 2).await;
    assert!(matches!(refused, Err(BeginError::RoleLimit { live: 2, limit: 2 })), "{refused:?}");
}

pub(crate) async fn limits_hold_when_many_ask_at_once(store: Subject) {
    let asks: Vec<_> = (0..40)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { begin_limited(&store, lease(n, "ada", "reader"), 7, 100).await.is_ok() },
            )
        })
        .collect();
    let mut begun = 0;
    for ask in asks {
        begun += u32::from(ask.await.unwrap());
    }
    assert_eq!(begun, 7);
    assert_eq!(whole(&store, &LeaseFilter::default(), 100).await.len(), 7);
    assert_eq!(records(&*store).await.len(), 7);
}

pub(crate) async fn an_ended_lease_frees_its_place(store: Subject) {
    let first = lease(1, "ada", "reader");
    begin_limited(&store, first.clone(), 1, 1).await.unwrap();
    let cause = EndCause::Failed { reason: "the target is down".to_owned() };
    store.apply(first.id, end_requested(1, cause), at(1), None).await.unwrap();
    let second = lease(2, "ada", "reader");
    assert!(begin_limited(&store, second.clone(), 1, 1).await.is_err(), "an ending lease still counts");
    store.apply(first.id, ended(2), at(2), None).await.unwrap();
    begin_limited(&store, second, 1, 1).await.unwrap();
}
