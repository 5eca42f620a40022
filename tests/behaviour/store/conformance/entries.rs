//! Entries: requests, grants, locks and whatever else changes by revision.

use jiff::Timestamp;
use mayfly::store::{
    BeginError, Begun, Committed, ENTRIES_LIMIT, ENTRY_TEXT_LIMIT, Entry, EntryChange, EntryKind, NewLease,
    Store, StoreErrorKind,
};
use tokio::time::timeout;

use super::{SOON, Subject};
use crate::store::fixtures::{actions, at, draft, lease, unlimited};

const KIND: EntryKind = EntryKind::Request;

/// An entry that is to be added.
pub(crate) fn entry(id: &str) -> Entry {
    Entry {
        kind: KIND,
        id: id.to_owned(),
        revision: 0,
        keys: Vec::new(),
        due_at: None,
        body: "{}".to_owned(),
    }
}

pub(crate) fn keyed_entry(id: &str, keys: &[(&str, &str)]) -> Entry {
    let keys = keys.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Entry { keys, ..entry(id) }
}

fn due(kind: EntryKind, id: &str, due_at: Timestamp) -> Entry {
    Entry { kind, due_at: Some(due_at), ..entry(id) }
}

fn remove(id: &str, revision: u64) -> EntryChange {
    EntryChange::Remove { kind: KIND, id: id.to_owned(), revision }
}

pub(crate) fn require(id: &str, revision: u64) -> EntryChange {
    EntryChange::Require { kind: KIND, id: id.to_owned(), revision }
}

pub(crate) async fn change(store: &dyn Store, changes: Vec<EntryChange>) -> Committed {
    let told = draft("entry.changed", lease(1, "a", "b").id);
    store.change_entries(changes, vec![told]).await.unwrap()
}

/// Adds entries; none of them is there.
pub(crate) async fn add(store: &dyn Store, entries: impl IntoIterator<Item = Entry>) {
    let changes = entries.into_iter().map(EntryChange::Put).collect();
    assert_eq!(change(store, changes).await, Committed::Yes);
}

async fn ids(store: &Subject, by: Option<(&str, &str)>, before: Option<&str>, limit: u32) -> Vec<String> {
    store.entries(KIND, by, before, limit).await.unwrap().into_iter().map(|entry| entry.id).collect()
}

pub(crate) async fn an_entry_reads_back_as_it_was_written(store: Subject) {
    let written = Entry {
        due_at: Some(at(7)),
        body: r#"{"text": "ünï \" code\n", "n": 1}"#.to_owned(),
        ..keyed_entry(
            "one/ö 'quoted'",
            &[("state", "pending"), ("reviewer", "b\"ob"), ("reviewer", "ada"), ("state", "pending")],
        )
    };
    add(&*store, [written.clone()]).await;
    // Sorted, and of the same twice one.
    let keys = keyed_entry("", &[("reviewer", "ada"), ("reviewer", "b\"ob"), ("state", "pending")]).keys;
    let expected = Entry { revision: 1, keys, ..written };
    assert_eq!(store.entry(KIND, &expected.id).await.unwrap(), Some(expected.clone()));
    let alone = std::slice::from_ref(&expected);
    assert_eq!(store.entries(KIND, None, None, 10).await.unwrap(), alone);
    assert_eq!(store.entries(KIND, Some(("reviewer", "ada")), None, 10).await.unwrap(), alone);
    assert_eq!(store.due_entries(KIND, at(7), 10).await.unwrap(), alone);
    assert_eq!(
        store.entry(EntryKind::Grant, &expected.id).await.unwrap(),
        None,
        "a kind has names of its own"
    );
    assert_eq!(store.entry(KIND, "one").await.unwrap(), None);
}

pub(crate) async fn an_entry_changes_only_if_it_still_is_what_the_change_expects(store: Subject) {
    add(&*store, [keyed_entry("a", &[("state", "pending"), ("by", "ada")])]).await;
    let decided = Entry {
        revision: 1,
        body: "[1]".to_owned(),
        ..keyed_entry("a", &[("by", "ada"), ("state", "approved")])
    };
    assert_eq!(change(&*store, vec![EntryChange::Put(decided.clone())]).await, Committed::Yes);
    assert_eq!(change(&*store, vec![EntryChange::Put(decided.clone())]).await, Committed::Conflict);
    assert_eq!(change(&*store, vec![EntryChange::Put(entry("a"))]).await, Committed::Conflict, "it is there");
    assert_eq!(change(&*store, vec![remove("a", 1)]).await, Committed::Conflict);
    let ahead = Entry { revision: 1, ..entry("nowhere") };
    assert_eq!(change(&*store, vec![EntryChange::Put(ahead)]).await, Committed::Conflict, "it is not there");
    assert_eq!(store.entry(KIND, "a").await.unwrap(), Some(Entry { revision: 2, ..decided }));
    assert_eq!(ids(&store, Some(("state", "pending")), None, 10).await, [""; 0]);
    assert_eq!(ids(&store, Some(("state", "approved")), None, 10).await, ["a"]);
    assert_eq!(actions(&*store).await.len(), 2, "a conflict leaves no record");
}

pub(crate) async fn a_removed_entry_is_gone_with_its_keys_and_may_come_again(store: Subject) {
    add(&*store, [keyed_entry("a", &[("by", "ada")]), due(KIND, "b", at(1))]).await;
    assert_eq!(change(&*store, vec![remove("a", 1), remove("b", 1)]).await, Committed::Yes);
    assert_eq!(store.entry(KIND, "a").await.unwrap(), None);
    assert_eq!(ids(&store, Some(("by", "ada")), None, 10).await, [""; 0]);
    assert_eq!(store.next_due_entry(&[KIND]).await.unwrap(), None);
    assert_eq!(change(&*store, vec![remove("a", 1)]).await, Committed::Conflict);
    add(&*store, [entry("a")]).await;
    assert_eq!(store.entry(KIND, "a").await.unwrap().unwrap().revision, 1);
    assert_eq!(ids(&store, Some(("by", "ada")), None, 10).await, [""; 0]);
}

pub(crate) async fn entries_change_together_or_not_at_all(store: Subject) {
    add(&*store, [entry("a"), entry("b")]).await;
    let replaced = || EntryChange::Put(Entry { revision: 1, body: "[]".to_owned(), ..entry("a") });
    for wrong in [
        EntryChange::Put(Entry { revision: 2, ..entry("b") }),
        EntryChange::Put(entry("b")),
        remove("b", 2),
        remove("c", 1),
        require("b", 2),
        require("b", 0),
        require("c", 1),
    ] {
        let changes = vec![replaced(), EntryChange::Put(entry("new")), wrong.clone()];
        assert_eq!(change(&*store, changes).await, Committed::Conflict, "{wrong:?}");
    }
    assert_eq!(ids(&store, None, None, 10).await, ["b", "a"]);
    assert_eq!(store.entry(KIND, "a").await.unwrap().unwrap().revision, 1);
    let changes = vec![replaced(), EntryChange::Put(entry("new")), require("b", 1), require("c", 0)];
    assert_eq!(change(&*store, changes).await, Committed::Yes);
    assert_eq!(store.entry(KIND, "a").await.unwrap().unwrap().revision, 2);
    assert_eq!(store.entry(KIND, "b").await.unwrap().unwrap().revision, 1, "what is required stays as it is");
    assert_eq!(ids(&store, None, None, 10).await, ["new", "b", "a"]);
    assert_eq!(actions(&*store).await.len(), 2);
}

pub(crate) async fn entries_are_listed_downwards_by_bytes_a_part_at_a_time(store: Subject) {
    let names = ["\u{10FFFF}", "ö", "z", "a/1", "a", "B", "A10", "A1", "-"];
    add(
        &*store,
        names
            .iter()
            .enumerate()
            .map(|(n, id)| keyed_entry(id, &[("odd", if n % 2 == 1 { "yes" } else { "no" })])),
    )
    .await;
    add(&*store, [Entry { kind: EntryKind::Grant, ..keyed_entry("m", &[("odd", "yes")]) }]).await;
    assert_eq!(ids(&store, None, None, 100).await, names);
    let odd: Vec<&str> = names.iter().copied().skip(1).step_by(2).collect();
    for (by, all) in [(None, names.to_vec()), (Some(("odd", "yes")), odd)] {
        for size in [1, 2, 4] {
            let (mut found, mut before): (Vec<String>, Option<String>) = (Vec::new(), None);
            loop {
                let part = ids(&store, by, before.as_deref(), size).await;
                let Some(last) = part.last() else { break };
                before = Some(last.clone());
                found.extend(part);
            }
            assert_eq!(found, all, "{size} at a time");
        }
    }
    assert_eq!(ids(&store, Some(("odd", "maybe")), None, 10).await, [""; 0]);
    assert_eq!(ids(&store, Some(("even", "yes")), None, 10).await, [""; 0]);
    assert_eq!(ids(&store, None, None, 0).await, [""; 0]);
}

pub(crate) async fn one_question_brings_back_no_more_entries_than_it_may(store: Subject) {
    add(&*store, (0..=ENTRIES_LIMIT).map(|n| due(KIND, &format!("{n:06}"), at(1)))).await;
    assert_eq!(store.entries(KIND, None, None, u32::MAX).await.unwrap().len(), ENTRIES_LIMIT as usize);
    assert_eq!(store.due_entries(KIND, at(1), u32::MAX).await.unwrap().len(), ENTRIES_LIMIT as usize);
}

pub(crate) async fn due_entries_come_the_earliest_first(store: Subject) {
    let (lock, notice) = (EntryKind::Lock, EntryKind::Notice);
    assert_eq!(store.next_due_entry(EntryKind::ALL).await.unwrap(), None);
    add(
        &*store,
        [due(lock, "late", at(30)), due(lock, "b", at(10)), due(lock, "a", at(20)), due(notice, "n", at(5))],
    )
    .await;
    add(&*store, [Entry { kind: lock, ..entry("never") }]).await;
    let found = async |now| -> Vec<String> {
        store.due_entries(lock, at(now), 10).await.unwrap().into_iter().map(|entry| entry.id).collect()
    };
    assert_eq!(found(9).await, [""; 0]);
    assert_eq!(found(20).await, ["b", "a"]);
    assert_eq!(found(99).await, ["b", "a", "late"]);
    assert_eq!(store.due_entries(lock, at(99), 1).await.unwrap()[0].id, "b");
    assert_eq!(store.next_due_entry(&[lock]).await.unwrap(), Some(at(10)));
    assert_eq!(store.next_due_entry(&[lock, notice, KIND]).await.unwrap(), Some(at(5)));
    assert_eq!(store.next_due_entry(&[KIND]).await.unwrap(), None);
    assert_eq!(store.next_due_entry(&[]).await.unwrap(), None);
    let later = Entry { revision: 1, ..due(lock, "b", at(40)) };
    assert_eq!(change(&*store, vec![EntryChange::Put(later)]).await, Committed::Yes);
    assert_eq!(found(99).await, ["a", "late", "b"]);
    assert_eq!(store.next_due_entry(&[lock]).await.unwrap(), Some(at(20)));
}

pub(crate) async fn changes_of_entries_are_told_after_they_are_durable(store: Subject) {
    let mut told = store.entry_changes();
    assert_eq!(
        change(&*store, vec![EntryChange::Put(Entry { revision: 9, ..entry("x") })]).await,
        Committed::Conflict
    );
    add(&*store, [entry("a"), entry("b")]).await;
    assert_eq!(change(&*store, vec![require("a", 1), remove("b", 1)]).await, Committed::Yes);
    for id in ["a", "b", "b"] {
        assert_eq!(timeout(SOON, told.recv()).await.unwrap().unwrap(), (KIND, id.to_owned()));
    }
    assert!(told.try_recv().is_err(), "what conflicted or was only required is not told");
}

fn with(lease: mayfly::domain::Lease, entries: Vec<EntryChange>) -> NewLease {
    NewLease { entries, ..unlimited(lease) }
}

pub(crate) async fn a_lease_begins_with_its_entries_or_not_at_all(store: Subject) {
    add(&*store, [keyed_entry("grant", &[("state", "active")])]).await;
    let replaced = |revision| EntryChange::Put(Entry { revision, body: "[1]".to_owned(), ..entry("grant") });
    let first = lease(1, "ada", "reader");
    let told = || draft("lease.begun", first.id);
    for wrong in [replaced(2), require("lock", 1), require("grant", 0)] {
        let new = with(first.clone(), vec![EntryChange::Put(entry("new")), wrong]);
        assert!(matches!(store.begin(new, told()).await, Err(BeginError::Conflict)));
    }
    assert_eq!(store.lease(first.id).await.unwrap(), None);
    assert_eq!(store.entry(KIND, "new").await.unwrap(), None);
    assert_eq!(actions(&*store).await, ["entry.changed"]);

    let full = NewLease {
        limits: mayfly::domain::LeaseLimits { per_principal: 0, total: 0 },
        ..with(first.clone(), vec![replaced(1)])
    };
    assert!(matches!(store.begin(full, told()).await, Err(BeginError::PrincipalLimit { .. })));
    assert_eq!(
        store.entry(KIND, "grant").await.unwrap().unwrap().revision,
        1,
        "over its limit it changes nothing"
    );

    let mut keyed = first.clone();
    keyed.idempotency_key = Some("once".to_owned());
    let entries = vec![replaced(1), EntryChange::Put(entry("new")), require("lock", 0)];
    let begun = store.begin(with(keyed.clone(), entries.clone()), told()).await.unwrap();
    assert!(matches!(begun, Begun::Fresh(_)));
    assert_eq!(store.entry(KIND, "grant").await.unwrap().unwrap().revision, 2);
    let again = store.begin(with(keyed, entries), told()).await.unwrap();
    assert!(matches!(again, Begun::Repeated(_)), "the key is looked at before the entries");
    assert_eq!(store.entry(KIND, "grant").await.unwrap().unwrap().revision, 2);
}

/// Adds one to the number that is an entry's body, again and again until nobody is in the way.
pub(crate) async fn count_up(store: &dyn Store, id: &str) {
    loop {
        let kept = store.entry(KIND, id).await.unwrap();
        let next = match kept {
            None => Entry { body: "1".to_owned(), ..entry(id) },
            Some(kept) => {
                let number: u32 = kept.body.parse().unwrap();
                Entry { body: (number + 1).to_string(), ..kept }
            }
        };
        if change(store, vec![EntryChange::Put(next)]).await == Committed::Yes {
            return;
        }
    }
}

pub(crate) async fn no_change_is_lost_among_many_at_once(store: Subject) {
    let mut counting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = std::sync::Arc::clone(&store);
        counting.spawn(async move {
            for _ in 0..5 {
                count_up(&*store, "counter").await;
            }
        });
    }
    counting.join_all().await;
    let counter = store.entry(KIND, "counter").await.unwrap().unwrap();
    assert_eq!((counter.body.as_str(), counter.revision), ("40", 40));
    assert_eq!(actions(&*store).await.len(), 40);
}

pub(crate) async fn of_many_who_add_one_entry_one_does(store: Subject) {
    let mut adding = tokio::task::JoinSet::new();
    for n in 0..12 {
        let store = std::sync::Arc::clone(&store);
        let own = Entry { body: n.to_string(), ..entry("only") };
        // Neighbours in the same transaction are not harmed.
        let other = entry(&format!("other-{n}"));
        adding.spawn(async move {
            let (only, other) = tokio::join!(
                change(&*store, vec![EntryChange::Put(own)]),
                change(&*store, vec![EntryChange::Put(other)])
            );
            assert_eq!(other, Committed::Yes);
            only == Committed::Yes
        });
    }
    let added = adding.join_all().await.into_iter().filter(|added| *added).count();
    assert_eq!(added, 1);
    assert_eq!(store.entry(KIND, "only").await.unwrap().unwrap().revision, 1);
    assert_eq!(ids(&store, None, None, 100).await.len(), 13);
}

pub(crate) async fn an_entry_that_no_store_can_keep_is_refused_in_words(store: Subject) {
    let long = "x".repeat(ENTRY_TEXT_LIMIT + 1);
    let refused = async |changes: Vec<EntryChange>| {
        let new = with(lease(1, "ada", "reader"), changes.clone());
        let begun = store.begin(new, draft("lease.begun", lease(1, "a", "b").id)).await;
        assert!(matches!(begun, Err(BeginError::Store(_))), "{begun:?}");
        let error = store.change_entries(changes, Vec::new()).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Other);
        error.to_string()
    };
    for (changes, words) in [
        (
            vec![EntryChange::Put(entry(&long))],
            "the identifier of an entry of the kind request has 501 bytes; it may have 500",
        ),
        (
            vec![require(&long, 0)],
            "the identifier of an entry of the kind request has 501 bytes; it may have 500",
        ),
        (vec![EntryChange::Put(entry(""))], "the identifier of an entry of the kind request is empty"),
        (
            vec![EntryChange::Put(entry("a\0"))],
            "the identifier of an entry of the kind request contains a NUL",
        ),
        (
            vec![EntryChange::Put(keyed_entry("a", &[("k", &long)]))],
            "the value of a key of an entry of the kind request has 501 bytes; it may have 500",
        ),
        (
            vec![EntryChange::Put(keyed_entry("a", &[(&long, "v")]))],
            "the name of a key of an entry of the kind request has 501 bytes; it may have 500",
        ),
        (
            vec![EntryChange::Put(keyed_entry("a", &[("k", "v\0")]))],
            "the value of a key of an entry of the kind request contains a NUL",
        ),
    ] {
        assert_eq!(refused(changes).await, words);
    }
    assert_eq!(ids(&store, None, None, 10).await, [""; 0]);
    let longest = "x".repeat(ENTRY_TEXT_LIMIT);
    add(&*store, [keyed_entry(&longest, &[(&longest, &longest)])]).await;
    assert_eq!(ids(&store, Some((&longest, &longest)), None, 10).await, [longest]);
}
