//! Tells people and programs what happens: an outbox, and the channels it is emptied into.
//!
//! Nothing here is in the way of what it tells of. Every change of state has its audit record; the [`Follower`] reads those, makes
//! [`Event`]s of what somebody wants to hear of, and keeps a [`Notice`] for each channel in the same transaction as how far it
//! is. The [`Courier`] delivers them: one after the other on each channel, again and less and less often where that fails, until
//! it gives one up as dead. What is told has names and reasons, cleaned of what would act on a reader; no secret gets as far
//! as here. No rules of who may do what, and no targets.

mod channel;
mod clean;
mod courier;
mod derive;
mod event;
mod follower;
mod hook;
mod mail;
mod message;
mod notice;
mod position;
mod post;
mod slack;
mod template;
mod timing;
mod trust;
mod webhook;

use std::sync::Arc;

pub use channel::{
    ChannelKind, ChannelName, ChannelSettings, Channels, ChannelsHandle, Encryption, MailSettings,
};
pub use courier::Courier;
pub use event::{Event, EventKind, UnknownEventKind};
pub use follower::Follower;
pub(crate) use hook::is_this_machine;
pub use hook::{HookUrl, HookUrlError, SigningKey, SigningKeyError};
pub use message::{Message, Transport, TransportError, Undelivered};
pub use notice::{Notice, NoticeState};
pub use position::Position;
pub use template::{Placeholder, Template, TemplateError, Templates};

use crate::{clock::Clock, metrics::Metrics, random::Random, store::Store};

/// What telling takes.
#[derive(Clone)]
pub struct NotifyParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for identifiers and jitter.
    pub random: Arc<dyn Random>,
    /// Where notices are kept, and the log that is followed.
    pub store: Arc<dyn Store>,
    /// The channels of now.
    pub channels: Arc<ChannelsHandle>,
    /// Where is counted what happens.
    pub metrics: Arc<Metrics>,
}
