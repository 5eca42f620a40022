//! The one thread that writes. It takes the commands that are waiting, runs each within a savepoint of one transaction,
//! commits, and only then answers: many callers share one wait for the disk.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, Builder, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::{broadcast, oneshot, watch};

use super::{
    audit,
    failure::{Failure, OperationError, closed},
    file::Hold,
    gathering::Gathering,
    token_cache::TokenCache,
};
use crate::{
    audit::ChainHead,
    crash::{self, Point},
    domain::Lease,
    metrics::{CommitMeter, Stopwatch},
    store::{EntryKind, StoreError, StoreErrorKind},
};

/// What one command sees of the transaction it runs in.
pub(super) struct Ledger<'c> {
    /// The writer's connection, inside a savepoint of this command.
    pub(super) connection: &'c Connection,
    /// The end of the audit chain, with what this transaction appended.
    pub(super) head: ChainHead,
    /// Leases that were begun and wait for their creation.
    pub(super) under_way: usize,
    changed: Vec<Lease>,
    entries: Vec<(EntryKind, String)>,
    tokens: &'c TokenCache,
    tokens_change: bool,
}

impl Ledger<'_> {
    /// Says that this transaction changes a token: nobody finds one in memory until it has ended.
    pub(super) fn change_tokens(&mut self) {
        self.tokens.bar();
        self.tokens_change = true;
    }

    /// Has the lease announced once the transaction is durable.
    pub(super) fn announce(&mut self, lease: &Lease) {
        self.changed.push(lease.clone());
    }

    /// Has the change of an entry announced once the transaction is durable.
    pub(super) fn announce_entry(&mut self, kind: EntryKind, id: &str) {
        self.entries.push((kind, id.to_owned()));
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}

/// Something to do for a caller who waits.
trait Command: Send {
    /// Does it. An error means that nothing of it may remain; it names the store's own failure, if it was that.
    fn run(&mut self, ledger: &mut Ledger<'_>) -> Result<(), Option<Failure>>;

    /// Tells the caller, now that the transaction is durable or has failed.
    fn settle(self: Box<Self>, failed: Option<&Failure>);
}

struct Job<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Command for Job<F, T, E>
where
    F: FnOnce(&mut Ledger<'_>) -> Result<T, E> + Send,
    T: Send,
    E: OperationError,
{
    fn run(&mut self, ledger: &mut Ledger<'_>) -> Result<(), Option<Failure>> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = work(ledger);
        let outcome = match &result {
            Ok(_) => Ok(()),
            Err(error) => Err(error.store_error().map(Failure::shared)),
        };
        self.result = Some(result);
        outcome
    }

    fn settle(self: Box<Self>, failed: Option<&Failure>) {
        let result = match (self.result, failed) {
            (Some(result), None) => result,
            (Some(Err(error)), Some(_)) if error.store_error().is_some() => Err(error),
            // A refusal may rest on what did not become durable: it is void as well.
            (_, Some(failure)) => Err(failure.to_error().into()),
            (None, None) => Err(closed().into()),
        };
        // A caller that no longer waits does not need the answer.
        let _ = self.reply.send(result);
    }
}

/// Where durable changes are made known.
#[derive(Debug, Clone)]
pub(super) struct Announcements {
    /// Changed leases.
    pub(super) leases: broadcast::Sender<Lease>,
    /// Changed entries.
    pub(super) entries: broadcast::Sender<(EntryKind, String)>,
    /// The sequence number of the last audit record.
    pub(super) appended: watch::Sender<u64>,
}

/// What the writing thread begins with, besides the file.
pub(super) struct WriterState {
    /// The end of the audit chain.
    pub(super) head: ChainHead,
    /// Where changes are made known.
    pub(super) announcements: Announcements,
    /// The tokens in memory.
    pub(super) tokens: Arc<TokenCache>,
    /// How long commits take.
    pub(super) commits: Arc<CommitMeter>,
}

/// The handle on the writing thread.
pub(super) struct Writer {
    queue: RwLock<Option<SyncSender<Box<dyn Command>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `waiting` bounds the queue, `batch` the commands in one transaction.
    pub(super) fn start(
        connection: Connection,
        hold: Hold,
        state: WriterState,
        (waiting, batch): (usize, usize),
    ) -> Result<Self, StoreError> {
        let (queue, commands) = sync_channel(waiting);
        let run = move || {
            let mut thread = WriterThread { connection, state, gathering: Gathering::new(batch) };
            thread.serve(&commands);
            // In this order: nobody else may open the file before it is closed here.
            drop(thread);
            drop(hold);
        };
        let thread = Builder::new().name("store-writer".to_owned()).spawn(run).map_err(|error| {
            StoreError::new(StoreErrorKind::Other, "the store's thread cannot be started").caused_by(error)
        })?;
        Ok(Self { queue: RwLock::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Has `work` done within a transaction, and returns once that is durable. The work is done even when the caller
    /// stops waiting.
    pub(super) async fn run<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Ledger<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: OperationError,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Job { work: Some(work), result: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    fn enqueue(&self, command: Box<dyn Command>) -> Result<(), StoreError> {
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().ok_or_else(closed)?.try_send(command) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(closed()),
            Err(TrySendError::Full(_)) => {
                Err(StoreError::new(StoreErrorKind::Busy, "too many writes are waiting; try again shortly"))
            }
        }
    }

    /// Takes no more commands; the thread ends once it has done those it has.
    pub(super) fn shut(&self) -> Option<JoinHandle<()>> {
        self.queue.write().unwrap_or_else(PoisonError::into_inner).take();
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct WriterThread {
    connection: Connection,
    state: WriterState,
    gathering: Gathering,
}

impl WriterThread {
    fn serve(&mut self, commands: &Receiver<Box<dyn Command>>) {
        while let Some(group) = self.gathering.next(commands, thread::sleep) {
            let mut waiting = group.into_iter();
            while waiting.len() > 0 {
                self.transaction(&mut waiting);
            }
        }
    }

    /// Runs commands in one transaction: all that wait, or those up to one that made SQLite give the transaction up.
    fn transaction(&mut self, waiting: &mut std::vec::IntoIter<Box<dyn Command>>) {
        let (tokens, watch) = (Arc::clone(&self.state.tokens), Stopwatch::start());
        let mut ledger = Ledger {
            connection: &self.connection,
            head: self.state.head,
            under_way: self.gathering.under_way,
            changed: Vec::new(),
            entries: Vec::new(),
            tokens: &tokens,
            tokens_change: false,
        };
        if let Err(error) = ledger.execute("BEGIN IMMEDIATE") {
            return settle(waiting, Some(&Failure::of_write(error)));
        }
        let mut done = Vec::with_capacity(waiting.len());
        let mut outcome = Ok(());
        for mut command in waiting {
            outcome = step(&mut *command, &mut ledger);
            done.push(command);
            if outcome.is_err() {
                break;
            }
        }
        crash::here(Point::StoreCommitting);
        let committed = outcome.and_then(|()| ledger.execute("COMMIT").map_err(Failure::of_write));
        let committed = committed.inspect(|()| crash::here(Point::StoreCommitted));
        let Ledger { head, under_way, changed, entries, tokens_change, .. } = ledger;
        match &committed {
            Ok(()) => {
                self.gathering.under_way = under_way;
                let commands = u32::try_from(done.len()).unwrap_or(u32::MAX);
                self.state.commits.committed(commands, watch.elapsed());
                self.publish(head, changed, entries);
            }
            Err(failure) => self.undo(failure),
        }
        // Before anybody is told: whoever knows of a change sees it.
        if tokens_change {
            tokens.open();
        }
        settle(done, committed.err().as_ref());
    }

    fn publish(&mut self, head: ChainHead, changed: Vec<Lease>, entries: Vec<(EntryKind, String)>) {
        for lease in changed {
            // Nobody listening is fine.
            let _ = self.state.announcements.leases.send(lease);
        }
        for entry in entries {
            let _ = self.state.announcements.entries.send(entry);
        }
        if head.seq != self.state.head.seq {
            self.state.announcements.appended.send_replace(head.seq);
        }
        self.state.head = head;
    }

    /// Leaves the connection outside any transaction, and believes the file rather than memory from here on.
    fn undo(&mut self, failure: &Failure) {
        tracing::error!(error = %failure.to_error(), "a store transaction failed and was undone");
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the store cannot roll back");
        }
        match audit::read_head(&self.connection) {
            Ok(head) => self.state.head = head,
            Err(error) => tracing::error!(%error, "the end of the audit log cannot be read"),
        }
    }
}

fn settle(commands: impl IntoIterator<Item = Box<dyn Command>>, failed: Option<&Failure>) {
    for command in commands {
        command.settle(failed);
    }
}

/// Runs a command within a savepoint. An error means that the whole transaction is lost.
fn step(command: &mut dyn Command, ledger: &mut Ledger<'_>) -> Result<(), Failure> {
    ledger.execute("SAVEPOINT command").map_err(Failure::of_write)?;
    let (head, announced, entries) = (ledger.head, ledger.changed.len(), ledger.entries.len());
    let under_way = ledger.under_way;
    let Err(failure) = command.run(ledger) else {
        return ledger.execute("RELEASE command").map_err(Failure::of_write);
    };
    // Some failures (a full disk among them) make SQLite roll back everything by itself.
    if ledger.connection.is_autocommit() {
        return Err(failure.unwrap_or_else(Failure::lost));
    }
    (ledger.head, ledger.under_way) = (head, under_way);
    ledger.changed.truncate(announced);
    ledger.entries.truncate(entries);
    ledger.execute("ROLLBACK TO command").map_err(Failure::of_write)?;
    ledger.execute("RELEASE command").map_err(Failure::of_write)
}
