//! What keeps a lease on an account that was there before from beginning.

use super::{Issuer, Refusal, issue::Attempt};
use crate::{
    store::StoreError,
    target::{Pass, TargetError},
};

/// Why such a lease did not begin.
pub(super) enum BeginFailed {
    /// The target could not be asked.
    Target(TargetError),
    /// Refused, on record where it has to be.
    Refused(Refusal),
}

impl From<TargetError> for BeginFailed {
    fn from(error: TargetError) -> Self {
        BeginFailed::Target(error)
    }
}

impl From<StoreError> for BeginFailed {
    fn from(error: StoreError) -> Self {
        BeginFailed::Refused(error.into())
    }
}

impl Issuer {
    /// What the caller is told of it.
    pub(super) async fn not_begun(&self, attempt: &Attempt, pass: Pass, failed: BeginFailed) -> Refusal {
        let error = match failed {
            BeginFailed::Refused(refusal) => return refusal,
            BeginFailed::Target(error) => error,
        };
        pass.went(self.clock.now(), Some(&error));
        self.begin_refused(attempt, Refusal::on_target(&attempt.lease.target, error)).await
    }
}
