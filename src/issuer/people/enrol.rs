//! Setting a password: the first one, by a code; a new one, by the old one.

use std::net::IpAddr;

use super::RETRIES;
use crate::{
    audit::{Actor, Draft},
    domain::{Password, PrincipalName},
    identity::{
        Caller,
        people::{OneTimeCode, Origin, Session, User, check_new_password},
    },
    issuer::{Issuer, Refusal},
    store::{Changes, Committed},
};

/// A first password, with the code that lets its person set it.
#[derive(Debug)]
pub struct NewPassword {
    /// The name, as typed.
    pub name: String,
    /// The code, as typed.
    pub code: Password,
    /// The password.
    pub password: Password,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

impl Issuer {
    /// Sets a person's password by the one-time code of the account.
    ///
    /// # Errors
    /// [`Refusal`]: a password that is no good; one and the same for whatever else is wrong; store unavailable.
    pub async fn enrol(&self, new: NewPassword) -> Result<User, Refusal> {
        let what = "user.enrolled";
        check_new_password(&new.password, &new.name)?;
        let counted = match new.name.parse::<PrincipalName>() {
            Ok(name) => self.count(&name).await?,
            Err(_) => self.count_stray().await?,
        };
        let code = new.code.expose().parse::<OneTimeCode>().ok();
        let typed = code.as_ref().map_or_else(|| Password::new(String::new()), OneTimeCode::as_password);
        let now = self.clock.now();
        let enrolment = counted.as_ref().and_then(|counted| counted.before.enrolment.as_ref());
        let enrolment = enrolment.filter(|enrolment| enrolment.expires_at > now && code.is_some());
        let right = self.matches(&typed, enrolment.map(|enrolment| &enrolment.hash)).await?;
        let Some(counted) = counted.as_ref().filter(|_| right) else {
            return Err(self.refuse_attempt(what, counted.as_ref(), new.address).await);
        };
        let hash = self.people.hasher.hash(&new.password, &*self.random).await?;
        for _ in 0..RETRIES {
            let kept = self.usable_user(&counted.before.name).await?;
            // Of two with the same code at once, one sets the password.
            let Some(kept) = kept.filter(|kept| kept.document.enrolment == counted.before.enrolment) else {
                return Err(self.refuse_attempt(what, Some(counted), new.address).await);
            };
            let generation = self.random.bits();
            let password = Some(hash.clone());
            let user = User { password, enrolment: None, generation, ..kept.document.succeeded() };
            let actor = Actor::principal(&user.principal().reference(), new.address);
            let draft = Draft::new(self.clock.now(), actor, what, user.resource());
            let changes = Changes::new().replace(&user, kept.revision)?.record(draft);
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(user);
            }
        }
        Err(Issuer::contended())
    }

    /// Changes the caller's password by the old one. All other sessions of the account end.
    ///
    /// # Errors
    /// [`Refusal`]: no session of a local account, a password that is no good, the old one wrong, store unavailable.
    pub async fn change_password(
        &self,
        caller: &Caller,
        old: &Password,
        new: &Password,
    ) -> Result<(), Refusal> {
        let what = "user.password_changed";
        let own = self.own_account(caller).await?;
        check_new_password(new, own.principal.name.as_str())?;
        let counted = self.count(&own.principal.name).await?;
        let right = self.is_password_of(counted.as_ref(), old).await?;
        let Some(counted) = counted.as_ref().filter(|_| right) else {
            return Err(self.refuse_attempt(what, counted.as_ref(), caller.address).await);
        };
        let hash = self.people.hasher.hash(new, &*self.random).await?;
        for _ in 0..RETRIES {
            let kept = self.usable_user(&counted.before.name).await?;
            let kept = kept.filter(|kept| kept.document.generation == counted.before.generation);
            let (Some(kept), Some(session)) = (kept, self.session_of(caller).await?) else {
                return Err(self.refuse_attempt(what, Some(counted), caller.address).await);
            };
            let generation = self.random.bits();
            let user = User { password: Some(hash.clone()), generation, ..kept.document.succeeded() };
            let own = Session { origin: Origin::User { generation }, ..session.document };
            let draft = Draft::new(self.clock.now(), caller.actor(), what, user.resource());
            let changes =
                Changes::new().replace(&user, kept.revision)?.replace(&own, session.revision)?.record(draft);
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(());
            }
        }
        Err(Issuer::contended())
    }
}
