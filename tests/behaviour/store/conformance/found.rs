//! What is found on targets: leases by their accounts, accounts without leases, and the servers themselves.

use mayfly::{
    domain::{EndCause, LeaseEvent, LeaseState, StateName},
    store::{Begun, KnownServer},
};

use super::Subject;
use crate::store::fixtures::{actions, at, draft, end, end_requested, ended, lease, live, unlimited};

pub(crate) async fn leases_are_found_by_their_identifiers(store: Subject) {
    for n in 1..=3 {
        live(&*store, lease(n, "ada", "reader"), 600).await;
    }
    let ids = [lease(3, "ada", "reader").id, lease(9, "ada", "reader").id, lease(1, "ada", "reader").id];
    let mut found: Vec<_> = store.leases(&ids).await.unwrap().into_iter().map(|lease| lease.id).collect();
    found.sort();
    assert_eq!(found, [ids[2], ids[0]]);
    assert!(store.leases(&[]).await.unwrap().is_empty());
}

pub(crate) async fn a_lease_found_again_after_its_end_is_live_again(store: Subject) {
    let begun = live(&*store, lease(1, "ada", "reader"), 600).await;
    let id = begun.id;
    end(&*store, id, EndCause::Released).await;
    assert_eq!(store.live_by_target().await.unwrap(), []);
    let again = LeaseEvent::Reappeared { at: at(9) };
    let found = store.apply(id, again.clone(), at(9), Some(draft("lease.reappeared", id))).await.unwrap();
    assert!(matches!(found.state, LeaseState::Ending { cause: EndCause::Released, .. }), "{found:?}");
    assert_eq!(store.lease(id).await.unwrap(), Some(found.clone()));
    assert_eq!(store.live_by_target().await.unwrap(), [(begun.target.clone(), 1)]);
    assert_eq!(store.live_under_role(&begun.role, &begun.principal.name).await.unwrap(), (1, 1));
    assert_eq!(store.due(&begun.target, at(9), 10).await.unwrap(), vec![found.clone()]);
    let same = store.apply(id, again, at(10), Some(draft("lease.reappeared", id))).await.unwrap();
    assert_eq!(same, found, "it is ending already");
    let done = store.apply(id, ended(12), at(12), Some(draft("lease.released", id))).await.unwrap();
    assert_eq!(done.state.name(), StateName::Released);
    assert_eq!(store.live_under_role(&begun.role, &begun.principal.name).await.unwrap(), (0, 0));
}

pub(crate) async fn a_failed_lease_found_again_leaves_its_key_to_whoever_has_it_by_now(store: Subject) {
    let keyed = |n| {
        let mut new = lease(n, "ada", "reader");
        new.idempotency_key = Some("once".to_owned());
        new
    };
    let failed = keyed(1);
    store.begin(unlimited(failed.clone()), draft("lease.begun", failed.id)).await.unwrap();
    end(&*store, failed.id, EndCause::Failed { reason: "target down".to_owned() }).await;
    let holder = keyed(2);
    let begun = store.begin(unlimited(holder.clone()), draft("lease.begun", holder.id)).await.unwrap();
    assert!(matches!(begun, Begun::Fresh(_)));
    let again = LeaseEvent::Reappeared { at: at(9) };
    let found =
        store.apply(failed.id, again, at(9), Some(draft("lease.reappeared", failed.id))).await.unwrap();
    assert_eq!(found.idempotency_key, None);
    assert_eq!(store.lease(failed.id).await.unwrap(), Some(found));
    let repeated = store.begin(unlimited(keyed(3)), draft("lease.begun", keyed(3).id)).await.unwrap();
    assert!(matches!(repeated, Begun::Repeated(lease) if lease.id == holder.id));
}

pub(crate) async fn an_orphan_is_adopted_once_and_counts(store: Subject) {
    let mut orphan = lease(1, "ada", "reader");
    let cause = EndCause::Revoked { reason: "an account without a lease".to_owned() };
    orphan.state = orphan.state.after(end_requested(5, cause)).unwrap();
    let adopted = store.adopt(orphan.clone(), draft("lease.adopted", orphan.id)).await.unwrap();
    assert_eq!(adopted, orphan);
    assert_eq!(store.lease(orphan.id).await.unwrap(), Some(orphan.clone()));
    assert_eq!(store.live_by_target().await.unwrap(), [(orphan.target.clone(), 1)]);
    let mut other = orphan.clone();
    other.updated_at = at(77);
    assert_eq!(store.adopt(other, draft("lease.adopted", orphan.id)).await.unwrap(), orphan);
    assert_eq!(actions(&*store).await, ["lease.adopted"]);
}

pub(crate) async fn a_server_stays_known_until_another_is(store: Subject) {
    let (target, other) = ("orders".parse().unwrap(), "stock".parse().unwrap());
    let known = |identity: &str, second| KnownServer { identity: identity.to_owned(), since: at(second) };
    let told = || draft("target.recognised", lease(1, "a", "b").id);
    assert_eq!(store.known_server(&target).await.unwrap(), None);
    store.know_server(&target, known("7234", 1), told()).await.unwrap();
    assert_eq!(store.known_server(&target).await.unwrap(), Some(known("7234", 1)));
    assert_eq!(store.known_server(&other).await.unwrap(), None);
    store.know_server(&target, known("9999", 2), told()).await.unwrap();
    assert_eq!(store.known_server(&target).await.unwrap(), Some(known("9999", 2)));
    assert_eq!(actions(&*store).await.len(), 2);
}
