//! The store that several processes share: a schema of a PostgreSQL database.
//!
//! Each process writes through one task that commits in groups (`writer`) and asks through a few sessions of its own
//! (`readers`). It has a name among its fellows, a replica's; under that name it keeps an audit chain of its own, counts live
//! leases in rows of its own, and claims due leases. Only one process may write under a name: whoever starts under it shuts
//! an earlier one out. What a row looks like is known here and nowhere else; what a lease may become is not known here at all.

mod audit;
mod columns;
mod entry;
mod entry_write;
mod exchange;
mod failure;
mod lease;
mod lease_query;
mod lease_row;
mod ledger;
mod listener;
mod migrate;
mod notice;
mod offline;
mod readers;
mod retention;
mod row;
mod secret;
mod server;
mod session;
mod settings;
mod statements;
mod token;
mod writer;

pub use offline::{export, import, read_secret, verify_chains};
pub use settings::{
    Address, AddressError, PostgresOptions, PostgresSettings, ReplicaName, ReplicaNameError, SchemaName,
    SchemaNameError, is_address,
};

use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    exchange::Writing,
    failure::Failure,
    listener::ListenerParts,
    readers::Readers,
    row::{digest, plain, unsigned},
    session::Session,
    writer::{Announcements, Writer, WriterParts},
};
use crate::{
    audit::{ChainHead, Draft, Record},
    clock::Clock,
    domain::InstanceId,
    metrics::CommitMeter,
    store::{DueElsewhere, Store, StoreError},
};

/// The shared store. Dropping it lets the writes under way finish in the background; `close` waits for them.
pub struct PostgresStore {
    writer: Writer,
    readers: Arc<Readers>,
    writing: Writing,
    announcements: Announcements,
    due_elsewhere: broadcast::Sender<DueElsewhere>,
    instance: InstanceId,
    commits: Arc<CommitMeter>,
    listening: CancellationToken,
    _listener: DropGuard,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("writing", &self.writing).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store, making or updating its schema as needed. An earlier process under the same replica's name can write
    /// no more from here on.
    ///
    /// # Errors
    /// Kind [`Unavailable`] when the server does not answer or refuses the account, [`Corrupt`] when the schema is another
    /// program's or was written by a newer version, [`NotWritable`] when a privilege is lacking.
    ///
    /// [`Unavailable`]: crate::store::StoreErrorKind::Unavailable
    /// [`Corrupt`]: crate::store::StoreErrorKind::Corrupt
    /// [`NotWritable`]: crate::store::StoreErrorKind::NotWritable
    pub async fn open(settings: PostgresSettings, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let begun = Beginning::of(&settings, &*clock).await.map_err(|failure| failure.to_error())?;
        let settings = Arc::new(settings);
        let (schema, replica) = (settings.schema.clone(), settings.replica.as_str().to_owned());
        let writing = Writing { replica, epoch: begun.epoch, schema };
        let changes = settings.options.changes.max(1);
        let announcements = Announcements {
            leases: broadcast::Sender::new(changes),
            entries: broadcast::Sender::new(changes),
            appended: watch::Sender::new(begun.head.seq),
            offset: watch::Sender::new(begun.offset),
        };
        let readers = Arc::new(Readers::new(Arc::clone(&settings)));
        let due_elsewhere = broadcast::Sender::new(changes);
        let listening = CancellationToken::new();
        let listener = ListenerParts {
            settings: Arc::clone(&settings),
            writing: writing.clone(),
            clock: Arc::clone(&clock),
            readers: Arc::clone(&readers),
            announcements: announcements.clone(),
            due: due_elsewhere.clone(),
        };
        tokio::spawn(listener.run(listening.clone()));
        let commits = Arc::new(CommitMeter::default());
        let parts = WriterParts {
            settings,
            writing: writing.clone(),
            clock,
            announcements: announcements.clone(),
            commits: Arc::clone(&commits),
        };
        Ok(Self {
            writer: Writer::start(parts),
            readers,
            writing,
            announcements,
            due_elsewhere,
            instance: begun.instance,
            commits,
            _listener: listening.clone().drop_guard(),
            listening,
        })
    }
}

/// What a process finds when it starts under its name.
struct Beginning {
    epoch: i64,
    head: ChainHead,
    instance: InstanceId,
    offset: SignedDuration,
}

impl Beginning {
    async fn of(settings: &PostgresSettings, clock: &dyn Clock) -> Result<Self, Failure> {
        let session = Session::open(settings, "opener").await?;
        migrate::migrate(&session, settings).await?;
        let replica = settings.replica.as_str();
        let raised = session
            .query(
                "INSERT INTO chain (replica, epoch, written, seq, hash) VALUES ($1, 1, 0, 0, $2)
                 ON CONFLICT (replica) DO UPDATE SET epoch = chain.epoch + 1 RETURNING epoch, seq, hash",
                &[&replica, &ChainHead::GENESIS.hash.0.as_slice()],
            )
            .await?;
        let row = raised.first().ok_or_else(Failure::disconnected)?;
        let head = ChainHead { seq: unsigned(row, 1)?, hash: digest(row, 2)? };
        let epoch = plain(row, 0)?;
        let instance = server::instance(&session).await?;
        let offset = measure(&session, clock).await?;
        Ok(Self { epoch, head, instance, offset })
    }
}

/// The server's clock minus ours; the quicker of two answers, whose statement was prepared before.
async fn measure(session: &Session, clock: &dyn Clock) -> Result<SignedDuration, Failure> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    session.bounded(session.prepared(sql)).await?;
    let asked = clock.now();
    let rows = session.query(sql, &[]).await?;
    let answered = clock.now();
    let theirs = rows.first().map(|row| plain(row, 0)).transpose()?.unwrap_or(0);
    Ok(exchange::offset(theirs, asked, answered).unwrap_or(SignedDuration::ZERO))
}

#[async_trait]
impl Store for PostgresStore {
    fn instance(&self) -> InstanceId {
        self.instance
    }

    async fn record(&self, draft: Draft) -> Result<(), StoreError> {
        self.writer.run(audit::Note(draft)).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.writer.run(audit::Probe).await
    }

    fn commits(&self) -> Option<&CommitMeter> {
        Some(&self.commits)
    }

    fn clock_offset(&self) -> Option<watch::Receiver<SignedDuration>> {
        Some(self.announcements.offset.subscribe())
    }

    fn replica(&self) -> Option<String> {
        Some(self.writing.replica.clone())
    }

    async fn other_chains(&self) -> Result<Vec<(String, ChainHead)>, StoreError> {
        let chains = audit::chains(&self.readers).await?;
        let others = chains.into_iter().filter(|(replica, head)| {
            replica.as_str() != self.writing.replica && *head != ChainHead::GENESIS
        });
        Ok(others.map(|(replica, head)| (replica.as_str().to_owned(), head)).collect())
    }

    async fn read_chain(&self, replica: &str, after: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        audit::read(&self.readers, replica, after, limit).await
    }

    async fn close(&self) {
        self.listening.cancel();
        self.writer.close().await;
        self.readers.close().await;
    }
}
