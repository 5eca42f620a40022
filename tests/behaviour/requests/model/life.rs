//! A Mayfly that can be killed: everything it runs is in a runtime of its own, which ends wherever it is.

use std::{sync::Arc, time::Duration};

use mayfly::{
    clock::{ManualClock, SystemClock},
    domain::Role,
    issuer::RequestSettings,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::act::Cut;
use crate::support::world::{Database, World};

/// How long a crash waits for what it is to cut, once that seems to be over.
const LINGERS: Duration = Duration::from_millis(30);

/// From a start to a stop, or a crash.
pub(super) struct Life {
    runtime: Option<Runtime>,
    world: Option<Arc<World>>,
}

/// What the next life begins with.
pub(super) type Remains = (Arc<TempDir>, Arc<ManualClock>);

impl Life {
    /// Begins; on what an earlier one left, if there was one.
    pub(super) async fn begin(database: &Database, roles: Vec<Role>, remains: Option<Remains>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = database.settings("shop");
        let world = runtime.spawn(async move {
            // Connections belong to a life as well.
            let target = World::target(settings, Arc::new(SystemClock));
            let world = match remains {
                None => World::with(vec![target], roles).await,
                Some((directory, clock)) => World::at(directory, clock, vec![target], roles).await,
            };
            let many = RequestSettings { pending_per_principal: 1_000, ..RequestSettings::default() };
            world.issuer.request_settings().replace(many);
            world
        });
        let world = world.await.unwrap();
        Self { runtime: Some(runtime), world: Some(Arc::new(world)) }
    }

    pub(super) fn world(&self) -> &Arc<World> {
        self.world.as_ref().unwrap()
    }

    /// Does something within this life.
    pub(super) async fn does<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.as_ref().unwrap().spawn(what).await.unwrap()
    }

    /// Stops, as on a restart.
    pub(super) async fn stops(mut self) -> Remains {
        let world = Arc::into_inner(self.world.take().unwrap()).unwrap();
        self.does(world.stop()).await
    }

    /// Dies in the middle of something.
    pub(super) async fn dies_at(
        mut self,
        cut: Cut,
        what: impl Future<Output = ()> + Send + 'static,
    ) -> Remains {
        let world = self.world.take().unwrap();
        let remains = (Arc::clone(&world.directory), Arc::clone(&world.clock));
        let (mut entries, mut leases) = {
            use mayfly::store::{EntryStore as _, LeaseStore as _};
            (world.store.entry_changes(), world.store.changes())
        };
        let runtime = self.runtime.take().unwrap();
        let doing = runtime.spawn(what);
        let changes = async {
            for _ in 0..cut.changes {
                tokio::select! {
                    _ = entries.recv() => {}
                    _ = leases.recv() => {}
                }
            }
        };
        let seems_over = async {
            let _ = doing.await;
            tokio::time::sleep(LINGERS).await;
        };
        tokio::select! {
            () = changes => {}
            () = seems_over => {}
        }
        tokio::time::sleep(Duration::from_micros(u64::from(cut.micros))).await;
        runtime.shutdown_background();
        remains
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
