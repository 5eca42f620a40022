//! Finding leases.

use std::sync::Arc;

use mayfly::{
    domain::{EndCause, EndReport, Lease, LeaseEvent, LeaseId, StateName, TargetName},
    store::{LeaseFilter, Page, PageRequest},
};

use super::{Subject, whole};
use crate::store::fixtures::{at, draft, end, lease, live, unlimited};

/// Leases of three principals under two roles, in four states.
async fn populate(store: &Subject) -> Vec<Lease> {
    let mut leases = Vec::new();
    for n in 0..36 {
        let new = lease(n, ["ada", "grace", "joan"][n as usize % 3], ["reader", "writer"][n as usize % 2]);
        leases.push(match n % 4 {
            0 => {
                store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
                new
            }
            1 => live(&**store, new, 600).await,
            2 => end(&**store, live(&**store, new, 600).await.id, EndCause::Expired).await,
            _ => end(&**store, live(&**store, new, 600).await.id, EndCause::Released).await,
        });
    }
    leases.reverse();
    leases
}

pub(crate) async fn a_listing_is_complete_and_newest_first_whatever_the_page_size(store: Subject) {
    let leases = populate(&store).await;
    for size in [1, 5, 35, 36, 37, 1000] {
        assert_eq!(whole(&store, &LeaseFilter::default(), size).await, leases, "size {size}");
    }
    let Page { items, next } =
        store.list(&LeaseFilter::default(), PageRequest { size: 36, before: None }).await.unwrap();
    assert_eq!((items.len(), next), (36, None), "no empty last page");
}

pub(crate) async fn a_listing_passes_exactly_what_its_filter_passes(store: Subject) {
    let leases = populate(&store).await;
    let live = vec![StateName::Provisioning, StateName::Active, StateName::Ending];
    let principals = [None, Some("grace".parse().unwrap()), Some("nobody".parse().unwrap())];
    let roles = [None, Some("writer".parse().unwrap())];
    let targets = [None, Some("db-writer".parse().unwrap()), Some("db-reader".parse().unwrap())];
    for states in [vec![], live, vec![StateName::Released, StateName::Released], vec![StateName::Failed]] {
        for principal in &principals {
            for role in &roles {
                for target in &targets {
                    let (states, principal) = (states.clone(), principal.clone());
                    let filter =
                        LeaseFilter { states, principal, role: role.clone(), target: target.clone() };
                    let expected: Vec<Lease> =
                        leases.iter().filter(|lease| filter.matches(lease)).cloned().collect();
                    assert_eq!(whole(&store, &filter, 4).await, expected, "{filter:?}");
                }
            }
        }
    }
}

pub(crate) async fn a_listing_stays_complete_while_leases_change(store: Subject) {
    let mut ids: Vec<LeaseId> = Vec::new();
    for n in 0..20 {
        ids.push(live(&*store, lease(n, "ada", "reader"), 600).await.id);
    }
    ids.reverse();
    let changing = {
        let (store, ids) = (Arc::clone(&store), ids.clone());
        tokio::spawn(async move {
            for id in ids {
                end(&*store, id, EndCause::Released).await;
            }
        })
    };
    while !changing.is_finished() {
        let seen: Vec<LeaseId> =
            whole(&store, &LeaseFilter::default(), 100).await.iter().map(|lease| lease.id).collect();
        assert_eq!(seen, ids);
    }
    changing.await.unwrap();
}

pub(crate) async fn due_leases_come_most_overdue_first_and_only_of_their_target(store: Subject) {
    let late = live(&*store, lease(1, "ada", "reader"), 300).await;
    let later = live(&*store, lease(2, "ada", "reader"), 200).await;
    let latest = live(&*store, lease(3, "ada", "reader"), 100).await;
    live(&*store, lease(4, "ada", "reader"), 500).await;
    live(&*store, lease(5, "ada", "writer"), 50).await;
    let over = live(&*store, lease(6, "ada", "reader"), 10).await;
    end(&*store, over.id, EndCause::Expired).await;
    let target = &late.target.clone();
    assert_eq!(store.due(target, at(300), 10).await.unwrap(), [latest.clone(), later.clone(), late]);
    assert_eq!(store.due(target, at(300), 2).await.unwrap(), [latest, later]);
    assert!(store.due(target, at(99), 10).await.unwrap().is_empty());
    assert_eq!(store.next_due(target).await.unwrap(), Some(at(100)));
    let elsewhere: TargetName = "elsewhere".parse().unwrap();
    assert_eq!(store.next_due(&elsewhere).await.unwrap(), None);
    assert!(store.due(&elsewhere, at(999), 10).await.unwrap().is_empty());
    let begun = Lease { target: elsewhere.clone(), ..lease(7, "ada", "reader") };
    store.begin(unlimited(begun.clone()), draft("lease.begun", begun.id)).await.unwrap();
    assert_eq!(store.next_due(&elsewhere).await.unwrap(), begun.state.due_at());
}

pub(crate) async fn an_end_put_off_by_a_clock_that_was_wrong_is_due(store: Subject) {
    let lease = live(&*store, lease(1, "ada", "reader"), 300).await;
    let far = at(1_000_000);
    let events = [
        LeaseEvent::EndRequested { at: at(10), cause: EndCause::Released, not_before: at(10) },
        LeaseEvent::EndAttemptFailed {
            error: "down".to_owned(),
            next_attempt_at: far,
            progress: EndReport::default(),
        },
    ];
    for event in events {
        store.apply(lease.id, event, at(10), Some(draft("lease.ending", lease.id))).await.unwrap();
    }
    let due = async |moment| store.due(&lease.target, moment, 10).await.unwrap().len();
    assert_eq!(due(at(20)).await, 1);
    assert_eq!(due(at(1_000_000 - 3_600)).await, 0);
    assert_eq!(due(far).await, 1);
}

pub(crate) async fn live_leases_are_counted_by_target(store: Subject) {
    assert!(store.live_by_target().await.unwrap().is_empty());
    populate(&store).await;
    let counts = store.live_by_target().await.unwrap();
    assert_eq!(counts, [("db-reader".parse().unwrap(), 9), ("db-writer".parse().unwrap(), 9)]);
    for lease in whole(&store, &LeaseFilter::default(), 100).await {
        if lease.role.as_str() == "reader" && lease.state.name().is_live() {
            end(&*store, lease.id, EndCause::Expired).await;
        }
    }
    assert_eq!(store.live_by_target().await.unwrap(), [("db-writer".parse().unwrap(), 9)]);
}
