//! Rotating the administration account's password: whatever dies at whatever moment, the old or the new one works and is known.
//!
//! ```text
//! draw, seal ─▶ pending, durable ─▶ the target is given the verifier ─▶ a fresh login proves it ─▶ pending becomes current, durable
//! ```
//! A pending password is never dropped: a rotation that finds one begins by asking the target whether it is the password
//! already, and else tries the same one again. So it does not matter which statements of earlier attempts are still on
//! their way. Who serves from the same store is kept apart by the revision of what is kept.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    CatalogueHandle, Issuer, Refusal, RefusalKind,
    credentials::{KeptCredentials, of_account},
    turns::Turns,
};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{Password, TargetName},
    identity::Caller,
    policy,
    random::Random,
    sealing::{Place, SealError},
    store::{KeptSecret, Store},
    target::{Target, TargetError, TargetErrorKind, generate_password},
};

/// Beyond a login's time, how long after its becoming durable a pending password may be sent to the target; later, somebody
/// else may have taken the rotation over.
const FRESH: Duration = Duration::from_secs(5);

/// What a [`Rotator`] is made of.
pub struct RotatorParts {
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Targets as configured now.
    pub catalogue: Arc<CatalogueHandle>,
    /// Where passwords are kept.
    pub credentials: Arc<KeptCredentials>,
}

/// Rotates administration accounts' passwords, each target's one at a time.
pub struct Rotator {
    parts: RotatorParts,
    under_way: Turns<TargetName>,
}

/// A rotation that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The target.
    pub target: TargetName,
    /// When the new password became the current one.
    pub at: Timestamp,
    /// It was one that had begun earlier and not finished.
    pub resumed: bool,
}

/// What sealing everything anew did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Passwords sealed anew.
    pub resealed: u32,
    /// Passwords that were sealed with the first key already.
    pub unchanged: u32,
}

/// A rotation under way.
struct Rotation<'a> {
    target: &'a Arc<dyn Target>,
    actor: Actor,
    password: Password,
    /// What was kept when the password became pending.
    kept: KeptSecret,
    since: Timestamp,
    /// An earlier attempt may have given it to the target already.
    resumed: bool,
}

impl Rotator {
    /// A rotator made of its parts.
    pub fn new(parts: RotatorParts) -> Self {
        Self { parts, under_way: Turns::default() }
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.parts.credentials.store
    }

    fn now(&self) -> Timestamp {
        self.parts.credentials.clock.now()
    }

    /// Gives a target's administration account a new password.
    ///
    /// # Errors
    /// [`Refusal`]: no sealing key, no such target, one that asks for no password, a rotation under way, target or store
    /// unavailable. The password before or the new one works then, and is known.
    pub async fn rotate(&self, name: &TargetName, actor: Actor) -> Result<Rotated, Refusal> {
        let target = self.parts.catalogue.current().targets.get(name).map(Arc::clone);
        let target = target.ok_or_else(|| Refusal::not_found(format!("there is no target {name}")))?;
        if self.parts.credentials.keyring.current().first().is_none() {
            return Err(no_key());
        }
        if target.settings().password.is_none() {
            let message = "the administration account logs in without a password: there is none to rotate";
            return Err(Refusal::new(RefusalKind::TargetRefused, message));
        }
        let _turn = self.under_way.take(name).ok_or_else(under_way)?;
        let kept = of_account(self.store().secret(name).await?, &target.settings().user);
        if kept.is_under_way(self.now(), longest(&*target)) {
            return Err(under_way());
        }
        let unfinished = self.unfinished(&target, &kept).await?;
        let resumed = unfinished.is_some();
        let (password, kept) = match unfinished {
            Some(password) => (password, kept.resumed(self.now())),
            None => self.draw(name, kept)?,
        };
        let since = kept.pending.as_ref().map_or_else(|| self.now(), |pending| pending.since);
        let rotation = Rotation { target: &target, actor, password, kept, since, resumed };
        let at = self.finish(self.begin(rotation).await?).await?;
        Ok(Rotated { target: name.clone(), at, resumed })
    }

    /// A fresh password, and what is to be kept of it.
    fn draw(&self, target: &TargetName, kept: KeptSecret) -> Result<(Password, KeptSecret), Refusal> {
        let password = generate_password(&*self.parts.random);
        let place = Place { instance: self.store().instance(), target, account: &kept.account };
        let sealed = self.parts.credentials.keyring.current().seal(place, &password, &*self.parts.random);
        let sealed = sealed.map_err(|error| unsealable(&error))?;
        Ok((password, kept.begun(sealed, self.now())))
    }

    /// The password of a rotation that did not finish, to be tried again. One that can no longer be opened is given up only
    /// once the target has let the account in with another: then it is not the account's.
    async fn unfinished(
        &self,
        target: &Arc<dyn Target>,
        kept: &KeptSecret,
    ) -> Result<Option<Password>, Refusal> {
        let Some(pending) = &kept.pending else { return Ok(None) };
        let credentials = &self.parts.credentials;
        let open = |sealed| credentials.open(target.name(), &kept.account, sealed);
        let closed = match open(&pending.sealed) {
            Ok(password) => return Ok(Some(password)),
            Err(error) => error,
        };
        let others = kept.current.as_ref().and_then(|sealed| open(sealed).ok());
        for other in others.into_iter().chain(target.settings().password.clone()) {
            match target.prove_own_password(&other).await {
                Ok(()) => {
                    tracing::warn!(target_name = %target.name(), error = %closed, "an unfinished rotation is given up");
                    return Ok(None);
                }
                Err(error) if error.kind == TargetErrorKind::Unauthenticated => {}
                Err(error) => return Err(Refusal::on_target(target.name(), error)),
            }
        }
        Err(unsealable(&closed))
    }

    /// Makes the password durable as pending.
    async fn begin<'t>(&self, rotation: Rotation<'t>) -> Result<Rotation<'t>, Refusal> {
        let Rotation { target, actor, kept, since, resumed, .. } = &rotation;
        let what = if *resumed { "target.rotation_resumed" } else { "target.rotation_began" };
        let draft = Draft::new(*since, actor.clone(), what, format!("targets/{}", target.name()))
            .with("account", kept.account.as_str());
        if !self.store().keep_secret(target.name(), kept.clone(), draft).await? {
            return Err(under_way());
        }
        crash::here(Point::RotateBegun);
        let kept = KeptSecret { revision: kept.revision.saturating_add(1), ..rotation.kept };
        Ok(Rotation { kept, ..rotation })
    }

    async fn finish(&self, rotation: Rotation<'_>) -> Result<Timestamp, Refusal> {
        let Err(error) = self.change(&rotation).await else { return self.promote(rotation).await };
        tracing::warn!(
            target_name = %rotation.target.name(), error = &error as &dyn std::error::Error,
            "a rotation did not get to its end; the password before or the new one works"
        );
        self.fail(&rotation, &error).await?;
        Err(Refusal::on_target(rotation.target.name(), error))
    }

    /// Gives the target the verifier, unless it has it already, and proves the password by a fresh login.
    async fn change(&self, rotation: &Rotation<'_>) -> Result<(), TargetError> {
        let Rotation { target, password, .. } = rotation;
        if rotation.resumed && self.is_in_effect(rotation).await? {
            return Ok(());
        }
        let fresh = target.settings().pool.connect + FRESH;
        if self.now().duration_since(rotation.since).unsigned_abs() > fresh {
            let message = "the rotation took too long to begin; somebody else may have taken it over";
            return Err(TargetError::new(TargetErrorKind::Busy, message));
        }
        target.change_own_password(password).await?;
        crash::here(Point::RotateChanged);
        target.prove_own_password(password).await?;
        crash::here(Point::RotateProved);
        Ok(())
    }

    async fn is_in_effect(&self, rotation: &Rotation<'_>) -> Result<bool, TargetError> {
        match rotation.target.prove_own_password(&rotation.password).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == TargetErrorKind::Unauthenticated => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn promote(&self, rotation: Rotation<'_>) -> Result<Timestamp, Refusal> {
        let Rotation { target, actor, kept, .. } = rotation;
        let name = target.name();
        let sealed = kept.pending.as_ref().map(|pending| pending.sealed.clone());
        if !self.parts.credentials.promote(name, kept, actor).await? {
            // A new connection may have been let in with it before us, and settled the matter.
            let now_kept = self.store().secret(name).await?;
            if now_kept.as_ref().is_none_or(|kept| kept.current != sealed) {
                return Err(under_way());
            }
        }
        crash::here(Point::RotatePromoted);
        let kept = self.store().secret(name).await?;
        tracing::info!(target_name = %name, "the administration account has a new password");
        Ok(kept.and_then(|kept| kept.rotated_at).unwrap_or_else(|| self.now()))
    }

    /// Writes down that nobody is at work on it any more. Should that fail, the next rotation waits until that is certain.
    async fn fail(&self, rotation: &Rotation<'_>, error: &TargetError) -> Result<(), Refusal> {
        let Rotation { target, actor, kept, .. } = rotation;
        let now = self.now();
        let draft =
            Draft::new(now, actor.clone(), "target.rotation_failed", format!("targets/{}", target.name()))
                .with("account", kept.account.as_str())
                .failed(error.message.as_str());
        self.store()
            .keep_secret(target.name(), kept.clone().failed(now, error.message.as_str()), draft)
            .await?;
        Ok(())
    }

    /// Seals everything anew with the first key.
    ///
    /// # Errors
    /// [`Refusal`]: no key, a key that is missing (what could be opened is sealed anew nevertheless), store unavailable.
    pub async fn reseal(&self, actor: &Actor) -> Result<Resealed, Refusal> {
        if self.parts.credentials.keyring.current().first().is_none() {
            return Err(no_key());
        }
        let (mut done, mut first_failure) = (Resealed::default(), None);
        for (name, _) in self.store().secrets().await? {
            match self.reseal_one(&name, actor).await {
                Ok(one) => {
                    done.resealed += one.resealed;
                    done.unchanged += one.unchanged;
                }
                Err(refusal) if refusal.kind == RefusalKind::NotConfigured => {
                    first_failure.get_or_insert(refusal);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        first_failure.map_or(Ok(done), Err)
    }

    async fn reseal_one(&self, name: &TargetName, actor: &Actor) -> Result<Resealed, Refusal> {
        let keyring = self.parts.credentials.keyring.current();
        let Some(first) = keyring.first().map(crate::sealing::SealingKey::id) else { return Err(no_key()) };
        // Bounded: whoever changes it meanwhile seals with the first key.
        for _ in 0..3 {
            let Some(mut kept) = self.store().secret(name).await? else { return Ok(Resealed::default()) };
            let (account, mut done) = (kept.account.clone(), Resealed::default());
            let place = Place { instance: self.store().instance(), target: name, account: &account };
            let pending = kept.pending.as_mut().map(|pending| &mut pending.sealed);
            for sealed in kept.current.as_mut().into_iter().chain(pending) {
                if sealed.key() == first {
                    done.unchanged += 1;
                    continue;
                }
                let password = keyring.open(place, sealed).map_err(|error| {
                    Refusal::new(
                        RefusalKind::NotConfigured,
                        format!("the password of targets/{name}: {error}"),
                    )
                })?;
                *sealed = keyring
                    .seal(place, &password, &*self.parts.random)
                    .map_err(|error| unsealable(&error))?;
                done.resealed += 1;
            }
            if done.resealed == 0 {
                return Ok(done);
            }
            let draft =
                Draft::new(self.now(), actor.clone(), "target.secret_resealed", format!("targets/{name}"))
                    .with("key", first.to_string());
            if self.store().keep_secret(name, kept, draft).await? {
                return Ok(done);
            }
        }
        Err(under_way())
    }
}

/// How long somebody can be at work on a rotation, all waits included.
fn longest(target: &dyn Target) -> SignedDuration {
    let pool = &target.settings().pool;
    let logins = pool.connect * 4;
    SignedDuration::try_from(pool.longest_creation() + logins).unwrap_or(SignedDuration::MAX)
}

fn under_way() -> Refusal {
    let refusal = Refusal::new(RefusalKind::InProgress, "another rotation on this target is still under way");
    refusal.retry_after(Duration::from_secs(5))
}

fn no_key() -> Refusal {
    let message = "no sealing key is configured: draw one with `mayfly store sealing-key` and name it in [sealing] key_file";
    Refusal::new(RefusalKind::NotConfigured, message)
}

fn unsealable(error: &SealError) -> Refusal {
    let message = format!("what is kept of the administration account's password cannot be used: {error}");
    Refusal::new(RefusalKind::NotConfigured, message)
}

impl Issuer {
    /// Lets administrators rotate with this.
    #[must_use]
    pub fn with_rotator(self, rotator: Arc<Rotator>) -> Self {
        Self { rotator: Some(rotator), ..self }
    }

    /// Gives a target's administration account a new password. It is done even if the caller stops waiting.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, or as [`Rotator::rotate`] says.
    pub async fn rotate_target(&self, caller: &Caller, name: &TargetName) -> Result<Rotated, Refusal> {
        let resource = format!("targets/{name}");
        self.authorise(caller, policy::Action::Administer, "target.rotated", resource.clone()).await?;
        let rotator = self.rotator.clone().ok_or_else(no_key)?;
        if self.tasks.is_closed() {
            return Err(Refusal::shutting_down());
        }
        let (target, actor) = (name.clone(), caller.actor());
        let rotating = self.tasks.spawn(async move { rotator.rotate(&target, actor).await });
        let rotated = rotating.await.unwrap_or_else(|error| Err(Refusal::internal(error)));
        match rotated {
            Err(refusal) if !is_recorded(&refusal) => {
                Err(self.refuse(caller, "target.rotated", resource, refusal).await)
            }
            rotated => rotated,
        }
    }

    /// Seals what is kept of administration accounts' passwords anew with the first key.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, or as [`Rotator::reseal`] says.
    pub async fn reseal_secrets(&self, caller: &Caller) -> Result<Resealed, Refusal> {
        let resource = "targets/-".to_owned();
        self.authorise(caller, policy::Action::Administer, "target.secret_resealed", resource.clone())
            .await?;
        let rotator = self.rotator.as_ref().ok_or_else(no_key)?;
        match rotator.reseal(&caller.actor()).await {
            Err(refusal) if refusal.kind == RefusalKind::NotConfigured => {
                Err(self.refuse(caller, "target.secret_resealed", resource, refusal).await)
            }
            resealed => resealed,
        }
    }
}

/// Whether the log tells of it already, as a rotation that failed on the target, or cannot.
fn is_recorded(refusal: &Refusal) -> bool {
    refusal.source.is_some() || refusal.kind == RefusalKind::ShuttingDown
}
