//! The store's file as a whole: copied while it is in service, checked, put back.
//!
//! A copy is made by `VACUUM INTO`: one snapshot of what is committed, whoever writes meanwhile, and unlike the page-by-page backup
//! it need not begin anew with every write of another process. It is checked before it gets its name, and never replaces a file.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    audit,
    failure::read_failed,
    file::{self, Hold},
    offline::verify_audit,
    row::unsigned,
    server,
};
use crate::{
    audit::ChainHead,
    domain::InstanceId,
    store::{StoreError, StoreErrorKind},
};

/// The schema that told installations apart.
const FIRST_WITH_INSTANCE: usize = 2;

/// The schema that has entries.
const FIRST_WITH_ENTRIES: usize = 5;

/// What a store's file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Version of its schema.
    pub schema: usize,
    /// The installation it belongs to; `None`: from before installations were told apart.
    pub instance: Option<InstanceId>,
    /// Leases.
    pub leases: u64,
    /// Of these: live ones.
    pub live: u64,
    /// Tokens.
    pub tokens: u64,
    /// Entries: requests, grants, users and the like.
    pub entries: u64,
    /// Where its audit log ends.
    pub head: ChainHead,
}

/// Copies the store at `from`, which may be in service, to a new file (mode 0600), and checks the copy. Blocks.
///
/// # Errors
/// When `to` exists, something cannot be read or written, or the copy is not whole; there is no such file then.
pub fn back_up(from: &Path, to: &Path) -> Result<Contents, StoreError> {
    if to.symlink_metadata().is_ok() {
        let message = format!("{} exists; a backup replaces nothing", to.display());
        return Err(StoreError::new(StoreErrorKind::NotWritable, message));
    }
    let partial = Partial::of(from, to)?;
    let contents = check(partial.path())?;
    partial.finish(to)?;
    Ok(contents)
}

/// Checks a store's file: that it is one, of a known version, whole by SQLite's own check, with an unbroken audit log and counters that
/// agree with its leases. Changes nothing. Blocks.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(path: &Path) -> Result<Contents, StoreError> {
    if !path.is_file() {
        let message = format!("there is no file {}", path.display());
        return Err(StoreError::new(StoreErrorKind::Other, message));
    }
    let connection = file::open_reader(path)?;
    let schema = file::check_identity(&connection, path)?;
    if schema == 0 {
        return Err(broken(path, "holds nothing"));
    }
    let told: String = ask(&connection, path, "PRAGMA integrity_check(1)")?;
    if told != "ok" {
        return Err(broken(path, &format!("is damaged: {told}")));
    }
    let audit =
        verify_audit(path, None).map_err(|error| broken(path, "has a broken audit log").caused_by(error))?;
    counters_agree(&connection, path)?;
    let count = |sql: &str| -> Result<u64, StoreError> {
        connection.query_row(sql, [], |row| unsigned(row, 0)).map_err(|error| unreadable(path, error))
    };
    let instance = match schema {
        FIRST_WITH_INSTANCE.. => {
            Some(server::instance(&connection).map_err(|error| unreadable(path, error))?)
        }
        _ => None,
    };
    let entries = match schema {
        FIRST_WITH_ENTRIES.. => {
            keys_agree(&connection, path)?;
            count("SELECT count(*) FROM entry")?
        }
        _ => 0,
    };
    Ok(Contents {
        schema,
        instance,
        leases: count("SELECT count(*) FROM lease")?,
        live: count("SELECT count(*) FROM lease WHERE due_at IS NOT NULL")?,
        tokens: count("SELECT count(*) FROM token")?,
        entries,
        head: audit.last.map_or(ChainHead::GENESIS, |last| ChainHead { seq: last.seq, hash: last.hash }),
    })
}

/// The counters of live leases are kept by triggers; they must be what counting says.
fn counters_agree(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    const DIFFERENCE: &str = "SELECT what FROM (
        SELECT 'role ' || role AS what, live FROM live_by_role WHERE live > 0
        UNION ALL SELECT 'target ' || target, live FROM live_by_target WHERE live > 0
        UNION ALL SELECT 'holder ' || role || ' ' || principal, live FROM live_by_holder WHERE live > 0
        UNION ALL SELECT 'role ' || role, -count(*) FROM lease WHERE due_at IS NOT NULL GROUP BY role
        UNION ALL SELECT 'target ' || target, -count(*) FROM lease WHERE due_at IS NOT NULL GROUP BY target
        UNION ALL SELECT 'holder ' || role || ' ' || principal, -count(*) FROM lease WHERE due_at IS NOT NULL
            GROUP BY role, principal
    ) GROUP BY what HAVING sum(live) <> 0 LIMIT 1";
    let differs: Option<String> = connection
        .query_row(DIFFERENCE, [], |row| row.get(0))
        .optional()
        .map_err(|error| unreadable(path, error))?;
    match differs {
        None => Ok(()),
        Some(what) => Err(broken(path, &format!("counts other live leases for {what} than it has"))),
    }
}

/// What entries are found by must belong to entries.
fn keys_agree(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    const STRAY: &str = "SELECT kind || '/' || id FROM entry_key
        WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.kind = entry_key.kind AND entry.id = entry_key.id) LIMIT 1";
    let stray: Option<String> = connection
        .query_row(STRAY, [], |row| row.get(0))
        .optional()
        .map_err(|error| unreadable(path, error))?;
    match stray {
        None => Ok(()),
        Some(what) => Err(broken(path, &format!("finds {what}, which is not there"))),
    }
}

fn ask(connection: &Connection, path: &Path, sql: &str) -> Result<String, StoreError> {
    connection.query_row(sql, [], |row| row.get(0)).map_err(|error| unreadable(path, error))
}

fn broken(path: &Path, what: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{} {what}", path.display()))
}

fn unreadable(path: &Path, cause: rusqlite::Error) -> StoreError {
    let error = read_failed(cause);
    let message = format!("{}: {}", path.display(), error.message);
    StoreError { message, ..error }
}

fn unwritable(path: &Path, cause: io::Error) -> StoreError {
    let message = format!("{} cannot be written", path.display());
    StoreError::new(StoreErrorKind::NotWritable, message).caused_by(cause)
}

/// A copy that does not have its name yet. Removed when dropped.
pub struct Partial(PathBuf);

impl Partial {
    /// A copy of the store at `from`, in the directory of `to`.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn of(from: &Path, to: &Path) -> Result<Self, StoreError> {
        if !from.is_file() {
            let message = format!("there is no store at {}", from.display());
            return Err(StoreError::new(StoreErrorKind::Other, message));
        }
        let path = file::beside(to, &format!(".partial-{}", std::process::id()));
        let connection = file::open_reader(from)?;
        file::check_identity(&connection, from)?;
        // SQLite fills an empty file, and would make one that others can read.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|error| unwritable(&path, error))?;
        let partial = Self(path);
        let name = partial.0.to_str().ok_or_else(|| {
            StoreError::new(StoreErrorKind::NotWritable, format!("{} is no text", partial.0.display()))
        })?;
        connection.execute("VACUUM INTO ?1", [name]).map_err(|error| {
            let error = super::failure::write_failed(error);
            let message = format!("the store cannot be copied to {}: {}", to.display(), error.message);
            StoreError { message, ..error }
        })?;
        Ok(partial)
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Has it on disk under its name, which must be free.
    fn finish(self, to: &Path) -> Result<(), StoreError> {
        self.sync()?;
        fs::hard_link(&self.0, to).map_err(|error| unwritable(to, error))?;
        file::sync_directory(to).map_err(|error| unwritable(to, error))
    }

    /// Has it on disk in the place of `store`, in one step. Whatever was there is gone unless it has another name.
    fn replace(self, store: &Path) -> Result<(), StoreError> {
        self.sync()?;
        fs::rename(&self.0, store).map_err(|error| unwritable(store, error))?;
        file::sync_directory(store).map_err(|error| unwritable(store, error))
    }

    fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.0).and_then(|file| file.sync_all()).map_err(|error| unwritable(&self.0, error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", ".lock"] {
            // Whatever of it is there; most of it never is.
            let _ = fs::remove_file(file::beside(&self.0, suffix));
        }
    }
}

/// A store that nobody serves from, to be replaced.
pub struct Vacant {
    path: PathBuf,
    _hold: Hold,
}

impl Vacant {
    /// Takes hold of the store at `path`, if there is one.
    ///
    /// # Errors
    /// Kind [`StoreErrorKind::Held`] when a server runs on it.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self { _hold: file::hold(&path)?, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its audit log ends, if that can be read.
    pub fn head(&self) -> Option<ChainHead> {
        let connection = self.path.is_file().then(|| file::open_reader(&self.path).ok()).flatten()?;
        audit::read_head(&connection).ok()
    }

    /// Puts a checked copy in its place; what was there is kept under a name that ends in `suffix`. At no moment is there a half of
    /// either. Returns what the former store is called now, if there was one.
    ///
    /// # Errors
    /// When something cannot be written; then what was there is there still.
    pub fn fill(self, copy: Partial, suffix: &str) -> Result<Option<PathBuf>, StoreError> {
        let aside = file::beside(&self.path, suffix);
        if !self.path.exists() {
            copy.replace(&self.path)?;
            return Ok(None);
        }
        if let Err(error) = settle(&self.path) {
            // It may be restored because it is damaged.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the present store's log could not be written back"
            );
        }
        fs::hard_link(&self.path, &aside).map_err(|error| unwritable(&aside, error))?;
        for part in ["-wal", "-shm"] {
            let (from, mut to) = (file::beside(&self.path, part), OsString::from(&aside));
            to.push(part);
            match fs::rename(&from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(unwritable(&from, error));
                }
                _ => {}
            }
        }
        copy.replace(&self.path)?;
        Ok(Some(aside))
    }
}

/// Writes back what is only in the write-ahead log, so that the file alone is all of the store.
fn settle(path: &Path) -> Result<(), StoreError> {
    let connection = Connection::open(path).map_err(|error| unreadable(path, error))?;
    let settled = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    match settled {
        Ok(0) => Ok(()),
        Ok(_) => Err(broken(path, "is being read by somebody")),
        Err(error) => Err(unreadable(path, error)),
    }
}
