//! Break-glass: access at once, which somebody else looks at afterwards.

use std::time::Duration;

use super::{
    people::{Person, refusal},
    stage::Stage,
    transcript::{Setback, Told, Transcript},
};
use crate::{
    api::proto,
    cli::{CliError, view},
};

const ROLE: &str = "orders-write";

pub(super) async fn act(stage: &mut Stage<'_>, transcript: &mut Transcript<'_>) -> Result<(), CliError> {
    transcript.act("At night, nobody is there to agree")?;
    let carol = transcript.step("carol, on call, signs in", signed_in(stage)).await?;
    transcript.step("carol: mayfly breakglass", too_soon(&carol)).await?;
    transcript.step("carol: mayfly user totp enrol", stage.second_factor(&carol)).await?;
    let request = transcript.step("carol: mayfly breakglass", at_once(stage, &carol)).await?;
    transcript.step("carol: mayfly breakglass sign-off", own_sign_off(&carol, &request)).await?;
    transcript.step("an administrator signs it off", signed_off(stage, &request)).await
}

async fn signed_in(stage: &mut Stage<'_>) -> Told<Person> {
    let carol = stage.person("carol", &["on-call"]).await?;
    Ok((carol, "by password alone".to_owned()))
}

fn emergency() -> proto::BreakGlassRequest {
    proto::BreakGlassRequest {
        role: ROLE.to_owned(),
        ttl: Some(view::to_proto(Duration::from_secs(600))),
        reason: "orders cannot be paid, incident 12".to_owned(),
        ticket: String::new(),
    }
}

async fn too_soon(carol: &Person) -> Told<()> {
    let line = &carol.line;
    let answer = line.break_glass().break_glass(line.call(emergency())).await;
    Ok(((), refusal(line, answer, "no break-glass without a second factor")?))
}

async fn at_once(stage: &mut Stage<'_>, carol: &Person) -> Told<String> {
    let line = &carol.line;
    let reply = line.break_glass().break_glass(line.call(emergency())).await;
    let reply = reply.map_err(|status| line.explain(&status))?.into_inner();
    let client = stage.client(reply.credential)?;
    if let Err(complaint) = client.ask("SELECT 1").await? {
        return Err(Setback::unexpected("a login", complaint));
    }
    Ok((reply.request.unwrap_or_default().name, "at once, for 10 minutes; waits to be signed off".to_owned()))
}

fn sign_off(request: &str) -> proto::SignOffBreakGlassRequest {
    proto::SignOffBreakGlassRequest {
        name: request.to_owned(),
        comment: "as agreed in the incident".to_owned(),
    }
}

async fn own_sign_off(carol: &Person, request: &str) -> Told<()> {
    let line = &carol.line;
    let answer = line.break_glass().sign_off_break_glass(line.call(sign_off(request))).await;
    Ok(((), refusal(line, answer, "no sign-off of one's own")?))
}

async fn signed_off(stage: &Stage<'_>, request: &str) -> Told<()> {
    let line = &stage.administrator;
    let reply = line.break_glass().sign_off_break_glass(line.call(sign_off(request))).await;
    let request = reply.map_err(|status| line.explain(&status))?.into_inner().request.unwrap_or_default();
    if request.signed_off_by.is_empty() {
        return Err(Setback::unexpected("a sign-off", "none"));
    }
    Ok(((), format!("signed off by {}", request.signed_off_by)))
}
