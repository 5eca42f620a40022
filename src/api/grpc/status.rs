//! What callers are told when something is refused: a code, words, and details a program can act on.
//!
//! Causes stay here: they are logged once, with the whole chain, and never sent.

use std::{collections::HashMap, error::Error, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    identity::{AuthenticationError, Caller, assertion::AssertionError},
    issuer::{Refusal, RefusalKind},
    policy,
};

/// `google.rpc.ErrorInfo.domain` of everything Mayfly refuses.
const DOMAIN: &str = "mayfly";

/// Bytes a message may have: it travels in the reply's headers, which clients bound.
const MESSAGE_LIMIT: usize = 1_024;

fn details(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new())
}

fn code(kind: RefusalKind) -> Code {
    match kind {
        RefusalKind::NotFound => Code::NotFound,
        RefusalKind::Denied => Code::PermissionDenied,
        RefusalKind::Invalid(_) => Code::InvalidArgument,
        RefusalKind::LimitReached
        | RefusalKind::TooManySignIns
        | RefusalKind::AccountHeld
        | RefusalKind::Overloaded => Code::ResourceExhausted,
        RefusalKind::SignInRefused | RefusalKind::SecondFactorRequired => Code::Unauthenticated,
        RefusalKind::KeyReused | RefusalKind::Exists => Code::AlreadyExists,
        RefusalKind::InProgress | RefusalKind::Contended => Code::Aborted,
        RefusalKind::Locked
        | RefusalKind::Ended
        | RefusalKind::ApprovalRequired
        | RefusalKind::Decided
        | RefusalKind::Reviewed
        | RefusalKind::NotBegun
        | RefusalKind::GrantEnded
        | RefusalKind::TargetRefused
        | RefusalKind::NotConfigured
        | RefusalKind::Precondition => Code::FailedPrecondition,
        RefusalKind::TargetUnavailable
        | RefusalKind::ProviderUnavailable
        | RefusalKind::StoreUnavailable
        | RefusalKind::ShuttingDown => Code::Unavailable,
        RefusalKind::Internal => Code::Internal,
    }
}

/// The text, cut at a character's boundary so that the reply's headers stay small.
fn bounded(text: &str) -> &str {
    let end = (0..=MESSAGE_LIMIT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// What a caller is told of a refusal. The statement that would mend it is for administrators only.
pub(super) fn refused(caller: &Caller, refusal: &Refusal) -> Status {
    log(caller, refusal);
    let message = bounded(&refusal.message);
    let facts: HashMap<_, _> =
        refusal.facts.iter().map(|(fact, value)| ((*fact).to_owned(), value.clone())).collect();
    let mut details = ErrorDetails::with_error_info(refusal.kind.reason(), DOMAIN, facts);
    match refusal.kind {
        RefusalKind::Invalid(field) => {
            details.add_bad_request_violation(field, message);
        }
        RefusalKind::LimitReached => {
            details.add_quota_failure_violation(caller.principal.name.as_str(), message);
        }
        RefusalKind::Overloaded => {
            details.add_quota_failure_violation("target", message);
        }
        RefusalKind::Ended
        | RefusalKind::ApprovalRequired
        | RefusalKind::Decided
        | RefusalKind::Reviewed
        | RefusalKind::NotBegun
        | RefusalKind::GrantEnded
        | RefusalKind::TargetRefused
        | RefusalKind::TargetUnavailable => {
            if let Some(description) = precondition(caller, refusal) {
                let kind = refusal.kind.reason();
                details.add_precondition_failure_violation(kind, "", description);
            }
        }
        _ => {}
    }
    if let Some(wait) = refusal.retry_after {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code(refusal.kind), message, details)
}

/// What somebody is told who is not known yet.
pub(super) fn refused_stranger(refusal: &Refusal) -> Status {
    let kind = refusal.kind.reason();
    let error: &dyn Error = refusal;
    match code(refusal.kind) {
        Code::Internal => tracing::error!(kind, error, "refused"),
        Code::Unavailable | Code::FailedPrecondition => tracing::warn!(kind, error, "refused"),
        _ => tracing::debug!(kind, error, "refused"),
    }
    let message = bounded(&refusal.message);
    let mut details = details(kind);
    if let RefusalKind::Invalid(field) = refusal.kind {
        details.add_bad_request_violation(field, message);
    }
    if let Some(wait) = refusal.retry_after {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code(refusal.kind), message, details)
}

fn precondition(caller: &Caller, refusal: &Refusal) -> Option<String> {
    match (&refusal.remedy, refusal.kind) {
        (Some(remedy), _) if policy::is_administrator(&caller.principal) => Some(remedy.clone()),
        (Some(_), _) | (None, RefusalKind::TargetRefused) => Some("ask your administrator".to_owned()),
        (None, RefusalKind::TargetUnavailable) => None,
        (None, _) => Some(bounded(&refusal.message).to_owned()),
    }
}

fn log(caller: &Caller, refusal: &Refusal) {
    let principal = caller.principal.name.as_str();
    let kind = refusal.kind.reason();
    let error: &dyn Error = refusal;
    match code(refusal.kind) {
        Code::Internal => tracing::error!(principal, kind, error, "refused"),
        Code::Unavailable => tracing::warn!(principal, kind, error, "refused"),
        _ if refusal.source.is_some() => tracing::warn!(principal, kind, error, "refused"),
        _ => tracing::debug!(principal, kind, error, "refused"),
    }
}

/// The request does not parse; every bad field is named.
pub(super) fn bad_fields(violations: Vec<FieldViolation>) -> Status {
    let words: Vec<String> =
        violations.iter().map(|violation| format!("{} {}", violation.field, violation.description)).collect();
    let mut details = details("INVALID");
    details.set_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, bounded(&words.join("; ")), details)
}

/// The caller is not accepted.
pub(super) fn unauthenticated(error: &AuthenticationError) -> Status {
    let reason = match error {
        AuthenticationError::Missing => "TOKEN_MISSING",
        AuthenticationError::Malformed(_) | AuthenticationError::Header(_) => "TOKEN_MALFORMED",
        AuthenticationError::Unknown => "TOKEN_UNKNOWN",
        AuthenticationError::Expired => "TOKEN_EXPIRED",
        AuthenticationError::Revoked => "TOKEN_REVOKED",
        AuthenticationError::Address => "TOKEN_ADDRESS",
        AuthenticationError::Assertion(AssertionError::Expired) => "ASSERTION_EXPIRED",
        AuthenticationError::Assertion(AssertionError::Replayed) => "ASSERTION_REPLAYED",
        AuthenticationError::Assertion(AssertionError::KeysUnavailable(_)) => {
            return cannot_sign_in(error, "IDENTITY_PROVIDER_UNAVAILABLE");
        }
        AuthenticationError::Assertion(_) => "ASSERTION_REFUSED",
        AuthenticationError::Certificate(_) => "CERTIFICATE_REFUSED",
        AuthenticationError::UnknownSession => "SESSION_UNKNOWN",
        AuthenticationError::SessionExpired => "SESSION_EXPIRED",
        AuthenticationError::SessionEnded => "SESSION_ENDED",
        AuthenticationError::Store(_) => {
            return cannot_sign_in(error, RefusalKind::StoreUnavailable.reason());
        }
    };
    tracing::debug!(reason, "unauthenticated");
    Status::with_error_details(Code::Unauthenticated, error.to_string(), details(reason))
}

/// Nobody can tell right now whether the caller is to be accepted.
fn cannot_sign_in(error: &AuthenticationError, kind: &str) -> Status {
    tracing::warn!(kind, error = error as &dyn Error, "sign-in is not possible");
    let mut details = details(kind);
    details.set_retry_info(Some(Duration::from_secs(5)));
    Status::with_error_details(Code::Unavailable, error.to_string(), details)
}

/// More than allowed, for now.
pub(super) fn exhausted(reason: &str, subject: &str, message: &str, wait: Duration) -> Status {
    tracing::debug!(reason, subject, "refused");
    let mut details = details(reason);
    details.add_quota_failure_violation(subject, message).set_retry_info(Some(wait));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The call's time is over.
pub(super) fn deadline_exceeded() -> Status {
    let message = "the call's deadline has passed; what it began is completed or undone without it";
    Status::with_error_details(Code::DeadlineExceeded, message, details("DEADLINE_EXCEEDED"))
}

/// The server is going down; another may be there soon.
pub(super) fn shutting_down() -> Status {
    let refusal = Refusal::shutting_down();
    let mut details = details(refusal.kind.reason());
    details.set_retry_info(refusal.retry_after);
    Status::with_error_details(Code::Unavailable, refusal.message, details)
}

/// A fault of this room's own.
pub(super) fn internal(error: &(dyn Error + 'static)) -> Status {
    let kind = RefusalKind::Internal.reason();
    tracing::error!(kind, error, "an internal fault");
    Status::with_error_details(Code::Internal, "an internal fault; Mayfly's log says more", details(kind))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        domain::{ADMINISTRATORS, Principal, PrincipalKind, TokenId},
        target::{TargetError, TargetErrorKind},
    };

    fn caller(groups: &[&str]) -> Caller {
        Caller {
            principal: Principal {
                name: "alice".parse().unwrap(),
                kind: PrincipalKind::Human,
                groups: groups.iter().map(|group| group.parse().unwrap()).collect::<BTreeSet<_>>(),
                attributes: [].into(),
            },
            second_factor_at: None,
            credential: crate::identity::Credential::Token(TokenId::new(Timestamp::UNIX_EPOCH, 0)),
            address: None,
        }
    }

    #[test]
    fn every_kind_has_its_code_and_reason() {
        for (kind, code) in [
            (RefusalKind::NotFound, Code::NotFound),
            (RefusalKind::Denied, Code::PermissionDenied),
            (RefusalKind::Locked, Code::FailedPrecondition),
            (RefusalKind::Invalid("ttl"), Code::InvalidArgument),
            (RefusalKind::LimitReached, Code::ResourceExhausted),
            (RefusalKind::AccountHeld, Code::ResourceExhausted),
            (RefusalKind::KeyReused, Code::AlreadyExists),
            (RefusalKind::InProgress, Code::Aborted),
            (RefusalKind::Ended, Code::FailedPrecondition),
            (RefusalKind::TargetUnavailable, Code::Unavailable),
            (RefusalKind::TargetRefused, Code::FailedPrecondition),
            (RefusalKind::NotConfigured, Code::FailedPrecondition),
            (RefusalKind::SignInRefused, Code::Unauthenticated),
            (RefusalKind::SecondFactorRequired, Code::Unauthenticated),
            (RefusalKind::TooManySignIns, Code::ResourceExhausted),
            (RefusalKind::Overloaded, Code::ResourceExhausted),
            (RefusalKind::ProviderUnavailable, Code::Unavailable),
            (RefusalKind::Precondition, Code::FailedPrecondition),
            (RefusalKind::Exists, Code::AlreadyExists),
            (RefusalKind::StoreUnavailable, Code::Unavailable),
            (RefusalKind::ShuttingDown, Code::Unavailable),
            (RefusalKind::Internal, Code::Internal),
        ] {
            let status = refused(&caller(&[]), &Refusal::new(kind, "words"));
            assert_eq!((status.code(), status.message()), (code, "words"));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((&*info.reason, &*info.domain), (kind.reason(), "mayfly"));
        }
    }

    #[test]
    fn details_name_the_field_the_quota_and_the_wait() {
        let alice = caller(&[]);
        let status = refused(&alice, &Refusal::invalid("ttl", "too long"));
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((&*violations[0].field, &*violations[0].description), ("ttl", "too long"));
        let status = refused(&alice, &Refusal::new(RefusalKind::LimitReached, "3 leases"));
        let violations = status.get_details_quota_failure().unwrap().violations;
        assert_eq!((&*violations[0].subject, &*violations[0].description), ("alice", "3 leases"));
        let status = refused(&alice, &Refusal::shutting_down());
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
    }

    fn target_denied() -> Refusal {
        let error = TargetError {
            kind: TargetErrorKind::Denied,
            message: "the administration account may not grant readers".to_owned(),
            remedy: Some("GRANT readers TO mayfly WITH ADMIN OPTION".to_owned()),
            outcome_unknown: false,
            sent: false,
            source: Some("SECRET CAUSE".into()),
        };
        Refusal::on_target(&"orders".parse().unwrap(), error)
    }

    #[test]
    fn the_statement_that_mends_it_is_for_administrators_and_the_cause_for_nobody() {
        for (groups, expected) in [
            (&[ADMINISTRATORS][..], "GRANT readers TO mayfly WITH ADMIN OPTION"),
            (&["developers"][..], "ask your administrator"),
        ] {
            let status = refused(&caller(groups), &target_denied());
            assert_eq!(status.code(), Code::FailedPrecondition);
            let violations = status.get_details_precondition_failure().unwrap().violations;
            assert_eq!(violations[0].description, expected);
            assert!(!String::from_utf8_lossy(status.details()).contains("SECRET"));
            assert!(!status.message().contains("SECRET"));
        }
    }

    #[test]
    fn a_caller_that_is_not_accepted_is_unauthenticated_and_told_why() {
        for (error, reason) in [
            (AuthenticationError::Missing, "TOKEN_MISSING"),
            (AuthenticationError::Unknown, "TOKEN_UNKNOWN"),
            (AuthenticationError::Expired, "TOKEN_EXPIRED"),
            (AuthenticationError::Revoked, "TOKEN_REVOKED"),
            (AuthenticationError::Address, "TOKEN_ADDRESS"),
        ] {
            let status = unauthenticated(&error);
            assert_eq!(status.code(), Code::Unauthenticated);
            assert_eq!(status.get_details_error_info().unwrap().reason, reason);
        }
    }

    #[test]
    fn further_facts_go_with_the_reason() {
        let mut refusal = Refusal::new(RefusalKind::AccountHeld, "held");
        refusal.facts = Box::new([("position", "2".to_owned())]);
        let info = refused(&caller(&[]), &refusal).get_details_error_info().unwrap();
        assert_eq!(
            (&*info.reason, info.metadata.get("position").map(String::as_str)),
            ("ACCOUNT_HELD", Some("2"))
        );
    }

    #[test]
    fn messages_are_bounded_without_cutting_a_character() {
        let status = refused(&caller(&[]), &Refusal::denied("ü".repeat(10_000)));
        assert_eq!(status.message(), "ü".repeat(512));
    }
}
