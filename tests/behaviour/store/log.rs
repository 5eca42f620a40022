//! The audit log outside the store: its copy in a file, and its offline proof.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mayfly::{
    audit::{
        AuditLog, ChainHead, Digest, FileSink, Record, SinkError, VerifyError, verify_lines, verify_records,
    },
    store::{
        Store,
        sqlite::{SqliteOptions, SqliteStore, verify_audit},
    },
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::fixtures::{draft, lease, records};

/// How long anything may take that is expected to happen.
const SOON: Duration = Duration::from_secs(10);

struct Fixture {
    directory: TempDir,
    store: Arc<SqliteStore>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mayfly.db");
        let store = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        Self { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn note(&self, count: u32) {
        for n in 0..count {
            self.store.record(draft("something.noted", lease(n, "a", "b").id)).await.unwrap();
        }
    }

    async fn sink(&self) -> Result<FileSink, SinkError> {
        FileSink::open(&self.path("audit.jsonl"), Arc::clone(&self.store) as Arc<dyn AuditLog>).await
    }

    /// Copies everything there is.
    async fn copy(&self) {
        let stop = CancellationToken::new();
        stop.cancel();
        self.sink().await.unwrap().run(stop).await.unwrap();
    }

    fn copied(&self) -> Vec<Record> {
        read(&self.path("audit.jsonl"))
    }
}

fn read(path: &Path) -> Vec<Record> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until a file holds so many whole lines.
async fn grown(path: &Path, lines: usize) {
    let poll = async {
        while fs::read_to_string(path).unwrap_or_default().matches('\n').count() < lines {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, poll).await.unwrap();
}

#[tokio::test]
async fn the_copy_is_the_log_and_private() {
    let fixture = Fixture::new();
    fixture.note(1203).await;
    fixture.copy().await;
    assert_eq!(fixture.copied(), records(&*fixture.store).await);
    let path = fixture.path("audit.jsonl");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let verified = verify_lines(fs::read(&path).unwrap().as_slice(), None).unwrap();
    assert_eq!(verified.records, 1203);
    // A second run has nothing to add.
    fixture.copy().await;
    assert_eq!(fixture.copied().len(), 1203);
}

#[tokio::test]
async fn the_copy_follows_the_log_and_ends_complete() {
    let fixture = Fixture::new();
    let stop = CancellationToken::new();
    let running = tokio::spawn(fixture.sink().await.unwrap().run(stop.clone()));
    fixture.note(3).await;
    grown(&fixture.path("audit.jsonl"), 3).await;
    fixture.note(40).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(fixture.copied().len(), 43);
}

#[tokio::test]
async fn a_line_torn_by_a_crash_is_mended_wherever_it_was_torn() {
    let fixture = Fixture::new();
    fixture.note(3).await;
    fixture.copy().await;
    let whole = fs::read(fixture.path("audit.jsonl")).unwrap();
    for kept in (0..whole.len()).rev().step_by(41) {
        fs::write(fixture.path("audit.jsonl"), &whole[..kept]).unwrap();
        fixture.copy().await;
        assert_eq!(fs::read(fixture.path("audit.jsonl")).unwrap(), whole, "torn at {kept}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_this_log_is_refused_and_left_alone() {
    let fixture = Fixture::new();
    fixture.note(2).await;
    let other = Fixture::new();
    other.note(1).await;
    other.store.record(draft("something.else", lease(9, "a", "b").id)).await.unwrap();
    other.copy().await;
    let foreign = fs::read_to_string(other.path("audit.jsonl")).unwrap();
    let longer = {
        fixture.note(1).await;
        foreign.clone() + &foreign
    };
    for (content, words) in [
        (foreign.as_str(), "that is not the one in the store"),
        (longer.as_str(), "that is not the one in the store"),
        ("127.0.0.1 localhost\n", "is not an audit record"),
        ("127.0.0.1 localhost", "does not hold audit records"),
        ("\n", "is not an audit record"),
    ] {
        fs::write(fixture.path("audit.jsonl"), content).unwrap();
        let refused = fixture.sink().await.unwrap_err();
        assert!(matches!(&refused, SinkError::Foreign { .. }), "{refused:?}");
        assert!(refused.to_string().contains(words), "{refused}");
        assert_eq!(fs::read_to_string(fixture.path("audit.jsonl")).unwrap(), content);
    }
    // A file that knows more than the store: the store is an old backup.
    other.note(5).await;
    fs::remove_file(fixture.path("audit.jsonl")).unwrap();
    fixture.copy().await;
    let ahead = Record::seal(draft("something.noted", lease(1, "a", "b").id), 4, fixture.copied()[2].hash);
    let mut file = fs::OpenOptions::new().append(true).open(fixture.path("audit.jsonl")).unwrap();
    writeln!(file, "{}", serde_json::to_string(&ahead).unwrap()).unwrap();
    let refused = fixture.sink().await.unwrap_err();
    assert!(refused.to_string().contains("which the store does not have"), "{refused}");
}

#[tokio::test]
async fn rotation_neither_loses_nor_repeats_a_record() {
    let fixture = Fixture::new();
    let stop = CancellationToken::new();
    let sink = fixture.sink().await.unwrap();
    let reopener = sink.reopener();
    let running = tokio::spawn(sink.run(stop.clone()));
    fixture.note(3).await;
    grown(&fixture.path("audit.jsonl"), 3).await;
    fs::rename(fixture.path("audit.jsonl"), fixture.path("audit.jsonl.1")).unwrap();
    fixture.note(2).await;
    grown(&fixture.path("audit.jsonl.1"), 5).await;
    reopener.reopen();
    let new_file = async {
        while !fixture.path("audit.jsonl").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, new_file).await.unwrap();
    fixture.note(4).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let mut all = read(&fixture.path("audit.jsonl.1"));
    assert_eq!(all.len(), 5);
    all.extend(fixture.copied());
    assert_eq!(verify_records(&all, None).unwrap().records, 9);
    // A restart goes on in the new file.
    fixture.note(1).await;
    fixture.copy().await;
    assert_eq!(fixture.copied().len(), 5);
}

#[tokio::test]
async fn a_copy_that_cannot_be_written_at_the_end_is_an_error() {
    let fixture = Fixture::new();
    fixture.note(1).await;
    let sink = fixture.sink().await.unwrap();
    fixture.store.close().await;
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(matches!(sink.run(stop).await, Err(SinkError::Log(_))));
}

fn tamper(fixture: &Fixture, sql: &str) {
    let connection = rusqlite::Connection::open(fixture.path("mayfly.db")).unwrap();
    connection.pragma_update(None, "ignore_check_constraints", true).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn the_file_of_a_store_in_service_or_closed_is_verified() {
    let fixture = Fixture::new();
    let empty = verify_audit(&fixture.path("mayfly.db"), None).unwrap();
    assert_eq!(empty.records, 0);
    fixture.note(2100).await;
    let last = records(&*fixture.store).await.pop().unwrap();
    let head = ChainHead { seq: last.seq, hash: last.hash };
    assert_eq!(verify_audit(&fixture.path("mayfly.db"), Some(head)).unwrap().records, 2100);
    fixture.store.close().await;
    let verified = verify_audit(&fixture.path("mayfly.db"), Some(head)).unwrap();
    assert_eq!(verified.last.unwrap().at, last.at);
    let beyond = ChainHead { seq: 2101, hash: Digest::GENESIS };
    assert!(matches!(
        verify_audit(&fixture.path("mayfly.db"), Some(beyond)),
        Err(VerifyError::CutOff { last: 2100, expected: 2101 })
    ));
}

#[tokio::test]
async fn tampering_with_a_stores_file_is_detected() {
    for (sql, words) in [
        ("UPDATE audit SET record = replace(record, 'noted', 'moted') WHERE seq = 2", "record 2 was edited"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 5", "record 5 was edited"),
        ("DELETE FROM audit WHERE seq = 3", "record 3 is missing"),
        ("DELETE FROM audit WHERE seq < 3", "begins with record 3"),
        ("UPDATE audit SET seq = -seq WHERE seq = 5", "cannot be read after record 0"),
        (
            "UPDATE audit SET record = (SELECT record FROM audit WHERE seq = 1) WHERE seq = 3",
            "record 1 is out of place",
        ),
        ("UPDATE audit SET record = record || ' ' WHERE seq = 4", "record 4 was rewritten"),
        ("UPDATE audit SET record = '{}' WHERE seq = 4", "what should be record 4 is not a record"),
    ] {
        let fixture = Fixture::new();
        fixture.note(5).await;
        fixture.store.close().await;
        tamper(&fixture, sql);
        let error = verify_audit(&fixture.path("mayfly.db"), None).unwrap_err();
        let mut text = error.to_string();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            text = format!("{text}: {next}");
            cause = next;
        }
        assert!(text.contains(words), "{sql}: {text}");
    }
}
