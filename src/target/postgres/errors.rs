//! The server's and the driver's errors, sorted by what the caller can do about them.

use std::{error::Error, io, time::Duration};

use tokio_postgres::error::SqlState;

use super::quote::QuoteError;
use crate::target::{TargetError, TargetErrorKind};

/// Why a message to the server failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The driver's or the server's word.
    #[error("the statement failed")]
    Driver(#[from] tokio_postgres::Error),
    /// No answer within the bound; the connection was given up and the server told to cancel.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// There was no connection to send it on, or a value could not be sent.
    #[error("not sent")]
    Unsent(#[from] TargetError),
}

impl From<QuoteError> for Failure {
    fn from(error: QuoteError) -> Self {
        Failure::Unsent(error.into())
    }
}

impl From<QuoteError> for TargetError {
    fn from(error: QuoteError) -> Self {
        TargetError::new(TargetErrorKind::Refused, error.to_string())
    }
}

impl Failure {
    /// The server's code, when it was the server that refused.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Failure::Driver(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the server refused with this code.
    pub(super) fn is(&self, code: &SqlState) -> bool {
        self.code() == Some(code)
    }

    /// As the caller sees it. `doing` completes "while …".
    pub(super) fn while_doing(self, doing: &str) -> TargetError {
        match self {
            Failure::Unsent(error) => error,
            Failure::TimedOut(bound) => TargetError::new(
                TargetErrorKind::TimedOut,
                format!("the server did not answer within {bound:?} while {doing}"),
            ),
            Failure::Driver(error) => from_driver(error, doing),
        }
    }

    /// Takes the server's words away if they, in any field, repeat one of the `secrets`: a statement that fails may be
    /// quoted back in parts.
    pub(super) fn without(self, secrets: &[&str]) -> Failure {
        let Failure::Driver(error) = &self else { return self };
        let words = format!("{error:?}");
        if !secrets.iter().any(|secret| words.contains(secret)) {
            return self;
        }
        let code = error.code().map_or("unknown", SqlState::code);
        Failure::Unsent(TargetError::new(
            TargetErrorKind::Refused,
            format!(
                "the server refused a statement (SQLSTATE {code}); its words repeat a secret and are withheld"
            ),
        ))
    }
}

fn from_driver(error: tokio_postgres::Error, doing: &str) -> TargetError {
    let Some(server) = error.as_db_error() else {
        return from_transport(error, doing);
    };
    let kind = kind_of(server.code());
    let code = server.code().code();
    let message = match kind {
        // A syntax error quotes the statement.
        TargetErrorKind::Refused if server.code() == &SqlState::SYNTAX_ERROR => {
            format!("the server could not parse a statement while {doing} (SQLSTATE {code})")
        }
        _ => format!("{} while {doing} (SQLSTATE {code})", server.message()),
    };
    TargetError::new(kind, message).caused_by(error)
}

/// Sorts a SQLSTATE.
fn kind_of(code: &SqlState) -> TargetErrorKind {
    let text = code.code();
    match code {
        &SqlState::INSUFFICIENT_PRIVILEGE => TargetErrorKind::Denied,
        &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            TargetErrorKind::Unauthenticated
        }
        &SqlState::QUERY_CANCELED => TargetErrorKind::Overran,
        // Somebody else holds a lock, or did the same at the same time: nothing was done, and later it can be.
        &SqlState::LOCK_NOT_AVAILABLE
        | &SqlState::T_R_DEADLOCK_DETECTED
        | &SqlState::T_R_SERIALIZATION_FAILURE => TargetErrorKind::Busy,
        &SqlState::READ_ONLY_SQL_TRANSACTION => TargetErrorKind::Unavailable,
        _ if ["08", "53", "57", "58"].iter().any(|class| text.starts_with(class)) => {
            TargetErrorKind::Unavailable
        }
        _ => TargetErrorKind::Refused,
    }
}

/// Whether a chain of causes has an error of a type, also inside an [`io::Error`].
fn caused_by<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        let inside = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if current.is::<T>() || inside.is_some_and(|inner| caused_by::<T>(inner)) {
            return true;
        }
        next = current.source();
    }
    false
}

fn from_transport(error: tokio_postgres::Error, doing: &str) -> TargetError {
    let text = error.to_string();
    // The driver keeps its kinds to itself; these are its words.
    let no_tls = text.starts_with("error performing TLS handshake") && !caused_by::<io::Error>(&error);
    let (kind, message) = if no_tls || caused_by::<rustls::Error>(&error) {
        (TargetErrorKind::Untrusted, format!("TLS with the server could not be agreed on while {doing}"))
    } else if text.starts_with("authentication error") || text.starts_with("invalid configuration") {
        (
            TargetErrorKind::Unauthenticated,
            format!("the server's way of signing in cannot be used while {doing}"),
        )
    } else {
        (TargetErrorKind::Unavailable, format!("the server cannot be reached, or hung up, while {doing}"))
    };
    TargetError::new(kind, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_can_be_done() {
        for (code, kind) in [
            ("42501", TargetErrorKind::Denied),
            ("28P01", TargetErrorKind::Unauthenticated),
            ("28000", TargetErrorKind::Unauthenticated),
            ("57P03", TargetErrorKind::Unavailable),
            ("57P01", TargetErrorKind::Unavailable),
            ("53300", TargetErrorKind::Unavailable),
            ("25006", TargetErrorKind::Unavailable),
            ("57014", TargetErrorKind::Overran),
            ("55P03", TargetErrorKind::Busy),
            ("42601", TargetErrorKind::Refused),
            ("3D000", TargetErrorKind::Refused),
        ] {
            assert_eq!(kind_of(&SqlState::from_code(code)), kind, "{code}");
        }
    }

    #[test]
    fn a_tls_error_is_found_inside_an_io_error() {
        let tls = rustls::Error::General("no".to_owned());
        assert!(caused_by::<rustls::Error>(&io::Error::other(tls)));
        assert!(!caused_by::<rustls::Error>(&io::Error::other("no")));
    }
}
