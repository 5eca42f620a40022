//! Completing a sign-in at an identity provider: by whoever began it, once.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;

use super::{Begun, pending::later, sign_in::started};
use crate::{
    audit::{Actor, Draft},
    domain::{Password, SignInId},
    identity::{
        people::{Origin, User},
        sign_in::{
            Asked, PendingSignIn, Polled, SignInError, SignInProvider, SignInSecret, SignedIn, Tokens, Way,
        },
    },
    issuer::{Issuer, Refusal, RefusalKind},
    store::{Changes, Committed, Kept, document},
};

/// Seconds by which the pause between two questions grows when the provider finds them too many (RFC 8628, 3.5).
const SLOWER: u32 = 5;

/// The longest such pause.
const SLOWEST: u32 = 120;

/// What somebody completes a sign-in with.
#[derive(Debug)]
pub struct Completion {
    /// Which.
    pub id: SignInId,
    /// The secret that was handed out when it began, as it came.
    pub secret: Password,
    /// What the browser brought back.
    pub brought: Brought,
    /// Where it is completed from.
    pub address: Option<IpAddr>,
}

/// What a browser was sent back with.
#[derive(Debug)]
pub enum Brought {
    /// There is none: another device is used.
    Nothing,
    /// A code.
    Code {
        /// The code.
        code: Password,
        /// The state, which must be the sign-in's.
        state: Password,
        /// From whom; may be empty.
        issuer: String,
    },
    /// The provider's refusal.
    Error {
        /// Why, as the provider puts it.
        error: String,
        /// The state, which must be the sign-in's.
        state: Password,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Completed {
    /// A session began.
    Begun(Box<Begun>),
    /// Nobody signed in yet; it makes sense to ask again after this long.
    Pending(Duration),
}

/// A sign-in that is being completed.
struct Underway {
    kept: Kept<PendingSignIn>,
    secret: SignInSecret,
    address: Option<IpAddr>,
}

impl Issuer {
    /// Completes a sign-in, once: what the provider hands out is taken once, and the sign-in is over whatever comes of it, except
    /// that somebody with another device is waited for.
    ///
    /// # Errors
    /// [`Refusal`]: unknown, over or somebody else's sign-in; the provider is down or refuses; its ID token is not accepted, or makes
    /// nobody known here; there is a local account of the name; store unavailable.
    pub async fn complete_sign_in(&self, completion: Completion) -> Result<Completed, Refusal> {
        let Completion { id, secret, brought, address } = completion;
        let Some(underway) = self.underway(id, &secret, address).await? else {
            return Err(self.refuse_sign_in("-", address, unknown()).await);
        };
        let name = underway.kept.document.provider.clone();
        match self.completed(&underway, brought).await {
            Ok(completed) => Ok(completed),
            Err(refusal) if refusal.kind == RefusalKind::StoreUnavailable => Err(refusal),
            Err(refusal) => Err(self.refuse_sign_in(&name, address, refusal).await),
        }
    }

    /// The sign-in of an identifier, if the secret is its own and it is not over.
    async fn underway(
        &self,
        id: SignInId,
        secret: &Password,
        address: Option<IpAddr>,
    ) -> Result<Option<Underway>, Refusal> {
        let kept = document::<PendingSignIn>(&*self.store, &id.to_string()).await?;
        let secret = secret.expose().parse::<SignInSecret>().ok();
        let (Some(kept), Some(secret)) = (kept, secret) else { return Ok(None) };
        let open = secret.is_of(&kept.document.hash) && self.clock.now() < kept.document.expires_at;
        Ok(open.then_some(Underway { kept, secret, address }))
    }

    async fn completed(&self, underway: &Underway, brought: Brought) -> Result<Completed, Refusal> {
        let provider = self.provider(&underway.kept.document.provider)?;
        match (&underway.kept.document.way, brought) {
            (Way::Browser { redirect_uri }, Brought::Code { code, state, issuer }) => {
                self.take(underway, &state).await?;
                provider.check_issuer(&issuer).await?;
                let tokens = provider.redeem(&underway.secret, code.expose(), redirect_uri).await?;
                let secret = Some(&underway.secret);
                let who = self.vouched_for(&provider, &tokens, secret, underway).await?;
                self.begin_elsewhere(underway, who, None).await
            }
            (Way::Browser { .. }, Brought::Error { error, state }) => {
                self.take(underway, &state).await?;
                Err(SignInError::Refused(error).into())
            }
            (Way::Device { sealed, interval, poll_at }, Brought::Nothing) => {
                let waits = Waits { sealed, interval: *interval, poll_at: *poll_at };
                self.poll(&provider, underway, &waits).await
            }
            (Way::Browser { .. }, Brought::Nothing) => {
                Err(Refusal::invalid("code", "is missing: the browser is sent back with it"))
            }
            (Way::Device { .. }, _) => {
                Err(Refusal::invalid("code", "means nothing for a sign-in with another device"))
            }
        }
    }

    /// Takes a sign-in, so that nobody takes it again: what the browser brought belongs to it.
    async fn take(&self, underway: &Underway, state: &Password) -> Result<(), Refusal> {
        if !underway.secret.has_state(state.expose()) {
            let message = "what came back belongs to another sign-in (state)";
            return Err(Refusal::new(RefusalKind::SignInRefused, message));
        }
        match Changes::new().remove(&underway.kept).commit(&*self.store).await? {
            Committed::Yes => Ok(()),
            Committed::Conflict => Err(unknown()),
        }
    }

    async fn vouched_for(
        &self,
        provider: &SignInProvider,
        tokens: &Tokens,
        secret: Option<&SignInSecret>,
        underway: &Underway,
    ) -> Result<SignedIn, Refusal> {
        let pending = &underway.kept.document;
        let asked = Asked { at: pending.began_at, fresh: pending.fresh };
        Ok(provider.who(tokens, secret, asked, self.clock.now()).await?)
    }

    /// Asks the provider whether somebody signed in, unless it is too early. Of several who ask at once, one does.
    async fn poll(
        &self,
        provider: &SignInProvider,
        underway: &Underway,
        waits: &Waits<'_>,
    ) -> Result<Completed, Refusal> {
        let now = self.clock.now();
        if let Ok(wait @ 1..) = u64::try_from(waits.poll_at.duration_since(now).as_millis()) {
            return Ok(Completed::Pending(Duration::from_millis(wait)));
        }
        let Some(kept) = self.put_off(&underway.kept, waits, waits.interval, now).await? else {
            return Ok(Completed::Pending(Duration::from_secs(waits.interval.into())));
        };
        let place = (self.store.instance(), kept.document.id);
        let code = underway.secret.open_device(place, waits.sealed).map_err(Refusal::internal)?;
        let polled = match provider.poll_device(code.expose()).await {
            // It may answer the next time: nobody has to begin anew for it.
            Err(SignInError::Unavailable { .. }) => Ok(Polled::Pending),
            other => other,
        };
        match polled {
            Ok(Polled::Pending) => Ok(Completed::Pending(Duration::from_secs(waits.interval.into()))),
            Ok(Polled::SlowDown) => {
                let interval = waits.interval.saturating_add(SLOWER).min(SLOWEST);
                let _ = self.put_off(&kept, waits, interval, self.clock.now()).await?;
                Ok(Completed::Pending(Duration::from_secs(interval.into())))
            }
            Ok(Polled::Done(tokens)) => {
                let who = self.vouched_for(provider, &tokens, None, underway).await;
                let who = match who {
                    Ok(who) => who,
                    Err(refusal) => return Err(self.forget(&kept, refusal).await),
                };
                self.begin_elsewhere(underway, who, Some(&kept)).await
            }
            Err(error) => Err(self.forget(&kept, error.into()).await),
        }
    }

    /// Writes down when the provider may be asked next, before it is asked; `None`: somebody else has done so.
    async fn put_off(
        &self,
        kept: &Kept<PendingSignIn>,
        waits: &Waits<'_>,
        interval: u32,
        now: Timestamp,
    ) -> Result<Option<Kept<PendingSignIn>>, Refusal> {
        let way = Way::Device { sealed: waits.sealed.to_owned(), interval, poll_at: later(now, interval) };
        let document = PendingSignIn { way, ..kept.document.clone() };
        let changes = Changes::new().replace(&document, kept.revision)?;
        let committed = changes.commit(&*self.store).await?;
        let revision = kept.revision.saturating_add(1);
        Ok((committed == Committed::Yes).then_some(Kept { revision, document }))
    }

    /// A sign-in that came to nothing is over.
    async fn forget(&self, kept: &Kept<PendingSignIn>, refusal: Refusal) -> Refusal {
        match Changes::new().remove(kept).commit(&*self.store).await {
            Ok(Committed::Yes | Committed::Conflict) => refusal,
            Err(error) => error.into(),
        }
    }

    /// Begins a session for whom a provider vouches; `pending` goes with it.
    async fn begin_elsewhere(
        &self,
        underway: &Underway,
        who: SignedIn,
        pending: Option<&Kept<PendingSignIn>>,
    ) -> Result<Completed, Refusal> {
        self.prune_sessions().await?;
        let provider = underway.kept.document.provider.clone();
        let name = who.principal.name.to_string();
        let origin = Origin::Provider { provider: provider.clone(), subject: Some(who.subject) };
        let mut begun = self.new_session(who.principal, origin, self.clock.now());
        begun.session.second_factor_at = who.second_factor_at;
        let told = started(&begun.session, underway.address).with("provider", provider);
        // There must be no local account of the name, whose person is somebody else.
        let mut changes = Changes::new().insert(&begun.session)?.require::<User>(&name, 0).record(told);
        if let Some(pending) = pending {
            changes = changes.remove(pending);
        }
        match changes.commit(&*self.store).await? {
            Committed::Yes => Ok(Completed::Begun(Box::new(begun))),
            Committed::Conflict => match document::<User>(&*self.store, &name).await? {
                Some(_) => Err(namesake(&name)),
                None => Err(unknown()),
            },
        }
    }

    /// Audits that a sign-in came to nothing.
    async fn refuse_sign_in(&self, provider: &str, address: Option<IpAddr>, refusal: Refusal) -> Refusal {
        let actor = Actor::Unauthenticated { address };
        let resource = format!("providers/{provider}");
        let draft = Draft::new(self.clock.now(), actor, "session.started", resource);
        match self.store.record(draft.refused(refusal.to_string())).await {
            Ok(()) => refusal,
            Err(error) => error.into(),
        }
    }
}

/// A device's code, and when the provider may be asked about it.
struct Waits<'a> {
    sealed: &'a str,
    interval: u32,
    poll_at: Timestamp,
}

/// One answer for whatever is wrong with a sign-in itself: it says nothing about which there are.
fn unknown() -> Refusal {
    let message = "this sign-in is over, was completed already, or was begun by somebody else; begin again with `mayfly login`";
    Refusal::new(RefusalKind::SignInRefused, message)
}

fn namesake(name: &str) -> Refusal {
    let message = format!(
        "there is a local account named {name}, which is another person's: an administrator must have identity.NAME.principal \
         make other names"
    );
    Refusal::new(RefusalKind::SignInRefused, message)
}
