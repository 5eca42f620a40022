//! What administration accounts log in with: what the store keeps sealed, then what the configuration says.
//!
//! The server is the judge: an account has one password, so the one it accepts settles which of those kept is it. The
//! pending one accepted finishes an interrupted rotation; the configured one accepted, where a rotated one was not, means that
//! somebody reset it by hand.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    audit::{Actor, Draft},
    clock::Clock,
    domain::{InstanceId, Password, TargetName},
    sealing::{Keyring, KeyringHandle, Place, SealError, Sealed},
    store::{KeptSecret, Store, StoreError},
    target::{
        AdministrationAccount, Candidate, Candidates, Configured, Credentials, Origin, TargetError,
        TargetErrorKind,
    },
};

/// Administration accounts' passwords, as kept in a store.
pub struct KeptCredentials {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// What opens them.
    pub keyring: Arc<KeyringHandle>,
    /// Time, for audit records.
    pub clock: Arc<dyn Clock>,
}

/// What is kept for this account; what is kept for another one of the target's means nothing to it.
pub(super) fn of_account(kept: Option<KeptSecret>, user: &str) -> KeptSecret {
    match kept {
        Some(kept) if kept.account == user => kept,
        // In its place, should something be kept for this one.
        Some(other) => KeptSecret { revision: other.revision, ..KeptSecret::none(user) },
        None => KeptSecret::none(user),
    }
}

/// What may be the password of an account, of what is kept for its target: the pending one, the rotated one, the configured one.
pub fn candidates(
    kept: Option<KeptSecret>,
    account: &AdministrationAccount,
    instance: InstanceId,
    keyring: &Keyring,
) -> Candidates {
    let kept = of_account(kept, &account.user);
    let pending = kept.pending.as_ref().map(|pending| (Origin::Pending, &pending.sealed));
    let rotated = kept.current.as_ref().map(|sealed| (Origin::Rotated, sealed));
    let place = Place { instance, target: &account.target, account: &account.user };
    let mut candidates = Candidates::default();
    for (origin, sealed) in pending.into_iter().chain(rotated) {
        match keyring.open(place, sealed) {
            Ok(password) => {
                let password = Some(password);
                candidates.list.push(Candidate { origin, password, revision: kept.revision });
            }
            Err(error) => {
                tracing::error!(target_name = %account.target, %error, "{origin} cannot be opened");
                candidates.unusable.push(format!("{origin} cannot be opened: {error}"));
            }
        }
    }
    candidates.list.push(Configured::candidate(account, kept.revision));
    candidates
}

impl KeptCredentials {
    /// Opens what is kept for an account.
    ///
    /// # Errors
    /// [`SealError`].
    pub(super) fn open(
        &self,
        target: &TargetName,
        account: &str,
        sealed: &Sealed,
    ) -> Result<Password, SealError> {
        let place = Place { instance: self.store.instance(), target, account };
        self.keyring.current().open(place, sealed)
    }

    /// Makes the pending password the current one: the server has accepted it. `false`: what is kept has changed meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn promote(
        &self,
        target: &TargetName,
        kept: KeptSecret,
        actor: Actor,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let draft = Draft::new(now, actor, "target.rotated", format!("targets/{target}"))
            .with("account", kept.account.as_str());
        self.store.keep_secret(target, kept.promoted(now), draft).await
    }

    async fn settle(&self, account: &AdministrationAccount, candidate: &Candidate) -> Result<(), StoreError> {
        let target = &account.target;
        let kept = of_account(self.store.secret(target).await?, &account.user);
        if kept.revision != candidate.revision {
            return Ok(());
        }
        match candidate.origin {
            Origin::Pending => {
                if self.promote(target, kept, Actor::System).await? {
                    tracing::warn!(target_name = %target, "an interrupted rotation of the administration password is complete");
                }
            }
            Origin::Configured if kept.current.is_some() => {
                tracing::warn!(
                    target_name = %target, account = %account.user,
                    "the target refused the rotated password and accepted the configured one: somebody reset it; the configured \
                     one counts from now on"
                );
                let draft = Draft::new(
                    self.clock.now(),
                    Actor::System,
                    "target.secret_set_aside",
                    format!("targets/{target}"),
                )
                .with("account", account.user.as_str())
                .with("reason", "the target accepted the configured password and refused the rotated one");
                self.store.keep_secret(target, kept.set_aside(), draft).await?;
            }
            Origin::Rotated | Origin::Configured => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Credentials for KeptCredentials {
    async fn candidates(&self, account: &AdministrationAccount) -> Result<Candidates, TargetError> {
        let kept = self.store.secret(&account.target).await.map_err(|error| {
            TargetError::new(
                TargetErrorKind::Unavailable,
                "the store cannot say what the administration account logs in with",
            )
            .caused_by(error)
        })?;
        Ok(candidates(kept, account, self.store.instance(), &self.keyring.current()))
    }

    async fn accepted(&self, account: &AdministrationAccount, candidate: &Candidate) {
        if let Err(error) = self.settle(account, candidate).await {
            // The session is fine; whoever connects next settles it.
            tracing::error!(
                target_name = %account.target, error = &error as &dyn std::error::Error,
                "what the target accepted could not be recorded"
            );
        }
    }
}
