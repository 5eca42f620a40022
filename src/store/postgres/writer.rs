//! The one task that writes. It takes the commands that are waiting, has them share one transaction, commits, and only then
//! answers: many callers share one wait for the server.
//!
//! A transaction begins by locking this process's row of `chain`. When that row has another epoch, another process serves
//! under this one's name, and nothing is written any more. When the connection is lost around the commit, the row tells
//! whether it was committed: nobody is answered before that is known.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use jiff::SignedDuration;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    entry_write::EntryName,
    exchange::{self, Committed, Opened, Writing},
    failure::{Failure, OperationError, closed},
    ledger::{Ledger, Needs},
    session::Session,
    settings::PostgresSettings,
    statements::Statements,
};
use crate::{
    audit::ChainHead,
    clock::Clock,
    crash::{self, Point},
    domain::Lease,
    metrics::{CommitMeter, Stopwatch},
    store::{StoreError, StoreErrorKind},
};

/// How often the same transaction is tried while others stand in its way.
const ATTEMPTS: u32 = 6;

/// How long to wait before asking again what became of a commit.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How long closing waits to learn what became of a commit.
const LAST_WORD: Duration = Duration::from_secs(5);

/// A change of the measured offset that is worth telling.
const OFFSET_STEP: SignedDuration = SignedDuration::from_millis(20);

/// Something to be done within a transaction. It may be run again, from the beginning, after a transaction was undone.
pub(super) trait Work: Send + 'static {
    /// What it brings.
    type Output: Send + 'static;
    /// How it can fail.
    type Error: OperationError;

    /// Says what it needs locked and read.
    fn needs(&self, needs: &mut Needs);

    /// Decides. An error means that it changed nothing.
    fn run(&self, ledger: &mut Ledger<'_>) -> Result<Self::Output, Self::Error>;
}

/// Something to do for a caller who waits.
trait Command: Send {
    fn needs(&self, needs: &mut Needs);
    fn run(&mut self, ledger: &mut Ledger<'_>);
    /// Tells the caller, now that the transaction is durable or has failed.
    fn settle(self: Box<Self>, failed: Option<&Failure>);
}

struct Job<W: Work> {
    work: W,
    result: Option<Result<W::Output, W::Error>>,
    reply: oneshot::Sender<Result<W::Output, W::Error>>,
}

impl<W: Work> Command for Job<W> {
    fn needs(&self, needs: &mut Needs) {
        self.work.needs(needs);
    }

    fn run(&mut self, ledger: &mut Ledger<'_>) {
        self.result = Some(self.work.run(ledger));
    }

    fn settle(self: Box<Self>, failed: Option<&Failure>) {
        let result = match (self.result, failed) {
            (Some(result), None) => result,
            // A refusal may rest on what did not become durable: it is void as well.
            (_, Some(failure)) => Err(failure.to_error().into()),
            (None, None) => Err(closed().into()),
        };
        // A caller that no longer waits does not need the answer.
        let _ = self.reply.send(result);
    }
}

type Commands = Vec<Box<dyn Command>>;

/// Where durable changes are made known.
#[derive(Debug, Clone)]
pub(super) struct Announcements {
    /// Changed leases.
    pub(super) leases: broadcast::Sender<Lease>,
    /// Changed entries.
    pub(super) entries: broadcast::Sender<EntryName>,
    /// The sequence number of the last audit record of this process's chain.
    pub(super) appended: watch::Sender<u64>,
    /// The server's clock minus ours.
    pub(super) offset: watch::Sender<SignedDuration>,
}

/// What the writer works with.
pub(super) struct WriterParts {
    pub(super) settings: Arc<PostgresSettings>,
    pub(super) writing: Writing,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) announcements: Announcements,
    /// How long commits take.
    pub(super) commits: Arc<CommitMeter>,
}

/// The handle on the writing task.
pub(super) struct Writer {
    queue: RwLock<Option<mpsc::Sender<Box<dyn Command>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    closing: CancellationToken,
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(parts: WriterParts) -> Self {
        let options = parts.settings.options;
        let (queue, commands) = mpsc::channel(options.queue.max(1));
        let closing = CancellationToken::new();
        let writer = WriterTask {
            parts,
            session: None,
            lost: 0,
            batch: options.batch.max(1),
            closing: closing.clone(),
        };
        let task = tokio::spawn(writer.serve(commands));
        Self { queue: RwLock::new(Some(queue)), task: Mutex::new(Some(task)), closing }
    }

    /// Has `work` done within a transaction, and returns once that is durable. The work is done even when the caller
    /// stops waiting.
    pub(super) async fn run<W: Work>(&self, work: W) -> Result<W::Output, W::Error> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Job { work, result: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    fn enqueue(&self, command: Box<dyn Command>) -> Result<(), StoreError> {
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().ok_or_else(closed)?.try_send(command) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(StoreError::new(StoreErrorKind::Busy, "too many writes are waiting; try again shortly"))
            }
        }
    }

    /// Takes no more commands, and returns once those that wait are done.
    pub(super) async fn close(&self) {
        self.queue.write().unwrap_or_else(PoisonError::into_inner).take();
        self.closing.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the store's writer did not end well");
        }
    }
}

/// The writer's session.
struct Line {
    session: Session,
    statements: Statements,
}

/// What a transaction leaves behind.
struct Done {
    head: ChainHead,
    /// Whether the chain's end is a record of this transaction.
    appended: bool,
    announced: Vec<Lease>,
    announced_entries: Vec<EntryName>,
}

/// What came of one attempt.
enum Attempt {
    Done(Done),
    /// It was not committed.
    Undone(Failure),
    /// It may have been: the chain's end and its count of transactions, if it was.
    Unknown(Done, i64),
}

struct WriterTask {
    parts: WriterParts,
    session: Option<Line>,
    /// The server's process behind the session that was lost last.
    lost: i32,
    batch: usize,
    closing: CancellationToken,
}

impl WriterTask {
    async fn serve(mut self, mut commands: mpsc::Receiver<Box<dyn Command>>) {
        while let Some(first) = commands.recv().await {
            let mut waiting = vec![first];
            while waiting.len() < self.batch
                && let Ok(more) = commands.try_recv()
            {
                waiting.push(more);
            }
            let mut groups = VecDeque::from([waiting]);
            while let Some(group) = groups.pop_front() {
                let refused = self.carry_out(group, &mut commands).await;
                groups.extend(refused.into_iter().map(|command| vec![command]));
            }
        }
    }

    /// Has commands share a transaction and answers their callers. Returns them when one of them was refused in a way that
    /// need not concern the others: each is to be tried alone.
    async fn carry_out(
        &mut self,
        mut group: Commands,
        queue: &mut mpsc::Receiver<Box<dyn Command>>,
    ) -> Commands {
        let mut attempt = 1;
        let watch = Stopwatch::start();
        loop {
            // A session that ended while it was idle says nothing about the server.
            let mut again = self.session.is_some();
            let failure = match self.attempt(&mut group).await {
                Attempt::Done(done) => {
                    let commands = u32::try_from(group.len()).unwrap_or(u32::MAX);
                    self.parts.commits.committed(commands, watch.elapsed());
                    self.publish(done);
                    settle(group, None);
                    return Commands::new();
                }
                Attempt::Undone(failure) => failure,
                Attempt::Unknown(done, written) => match self.find_out(&done, written, queue).await {
                    Ok(true) => {
                        self.publish(done);
                        settle(group, None);
                        return Commands::new();
                    }
                    Ok(false) => {
                        // The server has just answered.
                        again = true;
                        Failure::disconnected()
                    }
                    Err(failure) => {
                        settle(group, Some(&failure));
                        return Commands::new();
                    }
                },
            };
            let last = attempt >= ATTEMPTS;
            if failure.is_of_one() && group.len() > 1 && (last || !failure.may_pass()) {
                return group;
            }
            again = failure.may_pass() || (failure.is_lost && !failure.hung && again);
            if !again || last {
                tracing::error!(
                    error = &failure.to_error() as &dyn std::error::Error,
                    "a store transaction failed and was undone"
                );
                if failure.kind == StoreErrorKind::Unavailable {
                    refuse_waiting(queue, &failure);
                }
                settle(group, Some(&failure));
                return Commands::new();
            }
            tracing::debug!(error = %failure.message, attempt, "a store transaction is tried again");
            attempt += 1;
        }
    }

    async fn attempt(&mut self, group: &mut Commands) -> Attempt {
        match self.try_once(group).await {
            Ok(attempt) => attempt,
            Err(failure) => {
                self.let_go(&failure).await;
                Attempt::Undone(failure)
            }
        }
    }

    async fn try_once(&mut self, group: &mut Commands) -> Result<Attempt, Failure> {
        self.connect().await?;
        let Some(Line { session, statements }) = &self.session else { return Err(Failure::disconnected()) };
        let WriterParts { writing, clock, announcements, .. } = &self.parts;
        let mut needs = Needs::default();
        for command in group.iter() {
            command.needs(&mut needs);
        }
        let open = Box::pin(exchange::open(session, statements, writing, &needs, &**clock));
        let opened = session.bounded(open).await?;
        let Some(Opened { head, written, offset, facts }) = opened else {
            return Err(Failure::fenced(&writing.replica));
        };
        tell_offset(&announcements.offset, offset);
        let mut ledger = Ledger::new(facts, head, &writing.replica);
        for command in group.iter_mut() {
            command.run(&mut ledger);
        }
        let Ledger { mut changes, head, .. } = ledger;
        crash::here(Point::StoreCommitting);
        let committed =
            exchange::commit(session, statements, writing, &changes, (head, written.saturating_add(1))).await;
        let appended = !changes.records.is_empty();
        let done = Done {
            head,
            appended,
            announced: std::mem::take(&mut changes.announced),
            announced_entries: std::mem::take(&mut changes.announced_entries),
        };
        match committed {
            Committed::Yes => {
                crash::here(Point::StoreCommitted);
                Ok(Attempt::Done(done))
            }
            Committed::No(failure) => Err(failure),
            Committed::Unknown(failure) => {
                tracing::warn!(error = %failure.message, "the connection was lost around a commit; finding out what became of it");
                self.let_go(&failure).await;
                Ok(Attempt::Unknown(done, written.saturating_add(1)))
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.session.as_ref().is_some_and(|line| line.session.is_open()) {
            return Ok(());
        }
        self.session = None;
        let session = Session::open(&self.parts.settings, "writer").await?;
        let statements = Statements::prepare(&session).await?;
        self.session = Some(Line { session, statements });
        Ok(())
    }

    /// Leaves the session outside any transaction, or without a session.
    async fn let_go(&mut self, failure: &Failure) {
        let Some(line) = &self.session else { return };
        if !failure.is_lost {
            exchange::roll_back(&line.session).await;
        }
        if failure.is_lost || !line.session.is_open() {
            self.lost = line.session.process;
            line.session.abandon();
            self.session = None;
        }
    }

    /// Whether a transaction whose commit was not answered is durable. Asks until the server says so; meanwhile, those who
    /// come are told that the store cannot be reached.
    ///
    /// # Errors
    /// When it cannot be known: another process has taken over, or the store is closed before the server answers.
    async fn find_out(
        &mut self,
        done: &Done,
        written: i64,
        queue: &mut mpsc::Receiver<Box<dyn Command>>,
    ) -> Result<bool, Failure> {
        let closing = self.closing.clone();
        let given_up = async move {
            closing.cancelled().await;
            tokio::time::sleep(LAST_WORD).await;
        };
        tokio::pin!(given_up);
        loop {
            let asked = tokio::select! {
                asked = self.ask(done, written) => asked,
                () = &mut given_up => {
                    let message = "whether the last change was written is not known: the store's database did not answer";
                    return Err(Failure::new(StoreErrorKind::Unavailable, message));
                }
            };
            match asked {
                Ok(outcome) => return Ok(outcome),
                Err(failure) if failure.kind == StoreErrorKind::Fenced => return Err(failure),
                Err(failure) => {
                    tracing::warn!(error = %failure.message, "what became of a commit is not known yet");
                    refuse_waiting(queue, &failure);
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    async fn ask(&mut self, done: &Done, written: i64) -> Result<bool, Failure> {
        self.connect().await?;
        let Some(Line { session, .. }) = &self.session else { return Err(Failure::disconnected()) };
        let Writing { replica, epoch, .. } = &self.parts.writing;
        let asked = exchange::settle(session, replica, self.lost).await;
        let outcome = match asked {
            Ok(Some(standing)) if standing.epoch == *epoch => Ok(standing.written >= written),
            // Somebody else counts here now; the log still tells.
            Ok(_) if done.appended => match exchange::has_record(session, replica, done.head).await {
                Ok(true) => Ok(true),
                Ok(false) => Err(Failure::fenced(replica)),
                Err(failure) => Err(failure),
            },
            Ok(_) => Err(Failure::fenced(replica)),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &outcome
            && failure.is_lost
        {
            // The session to be ended is still the one before: this one had nothing under way.
            self.session = None;
        }
        outcome
    }

    fn publish(&self, done: Done) {
        let Announcements { leases, entries, appended, .. } = &self.parts.announcements;
        for lease in done.announced {
            // Nobody listening is fine.
            let _ = leases.send(lease);
        }
        for entry in done.announced_entries {
            let _ = entries.send(entry);
        }
        appended.send_if_modified(|last| std::mem::replace(last, done.head.seq) != done.head.seq);
    }
}

/// Tells those who wait that the store cannot be reached, rather than have them wait for one attempt after the other.
fn refuse_waiting(queue: &mut mpsc::Receiver<Box<dyn Command>>, failure: &Failure) {
    while let Ok(command) = queue.try_recv() {
        command.settle(Some(failure));
    }
}

/// Tells a measured offset when it differs from the last by more than measuring does.
pub(super) fn tell_offset(told: &watch::Sender<SignedDuration>, measured: Option<SignedDuration>) {
    if let Some(measured) = measured {
        told.send_if_modified(|last| {
            let differs = (measured - *last).abs() > OFFSET_STEP;
            if differs {
                *last = measured;
            }
            differs
        });
    }
}

fn settle(commands: Commands, failed: Option<&Failure>) {
    for command in commands {
        command.settle(failed);
    }
}
