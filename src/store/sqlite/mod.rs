//! The embedded store: one SQLite file, held by one process.
//!
//! One thread writes and commits in groups (`writer`); a few read-only connections answer questions (`readers`).
//! The file is in WAL mode with `synchronous = FULL`: a reply leaves only after the disk has the change. What a row looks
//! like is known here and nowhere else; what a lease may become is not known here at all.

mod audit;
mod backup;
mod entry;
mod failure;
mod file;
mod gathering;
mod lease;
mod lease_query;
mod lease_row;
mod offline;
mod readers;
mod retention;
mod row;
mod secret;
mod server;
mod tally;
mod token;
mod token_cache;
mod transfer;
mod writer;

pub use backup::{Contents, Partial, Vacant, back_up, check};
pub use offline::{read_secret, verify_audit, verify_chains};
pub use transfer::{export, import};

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use self::{
    failure::{read_failed, write_failed},
    readers::Readers,
    token_cache::TokenCache,
    writer::{Announcements, Ledger, Writer, WriterState},
};
use crate::{
    audit::{ChainHead, Draft},
    domain::InstanceId,
    metrics::CommitMeter,
    store::{Store, StoreError, transfer::EMBEDDED},
};

/// Limits of a [`SqliteStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Writes that may wait; beyond that callers are told that it is busy.
    pub queue: usize,
    /// Writes in one transaction.
    pub batch: usize,
    /// Connections that read.
    pub readers: u32,
    /// Changes a receiver of `changes()` may be behind before it must read again.
    pub changes: usize,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { queue: 4096, batch: 256, readers: 4, changes: 4096 }
    }
}

/// The embedded store. Dropping it lets the writes under way finish in the background; `close` waits for them.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    announcements: Announcements,
    tokens: Arc<TokenCache>,
    instance: InstanceId,
    commits: Arc<CommitMeter>,
    /// Chains of processes whose shared store was moved here.
    former: Vec<(String, ChainHead)>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the store at `path`, making the file (mode 0600) when there is none. Its directory must exist. Blocks for
    /// as long as the disk takes.
    ///
    /// # Errors
    /// Kind [`Held`] when another process has it, [`Corrupt`] when the file is damaged, another program's or written by a
    /// newer version, [`NotWritable`] when it cannot be written.
    ///
    /// [`Held`]: crate::store::StoreErrorKind::Held
    /// [`Corrupt`]: crate::store::StoreErrorKind::Corrupt
    /// [`NotWritable`]: crate::store::StoreErrorKind::NotWritable
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        // A link to the file must lead to the same lock.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let hold = file::hold(&path)?;
        let connection = file::open_writer(&path)?;
        let head = audit::read_head(&connection).map_err(read_failed)?;
        let instance = server::instance(&connection).map_err(read_failed)?;
        let former = audit::former_heads(&connection).map_err(read_failed)?;
        let announcements = Announcements {
            leases: broadcast::Sender::new(options.changes.max(1)),
            entries: broadcast::Sender::new(options.changes.max(1)),
            appended: watch::Sender::new(head.seq),
        };
        let bounds = (options.queue.max(1), options.batch.max(1));
        let tokens = Arc::new(TokenCache::default());
        let commits = Arc::new(CommitMeter::default());
        let state = WriterState {
            head,
            announcements: announcements.clone(),
            tokens: Arc::clone(&tokens),
            commits: Arc::clone(&commits),
        };
        let writer = Writer::start(connection, hold, state, bounds)?;
        let readers = Readers::new(path, options.readers.max(1));
        Ok(Self { writer, readers, announcements, tokens, instance, commits, former })
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn instance(&self) -> InstanceId {
        self.instance
    }

    async fn record(&self, draft: Draft) -> Result<(), StoreError> {
        self.writer.run(move |ledger| ledger.append(draft)).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.writer.run(|ledger| probe(ledger).map_err(write_failed)).await
    }

    fn commits(&self) -> Option<&CommitMeter> {
        Some(&self.commits)
    }

    fn replica(&self) -> Option<String> {
        (!self.former.is_empty()).then(|| EMBEDDED.to_owned())
    }

    async fn other_chains(&self) -> Result<Vec<(String, ChainHead)>, StoreError> {
        Ok(self.former.clone())
    }

    async fn close(&self) {
        self.tokens.bar();
        self.readers.close().await;
        if let Some(thread) = self.writer.shut() {
            let ended = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !ended.unwrap_or(false) {
                tracing::error!("the store's writer did not end well");
            }
        }
    }
}

/// Writes about as much as a lease does. The content must differ from what is there, and must stay: SQLite writes neither
/// what is the same already nor what is free again by the end of the transaction.
fn probe(ledger: &mut Ledger<'_>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO probe (id, room) VALUES (1, randomblob(32768))
               ON CONFLICT DO UPDATE SET room = excluded.room";
    ledger.connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests;
