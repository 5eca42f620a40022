//! Watching leases: those there are, a mark, then every change.
//!
//! Changes are subscribed to before the first page is read, so none is missed; one that happened while the pages were read
//! may be told twice, the older state second and the newer one after it. A watcher that falls behind is told all leases
//! again as they are.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::{
    call::{Call, Session, Shared},
    convert,
    feed::{Feed, Over},
    status,
};
use crate::{
    api::proto::{WatchLeasesRequest, WatchLeasesResponse},
    domain::Lease,
    store::{LeaseFilter, PageRequest},
};

/// Leases read at once.
const PAGE: u32 = 256;

type Changes = tokio::sync::broadcast::Receiver<Lease>;

struct Watch {
    shared: Arc<Shared>,
    session: Arc<Session>,
    filter: LeaseFilter,
    feed: Feed<WatchLeasesResponse>,
}

/// Watches the leases that pass a filter.
///
/// # Errors
/// When the caller may not see them, or has too many streams open.
pub(super) async fn leases(
    shared: &Arc<Shared>,
    call: &Call<WatchLeasesRequest>,
    filter: LeaseFilter,
) -> Result<ReceiverStream<Result<WatchLeasesResponse, Status>>, Status> {
    let watched = shared.issuer.watch(call.caller(), filter).await;
    let (filter, changes) = watched.map_err(|refusal| call.refused(&refusal))?;
    Feed::open(shared, &call.session, call.deadline, |feed| {
        let (shared, session) = (Arc::clone(shared), Arc::clone(&call.session));
        let mut watch = Watch { shared, session, filter, feed };
        async move {
            let over = watch.run(changes).await;
            watch.feed.end(over).await;
        }
    })
}

impl Watch {
    async fn run(&mut self, mut changes: Changes) -> Result<(), Over> {
        self.snapshot().await?;
        self.feed.tell(WatchLeasesResponse { lease: None, synced: true }).await?;
        loop {
            match self.feed.until(changes.recv()).await? {
                Ok(lease) if self.filter.matches(&lease) => self.tell(&lease).await?,
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

    /// Tells of all leases there are, newest first.
    async fn snapshot(&mut self) -> Result<(), Over> {
        let mut before = None;
        loop {
            let shared = Arc::clone(&self.shared);
            let session = Arc::clone(&self.session);
            let read = shared.issuer.leases(
                session.caller(),
                self.filter.clone(),
                PageRequest { size: PAGE, before },
            );
            let page = self.feed.until(read).await?;
            let page = page.map_err(|refusal| status::refused(session.caller(), &refusal))?;
            for lease in &page.items {
                self.tell(lease).await?;
            }
            before = page.next;
            if before.is_none() {
                return Ok(());
            }
        }
    }

    async fn tell(&mut self, lease: &Lease) -> Result<(), Over> {
        let lease = Some(convert::lease(lease));
        self.feed.tell(WatchLeasesResponse { lease, synced: false }).await
    }
}
