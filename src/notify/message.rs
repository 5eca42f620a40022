//! What goes through a channel, and how that can fail.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{ChannelName, ChannelSettings, Event, clean::Place};
use crate::domain::NoticeId;

/// An event on its way.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The notice's identifier: the same for every attempt.
    pub id: NoticeId,
    /// What happened.
    pub event: &'a Event,
    /// Now.
    pub now: Timestamp,
    /// The channel.
    pub settings: &'a ChannelSettings,
}

impl Message<'_> {
    /// What is said, fit for a place.
    pub(super) fn text(&self, place: Place) -> String {
        self.settings.templates.render(self.event, self.settings.base_url.as_deref(), place)
    }
}

/// Why a message was not delivered. The words have no address, no secret and nothing of what the receiver answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Undelivered {
    /// What went wrong.
    pub words: String,
    /// The receiver asks not to be tried sooner.
    pub retry_after: Option<Duration>,
}

impl Undelivered {
    pub(super) fn because(words: impl Into<String>) -> Self {
        Self { words: words.into(), retry_after: None }
    }
}

/// What a channel's messages go through.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Delivers a message. It takes no longer than the channel's timeout.
    ///
    /// # Errors
    /// When it was not delivered, or may not have been.
    async fn deliver(&self, message: &Message<'_>) -> Result<(), Undelivered>;
}

/// A channel cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("notifications.{channel}: {message}")]
pub struct TransportError {
    /// Which.
    pub channel: ChannelName,
    /// Why.
    pub message: String,
}
