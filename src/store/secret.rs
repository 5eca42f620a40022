//! Storing what administration accounts log in with, once Mayfly rotates their passwords: sealed, and nothing else.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use crate::{audit::Draft, domain::TargetName, sealing::Sealed};

/// A password that is, or is about to be, the account's: drawn, sealed and durable before the server hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSecret {
    /// The password.
    pub sealed: Sealed,
    /// Since when.
    pub since: Timestamp,
}

/// How the last rotation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationEnd {
    /// When.
    pub at: Timestamp,
    /// Why it did not get to its end; `None`: it did.
    pub failure: Option<String>,
}

/// What is kept for one target. The account's password is the pending one or the one before it: `current`, or the
/// configured one while there is no `current`.
///
/// A pending password is never dropped, only promoted or tried again: a statement that sets it may still be on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSecret {
    /// The administration account it is of; for another one it means nothing.
    pub account: String,
    /// The password since the last rotation; `None`: the configured one.
    pub current: Option<Sealed>,
    /// When `current` became so.
    pub rotated_at: Option<Timestamp>,
    /// The password of a rotation that is under way or did not finish.
    pub pending: Option<PendingSecret>,
    /// How the last rotation ended.
    pub ended: Option<RotationEnd>,
    /// Counts changes, from 1; 0: not stored yet.
    pub revision: u64,
}

impl KeptSecret {
    /// Nothing is kept for this account yet.
    pub fn none(account: impl Into<String>) -> Self {
        let account = account.into();
        Self { account, current: None, rotated_at: None, pending: None, ended: None, revision: 0 }
    }

    /// A rotation to this password begins.
    #[must_use]
    pub fn begun(self, sealed: Sealed, at: Timestamp) -> Self {
        Self { pending: Some(PendingSecret { sealed, since: at }), ..self }
    }

    /// The same password is tried once more.
    #[must_use]
    pub fn resumed(mut self, at: Timestamp) -> Self {
        if let Some(pending) = &mut self.pending {
            pending.since = at;
        }
        self
    }

    /// The server has let the account in with the pending password.
    #[must_use]
    pub fn promoted(self, at: Timestamp) -> Self {
        let Some(pending) = self.pending else { return self };
        let ended = Some(RotationEnd { at, failure: None });
        Self { current: Some(pending.sealed), rotated_at: Some(at), pending: None, ended, ..self }
    }

    /// The rotation did not get to its end.
    #[must_use]
    pub fn failed(self, at: Timestamp, failure: impl Into<String>) -> Self {
        Self { ended: Some(RotationEnd { at, failure: Some(failure.into()) }), ..self }
    }

    /// The server has let the account in with the configured password, so `current` is it no more.
    #[must_use]
    pub fn set_aside(self) -> Self {
        Self { current: None, rotated_at: None, ..self }
    }

    /// Whether somebody may still be at work on the pending password: it was begun less than `bound` ago (or in the future,
    /// by a clock that was set back since) and nobody has said that he is done.
    pub fn is_under_way(&self, now: Timestamp, bound: SignedDuration) -> bool {
        let Some(pending) = &self.pending else { return false };
        let age = now.duration_since(pending.since);
        let given_up = self.ended.as_ref().is_some_and(|ended| ended.at >= pending.since);
        !given_up && age < bound && age > bound.checked_neg().unwrap_or(SignedDuration::MIN)
    }
}

/// Storing sealed passwords.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// What is kept for a target; `None`: nothing was ever.
    ///
    /// # Errors
    /// When the store fails.
    async fn secret(&self, target: &TargetName) -> Result<Option<KeptSecret>, StoreError>;

    /// What is kept for all targets, by name.
    ///
    /// # Errors
    /// When the store fails.
    async fn secrets(&self) -> Result<Vec<(TargetName, KeptSecret)>, StoreError>;

    /// Puts `secret` in the place of what is kept, if that still has the revision `secret.revision` (0: nothing is kept), and
    /// stores it with the next revision. `false`: it has changed meanwhile; nothing was written, the audit record neither.
    ///
    /// # Errors
    /// When the store fails; nothing is written then.
    async fn keep_secret(
        &self,
        target: &TargetName,
        secret: KeptSecret,
        audit: Draft,
    ) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(last: &str) -> Sealed {
        format!("v1.0011223344556677.{last}").parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_pending_password_takes_the_place_of_the_current_one_or_stays() {
        let bound = SignedDuration::from_secs(30);
        let begun = KeptSecret::none("mayfly").begun(sealed("AAAA"), at(10));
        assert!(begun.is_under_way(at(39), bound) && begun.is_under_way(at(9), bound));
        assert!(!begun.is_under_way(at(40), bound) && !begun.is_under_way(at(-90), bound));
        let failed = begun.failed(at(12), "down");
        assert!(!failed.is_under_way(at(12), bound));
        let again = failed.resumed(at(20));
        assert!(again.is_under_way(at(21), bound));
        assert_eq!(again.pending.as_ref().unwrap().sealed, sealed("AAAA"));
        let done = again.promoted(at(22));
        assert_eq!(
            (done.current.clone(), done.rotated_at, done.pending.clone()),
            (Some(sealed("AAAA")), Some(at(22)), None)
        );
        let next = done.begun(sealed("BBBB"), at(50)).set_aside();
        assert_eq!(next.current, None);
        assert_eq!(next.pending.unwrap().sealed, sealed("BBBB"));
    }
}
