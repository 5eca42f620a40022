//! One file of an archive: JSON lines, each a record as it was sealed, the first of which follows the last of the segment before.
//!
//! A segment has its name only when all of it is on disk. Its name says what is in it, `audit-CHAIN-FIRST-LAST.jsonl`, with numbers of
//! as many digits, so that names are in the order of their records.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::RetentionError;
use crate::audit::{ChainHead, Record, Verifier};

/// A segment that is whole and on disk.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Its name in the archive's directory.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its last record.
    pub(super) last: ChainHead,
}

/// What is in the place of the next segment.
pub(super) enum Segment {
    /// One that was written before a crash, and verified.
    There(Written),
    /// One that is to be written.
    New(Box<New>),
}

/// A segment that is being written.
pub(super) struct New {
    directory: PathBuf,
    chain: String,
    after: ChainHead,
    verifier: Verifier,
    file: File,
    partial: PathBuf,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RetentionError {
    let path = path.to_owned();
    move |source| RetentionError::Io { path, source }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RetentionError> + Send + 'static,
) -> Result<T, RetentionError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(failed(Path::new("-"))(io::Error::other(error))))
}

fn prefix(chain: &str, after: ChainHead) -> String {
    format!("audit-{chain}-{:012}-", after.seq.saturating_add(1))
}

impl Segment {
    /// The segment of a chain behind a record. Its directory is made (mode 0700) when there is none.
    pub(super) async fn begin(
        directory: PathBuf,
        chain: String,
        after: ChainHead,
    ) -> Result<Self, RetentionError> {
        blocking(move || begin(directory, chain, after)).await
    }
}

fn begin(directory: PathBuf, chain: String, after: ChainHead) -> Result<Segment, RetentionError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed(&directory))?;
    let prefix = prefix(&chain, after);
    for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
        let name = entry.map_err(failed(&directory))?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(&prefix)) else { continue };
        let path = directory.join(name);
        let last = read_back(&path, after).map_err(|_| RetentionError::Foreign { path: path.clone() })?;
        return Ok(Segment::There(Written { name: name.to_owned(), path, last }));
    }
    let partial = directory.join(format!(".audit-{chain}.partial"));
    // What a crash left of an earlier attempt is nowhere referred to.
    let _ = fs::remove_file(&partial);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    let file = file.map_err(failed(&partial))?;
    Ok(Segment::New(Box::new(New {
        directory,
        chain,
        after,
        verifier: Verifier::after(after),
        file,
        partial,
    })))
}

/// The last record of a segment that follows a record, every one of them verified.
fn read_back(path: &Path, after: ChainHead) -> Result<ChainHead, RetentionError> {
    let file = File::open(path).map_err(failed(path))?;
    let mut verifier = Verifier::after(after);
    verifier.lines(BufReader::new(file))?;
    Ok(verifier.end())
}

impl New {
    /// The last record that was written, or the one before the first.
    pub(super) fn head(&self) -> ChainHead {
        self.verifier.end()
    }

    /// How many records were written.
    pub(super) fn records(&self) -> u64 {
        self.verifier.last_seq().saturating_sub(self.after.seq)
    }

    /// Writes the next records.
    pub(super) async fn write(
        mut self: Box<Self>,
        records: Vec<Record>,
    ) -> Result<Box<Self>, RetentionError> {
        blocking(move || {
            let mut lines = Vec::new();
            for record in &records {
                self.verifier.record(record)?;
                let line = serde_json::to_writer(&mut lines, record);
                line.map_err(|error| failed(&self.partial)(error.into()))?;
                lines.push(b'\n');
            }
            self.file.write_all(&lines).map_err(failed(&self.partial))?;
            Ok(self)
        })
        .await
    }

    /// Has it on disk under its name, which nothing else has.
    pub(super) async fn finish(self) -> Result<Written, RetentionError> {
        blocking(move || {
            let last = self.verifier.end();
            let name = format!("{}{:012}.jsonl", prefix(&self.chain, self.after), last.seq);
            let path = self.directory.join(&name);
            self.file.sync_all().map_err(failed(&self.partial))?;
            // What the disk has is what counts.
            if read_back(&self.partial, self.after)? != last {
                return Err(RetentionError::Foreign { path: self.partial.clone() });
            }
            // A link, unlike a change of name, takes no other file's place.
            fs::hard_link(&self.partial, &path).map_err(failed(&path))?;
            fs::remove_file(&self.partial).map_err(failed(&self.partial))?;
            File::open(&self.directory)
                .and_then(|directory| directory.sync_all())
                .map_err(failed(&self.directory))?;
            Ok(Written { name, path, last })
        })
        .await
    }

    /// Gives it up.
    pub(super) async fn discard(self) {
        let partial = self.partial.clone();
        // Should it stay: the next attempt removes it.
        let _ = blocking(move || fs::remove_file(&partial).map_err(failed(&partial))).await;
    }
}
