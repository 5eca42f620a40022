//! What leaves a store because it was kept long enough.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::SignedDuration;
use mayfly::{
    audit::{ARCHIVED, AuditFilter, ChainHead, Order},
    clock::ManualClock,
    domain::{EndCause, EndReport, LeaseEvent, StateName},
    retention::{AuditRetention, Keeper, KeeperParts, RetentionSettings},
    store::{ArchivedAudit, Changes, Committed, LeaseFilter, chain_of, document, leases_removed_before},
};

use super::{SOON, Subject, find, whole};
use crate::store::fixtures::{actions, at, draft, end, end_requested, lease, live, records};

const DAY: u64 = 24 * 3600;

/// Runs a keeper, at so many days after the beginning, until it has nothing more to do.
pub(crate) async fn keep(
    store: &Subject,
    days: i64,
    settings: &RetentionSettings,
    done: impl AsyncFn() -> bool,
) {
    let clock = Arc::new(ManualClock::new(at(0) + SignedDuration::from_hours(24 * days)));
    let store = Arc::clone(store);
    let keeper = Keeper::new(KeeperParts { clock, store, settings: settings.clone(), copied: None });
    keeper.start();
    let waited = tokio::time::timeout(SOON, async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
    keeper.stop().await;
}

/// Audit records for a month, in a directory.
pub(crate) fn archiving(directory: &Path) -> RetentionSettings {
    let keep = Duration::from_secs(30 * DAY);
    let audit = Some(AuditRetention { keep, directory: directory.to_owned() });
    RetentionSettings { audit, ..RetentionSettings::default() }
}

/// The names of an archive's files, in order. What is not finished has another kind of name.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort_unstable();
    names
}

pub(crate) async fn leases_that_ended_long_ago_are_removed_and_no_others(store: Subject) {
    let alive = live(&*store, lease(1, "ada", "reader"), 600).await;
    let mut gone = Vec::new();
    for (n, cause) in [(2, EndCause::Expired), (3, EndCause::Released)] {
        let lease = live(&*store, lease(n, "ada", "reader"), 600).await;
        gone.push(end(&*store, lease.id, cause).await.id);
    }
    let kept = live(&*store, lease(4, "ada", "reader"), 600).await.id;
    store.apply(kept, end_requested(3, EndCause::Expired), at(3), None).await.unwrap();
    let report = EndReport { account_kept: true, ..EndReport::default() };
    store.apply(kept, LeaseEvent::Ended { at: at(4), report }, at(4), None).await.unwrap();
    let late = live(&*store, lease(5, "ada", "reader"), 600).await.id;
    store.apply(late, end_requested(3, EndCause::Expired), at(3), None).await.unwrap();
    let event = LeaseEvent::Ended { at: at(50), report: EndReport::default() };
    store.apply(late, event, at(50), None).await.unwrap();

    let expired = store.ended(StateName::Expired, None, 10).await.unwrap();
    let expected = [(gone[0], at(4), false), (kept, at(4), true), (late, at(50), false)];
    assert_eq!(
        expired.iter().map(|one| (one.id, one.ended_at, one.account_kept)).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(store.ended(StateName::Expired, Some(kept), 10).await.unwrap().len(), 1);

    let all = [gone[0], gone[1], alive.id, kept, late];
    let before = actions(&*store).await.len();
    let told = || draft("leases.removed", alive.id);
    assert_eq!(store.remove_ended(&all, at(4), told()).await.unwrap(), 0);
    assert_eq!(actions(&*store).await.len(), before, "nothing happened, and nothing is on record");
    assert_eq!(store.remove_ended(&all, at(50), told()).await.unwrap(), 2);
    let left = whole(&store, &LeaseFilter::default(), 10).await;
    assert_eq!(left.iter().map(|lease| lease.id).collect::<Vec<_>>(), [late, kept, alive.id]);
    let last = records(&*store).await.pop().unwrap();
    assert_eq!((last.action.as_str(), last.details["leases"].as_str()), ("leases.removed", "2"));
    let counted = store.live_under_role(&alive.role, &alive.principal.name).await.unwrap();
    assert_eq!(counted, (1, 1), "what is live is counted as before");
}

pub(crate) async fn records_leave_only_as_far_as_they_are_archived(store: Subject) {
    for n in 1..=6 {
        store.record(draft("something.noted", lease(n, "a", "b").id)).await.unwrap();
    }
    store.remove_archived(4).await.unwrap();
    assert_eq!(records(&*store).await.len(), 6, "nothing is archived");
    let chain = chain_of(&*store);
    let third = records(&*store).await[2].clone();
    let archived = ArchivedAudit { chain, seq: 3, hash: third.hash, at: at(9), file: "f".to_owned() };
    let changes = Changes::new().insert(&archived).unwrap();
    assert_eq!(changes.commit(&*store).await.unwrap(), Committed::Yes);
    store.remove_archived(2).await.unwrap();
    assert_eq!(records(&*store).await[0].seq, 3);
    store.remove_archived(100).await.unwrap();
    let left = records(&*store).await;
    assert_eq!((left[0].seq, left[0].previous), (4, third.hash));
    store.record(draft("something.noted", lease(7, "a", "b").id)).await.unwrap();
    assert_eq!(records(&*store).await.last().unwrap().seq, 7, "the chain goes on");
}

pub(crate) async fn what_was_kept_long_enough_is_removed_by_the_day(store: Subject) {
    let alive = live(&*store, lease(1, "ada", "reader"), 600).await;
    for n in 2..700 {
        let lease = live(&*store, lease(n, "ada", "reader"), 600).await;
        end(&*store, lease.id, EndCause::Released).await;
    }
    let month = Some(Duration::from_secs(30 * DAY));
    let settings = RetentionSettings { ended_leases: month, audit: None };
    assert_eq!(leases_removed_before(&*store).await.unwrap(), None);
    keep(&store, 32, &settings, async || store.ended(StateName::Released, None, 1).await.unwrap().is_empty())
        .await;
    let left = whole(&store, &LeaseFilter::default(), 100).await;
    assert_eq!(left.iter().map(|lease| lease.id).collect::<Vec<_>>(), [alive.id]);
    let since = leases_removed_before(&*store).await.unwrap();
    assert_eq!(since, Some(at(0) + SignedDuration::from_hours(24 * 2)), "whoever counts can say since when");
    let told: Vec<String> =
        actions(&*store).await.into_iter().filter(|action| action.contains("leases")).collect();
    assert_eq!(told, ["retention.leases", "leases.removed", "leases.removed"]);
}

pub(crate) async fn old_records_move_to_an_archive_and_the_chain_goes_on(store: Subject) {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    for n in 1..=700 {
        store.record(draft("something.noted", lease(n, "a", "b").id)).await.unwrap();
    }
    let log = records(&*store).await;
    keep(&store, 32, &archiving(&archive), async || records(&*store).await.len() == 2).await;
    let chain = chain_of(&*store);
    // The last of before stays, for the chain to go on from.
    let name = format!("audit-{chain}-000000000001-000000000699.jsonl");
    assert_eq!(files(&archive), [name.as_str()]);
    let lines: String =
        log[..699].iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
    assert_eq!(std::fs::read_to_string(archive.join(&name)).unwrap(), lines);
    let left = records(&*store).await;
    assert_eq!(left[0], log[699]);
    let (told, last) = (&left[1], ChainHead { seq: 699, hash: log[698].hash });
    assert_eq!(
        (told.action.as_str(), told.details["through"].as_str()),
        (ARCHIVED, last.to_string().as_str())
    );
    assert_eq!(told.details["file"], name);
    let kept = document::<ArchivedAudit>(&*store, &ArchivedAudit::id_of(&chain)).await.unwrap().unwrap();
    assert_eq!(kept.document.head(), last);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        assert_eq!(find(&store, &AuditFilter::default(), order).await.len(), 2);
    }

    // What came meanwhile goes in its turn, in a file that goes on where the first ends.
    keep(&store, 34, &archiving(&archive), async || files(&archive).len() == 2).await;
    assert_eq!(files(&archive)[1], format!("audit-{chain}-000000000700-000000000700.jsonl"));
}
