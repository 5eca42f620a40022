//! Hearing from the other processes: changed leases for whoever watches, due ones for whoever ends them. Only ever a hint:
//! what is missed while the connection is away is made up for by reading.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    exchange::Writing,
    failure::Failure,
    lease_query,
    notice::{self, Notice},
    readers::Readers,
    session::Session,
    settings::PostgresSettings,
    writer::Announcements,
};
use crate::{
    clock::Clock,
    domain::LeaseId,
    store::{DueElsewhere, EntryKind},
};

/// How long to wait before connecting again.
const RETRY: Duration = Duration::from_millis(500);

/// Notices that may wait; whoever has more behind it connects anew and reads.
const WAITING: usize = 1_024;

/// How often a silent connection is asked whether it still stands.
const STILL_THERE: Duration = Duration::from_secs(2);

/// How far back changes are read after word was interrupted: more than it takes to notice.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// What the listener works with.
pub(super) struct ListenerParts {
    pub(super) settings: Arc<PostgresSettings>,
    pub(super) writing: Writing,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) readers: Arc<Readers>,
    pub(super) announcements: Announcements,
    pub(super) due: broadcast::Sender<DueElsewhere>,
}

impl ListenerParts {
    /// Listens until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.listen_for_ever()).await;
    }

    async fn listen_for_ever(&self) {
        let mut silent_since = None;
        loop {
            if let Err(failure) = self.listen(&mut silent_since).await {
                tracing::debug!(error = %failure.message, "no word from the other replicas for a moment");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Listens until the connection ends. `silent_since` is when it last did.
    async fn listen(&self, silent_since: &mut Option<Timestamp>) -> Result<(), Failure> {
        let (told, mut notices) = mpsc::channel(WAITING);
        let session = Session::listening(&self.settings, "listener", Some(told)).await?;
        let listen = format!("LISTEN {}", notice::channel(&self.settings.schema));
        session.bounded(async { Ok(session.client.batch_execute(&listen).await?) }).await?;
        if let Some(since) = silent_since.take() {
            self.catch_up(since).await;
        }
        let outcome = loop {
            match tokio::time::timeout(STILL_THERE, notices.recv()).await {
                Ok(Some(notice)) => self.take(notice::read(&notice, &self.writing)).await,
                Ok(None) => break Ok(()),
                Err(_) => {
                    let asked = session.bounded(async { Ok(session.client.batch_execute("").await?) }).await;
                    if asked.is_err() {
                        break asked;
                    }
                }
            }
        };
        *silent_since = Some(self.clock.now());
        session.abandon();
        outcome
    }

    async fn take(&self, notice: Notice) {
        for entry in notice.entries {
            // Nobody listening is fine.
            let _ = self.announcements.entries.send(entry);
        }
        let changed = notice.leases;
        for change in &changed {
            if let Some(due_at) = change.due_at {
                let _ = self.due.send(DueElsewhere::Lease(change.target.clone(), due_at));
            }
        }
        if self.announcements.leases.receiver_count() == 0 || changed.is_empty() {
            return;
        }
        let ids: Vec<LeaseId> = changed.iter().map(|change| change.id).collect();
        match lease_query::by_ids(&self.readers, &ids).await {
            Ok(leases) => leases.into_iter().for_each(|lease| drop(self.announcements.leases.send(lease))),
            Err(error) => tracing::debug!(%error, "changes made elsewhere could not be read"),
        }
    }

    /// What may have been missed.
    async fn catch_up(&self, since: Timestamp) {
        let _ = self.due.send(DueElsewhere::Anything);
        for kind in EntryKind::ALL {
            let _ = self.announcements.entries.send((*kind, String::new()));
        }
        if self.announcements.leases.receiver_count() == 0 {
            return;
        }
        let since = since.saturating_sub(MARGIN).unwrap_or(Timestamp::MIN);
        match lease_query::changed_since(&self.readers, since).await {
            Ok(leases) => leases.into_iter().for_each(|lease| drop(self.announcements.leases.send(lease))),
            Err(error) => tracing::warn!(%error, "changes made elsewhere meanwhile could not be read"),
        }
    }
}
