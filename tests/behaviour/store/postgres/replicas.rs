//! Several processes on one store.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::SignedDuration;
use mayfly::{
    audit::{AuditFilter, Order},
    clock::{Clock, ManualClock, SystemClock},
    domain::{EndCause, EndReport, Lease, LeaseEvent, LeaseId, LeaseLimits, TargetName},
    store::{
        ApplyError, Begun, DueElsewhere, LeaseStore, NewLease, Store, StoreErrorKind, TokenStore,
        postgres::PostgresStore,
    },
};
use tokio::time::timeout;

use super::{
    super::conformance::find,
    super::fixtures::{at, draft, end_requested, ended, lease, live, records, token, unlimited},
    Place,
};
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(10);

async fn two() -> Option<(Place, Arc<PostgresStore>, Arc<PostgresStore>)> {
    let place = Place::new().await?;
    let (a, b) = (place.open("a").await, place.open("b").await);
    Some((place, a, b))
}

#[tokio::test]
async fn who_starts_under_a_name_shuts_an_earlier_process_out() {
    let Some(place) = Place::new().await else { return };
    let old = place.open("a").await;
    let kept = live(&*old, lease(1, "ada", "reader"), 10).await;
    let new = place.open("a").await;
    let id = kept.id;
    let refused = old.record(draft("server.stopped", id)).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Fenced, "{refused}");
    let refused = old.apply(id, end_requested(3, EndCause::Released), at(3), None).await.unwrap_err();
    assert!(
        matches!(&refused, ApplyError::Store(error) if error.kind == StoreErrorKind::Fenced),
        "{refused}"
    );
    let refused = old.due(&kept.target, at(99), 10).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Fenced, "it is given nothing to end either");
    new.record(draft("server.started", id)).await.unwrap();
    let log = records(&*new).await;
    assert_eq!(log.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3]);
    mayfly::audit::verify_records(&log, None).unwrap();
    assert_eq!(new.lease(id).await.unwrap(), Some(kept));
    old.close().await;
    new.close().await;
}

#[tokio::test]
async fn two_processes_are_never_given_the_same_lease() {
    let Some((_place, a, b)) = two().await else { return };
    for n in 0..40 {
        live(&*a, lease(n, "ada", "reader"), 10).await;
    }
    let target: TargetName = "db-reader".parse().unwrap();
    let mut given: BTreeSet<LeaseId> = BTreeSet::new();
    for _ in 0..4 {
        let (first, second) = tokio::join!(a.due(&target, at(20), 5), b.due(&target, at(20), 5));
        for (store, leases) in [(&a, first.unwrap()), (&b, second.unwrap())] {
            for lease in leases {
                assert!(given.insert(lease.id), "given twice");
                finish(store, &lease).await.unwrap();
            }
        }
    }
    assert_eq!(given.len(), 40, "nobody waits for what the other holds");
    assert_eq!(a.live_by_target().await.unwrap(), []);
    a.close().await;
    b.close().await;
}

async fn finish(store: &PostgresStore, lease: &Lease) -> Result<Lease, ApplyError> {
    let due = LeaseEvent::Due { at: at(20) };
    store.apply(lease.id, due, at(20), Some(draft("lease.ending", lease.id))).await?;
    store.apply(lease.id, ended(21), at(21), Some(draft("lease.expired", lease.id))).await
}

async fn let_claims_lapse(place: &Place) {
    let lapse = "UPDATE lease SET claimed_until = clock_timestamp() - interval '1 second' WHERE claimed_by IS NOT NULL";
    place.client().await.batch_execute(lapse).await.unwrap();
}

#[tokio::test]
async fn what_was_taken_over_cannot_be_ended_by_who_held_it() {
    let Some((place, a, b)) = two().await else { return };
    let lease = live(&*a, lease(1, "ada", "reader"), 10).await;
    let target = &lease.target;
    assert_eq!(a.due(target, at(20), 5).await.unwrap().len(), 1);
    assert_eq!(a.due(target, at(20), 5).await.unwrap().len(), 1, "the holder is given it again");
    assert!(b.due(target, at(20), 5).await.unwrap().is_empty());
    assert!(matches!(finish(&b, &lease).await, Err(ApplyError::NotHeld(id)) if id == lease.id));
    let lapses = b.next_due(target).await.unwrap().unwrap();
    let wait = lapses.duration_since(SystemClock.now());
    assert!(wait > SignedDuration::ZERO && wait <= SignedDuration::from_secs(3), "{wait}");

    let_claims_lapse(&place).await;
    a.hold_claims().await.unwrap();
    assert!(b.due(target, at(20), 5).await.unwrap().is_empty(), "a claim that was held again in time stands");
    let_claims_lapse(&place).await;
    assert_eq!(b.due(target, at(20), 5).await.unwrap().len(), 1);
    a.hold_claims().await.unwrap();
    assert!(a.due(target, at(20), 5).await.unwrap().is_empty());
    let failed = LeaseEvent::EndAttemptFailed {
        error: "down".to_owned(),
        next_attempt_at: at(50),
        progress: EndReport::default(),
    };
    let late = a.apply(lease.id, failed.clone(), at(22), None).await;
    assert!(matches!(late, Err(ApplyError::NotHeld(_))), "{late:?}");
    assert!(matches!(finish(&a, &lease).await, Err(ApplyError::NotHeld(_))));
    b.apply(lease.id, failed, at(22), None).await.unwrap();
    assert_eq!(a.next_due(target).await.unwrap(), Some(at(50)), "put off, it is anybody's again");
    assert_eq!(a.due(target, at(60), 5).await.unwrap().len(), 1);
    finish(&a, &lease).await.unwrap();
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_process_that_starts_again_has_what_it_held() {
    let Some(place) = Place::new().await else { return };
    let a = place.open("a").await;
    let lease = live(&*a, lease(1, "ada", "reader"), 10).await;
    assert_eq!(a.due(&lease.target, at(20), 5).await.unwrap().len(), 1);
    let again = place.open("a").await;
    assert_eq!(again.due(&lease.target, at(20), 5).await.unwrap().len(), 1);
    finish(&again, &lease).await.unwrap();
    a.close().await;
    again.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_makes_one_lease_whoever_is_asked() {
    let Some((_place, a, b)) = two().await else { return };
    for round in 0..15 {
        let new = |n: u32| {
            let key = Some(format!("deploy-{round}"));
            unlimited(Lease { idempotency_key: key, ..lease(n, "ada", "reader") })
        };
        let (one, other) = (new(2 * round), new(2 * round + 1));
        let ids = [one.lease.id, other.lease.id];
        let (first, second) = tokio::join!(
            a.begin(one, draft("lease.begun", ids[0])),
            b.begin(other, draft("lease.begun", ids[1])),
        );
        match (first.unwrap(), second.unwrap()) {
            (Begun::Fresh(fresh), Begun::Repeated(same)) | (Begun::Repeated(same), Begun::Fresh(fresh)) => {
                assert_eq!(fresh, same);
            }
            both => panic!("{both:?}"),
        }
    }
    let told = records(&*a).await.len() + records(&*b).await.len();
    assert_eq!(told, 15, "a request that was a repetition leaves no record");
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_across_processes() {
    let Some((_place, a, b)) = two().await else { return };
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..40 {
        let store = Arc::clone(if n % 2 == 0 { &a } else { &b });
        let new = lease(n, if n % 3 == 0 { "ada" } else { "grace" }, "reader");
        let limits = LeaseLimits { per_principal: 9, total: 12 };
        asking.spawn(async move {
            let id = new.id;
            let begun = store
                .begin(NewLease { lease: new, limits, entries: Vec::new() }, draft("lease.begun", id))
                .await;
            begun.is_ok()
        });
    }
    let begun = asking.join_all().await.into_iter().filter(|begun| *begun).count();
    assert_eq!(begun, 12);
    let (ada, grace) = ("ada".parse().unwrap(), "grace".parse().unwrap());
    let role = "reader".parse().unwrap();
    let (of_ada, all) = a.live_under_role(&role, &ada).await.unwrap();
    let (of_grace, _) = b.live_under_role(&role, &grace).await.unwrap();
    assert_eq!((of_ada + of_grace, all), (12, 12));
    assert!(of_ada <= 9 && of_grace <= 9, "{of_ada} {of_grace}");
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn what_one_begins_another_may_end_and_the_counts_agree() {
    let Some((_place, a, b)) = two().await else { return };
    let begun = live(&*a, lease(1, "ada", "reader"), 10).await;
    assert_eq!(b.live_by_target().await.unwrap(), [(begun.target.clone(), 1)]);
    b.due(&begun.target, at(20), 5).await.unwrap();
    finish(&b, &begun).await.unwrap();
    for store in [&a, &b] {
        assert_eq!(store.live_by_target().await.unwrap(), []);
        assert_eq!(store.live_under_role(&begun.role, &begun.principal.name).await.unwrap(), (0, 0));
    }
    live(&*a, lease(2, "ada", "reader"), 10).await;
    assert_eq!(b.live_under_role(&begun.role, &begun.principal.name).await.unwrap(), (1, 1));
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn each_process_has_a_chain_of_its_own_and_sees_the_ends_of_the_others() {
    let Some((_place, a, b)) = two().await else { return };
    assert_eq!(a.other_chains().await.unwrap(), [], "a chain without records has no end to vouch for");
    for store in [&a, &b, &b] {
        store.record(draft("server.started", lease(1, "a", "b").id)).await.unwrap();
    }
    let of_b = records(&*b).await;
    assert_eq!((records(&*a).await.len(), of_b.len()), (1, 2));
    let others = a.other_chains().await.unwrap();
    let end = mayfly::audit::ChainHead { seq: 2, hash: of_b[1].hash };
    assert_eq!(others, [("b".to_owned(), end)]);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_search_brings_the_records_of_all_processes_by_time() {
    let Some((_place, a, b)) = two().await else { return };
    for (second, store) in [(1, &a), (2, &b), (3, &b), (4, &a), (5, &b)] {
        let told = draft("server.noted", lease(1, "a", "b").id);
        store.record(mayfly::audit::Draft { at: at(second), ..told }).await.unwrap();
    }
    let store: Arc<dyn Store> = Arc::<PostgresStore>::clone(&a);
    let found = find(&store, &AuditFilter::default(), Order::NewestFirst).await;
    let places: Vec<_> = found.iter().map(|found| (found.chain.as_str(), found.record.seq)).collect();
    assert_eq!(places, [("b", 3), ("a", 2), ("b", 2), ("b", 1), ("a", 1)]);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_revocation_elsewhere_counts_at_once() {
    let Some((_place, a, b)) = two().await else { return };
    a.add_token(token(1), draft("token.created", lease(1, "a", "b").id)).await.unwrap();
    assert_eq!(b.token_by_hash(&token(1).hash).await.unwrap(), Some(token(1)));
    a.revoke_token(token(1).id, at(5), draft("token.revoked", lease(1, "a", "b").id)).await.unwrap();
    assert_eq!(b.token_by_hash(&token(1).hash).await.unwrap().unwrap().revoked_at, Some(at(5)));
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn word_of_a_change_reaches_the_others() {
    let Some((_place, a, b)) = two().await else { return };
    let (mut changes, mut due) = (b.changes(), b.due_elsewhere().unwrap());
    let mut n = 0;
    // The listener connects in its own time: what is written before that is not heard.
    let heard = eventually("a change elsewhere is heard of", async || {
        n += 1;
        live(&*a, lease(n, "ada", "reader"), 600).await;
        timeout(Duration::from_millis(300), changes.recv()).await.ok()
    })
    .await;
    assert_eq!(heard.unwrap().role.as_str(), "reader");
    let told = timeout(SOON, due.recv()).await.unwrap().unwrap();
    assert!(matches!(told, DueElsewhere::Lease(target, _) if target.as_str() == "db-reader"));
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn the_stores_clock_is_known_from_the_start() {
    let Some(place) = Place::new().await else { return };
    let real = place.open("a").await;
    let offset = *real.clock_offset().unwrap().borrow();
    assert!(offset.abs() < SignedDuration::from_secs(1), "one machine, one clock: {offset}");
    let slow = Arc::new(ManualClock::new(SystemClock.now() - SignedDuration::from_hours(2)));
    let store = PostgresStore::open(place.settings("b"), slow).await.unwrap();
    let offset = *store.clock_offset().unwrap().borrow();
    assert!((offset - SignedDuration::from_hours(2)).abs() < SignedDuration::from_secs(5), "{offset}");
    real.close().await;
    store.close().await;
}
