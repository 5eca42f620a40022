//! `mayfly serve`: the server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CliError, Context, Exit};
use crate::{
    app::{Application, Reloader},
    config::{Config, Environment, Loaded, SystemEnvironment},
    crash::{self, Charge},
    random::SystemRandom,
    target::Surroundings,
    telemetry,
};

const EXAMPLES: &str = "Examples:
  mayfly config check --config mayfly.toml && mayfly serve --config mayfly.toml
  kill -HUP PID        read the configuration and the certificates again, all or nothing
  kill -TERM PID       take no more calls, finish what is under way, stop; once more: stop now

On an empty store the first administrator token is printed once, on standard output.";

/// Arguments of `mayfly serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// The configuration
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
}

/// Runs `mayfly serve`.
///
/// # Errors
/// When the configuration is wrong, or the server cannot start.
pub async fn run(args: ServeArgs, context: &mut Context) -> Result<Exit, CliError> {
    let Loaded { config, warnings } = load(&args.config).await?;
    telemetry::start(&config.log).map_err(|error| CliError::local("logs cannot be set up", &error))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    arm(&SystemEnvironment)?;
    let signals = Signals::listen()?;
    let surroundings = Surroundings::new(Arc::clone(&context.clock), Arc::new(SystemRandom));
    let mut application = Application::build(config, surroundings, &SystemEnvironment)
        .await
        .map_err(|error| CliError::local("cannot start", &error))?;
    if let Some(token) = application.take_first_token() {
        context.output.note("first administrator token, shown this once:");
        context.output.data(token.expose())?;
    }
    tracing::info!(address = %application.address(), "listening");
    if let Some(address) = application.metrics_address() {
        tracing::info!(%address, "metrics");
    }
    let shutdown = CancellationToken::new();
    let reloader = application.reloader();
    let serving = application.run(shutdown.clone());
    tokio::select! {
        served = serving => served.map_err(|error| CliError::local("stopped", &error))?,
        forced = signals.obey(&args.config, &reloader, &shutdown) => return Ok(forced),
    }
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

/// Arms the crash point that a test asked for. What is built for use knows no such thing.
fn arm(environment: &dyn Environment) -> Result<(), CliError> {
    if cfg!(debug_assertions)
        && let Ok(charge) = environment.variable(crash::VARIABLE)
    {
        let charge: Charge = charge.parse().map_err(|error| CliError::usage(format!("{error}")))?;
        tracing::warn!(point = charge.point.as_str(), pass = charge.pass, "armed to crash");
        crash::arm(charge);
    }
    Ok(())
}

/// Reads a configuration off the async threads.
pub(super) async fn load(path: &Path) -> Result<Loaded, CliError> {
    let path = path.to_owned();
    let loaded = tokio::task::spawn_blocking(move || Config::load(&path, &SystemEnvironment)).await;
    let loaded = loaded.map_err(|error| CliError::local("the configuration cannot be read", &error))?;
    loaded.map_err(|error| CliError::usage(error.to_string()))
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CliError> {
        let on = |kind| signal(kind).map_err(|error| CliError::local("signals cannot be caught", &error));
        Ok(Self {
            hangup: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    /// Reloads and drains as told; returns only when told to stop a second time.
    async fn obey(mut self, config: &Path, reloader: &Reloader, shutdown: &CancellationToken) -> Exit {
        loop {
            let stop = tokio::select! {
                _ = self.hangup.recv() => false,
                _ = self.terminate.recv() => true,
                _ = self.interrupt.recv() => true,
            };
            match (stop, shutdown.is_cancelled()) {
                (false, _) => reload(config, reloader).await,
                (true, false) => shutdown.cancel(),
                (true, true) => {
                    tracing::warn!("stopping now; what is under way is taken up at the next start");
                    return Exit::Failure;
                }
            }
        }
    }
}

async fn reload(path: &Path, reloader: &Reloader) {
    let loaded = match load(path).await {
        Ok(loaded) => loaded,
        Err(error) => return tracing::error!("the configuration stays as it was:\n{error}"),
    };
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    match reloader.reload(loaded.config).await {
        Ok(changes) if changes.is_empty() => tracing::info!("read again; nothing changed"),
        Ok(changes) => changes.iter().for_each(|change| tracing::info!("{change}")),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the configuration stays as it was");
        }
    }
}
