//! Entries that several processes change.

use std::{sync::Arc, time::Duration};

use mayfly::store::{
    BeginError, Begun, Committed, Entry, EntryChange, EntryKind, EntryStore, LeaseStore, NewLease, Store,
    postgres::PostgresStore,
};
use tokio::time::timeout;

use super::{
    super::{
        conformance::{add, change, count_up, entry, keyed_entry, require},
        fixtures::{draft, lease, records, unlimited},
    },
    Place,
};
use crate::support::eventually;

async fn two() -> Option<(Place, Arc<PostgresStore>, Arc<PostgresStore>)> {
    let place = Place::new().await?;
    let (a, b) = (place.open("a").await, place.open("b").await);
    Some((place, a, b))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_change_one_entry_lose_no_change() {
    let Some((_place, a, b)) = two().await else { return };
    let mut counting = tokio::task::JoinSet::new();
    for n in 0..8 {
        let store = Arc::clone(if n % 2 == 0 { &a } else { &b });
        counting.spawn(async move {
            for _ in 0..5 {
                count_up(&*store, "counter").await;
            }
        });
    }
    counting.join_all().await;
    let counter = a.entry(EntryKind::Request, "counter").await.unwrap().unwrap();
    assert_eq!((counter.body.as_str(), counter.revision), ("40", 40));
    assert_eq!(records(&*a).await.len() + records(&*b).await.len(), 40);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_that_add_one_entry_one_does() {
    let Some((_place, a, b)) = two().await else { return };
    for round in 0..15 {
        let added = |by: &str| {
            let own = keyed_entry(&format!("round-{round}"), &[("by", by)]);
            vec![EntryChange::Put(entry(&format!("of-{by}-{round}"))), EntryChange::Put(own)]
        };
        let bystander = vec![EntryChange::Put(entry(&format!("bystander-{round}")))];
        let (first, second, third) =
            tokio::join!(change(&*a, added("a")), change(&*b, added("b")), change(&*b, bystander));
        assert_eq!(third, Committed::Yes);
        let winner = match (first, second) {
            (Committed::Yes, Committed::Conflict) => "a",
            (Committed::Conflict, Committed::Yes) => "b",
            both => panic!("{both:?}"),
        };
        let kept = b.entry(EntryKind::Request, &format!("round-{round}")).await.unwrap().unwrap();
        assert_eq!(kept.keys, [("by".to_owned(), winner.to_owned())]);
    }
    assert_eq!(a.entries(EntryKind::Request, None, None, 100).await.unwrap().len(), 45);
    a.close().await;
    b.close().await;
}

/// What is required of the other's entry holds until the commit: of two that each require what the other takes away, at most
/// one goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_required_holds_until_the_commit_whoever_else_writes() {
    let Some((_place, a, b)) = two().await else { return };
    for round in 0..15 {
        let (lock, grant) = (format!("lock-{round}"), format!("grant-{round}"));
        add(&*a, [entry(&grant)]).await;
        let locked = vec![EntryChange::Put(entry(&lock)), require(&grant, 1)];
        let used = vec![require(&lock, 0), EntryChange::Put(Entry { revision: 1, ..entry(&grant) })];
        let (first, second) = tokio::join!(change(&*a, locked), change(&*b, used));
        assert!(
            matches!(
                (first, second),
                (Committed::Yes, Committed::Conflict) | (Committed::Conflict, Committed::Yes)
            ),
            "{first:?} {second:?}"
        );
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_for_so_many_leases_yields_no_more_across_processes() {
    let Some((_place, a, b)) = two().await else { return };
    add(&*a, [Entry { body: "0".to_owned(), ..entry("grant") }]).await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..16 {
        let store = Arc::clone(if n % 2 == 0 { &a } else { &b });
        asking.spawn(async move {
            loop {
                let grant = store.entry(EntryKind::Request, "grant").await.unwrap().unwrap();
                let used: u32 = grant.body.parse().unwrap();
                if used == 5 {
                    return false;
                }
                let entries = vec![
                    EntryChange::Put(Entry { body: (used + 1).to_string(), ..grant }),
                    require("lock", 0),
                ];
                let new = NewLease { entries, ..unlimited(lease(n, "ada", "reader")) };
                match store.begin(new, draft("lease.begun", lease(n, "ada", "reader").id)).await {
                    Ok(Begun::Fresh(_)) => return true,
                    Err(BeginError::Conflict) => {}
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    let begun = asking.join_all().await.into_iter().filter(|begun| *begun).count();
    assert_eq!(begun, 5);
    assert_eq!(a.live_by_target().await.unwrap()[0].1, 5);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn word_of_a_changed_entry_reaches_the_others() {
    let Some((_place, a, b)) = two().await else { return };
    let mut told = b.entry_changes();
    let mut n = 0;
    // The listener connects in its own time: what is written before that is not heard.
    let heard = eventually("a change elsewhere is heard of", async || {
        n += 1;
        add(&*a, [entry(&format!("r{n}"))]).await;
        timeout(Duration::from_millis(300), told.recv()).await.ok()
    })
    .await;
    assert_eq!(heard.unwrap(), (EntryKind::Request, format!("r{n}")));
    a.close().await;
    b.close().await;
}
