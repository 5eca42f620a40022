//! Moves requests, grants and locks when their time has come: they expire, escalate, are recalled, begin and end; and sees off who was
//! left behind half-way.
//!
//! One task. It sleeps until the next of them is due and wakes early when one changes; awake, it reads from the store what is due and
//! hands it to the issuer's use cases, which decide and write. It keeps no list of its own: what a crash interrupts is due again at
//! the next start. Where several processes share the store, each has a clerk, and who comes second finds that nothing is left to do.

use std::{collections::BTreeSet, future, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    domain::{Grant, Lock, Request},
    issuer::{Departure, Issuer, Refusal},
    random::Random,
    reaper::next_attempt,
    store::{Changes, Document, EntryKind, Kept, RequestKey, Store, StoreError, due_documents},
};

/// What a clerk looks after.
const KINDS: [EntryKind; 5] =
    [EntryKind::Lock, EntryKind::Departure, EntryKind::Request, EntryKind::Grant, EntryKind::RequestKey];

/// Entries of a kind read at once.
const BATCH: u32 = 500;

/// What could not be done is tried again no later than this.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a [`Clerk`] needs.
#[derive(Clone)]
pub struct ClerkParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
    /// Where requests and grants live.
    pub store: Arc<dyn Store>,
    /// What moves them.
    pub issuer: Arc<Issuer>,
}

/// Moves requests and grants when their time has come.
pub struct Clerk {
    parts: ClerkParts,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Entries that were seen to as they were, so that one which stays due is not tried again at once.
type Seen = BTreeSet<(EntryKind, String, u64)>;

impl Clerk {
    /// A clerk that has not begun.
    pub fn new(parts: ClerkParts) -> Self {
        Self { parts, tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Begins; with what a crash interrupted, if there is any.
    pub fn start(&self) {
        // From here on, so that nothing is missed.
        let changes = self.parts.store.entry_changes();
        let desk = Desk { parts: self.parts.clone(), stop: self.stop.clone() };
        self.tasks.spawn(desk.work(changes));
    }

    /// Starts nothing new and returns when the step under way is done. What is left is due again at the next start.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct Desk {
    parts: ClerkParts,
    stop: CancellationToken,
}

impl Desk {
    async fn work(self, mut changes: broadcast::Receiver<(EntryKind, String)>) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            // What changed up to here is seen below; what changes from here on wakes.
            changes = changes.resubscribe();
            let next = match self.work_through().await {
                Ok(Some(next)) => {
                    failures = 0;
                    next
                }
                outcome => {
                    if let Err(error) = outcome {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the store failed the clerk; trying again"
                        );
                    }
                    let ClerkParts { clock, random, .. } = &self.parts;
                    let next = next_attempt(clock.now(), failures, PATIENCE, &**random);
                    failures = failures.saturating_add(1);
                    Some(next)
                }
            };
            self.sleep(next, &mut changes).await;
        }
    }

    async fn sleep(&self, until: Option<Timestamp>, changes: &mut broadcast::Receiver<(EntryKind, String)>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = changed(changes) => {}
            () = self.parts.clock.alarm(until) => {}
        }
    }

    /// Sees to what is due until nothing is that was not seen to. Says when the next is due; `None`: something stays due.
    async fn work_through(&self) -> Result<Option<Option<Timestamp>>, StoreError> {
        let mut seen = Seen::new();
        loop {
            let now = self.parts.clock.now();
            let issuer = &self.parts.issuer;
            let (locks, left) = self.due::<Lock>(now, &mut seen).await?;
            let mut stuck = left;
            let (departures, left) = self.due::<Departure>(now, &mut seen).await?;
            stuck |= left;
            let (requests, left) = self.due::<Request>(now, &mut seen).await?;
            stuck |= left;
            let (grants, left) = self.due::<Grant>(now, &mut seen).await?;
            stuck |= left;
            let (keys, left) = self.due::<RequestKey>(now, &mut seen).await?;
            stuck |= left;
            let nothing = locks.is_empty() && departures.is_empty();
            if nothing && requests.is_empty() && grants.is_empty() && keys.is_empty() {
                let next = self.parts.store.next_due_entry(&KINDS).await?;
                return Ok((!stuck).then_some(next));
            }
            for lock in locks {
                let name = lock.document.resource_name();
                tell(&name, issuer.tend_lock(lock).await);
            }
            for departure in departures {
                let name = format!("principals/{}", departure.document.principal);
                tell(&name, issuer.tend_departure(departure).await);
            }
            for request in requests {
                let id = request.document.resource_name();
                tell(&id, issuer.tend_request(request).await);
            }
            for grant in grants {
                let id = grant.document.resource_name();
                tell(&id, issuer.tend_grant(grant).await);
            }
            for key in keys {
                // Should somebody else have removed it, it is gone.
                let _ = Changes::new().remove(&key).commit(&*self.parts.store).await?;
            }
            if self.stop.is_cancelled() {
                return Ok(Some(None));
            }
        }
    }

    /// What is due of a kind and was not seen to yet; and whether there is something that was, and is due all the same.
    async fn due<D: Document>(
        &self,
        now: Timestamp,
        seen: &mut Seen,
    ) -> Result<(Vec<Kept<D>>, bool), StoreError> {
        let mut due = due_documents::<D>(&*self.parts.store, now, BATCH).await?;
        let all = due.len();
        due.retain(|kept| seen.insert((D::KIND, kept.document.id(), kept.revision)));
        let stuck = due.len() < all;
        Ok((due, stuck))
    }
}

/// Returns when something changed that a clerk looks after, or may have.
async fn changed(changes: &mut broadcast::Receiver<(EntryKind, String)>) {
    loop {
        match changes.recv().await {
            Ok((kind, _)) if !KINDS.contains(&kind) => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => future::pending().await,
        }
    }
}

fn tell(name: &str, outcome: Result<(), Refusal>) {
    if let Err(error) = outcome {
        tracing::warn!(
            resource = name,
            error = &error as &dyn std::error::Error,
            "what is due could not be seen to yet"
        );
    }
}
