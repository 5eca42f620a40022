//! Puts the rooms together and runs them: build, serve, reload, drain.
//!
//! Holds no rules of its own. [`Application::build`] is what `mayfly serve`, `mayfly dev`, tests and benchmarks all call.

mod assemble;
mod error;
mod notifier;
mod open;
mod reload;
mod standing;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use error::{ReloadError, StartError};
pub use open::shared_store;
pub use reload::Reloader;

use self::notifier::Notifier;
use crate::{
    api::grpc::Bound,
    audit::{Actor, Draft, FileSink, OTHER_CHAINS, REPLICA},
    clerk::Clerk,
    clock::Clock,
    crash::{self, Point},
    identity::ApiToken,
    issuer::Issuer,
    reaper::{Reaper, Rotations, Rounds},
    retention::Keeper,
    store::{Store, StoreError},
    telemetry::MetricsListener,
};

/// A built Mayfly, listening but not serving yet.
pub struct Application {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    issuer: Arc<Issuer>,
    reaper: Arc<Reaper>,
    rounds: Arc<Rounds>,
    rotations: Arc<Rotations>,
    notifier: Notifier,
    clerk: Clerk,
    keeper: Keeper,
    server: Bound,
    sink: Option<FileSink>,
    numbers: Option<MetricsListener>,
    reloader: Arc<Reloader>,
    first_token: Option<ApiToken>,
    grace: Duration,
}

impl Application {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where numbers are shown, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.numbers.as_ref().map(MetricsListener::address)
    }

    /// The first administrator's token, when it was drawn just now. It is nowhere else: show it once.
    pub fn take_first_token(&mut self) -> Option<ApiToken> {
        self.first_token.take()
    }

    /// What takes a changed configuration in.
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Serves until `shutdown` is cancelled; then takes no more calls, completes or undoes what is under way, and closes.
    ///
    /// # Errors
    /// When serving ends by itself, or the store cannot record start and stop.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StartError> {
        let started = Draft::new(self.clock.now(), Actor::System, "server.started", "server/-")
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("address", self.server.local_addr().to_string());
        self.store.record(among_replicas(started, &*self.store).await?).await?;
        crash::here(Point::StartRecorded);
        self.reaper.open_lanes().await?;
        self.rounds.open();
        crash::here(Point::StartRecovering);
        self.rotations.start();
        self.notifier.start();
        self.clerk.start();
        self.keeper.start();
        let sink = self.sink.map(follow);
        let numbers_stop = CancellationToken::new();
        if let Some(numbers) = self.numbers {
            tokio::spawn(numbers.serve(shutdown.clone(), numbers_stop.clone()));
        }
        // However this ends, nobody is to ask a store that is closed.
        let _numbers_stop = numbers_stop.drop_guard();
        let halt = shutdown.child_token();
        let (ready, standing) = watch_standing(&self.store, &halt);
        tracing::info!("serving");
        let served = self.server.serve_while(ready, halt.clone()).await;
        halt.cancel();
        tracing::info!("draining");
        let drained = tokio::time::timeout(self.grace, async {
            self.clerk.stop().await;
            self.keeper.stop().await;
            self.issuer.drain().await;
            self.rounds.stop().await;
            self.reaper.stop().await;
            self.rotations.stop().await;
            self.notifier.stop().await;
        });
        if drained.await.is_err() {
            tracing::warn!(grace = ?self.grace, "not everything under way ended in time; it is taken up at the next start");
        }
        let stopped = Draft::new(self.clock.now(), Actor::System, "server.stopped", "server/-");
        let recorded: Result<(), StoreError> = self.store.record(stopped).await;
        if let Some((task, stop)) = sink {
            stop.cancel();
            let _ = task.await;
        }
        self.store.close().await;
        served?;
        if let Some(fenced) = standing.await.ok().flatten() {
            return Err(fenced.into());
        }
        Ok(recorded?)
    }
}

/// Watches whether this process may serve, as far as others can serve in its stead. Ends its serving when another process does so
/// under its name; that error is what it returns.
fn watch_standing(
    store: &Arc<dyn Store>,
    halt: &CancellationToken,
) -> (watch::Receiver<bool>, JoinHandle<Option<StoreError>>) {
    let (ready, is_ready) = watch::channel(true);
    let (store, halt) = (Arc::clone(store), halt.clone());
    let watching = tokio::spawn(async move {
        store.replica()?;
        let fenced = halt.run_until_cancelled(standing::until_fenced(store, ready)).await?;
        halt.cancel();
        Some(fenced)
    });
    (is_ready, watching)
}

/// Names the chain that a start belongs to and the ends of the others, so that none of them can be cut off unnoticed.
async fn among_replicas(started: Draft, store: &dyn Store) -> Result<Draft, StoreError> {
    let Some(replica) = store.replica() else { return Ok(started) };
    let others = store.other_chains().await?;
    let others: Vec<String> = others.iter().map(|(name, head)| format!("{name}={head}")).collect();
    Ok(started.with(REPLICA, replica).with(OTHER_CHAINS, others.join(" ")))
}

/// Writes the audit file in a task of its own, which writes everything there is before it stops.
fn follow(sink: FileSink) -> (JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        if let Err(error) = sink.run(stopped).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the audit file is no longer written");
        }
    });
    (task, stop)
}
