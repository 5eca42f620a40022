//! The connection to the store, disturbed.

use std::sync::Arc;

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::EndCause,
    store::{BeginError, LeaseStore, Store, StoreErrorKind, postgres::PostgresStore},
};

use super::{
    super::fixtures::{at, draft, end, lease, live, records, unlimited},
    Place,
};
use crate::support::{
    eventually,
    proxy::{Proxy, Trap},
};

/// A store behind a wire that can be disturbed.
async fn wired() -> Option<(Place, Proxy, PostgresStore)> {
    let place = Place::new().await?;
    let proxy = Proxy::to(place.port).await;
    let mut settings = place.settings("one");
    settings.address.hosts = vec![("127.0.0.1".to_owned(), proxy.port())];
    let store = PostgresStore::open(settings, Arc::new(SystemClock)).await.unwrap();
    Some((place, proxy, store))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_out_and_not_repeated() {
    let Some((_place, proxy, store)) = wired().await else { return };
    for (round, trap) in [(1, Trap::Cut), (2, Trap::Sever), (3, Trap::Cut)] {
        let new = lease(round, "ada", "reader");
        proxy.set(trap, "COMMIT");
        let begun = store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await;
        assert!(begun.is_ok(), "{trap:?}: {begun:?}");
        assert!(!proxy.is_set(), "{trap:?} was sprung");
        assert_eq!(records(&store).await.len(), round as usize, "{trap:?}: once, and only once");
        assert_eq!(store.lease(new.id).await.unwrap(), Some(new));
    }
    mayfly::audit::verify_records(&records(&store).await, None).unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_a_record_is_not_repeated_either() {
    let Some((_place, proxy, store)) = wired().await else { return };
    let new = live(&store, lease(1, "ada", "reader"), 10).await;
    store
        .apply(new.id, super::super::fixtures::end_requested(3, EndCause::Released), at(3), None)
        .await
        .unwrap();
    for attempt in 1..=2 {
        let failed = mayfly::domain::LeaseEvent::EndAttemptFailed {
            error: "down".to_owned(),
            next_attempt_at: at(60),
            progress: mayfly::domain::EndReport::default(),
        };
        proxy.set(Trap::Cut, "COMMIT");
        let lease = store.apply(new.id, failed, at(6), None).await.unwrap();
        let mayfly::domain::LeaseState::Ending { attempts, .. } = lease.state else { panic!("{lease:?}") };
        assert_eq!(attempts, attempt);
        assert_eq!(store.lease(new.id).await.unwrap(), Some(lease));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_refuses_soon_and_recovers_by_itself() {
    let Some((_place, proxy, store)) = wired().await else { return };
    let kept = live(&store, lease(1, "ada", "reader"), 600).await;
    proxy.pause();
    let began = SystemClock.now();
    let new = lease(2, "ada", "reader");
    let refused = store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await;
    assert!(
        matches!(&refused, Err(BeginError::Store(error)) if error.kind == StoreErrorKind::Unavailable),
        "{refused:?}"
    );
    assert_eq!(store.check_writable().await.unwrap_err().kind, StoreErrorKind::Unavailable);
    assert_eq!(store.lease(kept.id).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    let took = SystemClock.now().duration_since(began);
    assert!(took < SignedDuration::from_secs(15), "{took:?}");
    proxy.resume();
    eventually("the store is written again", async || store.check_writable().await.ok()).await;
    assert_eq!(store.lease(new.id).await.unwrap(), None, "what was refused was not written");
    live(&store, lease(3, "ada", "reader"), 600).await;
    assert_eq!(records(&store).await.len(), 4);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_ended_while_idle_is_replaced_unnoticed() {
    let Some(place) = Place::new().await else { return };
    let store = place.open(place.schema.as_str()).await;
    let kept = live(&*store, lease(1, "ada", "reader"), 600).await;
    let client = place.client().await;
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1";
    let ended = client.query(sql, &[&format!("mayfly {} %", place.schema.as_str())]).await.unwrap();
    assert!(ended.len() >= 2, "a writer, and whoever reads");
    assert_eq!(store.lease(kept.id).await.unwrap(), Some(kept.clone()));
    end(&*store, kept.id, EndCause::Released).await;
    store.close().await;
}
