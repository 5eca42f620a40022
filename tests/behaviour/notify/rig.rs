//! A store, a follower and a courier, on a clock that the test moves.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use jiff::SignedDuration;
use mayfly::{
    audit::{Actor, Draft},
    clock::{Clock as _, ManualClock, SystemClock},
    metrics::Metrics,
    notify::{
        ChannelKind, ChannelSettings, Channels, ChannelsHandle, Courier, EventKind, Follower, HookUrl,
        Notice, NotifyParts, SigningKey, Templates,
    },
    random::SystemRandom,
    store::{Listing, Store, documents, sqlite::SqliteStore},
};
use tempfile::TempDir;

use crate::support::{eventually, world::open_when_free};

pub(super) const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A whole outbox.
pub(super) struct Rig {
    pub(super) directory: Arc<TempDir>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) channels: Arc<ChannelsHandle>,
    pub(super) metrics: Arc<Metrics>,
    follower: Arc<Follower>,
    courier: Arc<Courier>,
}

/// A channel of a kind with the usual settings, that is told everything.
pub(super) fn channel(name: &str, kind: ChannelKind) -> ChannelSettings {
    ChannelSettings {
        name: name.parse().unwrap(),
        kind,
        events: EventKind::ALL.iter().copied().collect(),
        roles: BTreeSet::new(),
        targets: BTreeSet::new(),
        ca_file: None,
        base_url: None,
        timeout: Duration::from_millis(500),
        attempts: 5,
        expiring_before: Duration::from_secs(600),
        end_failing_after: Duration::from_secs(300),
        templates: Templates::default(),
    }
}

pub(super) fn webhook(name: &str, url: &str) -> ChannelSettings {
    let (url, secret) = (HookUrl::parse(url).unwrap(), SigningKey::parse(KEY).unwrap());
    channel(name, ChannelKind::Webhook { url, secret })
}

pub(super) fn slack(name: &str, url: &str) -> ChannelSettings {
    channel(name, ChannelKind::Slack { url: HookUrl::parse(url).unwrap() })
}

pub(super) fn trusting(settings: ChannelSettings, ca_file: PathBuf) -> ChannelSettings {
    ChannelSettings { ca_file: Some(ca_file), ..settings }
}

/// Something locked, for a reason.
pub(super) fn lock(rig: &Rig, what: &str, reason: &str) -> Draft {
    Draft::new(rig.clock.now(), Actor::System, "lock.set", format!("locks/{what}")).with("reason", reason)
}

impl Rig {
    pub(super) async fn new(channels: Vec<ChannelSettings>) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self::at(Arc::new(tempfile::tempdir().unwrap()), clock, channels).await
    }

    /// On a store that may have been used before.
    pub(super) async fn at(
        directory: Arc<TempDir>,
        clock: Arc<ManualClock>,
        channels: Vec<ChannelSettings>,
    ) -> Self {
        let store: SqliteStore = open_when_free(&directory.path().join("mayfly.db")).await;
        Self::on(Arc::new(store), directory, clock, channels).await
    }

    /// On an open store, which may be that of somebody else.
    pub(super) async fn on(
        store: Arc<dyn Store>,
        directory: Arc<TempDir>,
        clock: Arc<ManualClock>,
        channels: Vec<ChannelSettings>,
    ) -> Self {
        let channels = Arc::new(ChannelsHandle::new(Channels::open(channels).unwrap()));
        let metrics = Arc::new(Metrics::default());
        let parts = NotifyParts {
            clock: Arc::clone(&clock) as Arc<_>,
            random: Arc::new(SystemRandom),
            store: Arc::clone(&store),
            channels: Arc::clone(&channels),
            metrics: Arc::clone(&metrics),
        };
        let (follower, courier) = (Arc::new(Follower::new(parts.clone())), Arc::new(Courier::new(parts)));
        let rig = Self { directory, clock, store, channels, metrics, follower, courier };
        rig.follower.start();
        rig.courier.start();
        // What is told begins with the first record after the log is followed.
        eventually("the log is followed", async || {
            let kind = mayfly::store::EntryKind::Position;
            (!rig.store.entries(kind, None, None, 1).await.unwrap().is_empty()
                || rig.channels.current().is_empty())
            .then_some(())
        })
        .await;
        rig
    }

    pub(super) async fn stop(self) -> (Arc<TempDir>, Arc<ManualClock>) {
        self.follower.stop().await;
        self.courier.stop().await;
        self.store.close().await;
        (self.directory, self.clock)
    }

    pub(super) async fn record(&self, draft: Draft) {
        self.store.record(draft).await.unwrap();
    }

    pub(super) async fn notices(&self) -> Vec<Notice> {
        let listing = Listing { limit: 1_000, ..Listing::default() };
        let mut notices: Vec<Notice> =
            documents(&*self.store, listing).await.unwrap().into_iter().map(|kept| kept.document).collect();
        notices.reverse();
        notices
    }

    /// Returns once all notices there are satisfy a condition, and there are so many.
    pub(super) async fn settles(
        &self,
        what: &str,
        count: usize,
        condition: impl Fn(&Notice) -> bool,
    ) -> Vec<Notice> {
        eventually(what, async || {
            let notices = self.notices().await;
            (notices.len() == count && notices.iter().all(&condition)).then_some(notices)
        })
        .await
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// Moves the clock on until a condition holds.
    pub(super) async fn passing<T>(
        &self,
        what: &str,
        seconds: i64,
        mut found: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        eventually(what, async || {
            let found = found().await;
            if found.is_none() {
                self.pass(seconds);
            }
            found
        })
        .await
    }
}

pub(super) fn is_sent(notice: &Notice) -> bool {
    notice.state.as_str() == "sent"
}

pub(super) fn is_dead(notice: &Notice) -> bool {
    notice.state.as_str() == "dead"
}

pub(super) fn has_failed(notice: &Notice) -> bool {
    notice.state.as_str() == "queued" && notice.state.error().is_some()
}
