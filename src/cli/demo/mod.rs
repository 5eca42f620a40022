//! `mayfly demo`: a scripted story whose every step is checked.

mod access;
mod agreement;
mod audit;
mod client;
mod crash;
mod emergency;
mod handing;
mod lease;
mod outsiders;
mod people;
mod revoke;
mod stage;
mod transcript;

use std::sync::Arc;

use clap::Args;

use self::{client::program_of, stage::Stage, transcript::Transcript};
use super::{CliError, Context, Exit, child, trial};
use crate::{
    domain::Engine,
    random::SystemRandom,
    sandbox::{Binaries, Installation, InstallationSpec, Locations},
};

/// Whom the story is told of.
const ENGINES: [Engine; 2] = [Engine::Postgres, Engine::Mariadb];

/// Lines of Mayfly's log that are shown when a step fails.
const LOG_LINES: usize = 12;

/// Arguments of `mayfly demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Starts PostgreSQL and MariaDB in a temporary directory, and a Mayfly; logs in with psql and mariadb; removes \
everything.\nEnds with the line `demo: ok` and 0; a failed step ends it with what was expected and what was seen."
)]
pub struct DemoArgs {}

/// Runs `mayfly demo`.
///
/// # Errors
/// When a step does not go as told.
pub async fn run(_args: DemoArgs, context: &mut Context) -> Result<Exit, CliError> {
    let spec = InstallationSpec { servers: find()?, listen: None };
    let mut signals = child::Signals::of_process()?;
    let mut transcript = Transcript::new(&mut context.output, Arc::clone(&context.clock));
    let mut installation = tokio::select! {
        installed = set_up(spec, &mut transcript) => installed?,
        signal = signals.next_to_end() => return Ok(Exit::of_signal(signal.as_raw())),
    };
    let told = tokio::select! {
        told = story(&mut installation, &mut transcript, &context.clock) => told.map(|()| Exit::Ok),
        signal = signals.next_to_end() => Ok(Exit::of_signal(signal.as_raw())),
    };
    let log = installation.log();
    let removed = installation.stop().await.map_err(|error| trial::failed(&error));
    match told {
        Ok(Exit::Ok) => {
            removed?;
            transcript.end()?;
            Ok(Exit::Ok)
        }
        Ok(interrupted) => Ok(interrupted),
        Err(error) => {
            let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
            for line in lines.iter().rev() {
                context.output.note(&format!("mayfly's log: {line}"));
            }
            Err(error)
        }
    }
}

/// The servers and clients, before anything is started.
fn find() -> Result<Vec<Binaries>, CliError> {
    let locations = Locations::from_environment();
    let mut servers = Vec::new();
    for engine in ENGINES {
        servers.push(
            Binaries::find(engine, &locations).map_err(|missing| CliError::usage(missing.to_string()))?,
        );
        child::find_program(program_of(engine)).map_err(|error| {
            CliError::usage(error.to_string())
                .hint(format!("`scripts/servers.sh {engine}` installs it, as does `make demo`"))
        })?;
    }
    Ok(servers)
}

async fn set_up(spec: InstallationSpec, transcript: &mut Transcript<'_>) -> Result<Installation, CliError> {
    transcript.act("On this machine")?;
    transcript
        .step("two throwaway databases start", async {
            let installation =
                Installation::create(spec, &SystemRandom).await.map_err(|error| trial::failed(&error))?;
            let titles: Vec<String> = installation.targets().iter().map(trial::title).collect();
            let seen = format!("{}, in {}", titles.join(" and "), installation.directory().display());
            Ok((installation, seen))
        })
        .await
}

async fn story(
    installation: &mut Installation,
    transcript: &mut Transcript<'_>,
    clock: &Arc<dyn crate::clock::Clock>,
) -> Result<(), CliError> {
    let mut stage = transcript
        .step("Mayfly serves", async {
            let stage = Stage::open(installation, Arc::clone(clock)).await?;
            let seen = format!("gRPC at {}, as a process of its own", stage.installation.listen());
            Ok((stage, seen))
        })
        .await?;
    for engine in ENGINES {
        lease::act(engine, &mut stage, transcript).await?;
    }
    crash::act(&mut stage, transcript).await?;
    revoke::act(&mut stage, transcript).await?;
    let (alice, bob) = agreement::act(&mut stage, transcript).await?;
    handing::act(&mut stage, (&alice, &bob), transcript).await?;
    outsiders::act(&mut stage, &bob, transcript).await?;
    emergency::act(&mut stage, transcript).await?;
    access::act(&mut stage, transcript).await?;
    audit::act(&mut stage, transcript).await
}
