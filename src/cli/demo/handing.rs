//! An account that there is once, and two who want it.

use super::{
    client::Client,
    people::{Person, refusal},
    stage::{Stage, is_refused},
    transcript::{Setback, Told, Transcript},
};
use crate::{api::proto, cli::CliError};

/// The role that hands the account out.
const ROLE: &str = "orders-batch";

pub(super) async fn act(
    stage: &mut Stage<'_>,
    (alice, bob): (&Person, &Person),
    transcript: &mut Transcript<'_>,
) -> Result<(), CliError> {
    transcript.act("An account that there is once, and two who want it")?;
    let (lease, client) = transcript.step("alice: mayfly creds orders-batch", handed(stage, alice)).await?;
    transcript.step("bob: mayfly creds orders-batch", waits(bob)).await?;
    transcript.step("alice: mayfly lease release", given_back(stage, alice, &lease, &client)).await?;
    transcript.step("bob asks again", his_turn(stage, bob)).await
}

fn wish(person: &Person) -> tonic::Request<proto::IssueLeaseRequest> {
    person.line.call(proto::IssueLeaseRequest { role: ROLE.to_owned(), ..Default::default() })
}

/// Asks for the account and logs in with what came.
async fn obtained(stage: &mut Stage<'_>, person: &Person) -> Result<(String, Client), Setback> {
    let reply = person.line.leases().issue_lease(wish(person)).await;
    let reply = reply.map_err(|status| person.line.explain(&status))?.into_inner();
    let client = stage.client(reply.credential)?;
    match client.ask("SELECT count(*) FROM orders").await? {
        Ok(_) => Ok((reply.lease.unwrap_or_default().name, client)),
        Err(complaint) => Err(Setback::unexpected("a login", complaint)),
    }
}

async fn handed(stage: &mut Stage<'_>, alice: &Person) -> Told<(String, Client)> {
    let held = obtained(stage, alice).await?;
    Ok((held, "batch, which is there for good, with a fresh password; psql logs in".to_owned()))
}

async fn waits(bob: &Person) -> Told<()> {
    let answer = bob.line.leases().issue_lease(wish(bob)).await;
    Ok(((), refusal(&bob.line, answer, "a place in the queue")?))
}

async fn given_back(stage: &Stage<'_>, alice: &Person, lease: &str, client: &Client) -> Told<()> {
    release(stage, alice, lease).await?;
    let ((), complaint) = is_refused(client).await?;
    Ok(((), format!("the account is locked. {complaint}")))
}

async fn his_turn(stage: &mut Stage<'_>, bob: &Person) -> Told<()> {
    let (lease, _) = obtained(stage, bob).await?;
    release(stage, bob, &lease).await?;
    Ok(((), "his turn, with another password; psql logs in".to_owned()))
}

async fn release(stage: &Stage<'_>, person: &Person, lease: &str) -> Result<(), Setback> {
    let line = &person.line;
    let message = proto::ReleaseLeaseRequest { name: lease.to_owned(), wait: false };
    let released = line.leases().release_lease(line.call(message)).await;
    released.map_err(|status| line.explain(&status))?;
    stage.ended_as_seen_by(line, lease, stage.clock.now(), proto::LeaseState::Released).await?;
    Ok(())
}
