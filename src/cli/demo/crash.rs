//! Mayfly is killed before leases expire: what the databases do without it, and what it does when it is back.

use std::{io, time::Duration};

use tokio::net::TcpStream;

use super::{
    ENGINES,
    stage::{Held, Stage, expiry, is_refusal, is_refused},
    transcript::{Setback, Told, Transcript},
};
use crate::{api::proto, cli::CliError, domain::Engine};

const TTL: Duration = Duration::from_secs(4);

/// How long after a lease's expiry its database may still let it in: it counts in whole seconds.
const TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn act(stage: &mut Stage<'_>, transcript: &mut Transcript<'_>) -> Result<(), CliError> {
    transcript.act("Mayfly is killed before leases expire")?;
    let [postgres, mariadb] = transcript.step("a credential on each", issued(stage)).await?;
    transcript.step("kill -9 mayfly", killed(stage)).await?;
    transcript.step("PostgreSQL refuses by itself", refused_by_itself(stage, &postgres)).await?;
    transcript.step("MariaDB refuses by itself", refused_by_itself(stage, &mariadb)).await?;
    transcript.step("Mayfly starts again", back(stage)).await?;
    for held in [&postgres, &mariadb] {
        let engine = held.client.credential().engine;
        let title = format!("{} is cleaned up", engine.title());
        transcript.step(&title, cleaned_up(stage, engine, held)).await?;
    }
    Ok(())
}

async fn issued(stage: &mut Stage<'_>) -> Told<[Held; 2]> {
    let [first, second] = ENGINES;
    let held = [stage.issue(first, TTL).await?, stage.issue(second, TTL).await?];
    for held in &held {
        if let Err(complaint) = held.client.ask("SELECT 1").await? {
            return Err(Setback::unexpected("a login", complaint));
        }
    }
    let [postgres, mariadb] = &held;
    let seen =
        format!("{} and {} log in; for {} s", postgres.client.name(), mariadb.client.name(), TTL.as_secs());
    Ok((held, seen))
}

async fn killed(stage: &mut Stage<'_>) -> Told<()> {
    let dead = stage.installation.kill().await;
    dead.map_err(|error| CliError::local("Mayfly cannot be killed", &error))?;
    let listen = stage.installation.listen();
    match TcpStream::connect(listen).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(((), format!("nobody listens at {listen} any more")))
        }
        Err(error) => Err(Setback::unexpected("a refused connection", error.to_string())),
        Ok(_) => Err(Setback::unexpected("a refused connection", "somebody who listens")),
    }
}

/// Nobody tells the database anything: PostgreSQL looks at `VALID UNTIL` at every login, and MariaDB's dead-man's switch
/// looks for what is due.
async fn refused_by_itself(stage: &Stage<'_>, held: &Held) -> Told<()> {
    let due = expiry(&held.lease)?;
    let latest = due.saturating_add(TOLERANCE).unwrap_or(due);
    let complaint = loop {
        match held.client.ask("SELECT 1").await? {
            Err(complaint) => break complaint,
            Ok(_) if stage.clock.now() > latest => {
                return Err(Setback::unexpected("a refused login after the expiry", "a login"));
            }
            Ok(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    };
    if !is_refusal(&complaint) {
        return Err(Setback::unexpected("a refused login", complaint));
    }
    let after = stage.clock.now().duration_since(due);
    if after < -TOLERANCE {
        return Err(Setback::unexpected("logins until the expiry", complaint));
    }
    // Refused, and still there: no Mayfly has ended it.
    let engine = held.client.credential().engine;
    if !stage.has_account(engine, &held.lease.account).await? {
        return Err(Setback::unexpected("an account that is still there", "none"));
    }
    if !stage.installation.has_ended() {
        return Err(Setback::unexpected("a dead Mayfly", "a living one"));
    }
    let by = match engine {
        Engine::Postgres => "VALID UNTIL is over",
        Engine::Mysql | Engine::Mariadb => "the dead-man's switch has locked it",
    };
    Ok(((), format!("{by}. {complaint}")))
}

async fn back(stage: &mut Stage<'_>) -> Told<()> {
    stage.start().await?;
    Ok(((), "on the same store".to_owned()))
}

async fn cleaned_up(stage: &Stage<'_>, engine: Engine, held: &Held) -> Told<()> {
    stage.ended(&held.lease.name, stage.clock.now(), proto::LeaseState::Expired).await?;
    let ((), gone) = stage.is_gone(engine, &held.lease.account).await?;
    is_refused(&held.client).await?;
    Ok(((), format!("expired; {gone}; login refused")))
}
