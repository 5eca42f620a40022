//! Archives of audit records: verified with the store and without, altered, lost, found after a crash, and foreign.

use std::{path::Path, sync::Arc};

use mayfly::{
    audit::{Archives, ChainVerifier, ChainsError, VerifiedChains, VerifyError, verify_lines},
    store::{
        Store, postgres,
        sqlite::{SqliteOptions, SqliteStore, back_up, verify_audit, verify_chains},
    },
};

use super::{
    conformance::{archiving, files, keep},
    fixtures::{draft, lease, records},
    postgres::Place,
};

async fn note(store: &dyn Store, count: u32) {
    for n in 0..count {
        store.record(draft("something.noted", lease(n, "a", "b").id)).await.unwrap();
    }
}

fn open(path: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(path, SqliteOptions::default()).unwrap())
}

/// Has all but the last record archived.
async fn archive(store: &Arc<dyn Store>, days: i64, directory: &Path) {
    let first = records(&**store).await[0].seq;
    let gone = async || {
        let log = records(&**store).await;
        log[0].seq > first && log.last().unwrap().action == "audit.archived"
    };
    keep(store, days, &archiving(directory), gone).await;
}

/// What is archived, read in the order of the files' names.
fn archives(directory: &Path) -> Result<Archives, ChainsError> {
    let mut chain = ChainVerifier::new(None);
    for name in files(directory) {
        chain.lines(std::fs::read(directory.join(name)).unwrap().as_slice())?;
    }
    Ok(Archives::of(vec![chain]))
}

fn together(store: &Path, directory: &Path) -> Result<VerifiedChains, ChainsError> {
    verify_chains(store, &[], archives(directory)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_and_its_store_are_one_chain_and_tell_when_something_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (path, archive_in) = (directory.path().join("mayfly.db"), directory.path().join("archive"));
    let opened = open(&path);
    let store: Arc<dyn Store> = Arc::clone(&opened) as _;
    note(&*store, 20).await;
    let head = records(&*store).await.pop().map(|record| (record.seq, record.hash)).unwrap();
    archive(&store, 32, &archive_in).await;
    note(&*store, 5).await;
    archive(&store, 34, &archive_in).await;
    store.close().await;

    let alone = verify_audit(&path, None).unwrap();
    assert!(alone.records < 8 && alone.after.seq > 19, "{alone:?}");
    let whole = together(&path, &archive_in).unwrap().chains.pop().unwrap().verified;
    assert_eq!((whole.after.seq, whole.records), (0, alone.after.seq + alone.records));
    let known = [(None, mayfly::audit::ChainHead { seq: head.0 - 1, ..alone.after })];
    let error = verify_chains(&path, &known, Archives::default()).unwrap_err();
    assert!(matches!(error, ChainsError::Archived { seq: 19, .. }), "{error}");
    let error = verify_chains(&path, &known, archives(&archive_in).unwrap()).unwrap_err();
    assert!(matches!(error, ChainsError::Contradicted { .. }), "{error}");
    back_up(&path, &directory.path().join("copy.db")).unwrap();

    let segments = files(&archive_in);
    assert_eq!(segments.len(), 2);
    let later = std::fs::read(archive_in.join(&segments[1])).unwrap();
    let error = verify_lines(later.as_slice(), None).unwrap_err();
    assert!(matches!(error, VerifyError::Beginning { seq: 20 }), "alone it proves nothing: {error}");
    let (first, aside) = (archive_in.join(&segments[0]), directory.path().join("aside"));
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text.replacen("something.noted", "something.voted", 1)).unwrap();
    assert!(together(&path, &archive_in).is_err(), "an altered one is told");
    std::fs::write(&first, &text).unwrap();
    std::fs::rename(archive_in.join(&segments[1]), &aside).unwrap();
    let error = together(&path, &archive_in).unwrap_err();
    assert!(
        matches!(error, ChainsError::Chain { source: VerifyError::Missing { .. }, .. }),
        "a missing one is told: {error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_were_removed_without_an_archive_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mayfly.db");
    let store = open(&path);
    note(&*store, 9).await;
    store.close().await;
    let client = rusqlite::Connection::open(&path).unwrap();
    client.execute("DELETE FROM audit WHERE seq < 5", []).unwrap();
    let error = verify_audit(&path, None).unwrap_err();
    assert!(matches!(error, VerifyError::Beginning { seq: 5 }), "{error}");
    // Nor is it believed when only the store says so, and no record.
    client
        .execute("INSERT INTO entry VALUES ('retention', 'audit/embedded', 1, NULL, '{\"seq\":4}')", [])
        .unwrap();
    let error = verify_audit(&path, None).unwrap_err();
    assert!(matches!(error, VerifyError::Beginning { seq: 5 }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_a_crash_left_untold_is_taken_up_and_a_foreign_one_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, archive_in) = (directory.path().join("mayfly.db"), directory.path().join("archive"));
    let store: Arc<dyn Store> = open(&path) as _;
    note(&*store, 20).await;
    let before = directory.path().join("before.db");
    back_up(&path, &before).unwrap();
    archive(&store, 32, &archive_in).await;
    store.close().await;
    let segments = files(&archive_in);
    assert_eq!(segments.len(), 1);
    // As after a crash between the file and its record: the store knows nothing of it.
    std::fs::write(archive_in.join(".audit-embedded.partial"), "{\"seq\":").unwrap();
    let store: Arc<dyn Store> = open(&before) as _;
    note(&*store, 1).await;
    archive(&store, 32, &archive_in).await;
    assert!(files(&archive_in).contains(&segments[0]));
    let told: Vec<String> =
        records(&*store).await.into_iter().filter_map(|record| record.details.get("file").cloned()).collect();
    assert!(
        told.len() <= 2 && files(&archive_in).iter().all(|file| file == &segments[0] || told.contains(file))
    );
    store.close().await;
    together(&before, &archive_in).unwrap();

    // Another store's records are not these.
    let other: Arc<dyn Store> = open(&directory.path().join("other.db")) as _;
    note(&*other, 30).await;
    let clock = Arc::new(mayfly::clock::ManualClock::new(
        super::fixtures::at(0) + jiff::SignedDuration::from_hours(24 * 32),
    ));
    let settings = archiving(&archive_in);
    let parts = mayfly::retention::KeeperParts { clock, store: Arc::clone(&other), settings, copied: None };
    let keeper = mayfly::retention::Keeper::new(parts);
    keeper.start();
    keeper.stop().await;
    assert_eq!(records(&*other).await.len(), 30, "nothing left a store whose archive is another's");
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_archive_each_its_own_chain_and_vouch_for_each_other_still() {
    let Some(place) = Place::new().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let (a, b): (Arc<dyn Store>, Arc<dyn Store>) = (place.open("a").await, place.open("b").await);
    note(&*a, 12).await;
    note(&*b, 8).await;
    archive(&a, 32, directory.path()).await;
    assert_eq!(records(&*b).await.len(), 8);
    archive(&b, 32, directory.path()).await;
    assert_eq!(files(directory.path()).len(), 2);
    let settings = place.settings("offline");
    let verified = postgres::verify_chains(&settings, &[], Archives::default()).await.unwrap();
    let after: Vec<u64> = verified.chains.iter().map(|chain| chain.verified.after.seq).collect();
    assert_eq!(after, [11, 7]);
    let chains = files(directory.path()).into_iter().zip(["a", "b"]).map(|(file, name)| {
        let mut chain = ChainVerifier::new(Some(name.to_owned()));
        chain.lines(std::fs::read(directory.path().join(file)).unwrap().as_slice()).unwrap();
        chain
    });
    let verified = postgres::verify_chains(&settings, &[], Archives::of(chains.collect())).await.unwrap();
    let records: Vec<u64> = verified.chains.iter().map(|chain| chain.verified.records).collect();
    assert_eq!(records, [13, 9]);
    a.close().await;
    b.close().await;
}
