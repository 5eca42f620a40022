//! Keeps the store from growing for ever: removes leases that ended long ago, and has old audit records in files instead.
//!
//! One task. It sleeps until the next of either is due; awake, it works in small steps with pauses between them, so that whoever
//! waits for the store hardly notices. What goes and since when is on record before it goes ([`leases`]), and no audit record is removed
//! that is not durable in an archive which the log itself names ([`archive`]). Every step can be done again: what a crash
//! interrupts is gone on with at the next start. Live leases, requests, grants and other entries never leave through here.
//!
//! Where several processes share the store, each archives its own audit chain. Leases are removed by whoever comes first.

mod archive;
mod leases;
mod segment;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    audit::{AuditReadError, Progress, VerifyError},
    clock::Clock,
    store::{Store, StoreError},
};

/// What is due waits for so long for more of its kind: a day's worth goes at a time.
const GATHER: SignedDuration = SignedDuration::from_hours(24);

/// How long to wait before trying again what did not work.
const RETRY: SignedDuration = SignedDuration::from_mins(5);

/// After each step: so many times as long as the step took.
const PAUSE: u32 = 3;

/// For how long what is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Ended leases, after their end; `None`: for ever.
    pub ended_leases: Option<Duration>,
    /// Audit records in the store; `None`: for ever.
    pub audit: Option<AuditRetention>,
}

/// For how long audit records stay in the store, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRetention {
    /// For how long.
    pub keep: Duration,
    /// The directory of the archive's files.
    pub directory: PathBuf,
}

/// Why something that was kept long enough could not go.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] AuditReadError),
    /// The log is not whole: nothing of it is archived before somebody looked at it.
    #[error("the audit log is not whole; nothing of it is archived")]
    Broken(#[from] VerifyError),
    /// A file of the archive cannot be written or read.
    #[error("the archive's file {} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that is there holds something else than what belongs there.
    #[error(
        "{} is in the place of records that are to be archived, and does not hold them: it was left as it is; find out where it is from (a \
         store that was restored from a backup?), and move it away or name another directory",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// What a [`Keeper`] needs.
#[derive(Clone)]
pub struct KeeperParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is not to grow for ever.
    pub store: Arc<dyn Store>,
    /// For how long what is kept.
    pub settings: RetentionSettings,
    /// How far the log is copied to a file, where it is: what is not in it yet stays.
    pub copied: Option<Progress>,
}

/// Sees to it that nothing is kept for longer than it is meant to.
pub struct Keeper {
    parts: KeeperParts,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Keeper {
    /// A keeper that has not begun.
    pub fn new(parts: KeeperParts) -> Self {
        Self { parts, tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Begins, when there is anything that is not kept for ever.
    pub fn start(&self) {
        if self.parts.settings != RetentionSettings::default() {
            let round = Round { parts: self.parts.clone(), stop: self.stop.clone() };
            self.tasks.spawn(round.work());
        }
    }

    /// Returns when the step under way is done.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct Round {
    parts: KeeperParts,
    stop: CancellationToken,
}

impl Round {
    async fn work(self) {
        while !self.stop.is_cancelled() {
            let leases = self.or_later("ended leases cannot be removed yet", self.leases().await);
            let audit = self.or_later("audit records cannot be archived yet", self.archive().await);
            let next = [leases, audit].into_iter().flatten().min();
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.parts.clock.alarm(next) => {}
            }
        }
    }

    /// When to look again; what failed is told and tried again.
    fn or_later(&self, what: &str, outcome: Result<Option<Timestamp>, RetentionError>) -> Option<Timestamp> {
        outcome.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "{what}; trying again");
            Some(self.parts.clock.now().saturating_add(RETRY).unwrap_or(Timestamp::MAX))
        })
    }

    /// The moment before which what happened is not kept any more.
    fn bound(&self, keep: Duration) -> Timestamp {
        self.parts.clock.now().saturating_sub(keep).unwrap_or(Timestamp::MIN)
    }

    /// When something that happened at a moment is seen to.
    fn seen_to(happened: Timestamp, keep: Duration) -> Timestamp {
        let over = happened.saturating_add(keep).unwrap_or(Timestamp::MAX);
        over.saturating_add(GATHER).unwrap_or(Timestamp::MAX)
    }

    /// Lets others have the store for a while, longer the longer the last step took.
    async fn pause(&self, step: Duration) {
        let pause = step.saturating_mul(PAUSE);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
