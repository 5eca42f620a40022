//! Setting up a second factor: offered, then confirmed by its first code.

use jiff::SignedDuration;

use super::RETRIES;
use crate::{
    audit::Draft,
    domain::Password,
    identity::{
        Caller,
        people::{RecoveryCode, SecondFactor, SecondFactorOffer, Session, TotpSecret, User},
    },
    issuer::{Issuer, Refusal},
    store::{Changes, Committed},
};

/// How long somebody has to type the first code.
const OFFER_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// How fresh the old second factor must be to be replaced by another.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// Recovery codes given out at once.
const RECOVERY_CODES: usize = 10;

/// A second factor that is offered: shown once.
#[derive(Debug)]
pub struct Offered {
    /// What authenticators read.
    pub url: Password,
    /// What is typed into one that reads no URL.
    pub secret: Password,
}

impl Issuer {
    /// Offers the caller a second factor; nothing changes until its first code confirms it. Takes the password, so that a session
    /// left open does not suffice, and, where there is a second factor already, that one given lately.
    ///
    /// # Errors
    /// [`Refusal`]: no session of a local account, a wrong password, no sealing key, the old one not given lately, store
    /// unavailable.
    pub async fn offer_second_factor(
        &self,
        caller: &Caller,
        password: &Password,
    ) -> Result<Offered, Refusal> {
        let what = "user.second_factor_offered";
        let own = self.own_account(caller).await?;
        let name = own.principal.name;
        let secret = TotpSecret::generate(&*self.random, name.as_str()).map_err(Refusal::internal)?;
        let sealed = match self.seal_factor(&name, &secret) {
            Ok(sealed) => sealed,
            Err(refusal) => return Err(self.refuse(caller, what, format!("users/{name}"), refusal).await),
        };
        let counted = self.count(&name).await?;
        if !self.is_password_of(counted.as_ref(), password).await? {
            return Err(self.refuse_attempt(what, counted.as_ref(), caller.address).await);
        }
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let Some(kept) = self.usable_user(&name).await? else {
                return Err(self.refuse_attempt(what, None, caller.address).await);
            };
            let lately = |at| now.duration_since(at) <= FRESH;
            if kept.document.second_factor.is_some() && !caller.second_factor_at.is_some_and(lately) {
                let message =
                    "there is a second factor already; give it (`mayfly login --step-up`) and try again";
                return Err(self
                    .refuse(caller, what, format!("users/{name}"), Refusal::denied(message))
                    .await);
            }
            let expires_at = now.checked_add(OFFER_LIFE).unwrap_or(now);
            let offer = Some(SecondFactorOffer { sealed: sealed.clone(), expires_at });
            let user = User { offer, ..kept.document.succeeded() };
            let draft = Draft::new(now, caller.actor(), what, user.resource());
            if Changes::new().replace(&user, kept.revision)?.record(draft).commit(&*self.store).await?
                == Committed::Yes
            {
                let url = secret.url().map_err(Refusal::internal)?;
                return Ok(Offered { url, secret: secret.to_text() });
            }
        }
        Err(Issuer::contended())
    }

    /// Puts the offered second factor in force, by a code of it; returns the recovery codes, which are shown once. Those of before
    /// stop working.
    ///
    /// # Errors
    /// [`Refusal`]: no session of a local account, nothing offered, a wrong code, store unavailable.
    pub async fn confirm_second_factor(
        &self,
        caller: &Caller,
        code: &Password,
    ) -> Result<Vec<RecoveryCode>, Refusal> {
        let what = "user.second_factor_set";
        let own = self.own_account(caller).await?;
        let name = own.principal.name;
        let Some(counted) = self.count(&name).await? else {
            return Err(self.refuse_attempt(what, None, caller.address).await);
        };
        let codes: Vec<_> = (0..RECOVERY_CODES).map(|_| RecoveryCode::generate(&*self.random)).collect();
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let (Some(kept), Some(session)) =
                (self.usable_user(&name).await?, self.session_of(caller).await?)
            else {
                return Err(self.refuse_attempt(what, Some(&counted), caller.address).await);
            };
            let user = &kept.document;
            let Some(offer) = user.offer.as_ref().filter(|offer| offer.expires_at > now) else {
                let message = "no second factor is being set up, or it took too long; begin anew with `mayfly user totp enrol`";
                return Err(self.refuse(caller, what, user.resource(), Refusal::precondition(message)).await);
            };
            let secret = self.open_factor(user, &offer.sealed)?;
            let Some(last_step) = secret.check(code.expose(), now, None) else {
                return Err(self.refuse_attempt(what, Some(&counted), caller.address).await);
            };
            let second_factor = Some(SecondFactor { sealed: offer.sealed.clone(), last_step });
            let recovery = codes.iter().map(RecoveryCode::hash).collect();
            let user = User { second_factor, offer: None, recovery, ..user.clone().succeeded() };
            let stepped = Session { second_factor_at: Some(now), ..session.document };
            let draft = Draft::new(now, caller.actor(), what, user.resource());
            let changes = Changes::new()
                .replace(&user, kept.revision)?
                .replace(&stepped, session.revision)?
                .record(draft);
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(codes);
            }
        }
        Err(Issuer::contended())
    }
}
