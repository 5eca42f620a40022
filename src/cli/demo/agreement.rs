//! Access that somebody else has to agree to, and the ways around that are closed.

use std::time::Duration;

use super::{
    client::Client,
    people::{Person, refusal, wish},
    stage::{Stage, is_refused},
    transcript::{Setback, Told, Transcript},
};
use crate::{
    api::proto::{self, Verdict},
    cli::{CliError, view},
};

/// The role whose users need a colleague's consent.
const ROLE: &str = "orders-fix";
const ASKED: Duration = Duration::from_secs(3600);
const AGREED: Duration = Duration::from_secs(900);

pub(super) async fn act(
    stage: &mut Stage<'_>,
    transcript: &mut Transcript<'_>,
) -> Result<(Person, Person), CliError> {
    transcript.act("A developer asks, and a colleague agrees")?;
    let (alice, bob) = transcript.step("alice and bob sign in", signed_in(stage)).await?;
    transcript.step("alice: mayfly user totp enrol", stage.second_factor(&alice)).await?;
    let request = transcript.step("alice: mayfly request create", asked(&alice)).await?;
    transcript.step("alice: mayfly review approve", self_review(&alice, &request)).await?;
    let grant = transcript.step("bob: review approve --ttl 15m", agreed(&bob, &request)).await?;
    let (lease, client) =
        transcript.step("alice: mayfly request claim", claimed(stage, &alice, &grant)).await?;
    transcript.step("psql logs in and writes", writes(&client)).await?;
    transcript.step("mayfly grant revoke", taken_back(stage, &grant, &lease, &client)).await?;
    Ok((alice, bob))
}

async fn signed_in(stage: &mut Stage<'_>) -> Told<(Person, Person)> {
    let alice = stage.person("alice", &["developers"]).await?;
    let bob = stage.person("bob", &["developers"]).await?;
    Ok(((alice, bob), "accounts of their own; both are developers".to_owned()))
}

async fn asked(alice: &Person) -> Told<proto::AccessRequest> {
    let line = &alice.line;
    let message = wish(ROLE, ASKED, "set order 4711 right");
    let reply = line.requests().create_request(line.call(message)).await;
    let request = reply.map_err(|status| line.explain(&status))?.into_inner().request.unwrap_or_default();
    if request.state() != proto::RequestState::Pending {
        return Err(Setback::unexpected("a pending request", request.state().as_str_name()));
    }
    let steps: Vec<String> = request
        .steps
        .iter()
        .map(|step| format!("{} review by {} ({})", step.quorum, step.name, step.reviewers.join(", ")))
        .collect();
    Ok((request, format!("{ROLE} for an hour; waits for {}", steps.join(", then "))))
}

fn review(request: &proto::AccessRequest, ttl: Option<Duration>) -> proto::ReviewRequestRequest {
    proto::ReviewRequestRequest {
        name: request.name.clone(),
        verdict: Verdict::Approve.into(),
        ttl: ttl.map(view::to_proto),
        start_time: None,
        comment: "looked at it together".to_owned(),
    }
}

async fn self_review(alice: &Person, request: &proto::AccessRequest) -> Told<()> {
    let line = &alice.line;
    let answer = line.requests().review_request(line.call(review(request, None))).await;
    Ok(((), refusal(line, answer, "no review of one's own request")?))
}

async fn agreed(bob: &Person, request: &proto::AccessRequest) -> Told<String> {
    let line = &bob.line;
    let reply = line.requests().review_request(line.call(review(request, Some(AGREED)))).await;
    let request = reply.map_err(|status| line.explain(&status))?.into_inner().request.unwrap_or_default();
    let granted = request.granted_ttl.map(|ttl| ttl.seconds).unwrap_or_default();
    if request.state() != proto::RequestState::Approved || granted != 900 {
        let seen = format!("{}, for {granted} s", request.state().as_str_name());
        return Err(Setback::unexpected("approval for 15 minutes", seen));
    }
    Ok((request.grant, "approved, for a quarter of the time".to_owned()))
}

async fn claimed(stage: &mut Stage<'_>, alice: &Person, grant: &str) -> Told<(String, Client)> {
    let line = &alice.line;
    let message = proto::ClaimGrantRequest { name: grant.to_owned(), ..Default::default() };
    let reply = line.grants().claim_grant(line.call(message)).await;
    let reply = reply.map_err(|status| line.explain(&status))?.into_inner();
    let lease = reply.lease.unwrap_or_default();
    let client = stage.client(reply.credential)?;
    Ok(((lease.name, client), format!("{}; allowed by {}", lease.account, lease.allowed_by)))
}

async fn writes(client: &Client) -> Told<()> {
    match client.ask("UPDATE orders SET item = item WHERE id = 1").await? {
        Ok(_) => Ok(((), "an order is changed".to_owned())),
        Err(complaint) => Err(Setback::unexpected("a changed order", complaint)),
    }
}

async fn taken_back(stage: &Stage<'_>, grant: &str, lease: &str, client: &Client) -> Told<()> {
    let line = &stage.administrator;
    let message = proto::RevokeGrantRequest { name: grant.to_owned(), reason: "done".to_owned() };
    let reply = line.grants().revoke_grant(line.call(message)).await;
    reply.map_err(|status| line.explain(&status))?;
    stage.ended_as_seen_by(line, lease, stage.clock.now(), proto::LeaseState::Revoked).await?;
    let ((), complaint) = is_refused(client).await?;
    Ok(((), format!("its lease ended, the account is gone. {complaint}")))
}
