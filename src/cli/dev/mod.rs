//! `mayfly dev`: throwaway databases and a server, with samples to play with.

mod find;
mod guide;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::guide::Guide;
use super::{CliError, Context, Exit, child::Signals, serve, trial};
use crate::{
    app::{Application, StartError},
    config::SystemEnvironment,
    random::SystemRandom,
    sandbox::{Installation, InstallationSpec},
    target::Surroundings,
    telemetry,
};

const EXAMPLES: &str = "Examples:
  mayfly dev
  mayfly dev --postgres-bin /usr/lib/postgresql/17/bin
  mayfly dev --no-mysql

Starts PostgreSQL and MariaDB or MySQL on free loopback ports in a temporary directory, with a sample shop,
serves, and says what to type next. Ctrl-C ends and removes everything.";

/// Arguments of `mayfly dev`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// Directory with initdb and postgres [default: looked for]
    #[arg(long, value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// The MariaDB or MySQL server program [default: looked for]
    #[arg(long, value_name = "FILE")]
    pub mysqld: Option<PathBuf>,
    /// Start no PostgreSQL
    #[arg(long, conflicts_with_all = ["postgres_bin", "no_mysql"])]
    pub no_postgres: bool,
    /// Start no MariaDB or MySQL
    #[arg(long, conflicts_with = "mysqld")]
    pub no_mysql: bool,
    /// Where Mayfly listens [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Runs `mayfly dev`.
///
/// # Errors
/// When no server programs are found, or something does not start.
pub async fn run(args: DevArgs, context: &mut Context) -> Result<Exit, CliError> {
    let found = find::servers(&args)?;
    for missing in &found.missing {
        context.output.note(&format!("{missing}. Going on without it."));
    }
    let mut signals = Signals::of_process()?;
    let spec = InstallationSpec { servers: found.servers, listen: args.listen };
    let installation = tokio::select! {
        installed = trial::install(spec, &context.output) => installed?,
        signal = signals.next_to_end() => return Ok(Exit::of_signal(signal.as_raw())),
    };
    let served = serve_until_told(&installation, &mut signals, context).await;
    let removed = installation.stop().await;
    served?;
    removed.map_err(|error| trial::failed(&error))?;
    context.output.note("everything is removed");
    Ok(Exit::Ok)
}

async fn serve_until_told(
    installation: &Installation,
    signals: &mut Signals,
    context: &mut Context,
) -> Result<(), CliError> {
    let shutdown = CancellationToken::new();
    let (listen, mut serving) = start(installation, &shutdown, context).await?;
    let administrator = trial::connect(listen, &installation.administrator_token())?;
    let token = trial::application_token(&administrator).await?;
    let token = installation.write_private("app.token", &token).map_err(|error| trial::failed(&error))?;
    let guide = Guide::new(installation, listen, token);
    if context.output.is_json() {
        context.output.json(&guide)?;
    } else {
        context.output.data(&guide.text())?;
    }
    tokio::select! {
        ended = &mut serving => return how_it_ended(ended),
        _ = signals.next_to_end() => {}
    }
    context.output.note("\nstopping (Ctrl-C again: at once)");
    shutdown.cancel();
    tokio::select! {
        ended = &mut serving => how_it_ended(ended),
        // The databases go anyway, so nothing needs to be finished.
        _ = signals.next_to_end() => Ok(()),
    }
}

type Serving = JoinHandle<Result<(), StartError>>;

async fn start(
    installation: &Installation,
    shutdown: &CancellationToken,
    context: &Context,
) -> Result<(SocketAddr, Serving), CliError> {
    let loaded = serve::load(&installation.configuration()).await?;
    telemetry::start(&loaded.config.log).map_err(|error| CliError::local("logs cannot be set up", &error))?;
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    let surroundings = Surroundings::new(Arc::clone(&context.clock), Arc::new(SystemRandom));
    let application = Application::build(loaded.config, surroundings, &SystemEnvironment)
        .await
        .map_err(|error| CliError::local("cannot start", &error))?;
    let listen = application.address();
    Ok((listen, tokio::spawn(application.run(shutdown.clone()))))
}

fn how_it_ended(ended: Result<Result<(), StartError>, tokio::task::JoinError>) -> Result<(), CliError> {
    ended
        .map_err(|error| CliError::local("stopped", &error))?
        .map_err(|error| CliError::local("stopped", &error))
}
