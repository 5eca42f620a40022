//! Callers without a secret of their own: a job of a CI system, and somebody from outside.

use std::time::Duration;

use super::{
    people::{Person, refusal, wish},
    stage::Stage,
    transcript::{Setback, Told, Transcript},
};
use crate::{
    api::proto,
    cli::{CliError, Connection, trial, view},
    random::{Random as _, SystemRandom},
};

pub(super) async fn act(
    stage: &mut Stage<'_>,
    bob: &Person,
    transcript: &mut Transcript<'_>,
) -> Result<(), CliError> {
    transcript.act("A CI job, and a contractor")?;
    let (job, jwt) = transcript.step("the job exchanges its JWT", exchanged(stage)).await?;
    transcript.step("the JWT is used again", used_again(stage, &jwt)).await?;
    transcript.step("job: mayfly creds orders-migrate", migrates(stage, &job)).await?;
    let (contractor, code) = transcript.step("a contractor claims an invitation", invited(stage)).await?;
    transcript.step("the code is used again", claimed_again(stage, &code)).await?;
    transcript.step("contractor: asks, and gets a login", let_in(stage, &contractor, bob)).await
}

async fn exchanged(stage: &mut Stage<'_>) -> Told<(Connection, String)> {
    let id = format!("{:x}", SystemRandom.bits());
    let provider = stage.installation.provider();
    let claims = provider.job("shop/orders", "main", "mayfly", stage.clock.now(), &id);
    let jwt = provider.sign(&claims).map_err(|error| CliError::local("no JWT", &error))?;
    let line = stage.line("job", &jwt)?;
    let reply = line.sessions().exchange(line.call(proto::ExchangeRequest {})).await;
    let reply = reply.map_err(|status| line.explain(&status))?.into_inner();
    let principal = reply.session.unwrap_or_default().principal;
    Ok(((stage.line("job-session", &reply.secret)?, jwt), format!("no secret is stored: it is {principal}")))
}

async fn used_again(stage: &Stage<'_>, jwt: &str) -> Told<()> {
    let line = stage.line("replay", jwt)?;
    let answer = line.sessions().exchange(line.call(proto::ExchangeRequest {})).await;
    Ok(((), refusal(&line, answer, "a JWT that is good once")?))
}

async fn migrates(stage: &mut Stage<'_>, job: &Connection) -> Told<()> {
    let message = proto::IssueLeaseRequest {
        role: "orders-migrate".to_owned(),
        ttl: Some(view::to_proto(Duration::from_secs(300))),
        purpose: "migrate".to_owned(),
        ..Default::default()
    };
    let reply = job.leases().issue_lease(job.call(message)).await;
    let reply = reply.map_err(|status| job.explain(&status))?.into_inner();
    let lease = reply.lease.unwrap_or_default();
    let client = stage.client(reply.credential)?;
    if let Err(complaint) = client.ask("SELECT count(*) FROM orders").await? {
        return Err(Setback::unexpected("a login", complaint));
    }
    let message = proto::ReleaseLeaseRequest { name: lease.name, wait: true };
    let released = job.leases().release_lease(job.call(message)).await;
    released.map_err(|status| job.explain(&status))?;
    Ok(((), format!("logs in, and gives it back; allowed by {}", lease.allowed_by)))
}

async fn invited(stage: &mut Stage<'_>) -> Told<(Connection, String)> {
    let administrator = &stage.administrator;
    let message = proto::CreateInvitationRequest {
        contractor: "dana".to_owned(),
        roles: vec!["orders-guest-read".to_owned()],
        groups: vec!["contractors".to_owned()],
        purpose: "audit the orders".to_owned(),
        cidrs: vec!["127.0.0.0/8".to_owned()],
        window: Some(view::to_proto(Duration::from_secs(8 * 3600))),
        ..Default::default()
    };
    let reply = administrator.invitations().create_invitation(administrator.call(message)).await;
    let code = reply.map_err(|status| administrator.explain(&status))?.into_inner().code;
    let nobody = trial::stranger(stage.installation.listen())?;
    let message = proto::ClaimInvitationRequest { code: code.clone() };
    let reply = nobody.invitations().claim_invitation(nobody.call(message)).await;
    let reply = reply.map_err(|status| nobody.explain(&status))?.into_inner();
    let session = reply.session.unwrap_or_default();
    Ok(((stage.line("contractor", &reply.secret)?, code), format!("signed in as {}", session.principal)))
}

async fn claimed_again(stage: &Stage<'_>, code: &str) -> Told<()> {
    let nobody = trial::stranger(stage.installation.listen())?;
    let message = proto::ClaimInvitationRequest { code: code.to_owned() };
    let answer = nobody.invitations().claim_invitation(nobody.call(message)).await;
    Ok(((), refusal(&nobody, answer, "a code that is good once")?))
}

/// Asks, waits until somebody agrees, and logs in.
async fn let_in(stage: &mut Stage<'_>, contractor: &Connection, bob: &Person) -> Told<()> {
    let message = wish("orders-guest-read", Duration::from_secs(600), "audit the orders of May");
    let reply = contractor.requests().create_request(contractor.call(message)).await;
    let request =
        reply.map_err(|status| contractor.explain(&status))?.into_inner().request.unwrap_or_default();
    if request.state() != proto::RequestState::Pending {
        return Err(Setback::unexpected("a pending request", request.state().as_str_name()));
    }
    let message = proto::ReviewRequestRequest {
        name: request.name,
        verdict: proto::Verdict::Approve.into(),
        ..Default::default()
    };
    let line = &bob.line;
    let reply = line.requests().review_request(line.call(message)).await;
    let request = reply.map_err(|status| line.explain(&status))?.into_inner().request.unwrap_or_default();
    let message = proto::ClaimGrantRequest { name: request.grant, ..Default::default() };
    let reply = contractor.grants().claim_grant(contractor.call(message)).await;
    let reply = reply.map_err(|status| contractor.explain(&status))?.into_inner();
    let client = stage.client(reply.credential)?;
    match client.ask("SELECT count(*) FROM orders").await? {
        Ok(_) => Ok(((), format!("{} agreed; one login, read only", bob.name))),
        Err(complaint) => Err(Setback::unexpected("a login", complaint)),
    }
}
