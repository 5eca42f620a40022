//! Looking at notices, trying them again, letting go of them, and trying a channel out. For administrators.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::{Issuer, Refusal, RefusalKind};
use crate::{
    audit::Draft,
    domain::{ChannelName, NoticeId},
    identity::Caller,
    notify::{ChannelsHandle, Event, EventKind, Notice, NoticeState},
    policy,
    store::{Changes, Committed, EntryKind, Kept, Listing, document, documents},
};

/// How long a test of a channel is waited for.
const TESTED_WITHIN: Duration = Duration::from_secs(20);

/// How often a change is decided again when somebody else was faster.
const TRIES: u32 = 5;

/// Which notices are meant; of several conditions each holds.
#[derive(Debug, Clone, Default)]
pub struct NoticeFilter {
    /// Of this channel.
    pub channel: Option<ChannelName>,
    /// In this state: `queued`, `sent` or `dead`.
    pub state: Option<&'static str>,
}

impl Issuer {
    /// Has notices tried out and tried again through these channels.
    #[must_use]
    pub fn with_channels(mut self, channels: Arc<ChannelsHandle>) -> Self {
        self.channels = channels;
        self
    }

    /// Notices, newest first, below `before`.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, store unavailable.
    pub async fn notices(
        &self,
        caller: &Caller,
        filter: &NoticeFilter,
        before: Option<NoticeId>,
        limit: u32,
    ) -> Result<Vec<Notice>, Refusal> {
        self.authorise(caller, policy::Action::Administer, "notice.listed", "notices/-".to_owned()).await?;
        let by = match (&filter.channel, filter.state) {
            (Some(channel), _) => Some(("channel", channel.as_str())),
            (None, Some(state)) => Some(("state", state)),
            (None, None) => None,
        };
        let mut before = before.map(|id| id.to_string());
        let mut found: Vec<Notice> = Vec::new();
        loop {
            let listing = Listing { by, before: before.as_deref(), limit };
            let page: Vec<Kept<Notice>> = documents(&*self.store, listing).await?;
            let is_last = u32::try_from(page.len()).unwrap_or(u32::MAX) < limit;
            before = page.last().map(|kept| kept.document.id.to_string());
            let meant = page.into_iter().map(|kept| kept.document).filter(|notice| {
                let of_channel = filter.channel.as_ref().is_none_or(|channel| *channel == notice.channel);
                of_channel && filter.state.is_none_or(|state| notice.state.as_str() == state)
            });
            found.extend(meant);
            if is_last || found.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                return Ok(found);
            }
        }
    }

    /// Has a notice tried again from the beginning, now.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such notice, delivered already, store unavailable.
    pub async fn retry_notice(&self, caller: &Caller, id: NoticeId) -> Result<Notice, Refusal> {
        let name = format!("notices/{id}");
        self.authorise(caller, policy::Action::Administer, "notice.retried", name.clone()).await?;
        for _ in 0..TRIES {
            let Kept { revision, document } = self.notice(id).await?;
            if let NoticeState::Sent { .. } = document.state {
                let refusal =
                    Refusal::new(RefusalKind::Ended, "it was delivered; there is nothing to try again");
                return Err(self.refuse(caller, "notice.retried", name, refusal).await);
            }
            let now = self.clock.now();
            let again = document.retried(now);
            let draft = Draft::new(now, caller.actor(), "notice.retried", name.as_str())
                .with("channel", again.channel.as_str());
            let changes = Changes::new().replace(&again, revision)?.record(draft);
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(again);
            }
        }
        Err(under_way())
    }

    /// Lets go of a notice, delivered or not.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such notice, store unavailable.
    pub async fn drop_notice(&self, caller: &Caller, id: NoticeId) -> Result<Notice, Refusal> {
        let name = format!("notices/{id}");
        self.authorise(caller, policy::Action::Administer, "notice.dropped", name.clone()).await?;
        for _ in 0..TRIES {
            let kept = self.notice(id).await?;
            let draft = Draft::new(self.clock.now(), caller.actor(), "notice.dropped", name.as_str())
                .with("channel", kept.document.channel.as_str())
                .with("about", kept.document.event.resource.as_str());
            if Changes::new().remove(&kept).record(draft).commit(&*self.store).await? == Committed::Yes {
                return Ok(kept.document);
            }
        }
        Err(under_way())
    }

    /// Sends something through a channel, and says what came of it: delivered, or why not yet.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such channel, store unavailable.
    pub async fn test_channel(&self, caller: &Caller, channel: &ChannelName) -> Result<Notice, Refusal> {
        let name = format!("channels/{channel}");
        self.authorise(caller, policy::Action::Administer, "notice.tested", name.clone()).await?;
        if !self.channels.current().has(channel) {
            let refusal = Refusal::not_found(format!("there is no channel {channel} in the configuration"));
            return Err(self.refuse(caller, "notice.tested", name, refusal).await);
        }
        let now = self.clock.now();
        let mut event = Event::new(EventKind::Test, now, name.as_str(), "tested");
        event.actor = Some(caller.principal.name.clone());
        let id = NoticeId::new(now, self.random.bits());
        let notice = Notice::new(id, channel.clone(), event, now, now);
        let draft = Draft::new(now, caller.actor(), "notice.tested", name);
        let mut changes = self.store.entry_changes();
        let committed = Changes::new().insert(&notice)?.record(draft).commit(&*self.store).await?;
        if committed == Committed::Conflict {
            return Err(under_way());
        }
        let settled = tokio::time::timeout(TESTED_WITHIN, self.settled(id, &mut changes)).await;
        settled.unwrap_or(Ok(notice))
    }

    /// Waits until an attempt at a notice is over.
    async fn settled(
        &self,
        id: NoticeId,
        changes: &mut broadcast::Receiver<(EntryKind, String)>,
    ) -> Result<Notice, Refusal> {
        loop {
            let notice = self.notice(id).await?.document;
            if !matches!(notice.state, NoticeState::Queued { last_error: None, .. }) {
                return Ok(notice);
            }
            loop {
                match changes.recv().await {
                    Ok((EntryKind::Notice, changed)) if changed == id.to_string() => break,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => return Ok(notice),
                }
            }
        }
    }

    async fn notice(&self, id: NoticeId) -> Result<Kept<Notice>, Refusal> {
        let found = document::<Notice>(&*self.store, &id.to_string()).await?;
        found.ok_or_else(|| Refusal::not_found(format!("there is no notice {id}")))
    }
}

fn under_way() -> Refusal {
    Refusal::new(RefusalKind::InProgress, "the notice is being delivered just now; try again")
        .retry_after(Duration::from_secs(1))
}
