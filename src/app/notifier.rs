//! What tells of what happens: built, run and stopped as one.

use std::sync::Arc;

use super::StartError;
use crate::{
    config::Config,
    metrics::Metrics,
    notify::{Channels, ChannelsHandle, Courier, Follower, NotifyParts},
    store::Store,
    target::Surroundings,
};

/// Follows the audit log and delivers what is told of it.
pub(super) struct Notifier {
    channels: Arc<ChannelsHandle>,
    follower: Arc<Follower>,
    courier: Arc<Courier>,
}

impl Notifier {
    /// With the channels of a configuration; connects nowhere.
    pub(super) fn new(
        config: &Config,
        surroundings: &Surroundings,
        store: &Arc<dyn Store>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let channels = Channels::open(config.notifications.values().cloned())?;
        let channels = Arc::new(ChannelsHandle::new(channels));
        let parts = NotifyParts {
            clock: Arc::clone(&surroundings.clock),
            random: Arc::clone(&surroundings.random),
            store: Arc::clone(store),
            channels: Arc::clone(&channels),
            metrics: Arc::clone(metrics),
        };
        let (follower, courier) = (Arc::new(Follower::new(parts.clone())), Arc::new(Courier::new(parts)));
        Ok(Self { channels, follower, courier })
    }

    /// The channels, for whoever replaces them.
    pub(super) fn channels(&self) -> Arc<ChannelsHandle> {
        Arc::clone(&self.channels)
    }

    pub(super) fn start(&self) {
        self.follower.start();
        self.courier.start();
    }

    /// Returns when what is being delivered has been, or was given up for now.
    pub(super) async fn stop(&self) {
        self.follower.stop().await;
        self.courier.stop().await;
    }
}
