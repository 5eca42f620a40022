//! Connections kept for reuse: one pool for issuing, one for ending, each bounded in number and in waiting.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult, TimeoutType},
};

use super::connect::{Connection, Connector};
use crate::target::{PoolSettings, PoolUse, TargetError, TargetErrorKind};

/// After this long a connection is replaced, so that the clock is measured anew and a name that moved is looked up again.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Makes and checks the connections of a pool.
pub(super) struct Manager(Arc<Connector>);

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = TargetError;

    async fn create(&self) -> Result<Connection, TargetError> {
        self.0.connect(self.0.database()).await
    }

    /// Costs no round trip: whatever disturbs a session marks it, and a session that ended is seen.
    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<TargetError> {
        if !connection.is_usable() || metrics.age() > LIFETIME {
            return Err(RecycleError::message("worn out"));
        }
        Ok(())
    }
}

/// A pool.
#[derive(Clone)]
pub(super) struct Pool {
    connections: managed::Pool<Manager>,
    wait: Duration,
}

impl Pool {
    /// At most `size` connections, made when they are needed.
    pub(super) fn new(
        connector: &Arc<Connector>,
        size: usize,
        bounds: &PoolSettings,
    ) -> Result<Self, TargetError> {
        let connections = managed::Pool::builder(Manager(Arc::clone(connector)))
            .max_size(size.max(1))
            .wait_timeout(Some(bounds.wait))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| {
                TargetError::new(TargetErrorKind::Refused, "the pool cannot be built").caused_by(error)
            })?;
        Ok(Self { connections, wait: bounds.wait })
    }

    /// How much of it is in use.
    pub(super) fn usage(&self, pool: &'static str) -> PoolUse {
        let status = self.connections.status();
        let in_use = status.size.saturating_sub(status.available);
        PoolUse { pool, size: status.max_size, in_use, waiting: status.waiting }
    }

    /// A connection, free or new, that acts as the administration account.
    pub(super) async fn get(&self) -> Result<Object<Manager>, TargetError> {
        let lent = self.connections.get().await;
        let mut connection = lent.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => TargetError::new(
                TargetErrorKind::Busy,
                format!("every connection to the target was busy for {:?}", self.wait),
            ),
            _ => TargetError::new(TargetErrorKind::Unavailable, "no connection to the target can be made"),
        })?;
        connection.act_as(None);
        Ok(connection)
    }
}
