//! One lease from its issue to its expiry.

use std::time::Duration;

use super::{
    client::Session,
    stage::{Held, Stage, expiry, is_refused},
    transcript::{Setback, Told, Transcript},
};
use crate::{
    api::proto,
    cli::{CliError, trial, view},
    domain::Engine,
};

/// Long enough to log in, look and renew on a busy machine; short enough to watch it expire.
const TTL: Duration = Duration::from_secs(6);

/// Longer than the lease was issued for, so that the renewal is seen.
const RENEWED_TTL: Duration = Duration::from_secs(7);

pub(super) async fn act(
    engine: Engine,
    stage: &mut Stage<'_>,
    transcript: &mut Transcript<'_>,
) -> Result<(), CliError> {
    let installed = stage.target(engine)?;
    let target = installed.target.name();
    transcript.act(&format!("A credential for {target}, on {}", trial::title(installed)))?;
    transcript.step(&format!("mayfly doctor {target}"), examined(stage, target)).await?;
    let held = transcript
        .step(&format!("mayfly creds {target}-read --ttl {}s", TTL.as_secs()), issued(stage, engine))
        .await?;
    let program = held.client.name();
    transcript.step(&format!("{program} logs in and reads"), reads(&held)).await?;
    transcript.step(&format!("{program} cannot write"), cannot_write(&held)).await?;
    let session = transcript.step("mayfly lease sessions", seen(stage, &held)).await?;
    let renewed = transcript.step("mayfly lease renew", renewed(stage, &held)).await?;
    transcript.step("it expires", expired(stage, engine, &renewed)).await?;
    transcript.step("the open session is ended", ended(&held, session)).await?;
    transcript.step("a new login is refused", is_refused(&held.client)).await?;
    transcript.step("the account is gone", stage.is_gone(engine, &held.lease.account)).await
}

async fn examined(stage: &Stage<'_>, target: &str) -> Told<()> {
    let connection = &stage.administrator;
    let request = connection.call(proto::ExamineTargetRequest { name: target.to_owned() });
    let reply = connection.targets().examine_target(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let graver = |finding: &&proto::Finding| finding.severity() != proto::Severity::Fine;
    match reply.findings.iter().find(graver) {
        Some(finding) if finding.severity() != proto::Severity::Warning => {
            Err(Setback::unexpected("no problem", finding.summary.clone()))
        }
        Some(finding) => Ok(((), format!("no problem. Worth knowing: {}", finding.summary))),
        None => Ok(((), format!("{}: {} checks, no problem", reply.server, reply.findings.len()))),
    }
}

async fn issued(stage: &mut Stage<'_>, engine: Engine) -> Told<Held> {
    let held = stage.issue(engine, TTL).await?;
    let seen = format!("over gRPC: {}", held.lease.account);
    Ok((held, seen))
}

async fn reads(held: &Held) -> Told<()> {
    match held.client.ask("SELECT item FROM orders ORDER BY id").await? {
        Ok(items) if items.lines().count() == 4 => {
            Ok(((), format!("4 orders: {}", items.lines().collect::<Vec<_>>().join(", "))))
        }
        Ok(items) => Err(Setback::unexpected("4 orders", items)),
        Err(complaint) => Err(Setback::unexpected("4 orders", complaint)),
    }
}

async fn cannot_write(held: &Held) -> Told<()> {
    match held.client.ask("DELETE FROM orders").await? {
        Err(complaint) if complaint.contains("denied") => Ok(((), complaint)),
        Err(complaint) => Err(Setback::unexpected("permission denied", complaint)),
        Ok(_) => Err(Setback::unexpected("permission denied", "deleted orders")),
    }
}

async fn seen(stage: &Stage<'_>, held: &Held) -> Told<Session> {
    let session = held.client.stay().await?;
    let connection = &stage.application;
    let request = connection.call(proto::ListSessionsRequest { name: held.lease.name.clone() });
    let reply = connection.leases().list_sessions(request).await;
    let sessions = reply.map_err(|status| connection.explain(&status))?.into_inner().sessions;
    match sessions.first() {
        Some(first) => {
            let told = format!(
                "{} session: process {}, from {}, in {}",
                sessions.len(),
                first.id,
                first.client_address,
                first.database
            );
            Ok((session, told))
        }
        None => Err(Setback::unexpected("a session", "none")),
    }
}

async fn renewed(stage: &Stage<'_>, held: &Held) -> Told<proto::Lease> {
    let connection = &stage.application;
    let message =
        proto::RenewLeaseRequest { name: held.lease.name.clone(), ttl: Some(view::to_proto(RENEWED_TTL)) };
    let reply = connection.leases().renew_lease(connection.call(message)).await;
    let lease = reply.map_err(|status| connection.explain(&status))?.into_inner().lease.unwrap_or_default();
    let gained = expiry(&lease)?.duration_since(expiry(&held.lease)?).as_secs_f64();
    if gained <= 0.0 {
        return Err(Setback::unexpected("a later expiry", format!("one {gained:.1} s later")));
    }
    Ok((lease, format!("for {} s from now: expires {gained:.1} s later", RENEWED_TTL.as_secs())))
}

async fn expired(stage: &Stage<'_>, engine: Engine, lease: &proto::Lease) -> Told<()> {
    let due = expiry(lease)?;
    let ended = stage.ended(&lease.name, due, proto::LeaseState::Expired).await?;
    let report = ended.end_report.unwrap_or_default();
    let gone = view::moment(report.end_time).unwrap_or(due);
    if gone < due {
        return Err(Setback::unexpected("an end not before the expiry", format!("{gone}, due {due}")));
    }
    // On MariaDB the server's own switch may have been quicker than Mayfly to end it.
    if report.sessions_ended == 0 && engine == Engine::Postgres {
        return Err(Setback::unexpected("a session that had to be ended", "none"));
    }
    let after = gone.duration_since(due).as_millis();
    Ok(((), format!("its session ended, verified gone {after} ms after its time")))
}

async fn ended(held: &Held, session: Session) -> Told<()> {
    Ok(((), held.client.last_words(session).await?))
}
