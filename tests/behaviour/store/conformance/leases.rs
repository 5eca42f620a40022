//! What happens to one lease.

use mayfly::{
    domain::{EndCause, EndReport, LeaseEvent, LeaseState},
    store::{ApplyError, Begun},
};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::timeout;

use super::{SOON, Subject, limits::begin_limited};
use crate::store::fixtures::{
    actions, activated, at, draft, end, end_requested, ended, lease, live, records, unlimited,
};

pub(crate) async fn a_lease_reads_back_as_it_was_begun(store: Subject) {
    let mut new = lease(1, "ci/build", "reader");
    new.idempotency_key = Some("k'; DROP TABLE lease --".to_owned());
    let begun = store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
    assert_eq!(begun, Begun::Fresh(new.clone()));
    assert_eq!(store.lease(new.id).await.unwrap(), Some(new.clone()));
    assert_eq!(store.lease(lease(2, "a", "b").id).await.unwrap(), None);
    let records = records(&*store).await;
    assert_eq!((records.len(), records[0].resource.as_str()), (1, new.resource_name().as_str()));
}

pub(crate) async fn a_lease_passes_through_its_life_and_the_log_tells_of_it(store: Subject) {
    let id = live(&*store, lease(1, "ada", "reader"), 600).await.id;
    let renewed = LeaseEvent::Renewed { expires_at: at(900) };
    let lease = store.apply(id, renewed, at(10), Some(draft("lease.renewed", id))).await.unwrap();
    assert_eq!((lease.expires_at(), lease.updated_at), (Some(at(900)), at(10)));
    let cause = EndCause::Revoked { reason: "left the team".to_owned() };
    let done = end(&*store, id, cause.clone()).await;
    let report = EndReport { sessions_ended: 2, ..EndReport::default() };
    assert_eq!(done.state, LeaseState::Ended { cause, at: at(4), report });
    assert_eq!(store.lease(id).await.unwrap(), Some(done));
    let told = ["lease.begun", "lease.issued", "lease.renewed", "lease.ending", "lease.ended"];
    assert_eq!(actions(&*store).await, told);
}

pub(crate) async fn an_event_that_does_not_apply_changes_nothing(store: Subject) {
    let new = lease(1, "ada", "reader");
    store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
    let refused = store.apply(new.id, ended(2), at(2), Some(draft("lease.ended", new.id))).await;
    assert!(matches!(refused, Err(ApplyError::Illegal { .. })), "{refused:?}");
    assert_eq!(store.lease(new.id).await.unwrap(), Some(new));
    assert_eq!(actions(&*store).await, ["lease.begun"]);
}

pub(crate) async fn an_event_on_an_unknown_lease_changes_nothing(store: Subject) {
    let id = lease(1, "ada", "reader").id;
    let refused = store.apply(id, activated(9), at(2), Some(draft("lease.issued", id))).await;
    assert!(matches!(refused, Err(ApplyError::Unknown(unknown)) if unknown == id), "{refused:?}");
    assert!(actions(&*store).await.is_empty());
}

pub(crate) async fn asking_an_ending_lease_to_end_changes_nothing(store: Subject) {
    let id = live(&*store, lease(1, "ada", "reader"), 600).await.id;
    let ending = store.apply(id, end_requested(5, EndCause::Released), at(5), None).await.unwrap();
    let before = actions(&*store).await;
    let mut changes = store.changes();
    let again = end_requested(6, EndCause::Expired);
    let same = store.apply(id, again, at(6), Some(draft("lease.ending", id))).await.unwrap();
    assert_eq!(same, ending);
    assert_eq!(store.lease(id).await.unwrap(), Some(ending));
    assert_eq!(actions(&*store).await, before);
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
}

pub(crate) async fn a_failed_attempt_may_go_without_a_record(store: Subject) {
    let id = live(&*store, lease(1, "ada", "reader"), 600).await.id;
    store.apply(id, end_requested(5, EndCause::Expired), at(5), None).await.unwrap();
    let before = actions(&*store).await;
    let failed = LeaseEvent::EndAttemptFailed {
        error: "the target is down".to_owned(),
        next_attempt_at: at(60),
        progress: EndReport { sessions_ended: 1, ..EndReport::default() },
    };
    for attempt in 1..=3 {
        let lease = store.apply(id, failed.clone(), at(6), None).await.unwrap();
        let LeaseState::Ending { attempts, next_attempt_at, progress, .. } = lease.state else {
            panic!("{lease:?}")
        };
        assert_eq!((attempts, next_attempt_at, progress.sessions_ended), (attempt, at(60), attempt));
    }
    assert_eq!(actions(&*store).await, before);
}

pub(crate) async fn changes_are_told_after_they_are_durable_and_only_then(store: Subject) {
    let mut changes = store.changes();
    let new = lease(1, "ada", "reader");
    store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
    let told = timeout(SOON, changes.recv()).await.unwrap().unwrap();
    assert_eq!(told, new);
    let active = store.apply(new.id, activated(600), at(2), None).await.unwrap();
    let told = timeout(SOON, changes.recv()).await.unwrap().unwrap();
    assert_eq!(Some(told), store.lease(new.id).await.unwrap());
    store.apply(new.id, activated(600), at(2), None).await.unwrap_err();
    begin_limited(&store, lease(2, "ada", "reader"), 1, 1).await.unwrap_err();
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(store.lease(new.id).await.unwrap(), Some(active));
}
