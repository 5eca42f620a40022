//! How live leases stand, by target.

use mayfly::{domain::EndCause, store::Tally};

use super::Subject;
use crate::store::fixtures::{at, draft, end, end_requested, lease, live, unlimited};

pub(crate) async fn live_leases_are_tallied_by_state_and_by_what_is_overdue(store: Subject) {
    assert_eq!(store.tally(at(0)).await.unwrap(), []);
    let begun = lease(1, "ann", "a");
    store.begin(unlimited(begun.clone()), draft("lease.begun", begun.id)).await.unwrap();
    for (n, expiry) in [(2, 100), (3, 200), (4, 900)] {
        live(&*store, lease(n, "ann", "a"), expiry).await;
    }
    for (n, since) in [(5, 150), (6, 60)] {
        let id = live(&*store, lease(n, "bob", "a"), 1000).await.id;
        let event = end_requested(since, EndCause::Released);
        store.apply(id, event, at(since), Some(draft("lease.ending", id))).await.unwrap();
    }
    live(&*store, lease(7, "bob", "b"), 1000).await;
    let gone = live(&*store, lease(8, "bob", "c"), 1000).await.id;
    end(&*store, gone, EndCause::Released).await;
    let (a, b) = (lease(1, "x", "a").target, lease(1, "x", "b").target);
    let of_b = Tally { active: 1, ..Tally::none(b) };
    let of_a = Tally { provisioning: 1, active: 3, ending: 2, ..Tally::none(a) };
    // Nothing is due yet but what is ending; then two expiries and the provisioning deadline (30 s) have passed.
    let early = Tally { overdue: 2, overdue_since: Some(at(60)), ..of_a.clone() };
    assert_eq!(store.tally(at(20)).await.unwrap(), [early, of_b.clone()]);
    let deadline = at(30) + jiff::SignedDuration::from_millis(1);
    let late = Tally { overdue: 5, overdue_since: Some(deadline), ..of_a };
    assert_eq!(store.tally(at(200)).await.unwrap(), [late, of_b]);
}
