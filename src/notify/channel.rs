//! Channels: where notices go, and which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::SignedDuration;
use tokio::sync::watch;

use super::{
    Event, EventKind, HookUrl, SigningKey, Templates, Transport, TransportError, mail::Mail, slack::Slack,
    webhook::Webhook,
};
pub use crate::domain::ChannelName;
use crate::domain::{Password, RoleName, TargetName};

/// What a channel is.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelKind {
    /// A webhook that takes what Slack takes.
    Slack {
        /// Where to.
        url: HookUrl,
    },
    /// A webhook that takes the event as JSON, signed.
    Webhook {
        /// Where to.
        url: HookUrl,
        /// Signed with this.
        secret: SigningKey,
    },
    /// Mail.
    Mail(MailSettings),
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// In clear text until both agree on TLS; without it nothing is sent.
    StartTls,
    /// In TLS from the first byte.
    Tls,
    /// In clear text: for this machine alone.
    None,
}

/// How mail is sent.
#[derive(Clone)]
pub struct MailSettings {
    /// The server's name or address; its certificate is for that.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub encryption: Encryption,
    /// User and password, where it wants them.
    pub login: Option<(String, Password)>,
    /// From whom.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
    /// Also to whom it is about, where a mail address is known.
    pub to_principal: bool,
}

impl fmt::Debug for MailSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSettings").field("host", &self.host).field("to", &self.to).finish_non_exhaustive()
    }
}

impl PartialEq for MailSettings {
    fn eq(&self, other: &Self) -> bool {
        let login = |settings: &Self| {
            settings.login.as_ref().map(|(user, word)| (user.clone(), word.expose().to_owned()))
        };
        (&self.host, self.port, self.encryption, &self.from, &self.to, self.to_principal)
            == (&other.host, other.port, other.encryption, &other.from, &other.to, other.to_principal)
            && login(self) == login(other)
    }
}

/// One channel, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelSettings {
    /// Its name.
    pub name: ChannelName,
    /// What it is.
    pub kind: ChannelKind,
    /// What is told through it.
    pub events: BTreeSet<EventKind>,
    /// Only what is about these roles; empty: about any, and what is about none.
    pub roles: BTreeSet<RoleName>,
    /// Only what is about these targets; empty: about any, and what is about none.
    pub targets: BTreeSet<TargetName>,
    /// PEM file with the authorities that its certificate is verified against; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Where links lead; `None`: there are none.
    pub base_url: Option<String>,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// Attempts before one is given up.
    pub attempts: u32,
    /// How long before its end a lease or grant is told of.
    pub expiring_before: Duration,
    /// How long an end may fail before it is told of.
    pub end_failing_after: Duration,
    /// What is said.
    pub templates: Templates,
}

impl ChannelSettings {
    /// Whether a kind of event is told through it at all.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.events.contains(&kind)
    }

    /// Whether an event is told through it.
    pub fn takes(&self, event: &Event) -> bool {
        let of_role =
            self.roles.is_empty() || event.role.as_ref().is_some_and(|role| self.roles.contains(role));
        let of_target = self.targets.is_empty()
            || event.target.as_ref().is_some_and(|target| self.targets.contains(target));
        self.wants(event.kind) && of_role && of_target
    }

    /// How long before its end a lease or grant is told of.
    pub(super) fn lead(&self) -> SignedDuration {
        SignedDuration::try_from(self.expiring_before).unwrap_or(SignedDuration::MAX)
    }

    /// How long an end may fail before it is told of.
    pub(super) fn patience(&self) -> SignedDuration {
        SignedDuration::try_from(self.end_failing_after).unwrap_or(SignedDuration::MAX)
    }
}

/// A channel that can be used.
pub(super) struct Channel {
    pub(super) settings: ChannelSettings,
    pub(super) transport: Arc<dyn Transport>,
}

/// All channels. They do not change; a reload replaces them whole.
#[derive(Default)]
pub struct Channels(BTreeMap<ChannelName, Arc<Channel>>);

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Channels {
    /// Makes channels of their settings. Connects nowhere; reads the files of authorities.
    ///
    /// # Errors
    /// When such a file cannot be used.
    pub fn open(settings: impl IntoIterator<Item = ChannelSettings>) -> Result<Self, TransportError> {
        let open = |settings: ChannelSettings| {
            let ca_file = settings.ca_file.as_deref();
            let transport: Result<Arc<dyn Transport>, String> = match &settings.kind {
                ChannelKind::Slack { url } => {
                    Slack::open(url.clone(), ca_file, settings.timeout).map(|slack| Arc::new(slack) as _)
                }
                ChannelKind::Webhook { url, secret } => {
                    Webhook::open(url.clone(), secret.clone(), ca_file, settings.timeout)
                        .map(|webhook| Arc::new(webhook) as _)
                }
                ChannelKind::Mail(mail) => {
                    Mail::open(mail, ca_file, settings.timeout).map(|mail| Arc::new(mail) as _)
                }
            };
            let name = settings.name.clone();
            match transport {
                Ok(transport) => Ok((name, Arc::new(Channel { settings, transport }))),
                Err(message) => Err(TransportError { channel: name, message }),
            }
        };
        settings.into_iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &ChannelName> {
        self.0.keys()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &ChannelName) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn get(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.0.get(name).map(Arc::clone)
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = &ChannelSettings> {
        self.0.values().map(|channel| &channel.settings)
    }
}

/// The channels of now.
#[derive(Debug)]
pub struct ChannelsHandle {
    current: RwLock<Arc<Channels>>,
    changed: watch::Sender<()>,
}

impl Default for ChannelsHandle {
    fn default() -> Self {
        Self::new(Channels::default())
    }
}

impl ChannelsHandle {
    /// Starts with these.
    pub fn new(channels: Channels) -> Self {
        Self { current: RwLock::new(Arc::new(channels)), changed: watch::Sender::new(()) }
    }

    /// The channels of now.
    pub fn current(&self) -> Arc<Channels> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub fn replace(&self, channels: Channels) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(channels);
        self.changed.send_replace(());
    }

    /// Says when they are replaced.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
