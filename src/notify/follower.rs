//! Follows the audit log, and makes notices of it.
//!
//! How far it is changes in the transaction that keeps the notices, and only from what it was read at: whatever dies, and however
//! many processes follow a chain, nothing is told twice by it and nothing is left out. A process follows its own chain. Where
//! several share a store, the chain of one that stands still is followed by the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ChannelSettings, Channels, Event, EventKind, Notice, NotifyParts, Position, derive,
    notice::ABOUT,
    timing::{Timing, is_put_off, least, timing},
};
use crate::{
    audit::Record,
    domain::NoticeId,
    store::{Changes, Committed, EntryKind, StoreError, StoreErrorKind, document},
};

/// Records read together.
const BATCH: usize = 200;

/// Records come in bursts: what follows a first one so soon is read with it.
const GATHER: Duration = Duration::from_millis(100);

/// How long to wait when the store cannot be read.
const RETRY: Duration = Duration::from_secs(2);

/// Where several processes share a store: how often it is looked whether a chain stands still.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Follows the audit log.
pub struct Follower {
    parts: NotifyParts,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How far the chain was read.
enum Read {
    /// There may be more.
    Part,
    /// To this record, the last.
    All(u64),
}

impl Follower {
    /// Not begun yet.
    pub fn new(parts: NotifyParts) -> Self {
        Self { parts, tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Begins.
    pub fn start(self: &Arc<Self>) {
        self.tasks.spawn(Arc::clone(self).run());
        if self.parts.store.replica().is_some() {
            self.tasks.spawn(Arc::clone(self).watch_others());
        }
    }

    /// Stops after what is under way.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn run(self: Arc<Self>) {
        let mut changes = self.parts.channels.changes();
        let replica = self.parts.store.replica();
        while !self.stop.is_cancelled() {
            changes.mark_unchanged();
            let channels = self.parts.channels.current();
            let read = if channels.is_empty() {
                self.forget(replica.as_deref()).await.map(|()| None)
            } else {
                self.read_on(replica.as_deref(), true, &channels).await.map(Some)
            };
            let wake = async {
                match read {
                    Ok(Some(Read::Part)) => {}
                    Ok(Some(Read::All(seq))) => {
                        self.parts.store.appended(seq).await;
                        tokio::time::sleep(GATHER).await;
                    }
                    Ok(None) => std::future::pending().await,
                    Err(error) => {
                        complain(&error);
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = changes.changed() => {}
                () = wake => {}
            }
        }
    }

    /// Without channels nobody wants to hear what happened meanwhile, once there are some.
    async fn forget(&self, replica: Option<&str>) -> Result<(), StoreError> {
        let store = &*self.parts.store;
        if let Some(kept) = document::<Position>(store, &Position::id_of(replica)).await? {
            let _ = Changes::new().remove(&kept).commit(store).await?;
        }
        Ok(())
    }

    /// Reads the next records of a chain, and keeps what they tell.
    async fn read_on(
        &self,
        replica: Option<&str>,
        own: bool,
        channels: &Channels,
    ) -> Result<Read, StoreError> {
        let store = &*self.parts.store;
        let Some(kept) = document::<Position>(store, &Position::id_of(replica)).await? else {
            if own {
                let seq = store.last_seq().await.map_err(unreadable)?;
                let position = Position { replica: replica.map(ToOwned::to_owned), seq };
                let _ = Changes::new().insert(&position)?.commit(store).await?;
            }
            return Ok(Read::Part);
        };
        let after = kept.document.seq;
        let records = match replica.filter(|_| !own) {
            Some(other) => store.read_chain(other, after, BATCH).await?,
            None => store.read_after(after, BATCH).await.map_err(unreadable)?,
        };
        let Some(last) = records.last().map(|record| record.seq) else { return Ok(Read::All(after)) };
        let position = Position { seq: last, ..kept.document };
        let mut changes = Changes::new().replace(&position, kept.revision)?;
        for notice in self.notices(&records, channels).await? {
            changes = changes.insert(&notice)?;
        }
        match changes.commit(store).await? {
            Committed::Yes if records.len() < BATCH => Ok(Read::All(last)),
            // Somebody else was faster: go on from there.
            Committed::Yes | Committed::Conflict => Ok(Read::Part),
        }
    }

    /// The notices that records give rise to.
    async fn notices(&self, records: &[Record], channels: &Channels) -> Result<Vec<Notice>, StoreError> {
        let mut notices = Vec::new();
        let mut put_off = BTreeSet::new();
        for record in records {
            let Some(told) = derive::kind_of(record) else { continue };
            let lasts = derive::lasts(record);
            if !channels.settings().any(|settings| may_want(settings, told.0, lasts)) {
                continue;
            }
            let Some(event) = derive::event(&*self.parts.store, record, told).await? else { continue };
            for settings in channels.settings().filter(|settings| settings.takes(&event)) {
                if let Some(notice) = self.notice(event.clone(), record.seq, settings).await?
                    && (!is_put_off(notice.event.kind) || put_off.insert(notice.about()))
                {
                    notices.push(notice);
                }
            }
        }
        Ok(notices)
    }

    async fn notice(
        &self,
        mut event: Event,
        seq: u64,
        settings: &ChannelSettings,
    ) -> Result<Option<Notice>, StoreError> {
        let now = self.parts.clock.now();
        let next_at = match timing(&*self.parts.store, &mut event, settings, now).await? {
            Timing::Now => now,
            Timing::At(moment) => moment,
            Timing::Never => return Ok(None),
        };
        let notice = Notice::new(self.id(now, seq), settings.name.clone(), event, now, next_at);
        if is_put_off(notice.event.kind) && self.is_known(&notice).await? {
            return Ok(None);
        }
        Ok(Some(notice))
    }

    /// Whether the same will be, or was just, told already.
    async fn is_known(&self, notice: &Notice) -> Result<bool, StoreError> {
        let by = notice.about();
        let found = self.parts.store.entries(EntryKind::Notice, Some((ABOUT, &by)), None, 1).await?;
        Ok(!found.is_empty())
    }

    /// Identifiers of the same millisecond are in the order of the records.
    fn id(&self, now: Timestamp, seq: u64) -> NoticeId {
        const CHANCE: u32 = 24;
        let chance = self.parts.random.bits() & ((1 << CHANCE) - 1);
        NoticeId::new(now, ((seq << CHANCE) | chance) & ((1 << 52) - 1))
    }

    /// Follows the chains of others that stand still.
    async fn watch_others(self: Arc<Self>) {
        let mut seen = BTreeMap::new();
        while self.stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            if let Err(error) = self.look_at_others(&mut seen).await {
                complain(&error);
            }
        }
    }

    /// Follows each chain that is not at its end, and where it was the last time somebody looked.
    async fn look_at_others(&self, seen: &mut BTreeMap<String, u64>) -> Result<(), StoreError> {
        let channels = self.parts.channels.current();
        if channels.is_empty() {
            return Ok(());
        }
        let store = &*self.parts.store;
        for (name, head) in store.other_chains().await? {
            let Some(kept) = document::<Position>(store, &Position::id_of(Some(&name))).await? else {
                continue;
            };
            let position = kept.document.seq;
            let stands_still = seen.insert(name.clone(), position) == Some(position);
            if stands_still && position < head.seq {
                tracing::info!(replica = %name, "another replica's audit chain stands still: following it");
                while let Read::Part = self.read_on(Some(&name), false, &channels).await? {
                    if self.stop.is_cancelled() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a channel may want to hear of something, before anything is read for it. Most leases are too short to be told of.
fn may_want(settings: &ChannelSettings, kind: EventKind, lasts: Option<SignedDuration>) -> bool {
    // A request may turn out to be by break-glass.
    let wants = settings.wants(kind);
    wants && (kind != EventKind::Expiring || lasts.is_none_or(|lasts| lasts >= least(settings.lead())))
}

fn unreadable(error: crate::audit::AuditReadError) -> StoreError {
    StoreError::new(StoreErrorKind::Other, "the audit log cannot be read").caused_by(error)
}

fn complain(error: &StoreError) {
    if error.kind != StoreErrorKind::Closed {
        tracing::error!(error = error as &dyn Error, "what happened cannot be told yet");
    }
}
