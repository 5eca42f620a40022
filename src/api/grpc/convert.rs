//! Domain values as messages, and the few enumerations that come back. Total and lossless.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::proto,
    audit::Record,
    domain::{EndCause, EndReport, Engine, Lease, LeaseKind, LeaseState, PrincipalKind, Role, StateName},
    issuer::{Answer, Discrepancy, DiscrepancyKind, Issued, ReconcileReport, Succession, TargetStatus},
    store::StoredToken,
    target::{CircuitState, Examination, Finding, Session, Severity, Target, TlsMode},
};

/// The number names nothing this server knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no known {1}")]
pub(super) struct UnknownNumber(i32, &'static str);

/// `seconds` and non-negative `nanos`, as the message wants it.
pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.as_nanosecond();
    let second = 1_000_000_000;
    prost_types::Timestamp {
        seconds: i64::try_from(nanos.div_euclid(second)).unwrap_or_default(),
        nanos: i32::try_from(nanos.rem_euclid(second)).unwrap_or_default(),
    }
}

/// Seconds and nanos of the same sign, as the message wants it.
pub(super) fn duration(duration: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

fn unsigned(duration: std::time::Duration) -> prost_types::Duration {
    self::duration(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

/// A state filter's entry; `None`: any.
pub(super) fn state_from_proto(number: i32) -> Result<Option<StateName>, UnknownNumber> {
    let state = proto::LeaseState::try_from(number).map_err(|_| UnknownNumber(number, "lease state"))?;
    Ok(match state {
        proto::LeaseState::Unspecified => None,
        proto::LeaseState::Provisioning => Some(StateName::Provisioning),
        proto::LeaseState::Active => Some(StateName::Active),
        proto::LeaseState::Ending => Some(StateName::Ending),
        proto::LeaseState::Expired => Some(StateName::Expired),
        proto::LeaseState::Revoked => Some(StateName::Revoked),
        proto::LeaseState::Released => Some(StateName::Released),
        proto::LeaseState::Failed => Some(StateName::Failed),
    })
}

fn state(name: StateName) -> proto::LeaseState {
    match name {
        StateName::Provisioning => proto::LeaseState::Provisioning,
        StateName::Active => proto::LeaseState::Active,
        StateName::Ending => proto::LeaseState::Ending,
        StateName::Expired => proto::LeaseState::Expired,
        StateName::Revoked => proto::LeaseState::Revoked,
        StateName::Released => proto::LeaseState::Released,
        StateName::Failed => proto::LeaseState::Failed,
    }
}

/// A kind of principal, which must be said.
pub(super) fn kind_from_proto(number: i32) -> Result<PrincipalKind, UnknownNumber> {
    match proto::PrincipalKind::try_from(number) {
        Ok(proto::PrincipalKind::Human) => Ok(PrincipalKind::Human),
        Ok(proto::PrincipalKind::Workload) => Ok(PrincipalKind::Workload),
        Ok(proto::PrincipalKind::Contractor) => Ok(PrincipalKind::Contractor),
        Ok(proto::PrincipalKind::Unspecified) | Err(_) => Err(UnknownNumber(number, "kind of principal")),
    }
}

/// A kind of principal as its message.
pub(super) fn kind(kind: PrincipalKind) -> proto::PrincipalKind {
    match kind {
        PrincipalKind::Human => proto::PrincipalKind::Human,
        PrincipalKind::Workload => proto::PrincipalKind::Workload,
        PrincipalKind::Contractor => proto::PrincipalKind::Contractor,
    }
}

fn engine(engine: Engine) -> proto::Engine {
    match engine {
        Engine::Postgres => proto::Engine::Postgres,
        Engine::Mysql => proto::Engine::Mysql,
        Engine::Mariadb => proto::Engine::Mariadb,
    }
}

fn end_reason(cause: &EndCause) -> String {
    match cause {
        EndCause::Expired => "it expired".to_owned(),
        EndCause::Released => "its holder released it".to_owned(),
        EndCause::Revoked { reason } if reason.is_empty() => "it was revoked".to_owned(),
        EndCause::Revoked { reason } => format!("it was revoked: {reason}"),
        EndCause::Failed { reason } => format!("it was never delivered: {reason}"),
    }
}

fn end_report(at: Timestamp, report: &EndReport) -> proto::EndReport {
    proto::EndReport {
        end_time: Some(timestamp(at)),
        sessions_ended: report.sessions_ended,
        objects_reassigned: report.objects.reassigned,
        objects_dropped: report.objects.dropped,
        objects_kept: report.objects.kept,
        was_absent: report.was_absent,
        account_kept: report.account_kept,
    }
}

/// A lease.
pub(super) fn lease(lease: &Lease) -> proto::Lease {
    let (progress, report, reason) = match &lease.state {
        LeaseState::Provisioning { .. } | LeaseState::Active { .. } => (None, None, String::new()),
        LeaseState::Ending { cause, since, attempts, last_error, next_attempt_at, .. } => {
            let progress = proto::EndProgress {
                attempts: *attempts,
                last_error: last_error.clone().unwrap_or_default(),
                next_attempt_time: Some(timestamp(*next_attempt_at)),
                start_time: Some(timestamp(*since)),
            };
            (Some(progress), None, end_reason(cause))
        }
        LeaseState::Ended { cause, at, report } => (None, Some(end_report(*at, report)), end_reason(cause)),
    };
    let lease_kind = match lease.kind {
        LeaseKind::Ephemeral => proto::LeaseKind::Ephemeral,
        LeaseKind::Elevation => proto::LeaseKind::Elevation,
        LeaseKind::Checkout => proto::LeaseKind::Checkout,
    };
    proto::Lease {
        name: lease.resource_name(),
        kind: lease_kind.into(),
        role: format!("roles/{}", lease.role),
        target: format!("targets/{}", lease.target),
        principal: lease.principal.name.to_string(),
        principal_kind: kind(lease.principal.kind).into(),
        account: lease.account.name.to_string(),
        state: state(lease.state.name()).into(),
        purpose: lease.terms.purpose.clone(),
        allowed_by: lease.terms.allowed_by.clone(),
        create_time: Some(timestamp(lease.created_at)),
        update_time: Some(timestamp(lease.updated_at)),
        expire_time: lease.expires_at().map(timestamp),
        renewable_until_time: Some(timestamp(lease.terms.renewable_until)),
        ttl: Some(unsigned(lease.terms.ttl.duration())),
        end_progress: progress,
        end_report: report,
        end_reason: reason,
        grant: lease.terms.grant.map(|grant| format!("grants/{grant}")).unwrap_or_default(),
    }
}

fn endpoints(addresses: Vec<(String, u16)>) -> Vec<proto::Endpoint> {
    addresses.into_iter().map(|(host, port)| proto::Endpoint { host, port: port.into() }).collect()
}

/// The one reply a password is in.
pub(super) fn issued(issued: Issued) -> proto::IssueLeaseResponse {
    let tls_mode = match issued.tls_mode {
        TlsMode::Disable => "disable",
        TlsMode::Require => "require",
        TlsMode::VerifyFull => "verify-full",
    };
    proto::IssueLeaseResponse {
        credential: Some(proto::Credential {
            username: issued.lease.account.name.to_string(),
            password: issued.password.expose().to_owned(),
            engine: engine(issued.engine).into(),
            endpoints: endpoints(issued.addresses),
            database: issued.database.unwrap_or_default(),
            tls_mode: tls_mode.to_owned(),
        }),
        lease: Some(lease(&issued.lease)),
    }
}

/// A live session.
pub(super) fn session(session: Session) -> proto::Session {
    proto::Session {
        id: session.id,
        client_address: session.client.map(|address| address.to_string()).unwrap_or_default(),
        database: session.database.unwrap_or_default(),
        start_time: session.started_at.map(timestamp),
        activity: session.activity.unwrap_or_default(),
    }
}

/// A role, and whether the caller may use it.
pub(super) fn role(role: &Role, target: &dyn Target, (allowed, reviews): (bool, u32)) -> proto::Role {
    proto::Role {
        name: format!("roles/{}", role.name),
        target: format!("targets/{}", role.target),
        engine: engine(target.engine()).into(),
        description: role.description.clone(),
        member_of: role.member_of.clone(),
        default_ttl: Some(unsigned(role.ttl.default().duration())),
        max_ttl: Some(unsigned(role.ttl.max().duration())),
        allowed,
        reviews,
    }
}

/// A TTL.
pub(super) fn ttl(ttl: crate::domain::Ttl) -> prost_types::Duration {
    unsigned(ttl.duration())
}

fn circuit(state: CircuitState) -> proto::CircuitState {
    match state {
        CircuitState::Closed => proto::CircuitState::Closed,
        CircuitState::Open => proto::CircuitState::Open,
        CircuitState::HalfOpen => proto::CircuitState::HalfOpen,
    }
}

/// A target as last seen.
pub(super) fn target(status: TargetStatus) -> proto::Target {
    proto::Target {
        name: format!("targets/{}", status.target.name()),
        engine: engine(status.target.engine()).into(),
        endpoints: endpoints(status.target.client_addresses()),
        live_leases: status.live,
        roles: status.roles.iter().map(|role| format!("roles/{role}")).collect(),
        last_error: status.health.last_error.unwrap_or_default(),
        next_attempt_time: status.health.next_attempt_at.map(timestamp),
        server_known_since: status.server.as_ref().map(|server| timestamp(server.since)),
        server_identity: status.server.map(|server| server.identity).unwrap_or_default(),
        other_server_identity: status.stranger.map(|stranger| stranger.0).unwrap_or_default(),
        circuit_state: circuit(status.health.circuit).into(),
        circuit_since_time: status.health.since.map(timestamp),
        next_probe_time: status.health.next_probe_at.map(timestamp),
        clock_offset: status.target.clock_offset().map(|measured| duration(measured.offset)),
    }
}

/// What an examination found.
pub(super) fn examination(found: Examination) -> proto::ExamineTargetResponse {
    proto::ExamineTargetResponse {
        server: found
            .server
            .map(|server| format!("{} {}", server.engine.title(), server.version))
            .unwrap_or_default(),
        clock_offset: found.clock_offset.map(duration),
        findings: found.findings.into_iter().map(finding).collect(),
    }
}

fn finding(finding: Finding) -> proto::Finding {
    let severity = match finding.severity {
        Severity::Fine => proto::Severity::Fine,
        Severity::Warning => proto::Severity::Warning,
        Severity::Problem => proto::Severity::Problem,
    };
    proto::Finding {
        severity: severity.into(),
        summary: finding.summary,
        remedy: finding.remedy.unwrap_or_default(),
    }
}

/// What a reconciliation found and did: as many differences as fit.
pub(super) fn reconciled(report: ReconcileReport, budget: usize) -> proto::ReconcileTargetResponse {
    let counts = report.counts;
    let total = counts.vanished + counts.orphans + counts.reappeared + counts.drifted + counts.disputed;
    let mut room = budget;
    let fits = |discrepancy: &proto::Discrepancy| {
        // A tag and a length come with each.
        let size = prost::Message::encoded_len(discrepancy) + 8;
        room = room.saturating_sub(size);
        room > 0
    };
    let discrepancies: Vec<_> = report.discrepancies.into_iter().map(discrepancy).take_while(fits).collect();
    proto::ReconcileTargetResponse {
        left_out: total.saturating_sub(discrepancies.len() as u64),
        discrepancies,
        counts: Some(proto::ReconcileCounts {
            leases: counts.leases,
            accounts: counts.accounts,
            vanished: counts.vanished,
            orphans: counts.orphans,
            reappeared: counts.reappeared,
            drifted: counts.drifted,
            disputed: counts.disputed,
            foreign: counts.foreign,
            unmarked: counts.unmarked,
            remaining: counts.remaining,
        }),
    }
}

fn discrepancy(found: Discrepancy) -> proto::Discrepancy {
    use proto::DiscrepancyAnswer as Said;
    let kind = match found.kind {
        DiscrepancyKind::Vanished => proto::DiscrepancyKind::Vanished,
        DiscrepancyKind::Orphan => proto::DiscrepancyKind::Orphan,
        DiscrepancyKind::Reappeared => proto::DiscrepancyKind::Reappeared,
        DiscrepancyKind::Drifted => proto::DiscrepancyKind::Drifted,
        DiscrepancyKind::Disputed => proto::DiscrepancyKind::Disputed,
    };
    let (answer, error, remedy) = match found.answer {
        Answer::Reported => (Said::Reported, String::new(), None),
        Answer::Ending => (Said::Ending, String::new(), None),
        Answer::PutRight => (Said::PutRight, String::new(), None),
        Answer::Failed { error, remedy } => (Said::Failed, error, remedy),
    };
    proto::Discrepancy {
        kind: kind.into(),
        account: found.account,
        lease: format!("leases/{}", found.lease),
        summary: found.what,
        answer: answer.into(),
        error,
        remedy: remedy.unwrap_or_default(),
    }
}

/// Which server is known for a target, and which answers.
pub(super) fn succession(succession: Succession) -> proto::AcceptServerResponse {
    proto::AcceptServerResponse {
        known_since: succession.known.as_ref().map(|known| timestamp(known.since)),
        known_identity: succession.known.map(|known| known.identity).unwrap_or_default(),
        other_identity: succession.found.map(|found| found.0).unwrap_or_default(),
        accepted: succession.accepted,
    }
}

/// A token, without its secret.
pub(super) fn token(token: &StoredToken) -> proto::Token {
    proto::Token {
        name: format!("tokens/{}", token.id),
        principal: token.principal.name.to_string(),
        principal_kind: kind(token.principal.kind).into(),
        groups: token.principal.groups.iter().map(ToString::to_string).collect(),
        cidrs: token.cidrs.iter().map(ToString::to_string).collect(),
        description: token.description.clone(),
        create_time: Some(timestamp(token.created_at)),
        expire_time: token.expires_at.map(timestamp),
        revoke_time: token.revoked_at.map(timestamp),
    }
}

/// An audit record as one line of JSON.
///
/// # Errors
/// Never in practice: it is plain text and numbers.
pub(super) fn record(record: &Record) -> Result<proto::AuditRecord, serde_json::Error> {
    Ok(proto::AuditRecord { seq: record.seq, json: serde_json::to_string(record)?, chain: String::new() })
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
