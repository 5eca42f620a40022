//! Attempts: counted first, then looked at.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::RETRIES;
use crate::{
    audit::{Actor, Draft},
    domain::{Password, PrincipalName},
    identity::people::{PasswordHash, RecoveryCode, SecondFactor, TotpSecret, User},
    issuer::{Issuer, Refusal, RefusalKind},
    sealing::{Holder, Sealed},
    store::{Changes, Committed, Document, EntryKind, Kept, document},
};

/// What attempts on no account are counted under.
const STRAYS: &str = "strays";

/// Attempts on no account.
#[derive(Debug, Serialize, Deserialize)]
struct Strays {
    attempts: u64,
}

impl Document for Strays {
    const KIND: EntryKind = EntryKind::SignIn;

    fn id(&self) -> String {
        STRAYS.to_owned()
    }
}

/// An attempt that was counted.
pub(super) struct Counted {
    /// The account as it was before.
    pub(super) before: User,
}

impl Issuer {
    /// A user that exists and may sign in.
    pub(super) async fn usable_user(&self, name: &PrincipalName) -> Result<Option<Kept<User>>, Refusal> {
        let kept = document::<User>(&*self.store, name.as_str()).await?;
        Ok(kept.filter(|kept| kept.document.disabled_at.is_none()))
    }

    /// Counts an attempt on an account; `None`: there is no such account, or it is not to be looked at now.
    pub(super) async fn count(&self, name: &PrincipalName) -> Result<Option<Counted>, Refusal> {
        for _ in 0..RETRIES {
            let Some(kept) = self.usable_user(name).await? else { return self.count_stray().await };
            let now = self.clock.now();
            let Ok(counted) = kept.document.clone().attempt(now) else { return self.count_stray().await };
            let changes = Changes::new().replace(&counted, kept.revision)?;
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(Some(Counted { before: kept.document }));
            }
        }
        Err(Issuer::contended())
    }

    /// Counts an attempt on no account: it takes a write, as one on an account does, so that how long the answer takes says
    /// nothing about which names there are.
    pub(super) async fn count_stray(&self) -> Result<Option<Counted>, Refusal> {
        let kept = document::<Strays>(&*self.store, STRAYS).await?;
        let (revision, attempts) = kept.map_or((0, 0), |kept| (kept.revision, kept.document.attempts));
        let strays = Strays { attempts: attempts.saturating_add(1) };
        // On a conflict another was counted; it is the write that matters.
        let _ = Changes::new().replace(&strays, revision)?.commit(&*self.store).await?;
        Ok(None)
    }

    /// Takes back that an attempt was counted: it was right as far as it went.
    pub(super) async fn uncount(&self, counted: &Counted) -> Result<(), Refusal> {
        for _ in 0..RETRIES {
            let Some(kept) = self.usable_user(&counted.before.name).await? else { return Ok(()) };
            let failures = kept.document.failures.saturating_sub(1).max(counted.before.failures);
            let until = counted.before.locked_until;
            let user = User { failures, locked_until: until, ..kept.document };
            if Changes::new().replace(&user, kept.revision)?.commit(&*self.store).await? == Committed::Yes {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a password is an account's. Takes as long when there is no account.
    pub(super) async fn is_password_of(
        &self,
        counted: Option<&Counted>,
        password: &Password,
    ) -> Result<bool, Refusal> {
        self.matches(password, counted.and_then(|counted| counted.before.password.as_ref())).await
    }

    /// Whether a secret is the one a hash was made of.
    pub(super) async fn matches(
        &self,
        secret: &Password,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, Refusal> {
        Ok(self.people.hasher.verify(secret, hash).await?)
    }

    /// Audits a failed attempt. The name is told only if it is one: people type passwords in its place.
    pub(super) async fn refuse_attempt(
        &self,
        what: &'static str,
        counted: Option<&Counted>,
        address: Option<IpAddr>,
    ) -> Refusal {
        let refusal = Refusal::sign_in();
        let resource =
            counted.map_or("users/-".to_owned(), |counted| format!("users/{}", counted.before.name));
        let now = self.clock.now();
        let mut draft = Draft::new(now, Actor::Unauthenticated { address }, what, resource)
            .refused("the name, the password or the code is wrong, or the account is not usable now");
        if let Some(counted) = counted
            && let Ok(after) = counted.before.clone().attempt(now)
        {
            draft = draft.with("failures", after.failures.to_string());
            if let Some(until) = after.locked_until {
                draft = draft.with("locked_until", until.to_string());
            }
        }
        match self.store.record(draft).await {
            Ok(()) => refusal,
            Err(error) => error.into(),
        }
    }

    /// The account after a code of its second factor, or a recovery code, was taken; `None`: it is none, or was taken before.
    pub(super) fn take_code(&self, user: &User, code: &str) -> Result<Option<User>, Refusal> {
        let now = self.clock.now();
        if let Ok(recovery) = code.parse::<RecoveryCode>() {
            let hash = recovery.hash();
            let left: Vec<String> = user.recovery.iter().filter(|kept| **kept != hash).cloned().collect();
            let taken = left.len() < user.recovery.len();
            return Ok(taken.then(|| User { recovery: left, ..user.clone() }));
        }
        let Some(factor) = &user.second_factor else { return Ok(None) };
        let secret = self.open_factor(user, &factor.sealed)?;
        let Some(last_step) = secret.check(code, now, Some(factor.last_step)) else { return Ok(None) };
        let sealed = self.sealed_anew(user, &factor.sealed, &secret)?;
        let second_factor = Some(SecondFactor { sealed, last_step });
        Ok(Some(User { second_factor, ..user.clone() }))
    }

    /// Opens a second factor's secret.
    pub(super) fn open_factor(&self, user: &User, sealed: &str) -> Result<TotpSecret, Refusal> {
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
            let message = "the second factor cannot be checked: what it was sealed with is not configured any more; use a \
                           recovery code, or ask your administrator for `mayfly user reset`";
            Refusal::new(RefusalKind::NotConfigured, message).caused_by(error)
        };
        let sealed: Sealed = sealed.parse().map_err(|error| unusable(Box::new(error)))?;
        let holder = Holder { instance: self.store.instance(), user: &user.name };
        let text = self.people.keyring.current().open(holder, &sealed).map_err(|e| unusable(Box::new(e)))?;
        TotpSecret::read(&text, user.name.as_str()).map_err(|error| unusable(Box::new(error)))
    }

    /// Seals a second factor's secret.
    pub(super) fn seal_factor(&self, user: &PrincipalName, secret: &TotpSecret) -> Result<String, Refusal> {
        let holder = Holder { instance: self.store.instance(), user };
        let sealed = self.people.keyring.current().seal(holder, &secret.to_text(), &*self.random);
        sealed.map(|sealed| sealed.to_string()).map_err(|error| {
            let message = "a second factor cannot be set up here: its secret has to be kept so that it can be used, and Mayfly \
                           keeps no such secret unsealed; an administrator must configure [sealing] first (docs/people.md)";
            Refusal::new(RefusalKind::NotConfigured, message).caused_by(error)
        })
    }

    /// Sealed with the key that seals now: a key that is being replaced falls out of use as people sign in.
    fn sealed_anew(&self, user: &User, sealed: &str, secret: &TotpSecret) -> Result<String, Refusal> {
        let first = self.people.keyring.current().first().map(crate::sealing::SealingKey::id);
        match sealed.parse::<Sealed>() {
            Ok(kept) if Some(kept.key()) != first && first.is_some() => self.seal_factor(&user.name, secret),
            _ => Ok(sealed.to_owned()),
        }
    }
}
