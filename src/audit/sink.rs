//! The log as JSON lines in a file, for whoever collects logs: a copy that follows the store's log.
//!
//! The file is a continuation of the store's chain and nothing else. After a crash the sink goes on behind the last whole
//! line; a line torn by the crash is cut off. A file that holds anything but records of this log is left as it is and
//! refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{AuditLog, AuditReadError, ChainHead, Record};

/// Records written and synced together.
const BATCH: usize = 500;

/// How long to wait before trying again what did not work: a full disk, a store that cannot be read.
const RETRY: Duration = Duration::from_secs(1);

/// How far from the end the last line is looked for; no record is longer.
const LONGEST_LINE: u64 = 1 << 20;

/// Why a file cannot serve as the log's copy.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It cannot be opened, read or written.
    #[error("the audit file {} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it holds is not this log.
    #[error(
        "the audit file {} {what}; it was left as it is: move it away, or name another file",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The store's log cannot be read.
    #[error(transparent)]
    Log(#[from] AuditReadError),
}

/// Has the file opened anew by its path, after it was renamed by whoever rotates logs.
#[derive(Debug, Clone)]
pub struct Reopener(Arc<Notify>);

impl Reopener {
    /// Asks for it. What is under way is finished in the old file; the new one goes on where that ends.
    pub fn reopen(&self) {
        self.0.notify_one();
    }
}

/// How far a file is: the sequence number of the last record in it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The sequence number of the last record in the file.
    pub fn last_seq(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Copies the store's log to a file.
pub struct FileSink {
    path: PathBuf,
    log: Arc<dyn AuditLog>,
    file: Arc<File>,
    written: u64,
    progress: Progress,
    reopen: Arc<Notify>,
}

impl std::fmt::Debug for FileSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSink")
            .field("path", &self.path)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl FileSink {
    /// Opens the file, making it (mode 0600) when there is none, and finds out where to go on. A file without records gets
    /// the whole log.
    ///
    /// # Errors
    /// [`SinkError`]; the file is as it was then.
    pub async fn open(path: &Path, log: Arc<dyn AuditLog>) -> Result<Self, SinkError> {
        let (file, tail) = blocking(path, open_and_look).await?;
        check_against(&tail, path, &*log).await?;
        let whole = tail.whole;
        if whole < tail.length {
            tracing::warn!(path = %path.display(), bytes = tail.length - whole, "cut a torn line off the audit file");
            file.set_len(whole).map_err(|source| SinkError::Io { path: path.to_owned(), source })?;
        }
        let written = tail.last.map_or(0, |record| record.seq);
        let progress = Progress(Arc::new(AtomicU64::new(written)));
        let (path, file) = (path.to_owned(), Arc::new(file));
        Ok(Self { path, log, file, written, progress, reopen: Arc::default() })
    }

    /// A handle to see how far it is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// A handle to have the file opened anew.
    pub fn reopener(&self) -> Reopener {
        Reopener(Arc::clone(&self.reopen))
    }

    /// Follows the log until `stop`, and returns once everything in the log is in the file. What fails is tried again,
    /// loudly; after `stop` only once.
    ///
    /// # Errors
    /// When the last of the log could not be written before the end.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), SinkError> {
        let (log, reopen) = (Arc::clone(&self.log), Arc::clone(&self.reopen));
        loop {
            let stopping = stop.is_cancelled();
            match self.copy_some().await {
                Ok(0) if stopping => return Ok(()),
                Ok(0) => {
                    tokio::select! {
                        () = log.appended(self.written) => {}
                        () = reopen.notified() => self.reopen_or_keep().await,
                        () = stop.cancelled() => {}
                    }
                }
                Ok(_) => {}
                Err(error) if stopping => return Err(error),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the audit file lags behind; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = reopen.notified() => self.reopen_or_keep().await,
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Writes the next records; how many.
    async fn copy_some(&mut self) -> Result<usize, SinkError> {
        let records = self.log.read_after(self.written, BATCH).await?;
        let Some(last) = records.last().map(|record| record.seq) else { return Ok(0) };
        let count = records.len();
        let file = Arc::clone(&self.file);
        blocking(&self.path, move |path| append(&file, &records).map_err(|source| io_error(path, source)))
            .await?;
        self.written = last;
        self.progress.0.store(last, Ordering::Relaxed);
        Ok(count)
    }

    async fn reopen_or_keep(&mut self) {
        let opened = blocking(&self.path, |path| open(path).map_err(|source| io_error(path, source))).await;
        match opened {
            Ok(file) => self.file = Arc::new(file),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the audit file cannot be opened anew; the old one stays in use");
            }
        }
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let owned = path.to_owned();
    tokio::task::spawn_blocking(move || work(&owned))
        .await
        .unwrap_or_else(|error| Err(io_error(path, io::Error::other(error))))
}

fn io_error(path: &Path, source: io::Error) -> SinkError {
    SinkError::Io { path: path.to_owned(), source }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Appends lines and has them on disk; when that fails, leaves the file at its former end.
fn append(mut file: &File, records: &[Record]) -> io::Result<()> {
    let mut lines = Vec::with_capacity(records.len() * 512);
    for record in records {
        serde_json::to_writer(&mut lines, record)?;
        lines.push(b'\n');
    }
    let before = file.metadata()?.len();
    file.write_all(&lines).and_then(|()| file.sync_data()).inspect_err(|_| {
        if let Err(error) = file.set_len(before) {
            tracing::error!(%error, "a torn line stays in the audit file");
        }
    })
}

/// How a file ends.
struct Tail {
    length: u64,
    /// Bytes up to and with the last line break.
    whole: u64,
    last: Option<Record>,
    /// How what follows the last line break begins.
    torn: Vec<u8>,
}

fn open_and_look(path: &Path) -> Result<(File, Tail), SinkError> {
    let file = open(path).map_err(|source| io_error(path, source))?;
    let tail = look(&file).map_err(|source| io_error(path, source))?.ok_or_else(|| SinkError::Foreign {
        path: path.to_owned(),
        what: "ends with something that is not an audit record".to_owned(),
    })?;
    Ok((file, tail))
}

/// Reads the last whole line; `None` when it is no record.
fn look(mut file: &File) -> io::Result<Option<Tail>> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(2 * LONGEST_LINE);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(2 * LONGEST_LINE).read_to_end(&mut end)?;
    let Some(line_break) = end.iter().rposition(|byte| *byte == b'\n') else {
        return Ok((start == 0).then_some(Tail { length, whole: 0, last: None, torn: end }));
    };
    let (lines, torn) = end.split_at(line_break + 1);
    let whole = start + lines.len() as u64;
    let line = lines.strip_suffix(b"\n").unwrap_or(lines).rsplit(|byte| *byte == b'\n').next();
    let record: Option<Record> = line.and_then(|line| serde_json::from_slice(line).ok());
    Ok(record.map(|last| Tail { length, whole, last: Some(last), torn: torn.to_vec() }))
}

/// Makes sure that what a file ends with is a part of this log.
async fn check_against(tail: &Tail, path: &Path, log: &dyn AuditLog) -> Result<(), SinkError> {
    let foreign = |what: String| SinkError::Foreign { path: path.to_owned(), what };
    let Some(last) = &tail.last else {
        let first_line: &[u8] = b"{\"seq\":";
        let ours = tail.torn.iter().zip(first_line).all(|(found, expected)| found == expected);
        return if ours { Ok(()) } else { Err(foreign("does not hold audit records".to_owned())) };
    };
    let head = ChainHead { seq: last.seq, hash: last.hash };
    match log.read_after(last.seq.saturating_sub(1), 1).await?.first() {
        Some(stored) if stored == last => Ok(()),
        Some(stored) if stored.seq == last.seq => Err(foreign(format!(
            "ends with a record {} that is not the one in the store (its hash there: {})",
            head,
            String::from(stored.hash)
        ))),
        _ => Err(foreign(format!("ends with record {head}, which the store does not have"))),
    }
}
