//! What can go wrong on a target, sorted by what the caller can do about it.

use std::error::Error;

/// Sorts a [`TargetError`]; also the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetErrorKind {
    /// It does not answer, refuses connections, is starting, in recovery or read-only. Trying again later can help.
    Unavailable,
    /// It did not answer in time; the outcome is unknown and may still come to pass.
    TimedOut,
    /// The server itself gave a statement up because it took too long; nothing of it was done.
    Overran,
    /// Every connection of the pool is busy and the wait was bounded.
    Busy,
    /// The administration account lacks a privilege. The message names it; `remedy` is the statement to run.
    Denied,
    /// The administration account cannot log in.
    Unauthenticated,
    /// TLS could not be agreed on, or the server's certificate is not the one expected.
    Untrusted,
    /// Another server answers than the one known: nothing is done on it until an administrator agrees.
    Replaced,
    /// The account to be created exists already.
    Exists,
    /// The account to act on does not exist.
    Missing,
    /// The server refused a statement, or answered as another engine or version than configured: the configuration must
    /// change.
    Refused,
}

impl TargetErrorKind {
    /// Lower case, for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetErrorKind::Unavailable => "unavailable",
            TargetErrorKind::TimedOut => "timed_out",
            TargetErrorKind::Overran => "overran",
            TargetErrorKind::Busy => "busy",
            TargetErrorKind::Denied => "denied",
            TargetErrorKind::Unauthenticated => "unauthenticated",
            TargetErrorKind::Untrusted => "untrusted",
            TargetErrorKind::Replaced => "replaced",
            TargetErrorKind::Exists => "exists",
            TargetErrorKind::Missing => "missing",
            TargetErrorKind::Refused => "refused",
        }
    }

    /// Whether the server cannot be reached or used at all right now, so that its other leases need not be tried.
    pub fn concerns_whole_target(self) -> bool {
        matches!(
            self,
            TargetErrorKind::Unavailable
                | TargetErrorKind::TimedOut
                | TargetErrorKind::Unauthenticated
                | TargetErrorKind::Untrusted
                | TargetErrorKind::Replaced
        )
    }
}

/// A failure on a target. `Display` is fit for an operator (no statement, no secret); the source chain is for logs.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    /// What the caller can do about it.
    pub kind: TargetErrorKind,
    /// What happened, in words.
    pub message: String,
    /// The statement an administrator can run to mend it.
    pub remedy: Option<String>,
    /// The statement was sent and no answer came: it may have taken effect, or may still do so until the target's bound on
    /// a statement's time has passed.
    pub outcome_unknown: bool,
    /// It came after a statement was sent, so that something may have changed on the target, whatever the kind.
    pub sent: bool,
    /// The driver's error.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl TargetError {
    /// An error of a kind with a message.
    pub fn new(kind: TargetErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            remedy: None,
            outcome_unknown: false,
            sent: false,
            source: None,
        }
    }

    /// Adds the driver's error.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the statement that mends it.
    #[must_use]
    pub fn mended_by(mut self, statement: impl Into<String>) -> Self {
        self.remedy = Some(statement.into());
        self
    }

    /// Marks an error that came after a statement was sent: when no answer came, its outcome is unknown.
    #[must_use]
    pub fn after_sending(mut self) -> Self {
        self.outcome_unknown = self.outcome_is_unknown();
        self.sent = true;
        self
    }

    /// Whether an operation under way may have been cut off, so that what it sent may still take effect.
    pub fn outcome_is_unknown(&self) -> bool {
        self.outcome_unknown || matches!(self.kind, TargetErrorKind::TimedOut | TargetErrorKind::Unavailable)
    }

    /// Whether no statement was sent at all, so that nothing can have changed on the target.
    pub fn concerns_nothing_sent(&self) -> bool {
        !self.sent
            && !self.outcome_unknown
            && matches!(
                self.kind,
                TargetErrorKind::Unavailable
                    | TargetErrorKind::TimedOut
                    | TargetErrorKind::Busy
                    | TargetErrorKind::Unauthenticated
                    | TargetErrorKind::Untrusted
                    | TargetErrorKind::Replaced
            )
    }
}
