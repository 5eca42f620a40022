//! Signing in with a local account, and giving the second factor again.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::{Begun, RETRIES, attempt::Counted};
use crate::{
    audit::{Actor, Draft},
    domain::{Password, Principal, PrincipalName, SessionId},
    identity::{
        Caller,
        people::{Origin, Session, SessionToken, User},
    },
    issuer::{Issuer, Refusal},
    store::{Changes, Committed},
};

/// What somebody presents to sign in.
#[derive(Debug)]
pub struct Attempt {
    /// The name, as typed.
    pub name: String,
    /// The password.
    pub password: Password,
    /// The code of the second factor, or a recovery code; may be empty.
    pub code: Password,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

impl Issuer {
    /// Begins a session for whom a name, a password and, where there is one, a second factor belong to.
    ///
    /// # Errors
    /// [`Refusal`]: one and the same for whatever is wrong; a second factor is asked for only after the right password; store
    /// unavailable.
    pub async fn sign_in(&self, attempt: Attempt) -> Result<Begun, Refusal> {
        self.prune_sessions().await?;
        let name = attempt.name.parse::<PrincipalName>().ok();
        let counted = match &name {
            Some(name) => self.count(name).await?,
            None => self.count_stray().await?,
        };
        let right = self.is_password_of(counted.as_ref(), &attempt.password).await?;
        let Some(counted) = counted.as_ref().filter(|_| right) else {
            return Err(self.refuse_attempt("session.started", counted.as_ref(), attempt.address).await);
        };
        if counted.before.second_factor.is_some() && attempt.code.expose().trim().is_empty() {
            self.uncount(counted).await?;
            return Err(Refusal::second_factor());
        }
        self.begin_for(counted, &attempt).await
    }

    /// The password was right: the rest is decided on what is kept at the moment it is decided.
    async fn begin_for(&self, counted: &Counted, attempt: &Attempt) -> Result<Begun, Refusal> {
        let what = "session.started";
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let kept = self.usable_user(&counted.before.name).await?;
            let kept = kept.filter(|kept| {
                let user = &kept.document;
                user.generation == counted.before.generation && user.password == counted.before.password
            });
            let Some(kept) = kept else {
                return Err(self.refuse_attempt(what, Some(counted), attempt.address).await);
            };
            let mut user = kept.document.clone();
            let mut second_factor_at = None;
            if user.second_factor.is_some() {
                let Some(taken) = self.take_code(&user, attempt.code.expose())? else {
                    return Err(self.refuse_attempt(what, Some(counted), attempt.address).await);
                };
                user = taken;
                second_factor_at = Some(now);
            }
            let user = User { signed_in_at: Some(now), ..user.succeeded() };
            let origin = Origin::User { generation: user.generation };
            let mut begun = self.new_session(user.principal(), origin, now);
            begun.session.second_factor_at = second_factor_at;
            let changes = Changes::new().replace(&user, kept.revision)?.insert(&begun.session)?;
            let changes = changes.record(started(&begun.session, attempt.address));
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(begun);
            }
        }
        Err(Issuer::contended())
    }

    /// A session of now, not kept yet.
    pub(super) fn new_session(&self, principal: Principal, origin: Origin, now: Timestamp) -> Begun {
        let settings = self.people.sessions;
        let secret = SessionToken::generate(&*self.random);
        let life = SignedDuration::try_from(settings.life).unwrap_or(SignedDuration::ZERO);
        let session = Session {
            id: SessionId::new(now, self.random.bits()),
            hash: secret.hash(),
            principal,
            origin,
            cidrs: Vec::new(),
            created_at: now,
            expires_at: now.checked_add(life).unwrap_or(now),
            idle_seconds: settings.idle.as_secs(),
            used_at: now,
            second_factor_at: None,
            ended_at: None,
        };
        Begun { session, secret }
    }

    /// Takes the second factor of somebody who is signed in once more, and writes down when.
    ///
    /// # Errors
    /// [`Refusal`]: no session of a local account, a wrong code or one that was taken before, locked out, store unavailable.
    pub async fn step_up(&self, caller: &Caller, code: &Password) -> Result<Session, Refusal> {
        let what = "session.stepped_up";
        let own = self.own_account(caller).await?;
        let Some(counted) = self.count(&own.principal.name).await? else {
            return Err(self.refuse_attempt(what, None, caller.address).await);
        };
        if counted.before.second_factor.is_none() {
            self.uncount(&counted).await?;
            let message = "you have no second factor; `mayfly user totp enrol` sets one up";
            return Err(self.refuse(caller, what, own.name(), Refusal::precondition(message)).await);
        }
        for _ in 0..RETRIES {
            let now = self.clock.now();
            let (Some(kept), Some(session)) =
                (self.usable_user(&own.principal.name).await?, self.session_of(caller).await?)
            else {
                return Err(self.refuse_attempt(what, Some(&counted), caller.address).await);
            };
            let Some(user) = self.take_code(&kept.document, code.expose())? else {
                return Err(self.refuse_attempt(what, Some(&counted), caller.address).await);
            };
            let stepped = Session { second_factor_at: Some(now), ..session.document };
            let draft = Draft::new(now, caller.actor(), what, stepped.name());
            let changes = Changes::new()
                .replace(&user.succeeded(), kept.revision)?
                .replace(&stepped, session.revision)?
                .record(draft);
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(stepped);
            }
        }
        Err(Issuer::contended())
    }
}

/// The record of a session's begin.
pub(super) fn started(session: &Session, address: Option<IpAddr>) -> Draft {
    let actor = Actor::principal(&session.principal.reference(), address);
    let second_factor = if session.second_factor_at.is_some() { "given" } else { "none" };
    Draft::new(session.created_at, actor, "session.started", session.name())
        .with("expires_at", session.expires_at.to_string())
        .with("second_factor", second_factor)
}
