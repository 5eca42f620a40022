//! Watching requests and grants: those there are, a mark, then every change; or one request until it is decided.
//!
//! Changes are subscribed to before the first page is read, so none is missed; one may be told twice. What is told is read when it
//! is told: of several changes in quick succession the last may stand for all. A watcher that falls behind is told all again.

use std::{str::FromStr, sync::Arc};

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::{
    call::{Call, Session, Shared},
    convert_request as convert,
    feed::{Feed, Over},
    status,
};
use crate::{
    api::proto::{
        WatchGrantsRequest, WatchGrantsResponse, WatchRequestRequest, WatchRequestResponse,
        WatchRequestsRequest, WatchRequestsResponse,
    },
    domain::{GrantId, RequestId},
    identity::Caller,
    issuer::{GrantFilter, Issuer, Refusal, RefusalKind, RequestFilter},
    store::EntryKind,
};

/// Read at once.
const PAGE: u32 = 100;

type Changes = Receiver<(EntryKind, String)>;
type Stream<M> = ReceiverStream<Result<M, Status>>;

/// Something that is listed and changes.
#[tonic::async_trait]
trait Watched: Send + Sync + 'static {
    type Id: FromStr + Copy + Send;
    type Message: Send + 'static;
    const KIND: EntryKind;

    /// Some of those there are, below `before`, and where to continue.
    async fn page(
        &self,
        issuer: &Issuer,
        caller: &Caller,
        before: Option<Self::Id>,
    ) -> Result<(Vec<Self::Message>, Option<Self::Id>), Refusal>;

    /// One as it is now, if it is to be told of.
    async fn one(
        &self,
        issuer: &Issuer,
        caller: &Caller,
        id: Self::Id,
    ) -> Result<Option<Self::Message>, Refusal>;

    /// The mark after those there are.
    fn synced() -> Self::Message;
}

#[tonic::async_trait]
impl Watched for RequestFilter {
    type Id = RequestId;
    type Message = WatchRequestsResponse;
    const KIND: EntryKind = EntryKind::Request;

    async fn page(
        &self,
        issuer: &Issuer,
        caller: &Caller,
        before: Option<RequestId>,
    ) -> Result<(Vec<WatchRequestsResponse>, Option<RequestId>), Refusal> {
        let (seen, next) = issuer.requests(caller, self, (PAGE, before)).await?;
        let tell = |seen| WatchRequestsResponse { request: Some(convert::request(seen)), synced: false };
        Ok((seen.iter().map(tell).collect(), next))
    }

    async fn one(
        &self,
        issuer: &Issuer,
        caller: &Caller,
        id: RequestId,
    ) -> Result<Option<WatchRequestsResponse>, Refusal> {
        // Who waits for what there is to review is told as well when that is over.
        let filter = RequestFilter { to_review: false, ..self.clone() };
        let request = match issuer.request(caller, id).await {
            Ok(seen) => seen.request,
            Err(refusal) if refusal.kind == RefusalKind::NotFound => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let seen = issuer.passing(caller, &filter, request);
        Ok(seen.map(|seen| WatchRequestsResponse { request: Some(convert::request(&seen)), synced: false }))
    }

    fn synced() -> WatchRequestsResponse {
        WatchRequestsResponse { request: None, synced: true }
    }
}

#[tonic::async_trait]
impl Watched for GrantFilter {
    type Id = GrantId;
    type Message = WatchGrantsResponse;
    const KIND: EntryKind = EntryKind::Grant;

    async fn page(
        &self,
        issuer: &Issuer,
        caller: &Caller,
        before: Option<GrantId>,
    ) -> Result<(Vec<WatchGrantsResponse>, Option<GrantId>), Refusal> {
        let (grants, next) = issuer.grants(caller, self.clone(), (PAGE, before)).await?;
        let tell = |grant| WatchGrantsResponse { grant: Some(convert::grant(grant)), synced: false };
        Ok((grants.iter().map(tell).collect(), next))
    }

    async fn one(
        &self,
        issuer: &Issuer,
        caller: &Caller,
        id: GrantId,
    ) -> Result<Option<WatchGrantsResponse>, Refusal> {
        let grant = issuer.grant_passing(caller, self, id).await?;
        Ok(grant.map(|grant| WatchGrantsResponse { grant: Some(convert::grant(&grant)), synced: false }))
    }

    fn synced() -> WatchGrantsResponse {
        WatchGrantsResponse { grant: None, synced: true }
    }
}

struct Watch<W: Watched> {
    shared: Arc<Shared>,
    session: Arc<Session>,
    what: W,
    feed: Feed<W::Message>,
}

/// Watches the requests that pass a filter.
///
/// # Errors
/// When the caller has too many streams open.
pub(super) fn requests(
    shared: &Arc<Shared>,
    call: &Call<WatchRequestsRequest>,
    filter: RequestFilter,
) -> Result<Stream<WatchRequestsResponse>, Status> {
    watch(shared, call, filter)
}

/// Watches the grants that pass a filter.
///
/// # Errors
/// When the caller has too many streams open.
pub(super) fn grants(
    shared: &Arc<Shared>,
    call: &Call<WatchGrantsRequest>,
    filter: GrantFilter,
) -> Result<Stream<WatchGrantsResponse>, Status> {
    watch(shared, call, filter)
}

fn watch<W: Watched, T>(shared: &Arc<Shared>, call: &Call<T>, what: W) -> Result<Stream<W::Message>, Status> {
    let changes = shared.issuer.changes_of_entries();
    Feed::open(shared, &call.session, call.deadline, |feed| {
        let (shared, session) = (Arc::clone(shared), Arc::clone(&call.session));
        let mut watch = Watch { shared, session, what, feed };
        async move {
            let over = watch.run(changes).await;
            watch.feed.end(over).await;
        }
    })
}

impl<W: Watched> Watch<W> {
    async fn run(&mut self, mut changes: Changes) -> Result<(), Over> {
        self.snapshot().await?;
        self.feed.tell(W::synced()).await?;
        loop {
            match self.feed.until(changes.recv()).await? {
                Ok((kind, id)) if kind == W::KIND => self.tell(&id).await?,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    // What is still queued is older than what is read now.
                    changes = changes.resubscribe();
                    self.snapshot().await?;
                }
                Err(RecvError::Closed) => return Err(status::shutting_down().into()),
            }
        }
    }

    async fn snapshot(&mut self) -> Result<(), Over> {
        let mut before = None;
        loop {
            let (shared, session) = (Arc::clone(&self.shared), Arc::clone(&self.session));
            let read = self.what.page(&shared.issuer, session.caller(), before);
            let (messages, next) =
                self.feed.until(read).await?.map_err(|refusal| told(&session, &refusal))?;
            for message in messages {
                self.feed.tell(message).await?;
            }
            before = next;
            if before.is_none() {
                return Ok(());
            }
        }
    }

    async fn tell(&mut self, id: &str) -> Result<(), Over> {
        let Ok(id) = id.parse() else { return Ok(()) };
        let (shared, session) = (Arc::clone(&self.shared), Arc::clone(&self.session));
        let read = self.what.one(&shared.issuer, session.caller(), id);
        match self.feed.until(read).await?.map_err(|refusal| told(&session, &refusal))? {
            Some(message) => self.feed.tell(message).await,
            None => Ok(()),
        }
    }
}

fn told(session: &Session, refusal: &Refusal) -> Status {
    status::refused(session.caller(), refusal)
}

/// Watches one request until it awaits reviews no more.
///
/// # Errors
/// When there is none that the caller may see, or the caller has too many streams open.
pub(super) async fn request(
    shared: &Arc<Shared>,
    call: &Call<WatchRequestRequest>,
    id: RequestId,
) -> Result<Stream<WatchRequestResponse>, Status> {
    let changes = shared.issuer.changes_of_entries();
    let seen = shared.issuer.request(call.caller(), id).await;
    seen.map_err(|refusal| call.refused(&refusal))?;
    Feed::open(shared, &call.session, call.deadline, |mut feed| {
        let (shared, session) = (Arc::clone(shared), Arc::clone(&call.session));
        async move {
            let over = until_decided(&shared, &session, &mut feed, (id, changes)).await;
            feed.end(over).await;
        }
    })
}

async fn until_decided(
    shared: &Shared,
    session: &Session,
    feed: &mut Feed<WatchRequestResponse>,
    (id, mut changes): (RequestId, Changes),
) -> Result<(), Over> {
    let name = id.to_string();
    loop {
        let read = shared.issuer.request(session.caller(), id);
        let seen = feed.until(read).await?.map_err(|refusal| told(session, &refusal))?;
        feed.tell(WatchRequestResponse { request: Some(convert::request(&seen)) }).await?;
        if !seen.request.is_pending() {
            return Ok(());
        }
        loop {
            match feed.until(changes.recv()).await? {
                Ok((kind, changed)) if kind != EntryKind::Request || changed != name => {}
                Ok(_) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Err(status::shutting_down().into()),
            }
        }
    }
}
