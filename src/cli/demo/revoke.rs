//! Leases ended by authority, long before their time.

use std::time::Duration;

use super::{
    ENGINES,
    stage::{Stage, is_refused},
    transcript::{Setback, Told, Transcript},
};
use crate::{
    api::proto,
    cli::{CliError, view},
    domain::Engine,
};

const TTL: Duration = Duration::from_secs(600);

pub(super) async fn act(stage: &mut Stage<'_>, transcript: &mut Transcript<'_>) -> Result<(), CliError> {
    transcript.act("An administrator revokes")?;
    for engine in ENGINES {
        let title = format!("a lease on {}, in use", engine.title());
        transcript.step(&title, revoked(stage, engine)).await?;
    }
    Ok(())
}

async fn revoked(stage: &mut Stage<'_>, engine: Engine) -> Told<()> {
    let held = stage.issue(engine, TTL).await?;
    let session = held.client.stay().await?;
    let connection = &stage.administrator;
    let began = stage.clock.now();
    let message = proto::RevokeLeaseRequest {
        name: held.lease.name.clone(),
        reason: "the demo is over".to_owned(),
        wait: true,
    };
    let reply = connection.leases().revoke_lease(connection.call(message)).await;
    let lease = reply.map_err(|status| connection.explain(&status))?.into_inner().lease.unwrap_or_default();
    let took = stage.clock.now().duration_since(began).as_millis();
    if lease.state() != proto::LeaseState::Revoked {
        return Err(Setback::unexpected("the lease revoked", view::state_word(&lease)));
    }
    held.client.last_words(session).await?;
    is_refused(&held.client).await?;
    stage.is_gone(engine, &held.lease.account).await?;
    Ok(((), format!("session ended, login refused, account gone, {took} ms after the call")))
}
