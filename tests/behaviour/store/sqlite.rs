//! The embedded store: conformance, and its file.

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use mayfly::{
    audit::verify_records,
    domain::EndCause,
    store::{
        BeginError, LeaseStore, Store, StoreErrorKind,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{
    conformance::conformance,
    fixtures::{at, draft, end, lease, live, records, unlimited},
    histories::{check_books, play, step},
};

struct Fixture {
    store: Arc<dyn Store>,
    _directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(open(&path_in(&directory)));
        Self { store, _directory: directory }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }
}

pub(super) fn path_in(directory: &TempDir) -> PathBuf {
    directory.path().join("mayfly.db")
}

pub(super) fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).unwrap()
}

fn refused(path: &Path) -> mayfly::store::StoreError {
    SqliteStore::open(path, SqliteOptions::default()).unwrap_err()
}

conformance!(Fixture::new());

#[test]
fn counts_agree_with_the_leases_after_any_history() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let histories = proptest::collection::vec(step(), 0..120);
    runner
        .run(&histories, |history| {
            runtime.block_on(async {
                let fixture = Fixture::new();
                play(&*fixture.store, history).await;
                check_books(&*fixture.store).await;
                fixture.store.close().await;
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&path_in(&directory));
    let kept = live(&store, lease(1, "ada", "reader"), 600).await;
    let gone = live(&store, lease(2, "ada", "reader"), 600).await;
    let gone = end(&store, gone.id, EndCause::Released).await;
    let log = records(&store).await;
    store.close().await;

    let store = open(&path_in(&directory));
    assert_eq!(store.lease(kept.id).await.unwrap(), Some(kept.clone()));
    assert_eq!(store.lease(gone.id).await.unwrap(), Some(gone));
    assert_eq!(store.next_due(&kept.target).await.unwrap(), Some(at(600)));
    assert_eq!(records(&store).await, log);
    store.record(draft("server.started", kept.id)).await.unwrap();
    let after = records(&store).await;
    assert_eq!(after.last().unwrap().previous, log.last().unwrap().hash);
    store.close().await;
}

#[tokio::test]
async fn the_file_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&path_in(&directory));
    live(&store, lease(1, "ada", "reader"), 600).await;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_has_closed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&path_in(&directory));
    let error = refused(&path_in(&directory));
    assert_eq!(error.kind, StoreErrorKind::Held);
    let holder = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(path_in(&directory), &link).unwrap();
    assert_eq!(refused(&link).kind, StoreErrorKind::Held);
    store.close().await;
    open(&path_in(&directory)).close().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_at_any_moment() {
    let (directory, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&path_in(&directory));
    for n in 0..20 {
        let kept = live(&store, lease(n, "ada", "reader"), 600).await;
        // What a process that is killed now leaves behind: everything but the shared memory and the lock.
        for file in ["mayfly.db", "mayfly.db-wal"] {
            std::fs::copy(directory.path().join(file), crashed.path().join(file)).unwrap();
        }
        let survivor = open(&path_in(&crashed));
        assert_eq!(survivor.lease(kept.id).await.unwrap(), Some(kept));
        assert_eq!(records(&survivor).await, records(&store).await);
        survivor.close().await;
    }
    store.close().await;
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = refused(&directory.path().join("nowhere/mayfly.db"));
    assert_eq!(error.kind, StoreErrorKind::NotWritable);
    assert!(error.to_string().contains("nowhere does not exist: create it"), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(&path_in(&directory)).close().await;
    let connection = rusqlite::Connection::open(path_in(&directory)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = refused(&path_in(&directory));
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(error.to_string().contains("newer version of Mayfly (schema 99"), "{error}");
}

#[test]
fn another_programs_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(path_in(&directory)).unwrap();
    connection.execute_batch("CREATE TABLE precious (id INTEGER)").unwrap();
    drop(connection);
    let error = refused(&path_in(&directory));
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(error.to_string().ends_with("is an SQLite database of another program"), "{error}");
    let connection = rusqlite::Connection::open(path_in(&directory)).unwrap();
    assert!(connection.table_exists(None, "precious").unwrap());
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = "not a database, but long enough to be taken for one\n".repeat(200);
    std::fs::write(path_in(&directory), &text).unwrap();
    let error = refused(&path_in(&directory));
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(error.to_string().contains("restore a backup"), "{error}");
    assert_eq!(std::fs::read_to_string(path_in(&directory)).unwrap(), text);
}

#[tokio::test]
async fn a_store_that_was_cut_off_or_damaged_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&path_in(&directory));
    for n in 0..200 {
        live(&store, lease(n, "ada", "reader"), 600).await;
    }
    store.close().await;
    let whole = std::fs::read(path_in(&directory)).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2..whole.len() / 2 + 8192].fill(0xa5);
    for broken in [half, damaged] {
        std::fs::write(path_in(&directory), &broken).unwrap();
        let error = refused(&path_in(&directory));
        assert_eq!(error.kind, StoreErrorKind::Corrupt);
        assert!(error.to_string().contains("restore a backup"), "{error}");
        assert!(std::fs::read(path_in(&directory)).unwrap() == broken, "it was changed");
    }
    std::fs::write(path_in(&directory), &whole).unwrap();
    open(&path_in(&directory)).close().await;
}

#[tokio::test]
async fn a_full_queue_says_busy() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions { queue: 1, batch: 1, ..SqliteOptions::default() };
    let store = Arc::new(SqliteStore::open(&path_in(&directory), options).unwrap());
    // Somebody else's lock makes the writer wait, and the queue fill behind it.
    let lock = rusqlite::Connection::open(path_in(&directory)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writes = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        writes.spawn(async move { store.check_writable().await });
    }
    let first = writes.join_next().await.unwrap().unwrap();
    assert_eq!(first.unwrap_err().kind, StoreErrorKind::Busy);
    lock.execute_batch("COMMIT").unwrap();
    let rest = writes.join_all().await;
    assert!(rest.iter().any(Result::is_ok), "those that had a place are served");
    store.check_writable().await.unwrap();
    store.close().await;
}

/// `mount -t tmpfs -o size=4m tmpfs DIR`, then `MAYFLY_SMALL_DISK=DIR cargo test … -- --ignored really_full`.
#[tokio::test]
#[ignore = "needs a small file system, which only root can make"]
async fn a_really_full_disk_refuses_writes_serves_reads_and_is_recovered_from() {
    let directory = tempfile::tempdir_in(std::env::var("MAYFLY_SMALL_DISK").unwrap()).unwrap();
    let store = open(&path_in(&directory));
    let kept = live(&store, lease(0, "ada", "reader"), 600).await;
    let filler = directory.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let mut n = 1;
    let refused = loop {
        let new = lease(n, "ada", "reader");
        let id = new.id;
        match store.begin(unlimited(new), draft("lease.begun", id)).await {
            Ok(_) => n += 1,
            Err(BeginError::Store(error)) => break error,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(refused.kind, StoreErrorKind::NotWritable);
    assert_eq!(store.check_writable().await.unwrap_err().kind, StoreErrorKind::NotWritable);
    assert_eq!(store.lease(kept.id).await.unwrap(), Some(kept));
    assert_eq!(store.lease(lease(n, "ada", "reader").id).await.unwrap(), None);
    drop(file);
    std::fs::remove_file(filler).unwrap();
    store.check_writable().await.unwrap();
    live(&store, lease(n, "ada", "reader"), 600).await;
    let log = records(&store).await;
    assert_eq!(verify_records(&log, None).unwrap().records, u64::from(n) + 3);
    store.close().await;
    open(&path_in(&directory)).close().await;
}
