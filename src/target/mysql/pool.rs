//! Connections kept for the next one who needs one; bounded in number and in waiting.
//!
//! Not the driver's own pool: that one cannot tell a long wait from a server that is down, tries one host only, and
//! loses a place for good when a caller gives up while it tests an idle connection.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use mysql_async::{Conn, prelude::Queryable};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    connect::{Connector, Server, Whom},
    link::Link,
};
use crate::{
    clock::Clock,
    target::{PoolUse, TargetError, TargetErrorKind},
};

/// A connection that lay idle for longer is asked whether it is still there before it is used.
const TRUSTED: SignedDuration = SignedDuration::from_secs(1);
/// A connection that lay idle for longer is not used again.
const STALE: SignedDuration = SignedDuration::from_secs(300);

struct Idle {
    connection: Conn,
    server: Server,
    since: Timestamp,
}

/// Somebody who waits for a place; until it is dropped.
struct Waiting<'p>(&'p AtomicUsize);

impl<'p> Waiting<'p> {
    fn begin(count: &'p AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A pool of connections to one target.
pub(super) struct Pool {
    connector: Arc<Connector>,
    clock: Arc<dyn Clock>,
    size: usize,
    places: Semaphore,
    waiting: AtomicUsize,
    idle: Mutex<Vec<Idle>>,
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>, clock: Arc<dyn Clock>, size: usize) -> Self {
        let (size, waiting) = (size.max(1), AtomicUsize::new(0));
        Self { connector, clock, size, places: Semaphore::new(size), waiting, idle: Mutex::default() }
    }

    /// How much of it is in use.
    pub(super) fn usage(&self, pool: &'static str) -> PoolUse {
        let in_use = self.size.saturating_sub(self.places.available_permits());
        PoolUse { pool, size: self.size, in_use, waiting: self.waiting.load(Ordering::Relaxed) }
    }

    /// A connection, idle or new. The wait for a place and the time for connecting are bounded apart.
    pub(super) async fn acquire(&self) -> Result<Link<'_>, TargetError> {
        let place = self.place().await?;
        let (connection, server) = self.in_time(self.connected()).await?;
        Ok(Link::new(self, place, connection, server))
    }

    /// A connection to whatever server answers, to look at it; it is not kept afterwards.
    pub(super) async fn acquire_to_look(&self) -> Result<Link<'_>, TargetError> {
        let place = self.place().await?;
        let (connection, server) = self.in_time(self.connector.connect(Whom::Anyone)).await?;
        Ok(Link::new(self, place, connection, server).for_once())
    }

    async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, TargetError>>,
    ) -> Result<T, TargetError> {
        timeout(self.connector.connect, connecting).await.unwrap_or_else(|_| {
            let message = "the server does not answer in time";
            Err(TargetError::new(TargetErrorKind::Unavailable, message))
        })
    }

    async fn connected(&self) -> Result<(Conn, Server), TargetError> {
        while let Some(idle) = self.next_idle() {
            let age = self.clock.now().duration_since(idle.since);
            if let Some(alive) = self.revive(idle, age).await {
                return Ok(alive);
            }
        }
        self.connector.connect(Whom::Known).await
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, TargetError> {
        let busy = || {
            let message = "every connection to the target is in use; none became free in time";
            TargetError::new(TargetErrorKind::Busy, message)
        };
        let _waiting = Waiting::begin(&self.waiting);
        let waited = timeout(self.connector.wait, self.places.acquire()).await;
        waited.map_err(|_| busy())?.map_err(|_| busy())
    }

    fn next_idle(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The clock may have been set: an age below zero says nothing, so such a connection is asked as well.
    async fn revive(&self, idle: Idle, age: SignedDuration) -> Option<(Conn, Server)> {
        let Idle { mut connection, server, .. } = idle;
        if age > STALE {
            return None;
        }
        if age < SignedDuration::ZERO || age > TRUSTED {
            // A primary that became a replica keeps its connections, and lets some accounts write that should not.
            let asked = connection.query_first::<String, _>("SELECT CAST(@@GLOBAL.read_only AS CHAR)");
            let answer = timeout(self.connector.connect / 4, asked).await;
            if !answer.is_ok_and(|answer| matches!(answer, Ok(Some(on)) if on == "0" || on == "OFF")) {
                self.distrust();
                return None;
            }
        }
        Some((connection, server))
    }

    pub(super) fn take_back(&self, connection: Conn, server: Server) {
        let idle = Idle { connection, server, since: self.clock.now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }

    /// Uses no idle connection again: one that broke or fell silent speaks for the others, and none of them is waited for.
    pub(super) fn distrust(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
