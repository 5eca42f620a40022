//! Streams to callers: what is told as it happens, until somebody ends it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    call::{Session, Shared},
    deadline::Deadline,
    status,
    streams::OpenStream,
};

/// Messages waiting for a slow caller; beyond them the producer waits.
const WAITING: usize = 16;

/// How old the last look at the caller's token may be when something is told.
const TRUSTED: Duration = Duration::from_secs(5);

/// Why there is nothing more to tell.
pub(super) enum Over {
    /// The caller hung up.
    HungUp,
    /// The caller is told this.
    Because(Box<Status>),
}

impl From<Status> for Over {
    fn from(status: Status) -> Self {
        Over::Because(Box::new(status))
    }
}

/// The sending side of a stream.
pub(super) struct Feed<M> {
    sender: mpsc::Sender<Result<M, Status>>,
    shared: Arc<Shared>,
    session: Arc<Session>,
    deadline: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    trusted: Pin<Box<Sleep>>,
    _open: OpenStream,
}

impl<M: Send + 'static> Feed<M> {
    /// Opens a stream and runs `produce` for it.
    ///
    /// # Errors
    /// When the caller has too many open.
    pub(super) fn open<F>(
        shared: &Arc<Shared>,
        session: &Arc<Session>,
        deadline: Deadline,
        produce: impl FnOnce(Feed<M>) -> F,
    ) -> Result<ReceiverStream<Result<M, Status>>, Status>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let principal = &session.caller().principal.name;
        let open = shared.streams.open(principal).ok_or_else(|| {
            let message = "as many streams as allowed are open";
            status::exhausted("STREAMS_LIMITED", principal.as_str(), message, Duration::from_secs(5))
        })?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let feed = Feed {
            sender,
            shared: Arc::clone(shared),
            session: Arc::clone(session),
            deadline: Box::pin(deadline.of_stream()),
            trusted: Box::pin(sleep(TRUSTED)),
            _open: open,
        };
        tokio::spawn(produce(feed));
        Ok(ReceiverStream::new(receiver))
    }

    /// Waits for something, unless the stream is over before.
    pub(super) async fn until<T>(&mut self, something: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            () = self.sender.closed() => Err(Over::HungUp),
            () = self.shared.shutdown.cancelled() => Err(status::shutting_down().into()),
            () = &mut self.deadline => Err(status::deadline_exceeded().into()),
            value = something => Ok(value),
        }
    }

    /// Tells the caller something, if its token is still good.
    pub(super) async fn tell(&mut self, message: M) -> Result<(), Over> {
        if (&mut self.trusted).now_or_never().is_some() {
            let (shared, session) = (Arc::clone(&self.shared), Arc::clone(&self.session));
            self.until(shared.look_again(&session)).await??;
            self.trusted = Box::pin(sleep(TRUSTED));
        }
        let sender = self.sender.clone();
        self.until(sender.send(Ok(message))).await?.map_err(|_| Over::HungUp)
    }

    /// Ends the stream.
    pub(super) async fn end(self, over: Result<(), Over>) {
        if let Err(Over::Because(status)) = over {
            // Whoever hung up meanwhile need not know.
            let _ = self.sender.send(Err(*status)).await;
        }
    }
}
