//! Delivers notices.
//!
//! Each channel is a lane: one notice after the other, in their order, and after a failure a pause. What one receiver does
//! with its connections is of no concern to another lane. The outbox is in the store; what is in memory is the handful each lane
//! has in hand. A notice is claimed before it is sent, by putting it off, so that it is sent by one process, and by another
//! should that one die.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ChannelName, Message, Notice, NoticeState, NotifyParts,
    channel::Channel,
    notice::backoff,
    timing::{Timing, timing},
};
use crate::{
    audit::{Actor, Draft},
    store::{
        Changes, Committed, Document as _, ENTRIES_LIMIT, Entry, EntryChange, EntryKind, Kept, StoreError,
        StoreErrorKind,
    },
};

/// Notices a lane takes in hand at once.
const IN_HAND: usize = 32;

/// A lane whose receiver fails is tried once a minute at the least.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// While something waits for its lane, others are looked for so often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// What waits for a receiver that fails is put off by this, should so much wait that nothing else can be seen.
const ASIDE: SignedDuration = SignedDuration::from_secs(60);

/// How long to wait when the store fails.
const RETRY: SignedDuration = SignedDuration::from_secs(2);

/// Delivers notices.
pub struct Courier {
    parts: NotifyParts,
    lanes: Mutex<BTreeMap<ChannelName, Lane>>,
    in_hand: Mutex<BTreeSet<String>>,
    freed: Notify,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How a channel fares.
#[derive(Debug, Default)]
struct Lane {
    busy: bool,
    /// In a row.
    failures: u32,
    resume_at: Option<Timestamp>,
}

/// Whose turn it is on a lane.
enum Turn {
    /// The asker's, for so many notices.
    Mine { at_once: usize },
    /// Nobody's, until then.
    Later(Timestamp),
    /// Somebody else's.
    Another,
}

/// What came of a notice.
enum Outcome {
    /// It was delivered, or there was nothing to deliver: the next, please.
    Next,
    /// The receiver failed.
    Failed(Option<Duration>),
}

impl Courier {
    /// Not begun yet.
    pub fn new(parts: NotifyParts) -> Self {
        Self {
            parts,
            lanes: Mutex::default(),
            in_hand: Mutex::default(),
            freed: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Begins.
    pub fn start(self: &Arc<Self>) {
        self.tasks.spawn(Arc::clone(self).run());
    }

    /// Begins no other delivery, and returns when those under way are over.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn run(self: Arc<Self>) {
        let mut entries = self.parts.store.entry_changes();
        let mut channels = self.parts.channels.changes();
        while !self.stop.is_cancelled() {
            if channels.has_changed().unwrap_or_default() {
                channels.mark_unchanged();
                self.resume();
            }
            let next = self.hand_out().await.unwrap_or_else(|error| {
                if error.kind != StoreErrorKind::Closed {
                    tracing::error!(error = &error as &dyn Error, "notices cannot be delivered yet");
                }
                Some(later(self.parts.clock.now(), RETRY))
            });
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.freed.notified() => {}
                () = self.news(&mut entries) => {}
                _ = channels.changed() => self.resume(),
                () = self.parts.clock.alarm(next) => {}
            }
        }
    }

    /// Returns once somebody else changed a notice.
    async fn news(&self, entries: &mut broadcast::Receiver<(EntryKind, String)>) {
        loop {
            match entries.recv().await {
                Ok((EntryKind::Notice, id)) if !lock(&self.in_hand).contains(&id) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The store is closed: there is nothing to come.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// With other settings a channel may work again.
    fn resume(&self) {
        for lane in lock(&self.lanes).values_mut() {
            (lane.failures, lane.resume_at) = (0, None);
        }
    }

    /// Gives each lane that is free what is due on it. When to look again; `None`: when something changes.
    async fn hand_out(self: &Arc<Self>) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let now = self.parts.clock.now();
            let (due, is_full) = self.due(now).await?;
            let mut queues: BTreeMap<ChannelName, Vec<Kept<Notice>>> = BTreeMap::new();
            let mut over = Vec::new();
            for kept in due {
                match kept.document.state {
                    NoticeState::Queued { .. } => {
                        queues.entry(kept.document.channel.clone()).or_default().push(kept);
                    }
                    NoticeState::Sent { .. } | NoticeState::Dead { .. } => over.push(kept),
                }
            }
            let mut moved = !over.is_empty();
            self.forget(over).await?;
            let (mut is_waiting, mut aside) = (false, Vec::new());
            for (name, mut queue) in queues {
                let Some(channel) = self.parts.channels.current().get(&name) else {
                    moved = true;
                    self.give_up(queue, now).await?;
                    continue;
                };
                is_waiting = true;
                match self.turn(&name, now) {
                    Turn::Mine { at_once } => {
                        let rest = queue.split_off(at_once.min(queue.len()));
                        self.send(channel, queue);
                        let patient = at_once == 1;
                        aside.extend(
                            rest.into_iter().filter(|_| patient).map(|kept| (later(now, ASIDE), kept)),
                        );
                    }
                    Turn::Later(until) => aside.extend(queue.into_iter().map(|kept| (until, kept))),
                    Turn::Another => {}
                }
            }
            // What is seen at once is bounded: those of a receiver that fails must not keep others out of sight.
            if is_full && !aside.is_empty() {
                moved = true;
                self.put_aside(aside).await?;
            }
            if !(is_full && moved) || self.stop.is_cancelled() {
                return self.next(is_waiting, now).await;
            }
        }
    }

    /// What is due and not in hand, and whether there may be more. One that cannot be read is set aside: the others do not wait
    /// for it.
    async fn due(&self, now: Timestamp) -> Result<(Vec<Kept<Notice>>, bool), StoreError> {
        let entries = self.parts.store.due_entries(EntryKind::Notice, now, ENTRIES_LIMIT).await?;
        let is_full = entries.len() >= usize::try_from(ENTRIES_LIMIT).unwrap_or(usize::MAX);
        let mut due = Vec::new();
        for entry in entries {
            match Kept::<Notice>::read(&entry) {
                Ok(kept) => due.push(kept),
                Err(error) => {
                    tracing::error!(error = &error as &dyn Error, "a notice is set aside");
                    let put = EntryChange::Put(Entry { due_at: None, ..entry });
                    let _ = self.parts.store.change_entries(vec![put], Vec::new()).await?;
                }
            }
        }
        let in_hand = lock(&self.in_hand).clone();
        due.retain(|kept| !in_hand.contains(&kept.document.id()));
        // Those of one moment in the order in which they were made.
        due.sort_by_key(|kept| (kept.document.due_at(), kept.document.id));
        Ok((due, is_full))
    }

    /// When to look again.
    async fn next(&self, is_waiting: bool, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let due = self.parts.store.next_due_entry(&[EntryKind::Notice]).await?;
        let soon = later(now, LOOK_AGAIN);
        // The first that is due may be one that waits, and says nothing of the others.
        Ok(if is_waiting { Some(soon) } else { due.map(|due| if due <= now { soon } else { due }) })
    }

    async fn forget(&self, over: Vec<Kept<Notice>>) -> Result<(), StoreError> {
        let changes = over.iter().fold(Changes::new(), Changes::remove);
        self.commit(changes).await
    }

    /// Notices of a channel that is not configured any more.
    async fn give_up(&self, queue: Vec<Kept<Notice>>, now: Timestamp) -> Result<(), StoreError> {
        let mut changes = Changes::new();
        for Kept { revision, document } in queue {
            let error = "the channel is not configured any more".to_owned();
            let dead = document.failed(now, error, None, 0, &*self.parts.random);
            self.parts.metrics.notice(&dead.channel, "dead");
            changes = changes.replace(&dead, revision)?.record(given_up(&dead, now));
        }
        self.commit(changes).await
    }

    async fn put_aside(&self, aside: Vec<(Timestamp, Kept<Notice>)>) -> Result<(), StoreError> {
        let mut changes = Changes::new();
        for (until, Kept { revision, document }) in aside {
            changes = changes.replace(&document.put_off(until), revision)?;
        }
        self.commit(changes).await
    }

    /// Commits what need not be done by this process: should somebody else have been faster, it is looked at again.
    async fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        if !changes.entries.is_empty() {
            let _ = changes.commit(&*self.parts.store).await?;
        }
        Ok(())
    }

    /// Takes a lane, if it is free and not pausing. After a failure one notice finds out whether it works again.
    fn turn(&self, name: &ChannelName, now: Timestamp) -> Turn {
        let mut lanes = lock(&self.lanes);
        let lane = lanes.entry(name.clone()).or_default();
        match lane.resume_at {
            _ if lane.busy => Turn::Another,
            Some(at) if at > now => Turn::Later(at),
            _ => {
                lane.busy = true;
                Turn::Mine { at_once: if lane.failures == 0 { IN_HAND } else { 1 } }
            }
        }
    }

    fn send(self: &Arc<Self>, channel: Arc<Channel>, queue: Vec<Kept<Notice>>) {
        let ids: Vec<String> = queue.iter().map(|kept| kept.document.id()).collect();
        lock(&self.in_hand).extend(ids.iter().cloned());
        let courier = Arc::clone(self);
        self.tasks.spawn(async move {
            let outcome = courier.send_all(&channel, queue).await;
            courier.leave(&channel.settings.name, &outcome);
            let mut in_hand = lock(&courier.in_hand);
            for id in &ids {
                in_hand.remove(id);
            }
            drop(in_hand);
            courier.freed.notify_one();
        });
    }

    /// Sends one after the other, until one fails.
    async fn send_all(&self, channel: &Channel, queue: Vec<Kept<Notice>>) -> Outcome {
        for kept in queue {
            if self.stop.is_cancelled() {
                return Outcome::Next;
            }
            match self.send_one(channel, kept).await {
                Ok(Outcome::Next) => {
                    if let Some(lane) = lock(&self.lanes).get_mut(&channel.settings.name) {
                        lane.failures = 0;
                    }
                }
                Ok(failed @ Outcome::Failed(_)) => return failed,
                Err(error) => {
                    if error.kind != StoreErrorKind::Closed {
                        tracing::error!(error = &error as &dyn Error, "a notice cannot be kept track of");
                    }
                    return Outcome::Failed(None);
                }
            }
        }
        Outcome::Next
    }

    /// Frees a lane; after a failure it pauses.
    fn leave(&self, name: &ChannelName, outcome: &Outcome) {
        let mut lanes = lock(&self.lanes);
        let Some(lane) = lanes.get_mut(name) else { return };
        lane.busy = false;
        lane.resume_at = None;
        if let Outcome::Failed(wait) = outcome {
            lane.failures = lane.failures.saturating_add(1);
            let pause = backoff(lane.failures, &*self.parts.random).min(LONGEST_PAUSE);
            // Nobody can silence a channel for longer than an hour.
            let pause = pause.max(wait.unwrap_or_default().min(Duration::from_secs(3600)));
            let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
            lane.resume_at = Some(later(self.parts.clock.now(), pause));
        }
    }

    async fn send_one(&self, channel: &Channel, kept: Kept<Notice>) -> Result<Outcome, StoreError> {
        let (store, now, settings) = (&*self.parts.store, self.parts.clock.now(), &channel.settings);
        let Kept { revision, document: mut notice } = kept;
        match timing(store, &mut notice.event, settings, now).await? {
            Timing::Now => {}
            Timing::At(moment) => {
                self.commit(Changes::new().replace(&notice.put_off(moment), revision)?).await?;
                return Ok(Outcome::Next);
            }
            Timing::Never => {
                self.commit(Changes::new().remove(&Kept { revision, document: notice })).await?;
                return Ok(Outcome::Next);
            }
        }
        let notice = notice.claimed(now);
        let claimed = Changes::new().replace(&notice, revision)?.commit(store).await?;
        if claimed == Committed::Conflict {
            return Ok(Outcome::Next);
        }
        let message = Message { id: notice.id, event: &notice.event, now, settings };
        let delivered = channel.transport.deliver(&message).await;
        self.keep(channel, notice, revision.saturating_add(1), delivered).await
    }

    /// Keeps what came of an attempt.
    async fn keep(
        &self,
        channel: &Channel,
        notice: Notice,
        revision: u64,
        delivered: Result<(), super::Undelivered>,
    ) -> Result<Outcome, StoreError> {
        let now = self.parts.clock.now();
        let error = match delivered {
            Ok(()) => {
                self.parts.metrics.notice(&notice.channel, "sent");
                self.commit(Changes::new().replace(&notice.delivered(now), revision)?).await?;
                return Ok(Outcome::Next);
            }
            Err(error) => error,
        };
        let (name, most) = (&channel.settings.name, channel.settings.attempts);
        let next = notice.failed(now, error.words.clone(), error.retry_after, most, &*self.parts.random);
        let is_dead = matches!(next.state, NoticeState::Dead { .. });
        let attempts = next.state.attempts();
        tracing::warn!(channel = %name, notice = %next.id, attempts, is_dead, %error, "a notice was not delivered");
        self.parts.metrics.notice(name, if is_dead { "dead" } else { "failed" });
        let mut changes = Changes::new().replace(&next, revision)?;
        if is_dead {
            changes = changes.record(given_up(&next, now));
        }
        self.commit(changes).await?;
        Ok(Outcome::Failed(error.retry_after))
    }
}

fn given_up(notice: &Notice, now: Timestamp) -> Draft {
    Draft::new(now, Actor::System, "notice.given_up", notice.resource_name())
        .with("channel", notice.channel.as_str())
        .with("event", notice.event.kind.as_str())
        .with("about", notice.event.resource.as_str())
        .with("attempts", notice.state.attempts().to_string())
        .failed(notice.state.error().unwrap_or_default())
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
