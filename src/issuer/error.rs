//! Why a use case refused, in words and kinds fit for callers.

use std::{error::Error, time::Duration};

use jiff::Timestamp;

use crate::{
    domain::{TargetName, TtlError},
    store::{ApplyError, BeginError, StoreError, StoreErrorKind},
    target::{LeftAlone, TargetError, TargetErrorKind},
};

/// Sorts a [`Refusal`]; also the metric label and the `reason` callers can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// What was named does not exist, or not for this caller.
    NotFound,
    /// Policy says no.
    Denied,
    /// The caller, the role or the target is locked.
    Locked,
    /// A field of the request is wrong; the field is named.
    Invalid(&'static str),
    /// As many leases as allowed are live.
    LimitReached,
    /// The idempotency key was used for other terms.
    KeyReused,
    /// The first call with this idempotency key, or another renewal of this lease, is still under way.
    InProgress,
    /// Somebody else holds the account, or is before the caller in its queue.
    AccountHeld,
    /// The lease has ended or is ending.
    Ended,
    /// Others must agree first: it has to be asked for.
    ApprovalRequired,
    /// The request is decided, withdrawn or expired.
    Decided,
    /// The caller has reviewed the request already.
    Reviewed,
    /// The grant has not begun.
    NotBegun,
    /// The grant is over.
    GrantEnded,
    /// Others change the same at the same time.
    Contended,
    /// The target cannot be used right now.
    TargetUnavailable,
    /// The target does not let Mayfly do it; an administrator must mend that.
    TargetRefused,
    /// The configuration lacks what this needs.
    NotConfigured,
    /// Somebody could not be signed in; why is not told.
    SignInRefused,
    /// The password was right, and a second factor is needed.
    SecondFactorRequired,
    /// As many sign-ins are under way as may be.
    TooManySignIns,
    /// More is asked for than can be done right now.
    Overloaded,
    /// The identity provider cannot be asked right now.
    ProviderUnavailable,
    /// As things stand it is not possible.
    Precondition,
    /// There is one of that name already.
    Exists,
    /// The store cannot be used right now.
    StoreUnavailable,
    /// Mayfly is shutting down.
    ShuttingDown,
    /// A fault of Mayfly's own.
    Internal,
}

impl RefusalKind {
    /// Upper case, as in `google.rpc.ErrorInfo.reason`.
    pub fn reason(self) -> &'static str {
        match self {
            RefusalKind::NotFound => "NOT_FOUND",
            RefusalKind::Denied => "DENIED",
            RefusalKind::Locked => "LOCKED",
            RefusalKind::Invalid(_) => "INVALID",
            RefusalKind::LimitReached => "LEASE_LIMIT_REACHED",
            RefusalKind::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            RefusalKind::InProgress => "IN_PROGRESS",
            RefusalKind::AccountHeld => "ACCOUNT_HELD",
            RefusalKind::Ended => "LEASE_ENDED",
            RefusalKind::ApprovalRequired => "APPROVAL_REQUIRED",
            RefusalKind::Decided => "REQUEST_DECIDED",
            RefusalKind::Reviewed => "REVIEWED_ALREADY",
            RefusalKind::NotBegun => "GRANT_NOT_BEGUN",
            RefusalKind::GrantEnded => "GRANT_ENDED",
            RefusalKind::Contended => "CONTENDED",
            RefusalKind::TargetUnavailable => "TARGET_UNAVAILABLE",
            RefusalKind::TargetRefused => "TARGET_REFUSED",
            RefusalKind::NotConfigured => "NOT_CONFIGURED",
            RefusalKind::SignInRefused => "SIGN_IN_REFUSED",
            RefusalKind::SecondFactorRequired => "SECOND_FACTOR_REQUIRED",
            RefusalKind::TooManySignIns => "SIGN_INS_LIMITED",
            RefusalKind::Overloaded => "OVERLOADED",
            RefusalKind::ProviderUnavailable => "IDENTITY_PROVIDER_UNAVAILABLE",
            RefusalKind::Precondition => "PRECONDITION",
            RefusalKind::Exists => "EXISTS",
            RefusalKind::StoreUnavailable => "STORE_UNAVAILABLE",
            RefusalKind::ShuttingDown => "SHUTTING_DOWN",
            RefusalKind::Internal => "INTERNAL",
        }
    }

    /// Lower case, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalKind::NotFound => "not_found",
            RefusalKind::Denied => "denied",
            RefusalKind::Locked => "locked",
            RefusalKind::Invalid(_) => "invalid",
            RefusalKind::LimitReached => "limit_reached",
            RefusalKind::NotConfigured => "not_configured",
            RefusalKind::KeyReused => "key_reused",
            RefusalKind::InProgress => "in_progress",
            RefusalKind::AccountHeld => "account_held",
            RefusalKind::Ended => "ended",
            RefusalKind::ApprovalRequired => "approval_required",
            RefusalKind::Decided => "decided",
            RefusalKind::Reviewed => "reviewed",
            RefusalKind::NotBegun => "not_begun",
            RefusalKind::GrantEnded => "grant_ended",
            RefusalKind::Contended => "contended",
            RefusalKind::TargetUnavailable => "target_unavailable",
            RefusalKind::TargetRefused => "target_refused",
            RefusalKind::SignInRefused => "sign_in_refused",
            RefusalKind::SecondFactorRequired => "second_factor_required",
            RefusalKind::TooManySignIns => "sign_ins_limited",
            RefusalKind::Overloaded => "overloaded",
            RefusalKind::ProviderUnavailable => "identity_provider_unavailable",
            RefusalKind::Precondition => "precondition",
            RefusalKind::Exists => "exists",
            RefusalKind::StoreUnavailable => "store_unavailable",
            RefusalKind::ShuttingDown => "shutting_down",
            RefusalKind::Internal => "internal",
        }
    }
}

/// A use case refused or failed. `Display` is fit for the caller; the source chain is for logs only.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What the caller can do about it.
    pub kind: RefusalKind,
    /// What happened, in words for the caller.
    pub message: String,
    /// The statement an administrator can run to mend it.
    pub remedy: Option<String>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Further facts that a program can act on.
    pub facts: Box<[(&'static str, String)]>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Refusal {
    /// A refusal of a kind with a message.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message, remedy: None, retry_after: None, facts: Box::default(), source: None }
    }

    /// Policy says no.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self::new(RefusalKind::Denied, reason)
    }

    /// A field is wrong.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid(field), message)
    }

    /// Nothing of that name, or not for this caller.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, what)
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a fact that a program can act on.
    #[must_use]
    pub(super) fn with(mut self, fact: &'static str, value: impl Into<String>) -> Self {
        let mut facts = std::mem::take(&mut self.facts).into_vec();
        facts.push((fact, value.into()));
        self.facts = facts.into();
        self
    }

    /// Whether it tells of a decision, which goes on record; else it could not be decided.
    pub(super) fn is_on_record(&self) -> bool {
        !matches!(
            self.kind,
            RefusalKind::StoreUnavailable
                | RefusalKind::ShuttingDown
                | RefusalKind::Internal
                | RefusalKind::Contended
                | RefusalKind::Overloaded
        )
    }

    pub(super) fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let (message, wait) = match error.kind {
            StoreErrorKind::Busy => ("Mayfly has more to write than it can right now", 1),
            StoreErrorKind::Closed => return Refusal::shutting_down(),
            _ => ("Mayfly cannot write its records right now, so nothing is issued or changed", 5),
        };
        Refusal::new(RefusalKind::StoreUnavailable, message)
            .retry_after(Duration::from_secs(wait))
            .caused_by(error)
    }
}

impl From<BeginError> for Refusal {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Store(error) => error.into(),
            BeginError::Conflict => {
                let refusal = Refusal::new(RefusalKind::Contended, error.to_string());
                refusal.retry_after(Duration::from_millis(200))
            }
            BeginError::KeyReused(_) => Refusal::new(RefusalKind::KeyReused, error.to_string()),
            BeginError::PrincipalLimit { .. } | BeginError::RoleLimit { .. } => {
                Refusal::new(RefusalKind::LimitReached, error.to_string())
            }
        }
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => error.into(),
            ApplyError::Unknown(id) => Refusal::not_found(format!("there is no lease {id}")),
            ApplyError::Illegal { error } => Refusal::new(RefusalKind::Ended, error.to_string()),
            ApplyError::NotHeld(_) => Refusal::new(RefusalKind::Ended, error.to_string()),
        }
    }
}

impl From<TtlError> for Refusal {
    fn from(error: TtlError) -> Self {
        Refusal::invalid("ttl", error.to_string())
    }
}

impl Refusal {
    /// What a failure on a target means for the caller.
    pub fn on_target(target: &TargetName, error: TargetError) -> Self {
        let unavailable = |what: &str, wait| {
            let message = format!("the target {target} {what}");
            Refusal::new(RefusalKind::TargetUnavailable, message).retry_after(Duration::from_secs(wait))
        };
        let refusal = match error.kind {
            TargetErrorKind::Busy => unavailable("has no connection free for Mayfly right now", 1),
            TargetErrorKind::TimedOut | TargetErrorKind::Overran => unavailable("did not answer in time", 5),
            TargetErrorKind::Unavailable => unavailable("cannot be reached right now", 5),
            TargetErrorKind::Unauthenticated => {
                unavailable("does not accept Mayfly's administration account", 30)
            }
            TargetErrorKind::Replaced => unavailable(
                "is answered for by another server than the one known; administrators were told",
                60,
            ),
            TargetErrorKind::Untrusted => unavailable("and Mayfly cannot agree on TLS", 30),
            TargetErrorKind::Missing => Refusal::new(
                RefusalKind::Ended,
                format!("the account no longer exists on the target {target}"),
            ),
            TargetErrorKind::Denied | TargetErrorKind::Exists | TargetErrorKind::Refused => {
                Refusal::new(RefusalKind::TargetRefused, error.message.clone())
            }
        };
        Refusal { remedy: error.remedy.clone(), ..refusal }.caused_by(error)
    }

    /// A target is not even asked for now: it failed so often in a row.
    pub(super) fn left_alone(target: &TargetName, why: LeftAlone, now: Timestamp) -> Self {
        // Whole seconds, rounded up: who comes back earlier comes in vain.
        let wait = why.retry_at.duration_since(now).unsigned_abs().as_millis().div_ceil(1_000).max(1);
        let wait = Duration::from_secs(u64::try_from(wait).unwrap_or(u64::MAX));
        let message = format!(
            "the target {target} cannot be used right now and is left alone for a while; try again in {} s",
            wait.as_secs()
        );
        Refusal::new(RefusalKind::TargetUnavailable, message).retry_after(wait).caused_by(why)
    }
}

impl Refusal {
    /// Mayfly is shutting down.
    pub fn shutting_down() -> Self {
        Refusal::new(RefusalKind::ShuttingDown, "Mayfly is shutting down").retry_after(Duration::from_secs(2))
    }

    /// A fault of Mayfly's own; the words for the log are the message of the source.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Refusal::new(RefusalKind::Internal, "an internal fault; Mayfly's log says more").caused_by(source)
    }
}
