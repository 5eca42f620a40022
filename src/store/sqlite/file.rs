//! The file: held by one process, private, with a known schema.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};

use super::failure::{read_failed, write_failed};
use crate::store::{StoreError, StoreErrorKind};

/// `PRAGMA application_id`: "MAYF".
const APPLICATION_ID: i32 = 0x4d41_5946;

/// Every version of the schema is the one before it and one of these; `PRAGMA user_version` counts how many were run.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001_initial.sql"),
    include_str!("schema/0002_installations.sql"),
    include_str!("schema/0003_administration_secrets.sql"),
    include_str!("schema/0004_former_chains.sql"),
    include_str!("schema/0005_entries.sql"),
];

/// A file of up to this many bytes is looked at whole before it is used.
const CHECKED_WHOLE: u64 = 64 << 20;

/// How long to wait for somebody else's lock on the file, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept per connection; there are fewer kinds than that.
const STATEMENTS: usize = 64;

/// Memory for the writer's pages: 32 MiB, in KiB and negative as SQLite wants it.
const WRITER_CACHE: i32 = -32_768;

/// Pages of log after which they are copied into the file: 16 MiB. Fewer would copy the same busy pages more often.
const CHECKPOINT: i32 = 4096;

/// Proof that this process alone holds the store; ends when dropped and with the process.
#[derive(Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "held open for its lock")] File);

/// Takes hold of the store at `path`.
pub(super) fn hold(path: &Path) -> Result<Hold, StoreError> {
    check_directory(path)?;
    let lock_path = beside(path, ".lock");
    let unusable = |error: io::Error| {
        StoreError::new(StoreErrorKind::NotWritable, format!("{} cannot be written", lock_path.display()))
            .caused_by(error)
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(unusable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(path, &mut file)),
        Err(error) => return Err(unusable(error.into())),
    }
    // The number is for people only; the lock is what counts.
    let note = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(note.as_bytes())).map_err(unusable)?;
    Ok(Hold(file))
}

fn held(path: &Path, lock: &mut File) -> StoreError {
    let mut holder = String::new();
    let by = match lock.take(20).read_to_string(&mut holder) {
        Ok(1..) => format!("process {}", holder.trim()),
        _ => "another process".to_owned(),
    };
    StoreError::new(
        StoreErrorKind::Held,
        format!("{} is in use by {by}: only one Mayfly can serve from it", path.display()),
    )
}

fn check_directory(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    if directory.is_dir() {
        return Ok(());
    }
    let message = format!(
        "the store's directory {} does not exist: create it, owned by the user that runs Mayfly and closed to others",
        directory.display()
    );
    Err(StoreError::new(StoreErrorKind::NotWritable, message))
}

/// Has names that were made or changed in the directory of `path` on disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path)).and_then(|directory| directory.sync_all())
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The path with something appended to its last part.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens the file for the writer, making and migrating it as needed. Call it only while holding the store: closing the
/// file outside SQLite would let go of SQLite's own locks (`fcntl(2)` locks belong to the process).
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| unusable(path, error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| unusable(path, error))?;
    // Before anything is set: another program's file must stay as it is.
    let version = check_identity(&connection, path)?;
    check_whole(&connection, path)?;
    configure(&connection).map_err(|error| unusable(path, error))?;
    migrate(&mut connection, version)?;
    // What a savepoint could have to put back stays in memory, where it is bounded by what the group changes: beyond 64 KiB it would
    // be a temporary file, written for every larger group, with pages of the store outside its directory. Not before: a migration
    // may sort a whole table.
    let in_memory = connection.pragma_update(None, "temp_store", "MEMORY");
    in_memory.map_err(|error| unusable(path, error))?;
    Ok(connection)
}

/// Opens the file for reading; what is committed is seen at once.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(read_failed)
}

/// Refuses a file that is damaged. All of it is looked at while that takes a blink; a file that was cut off is noticed at any
/// size, and so is damage in what is read later.
fn check_whole(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let size = path.metadata().map_or(0, |file| file.len());
    if size > CHECKED_WHOLE {
        return Ok(());
    }
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| unusable(path, error))?;
    if found == "ok" {
        return Ok(());
    }
    tracing::error!(path = %path.display(), %found, "the store is damaged");
    Err(StoreError::new(StoreErrorKind::Corrupt, damaged(path)))
}

/// Refuses a file that is not a Mayfly store, or one of a version this program does not know.
pub(super) fn check_identity(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let application = number("application_id").map_err(|error| unusable(path, error))?;
    let version = number("user_version").map_err(|error| unusable(path, error))?;
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| unusable(path, error))?;
    let known = MIGRATIONS.len();
    match usize::try_from(version) {
        Ok(0) if tables == 0 && application == 0 => Ok(0),
        Ok(version) if application == APPLICATION_ID && (1..=known).contains(&version) => Ok(version),
        Ok(version) if application == APPLICATION_ID && version > known => Err(StoreError::new(
            StoreErrorKind::Corrupt,
            format!(
                "{} was written by a newer version of Mayfly (schema {version}; this version knows up to {known}): \
                 run that version, or restore a backup made before the upgrade",
                path.display()
            ),
        )),
        _ => Err(StoreError::new(
            StoreErrorKind::Corrupt,
            format!("{} is an SQLite database of another program", path.display()),
        )),
    }
}

/// Refuses what [`check_identity`] refuses, and a store that is yet to be brought up to date.
pub(super) fn check_current(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if check_identity(connection, path)? == MIGRATIONS.len() {
        return Ok(());
    }
    let message = format!(
        "{} is of an older version: start Mayfly with it once, which brings it up to date",
        path.display()
    );
    Err(StoreError::new(StoreErrorKind::Other, message))
}

fn make_private(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => warn_if_public(path),
        Err(error) => Err(error),
    }
    .map_err(|error| {
        StoreError::new(StoreErrorKind::NotWritable, format!("{} cannot be created", path.display()))
            .caused_by(error)
    })
}

fn warn_if_public(path: &Path) -> io::Result<()> {
    let mode = path.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "the store can be read by others: chmod 600");
    }
    Ok(())
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT, |row| row.get::<_, i32>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")
}

fn migrate(connection: &mut Connection, version: usize) -> Result<(), StoreError> {
    let pending = MIGRATIONS.get(version..).unwrap_or_default();
    if pending.is_empty() {
        return Ok(());
    }
    let mut run = || {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for migration in pending {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(
            None,
            "user_version",
            i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX),
        )?;
        transaction.commit()
    };
    run().map_err(write_failed)
}

fn damaged(path: &Path) -> String {
    format!(
        "{} is damaged, or is no SQLite database: move it aside together with its -wal and -shm files and restore a backup \
         (mayfly store restore; accounts it knew of still expire on their targets)",
        path.display()
    )
}

fn unusable(path: &Path, cause: rusqlite::Error) -> StoreError {
    let error = write_failed(cause);
    let message = match error.kind {
        StoreErrorKind::Corrupt => damaged(path),
        _ => format!("{}: {}", path.display(), error.message),
    };
    StoreError { message, ..error }
}
