//! Who may sign in no longer: what was asked for, granted and issued before ends with it.
//!
//! That somebody is to be seen off is durable in the transaction that disables or removes the account, or revokes the invitation;
//! it stays due until it is done, so whoever starts after a crash goes on with it. A call that is under way meanwhile is given nothing
//! more: what gives it something requires that the account, or the invitation, is as it was found.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    audit::{Actor, Draft},
    domain::{Lock, LockSubject, PrincipalName},
    identity::{
        Caller, Credential,
        people::{Invitation, Origin, Session, User},
    },
    issuer::{Issuer, Refusal},
    store::{Changes, Document, EntryKind, Kept, StoreError, document},
};

/// How long whoever disables an account has for seeing its person off before others take it up.
const SEEN_OFF_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// Somebody who is to be seen off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Who.
    pub principal: PrincipalName,
    /// Since when. What began later, under another sign-in, is no concern of it.
    pub at: Timestamp,
    /// Why, as whoever looks at what ended is told.
    pub why: String,
}

impl Document for Departure {
    const KIND: EntryKind = EntryKind::Departure;

    fn id(&self) -> String {
        self.principal.to_string()
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.at.checked_add(SEEN_OFF_WITHIN).ok()
    }
}

impl Departure {
    /// What is to end, in the words of locks: everything of the principal up to and including the moment.
    fn sweep(&self) -> Lock {
        Lock {
            subject: LockSubject::Principal(self.principal.clone()),
            since: self.at,
            by: self.principal.clone(),
            reason: self.why.clone(),
            until: self.at.checked_add(SignedDuration::from_nanos(1)).ok(),
            carried_out: false,
        }
    }
}

impl Issuer {
    /// Adds that somebody is to be seen off.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn departing(
        &self,
        departure: &Departure,
        changes: Changes,
    ) -> Result<Changes, StoreError> {
        let earlier = document::<Departure>(&*self.store, &departure.id()).await?;
        changes.replace(departure, earlier.map_or(0, |kept| kept.revision))
    }

    /// Sees somebody off, now. What cannot be done now is left to the clerk.
    pub(super) async fn see_off(&self, principal: &PrincipalName, actor: &Actor) {
        let done = async {
            let kept = document::<Departure>(&*self.store, principal.as_str()).await?;
            match kept {
                Some(kept) => self.seen_off(kept, actor).await,
                None => Ok(()),
            }
        };
        if let Err(error) = done.await {
            tracing::warn!(
                %principal, error = &error as &dyn std::error::Error,
                "what somebody had who may sign in no longer is left to the clerk"
            );
        }
    }

    /// Looks at somebody who was to be seen off, and was not: by a crash, or a store that failed.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable, or others change the same again and again. It stays due then.
    pub async fn tend_departure(&self, kept: Kept<Departure>) -> Result<(), Refusal> {
        self.seen_off(kept, &Actor::System).await
    }

    async fn seen_off(&self, kept: Kept<Departure>, actor: &Actor) -> Result<(), Refusal> {
        let departure = &kept.document;
        let ended = self.end_what_was(&departure.sweep(), &departure.why, actor).await?;
        let resource = format!("principals/{}", departure.principal);
        let draft = Draft::new(self.clock.now(), actor.clone(), "access.withdrawn", resource)
            .with("principal", departure.principal.as_str())
            .with("reason", departure.why.as_str())
            .with("leases", ended.leases.to_string())
            .with("requests", ended.requests.to_string())
            .with("grants", ended.grants.to_string());
        // On a conflict somebody else has done it, or there is more to do, which is due.
        let _ = Changes::new().remove(&kept).record(draft).commit(&*self.store).await?;
        Ok(())
    }

    /// Adds what has to be so in a transaction that gives a caller something, or lets it decide: that what it is signed in by is
    /// as it is now, and that is sound.
    ///
    /// # Errors
    /// [`Refusal`]: the session was ended, its account disabled or removed, its invitation revoked; store unavailable.
    pub(in crate::issuer) async fn standing(
        &self,
        caller: &Caller,
        changes: Changes,
    ) -> Result<Changes, Refusal> {
        let Credential::Session(id) = &caller.credential else { return Ok(changes) };
        let over = || Refusal::denied("your session was ended meanwhile; sign in again");
        let session = document::<Session>(&*self.store, &id.to_string()).await?;
        let session = session.map(|kept| kept.document).filter(|session| session.ended_at.is_none());
        match session.ok_or_else(over)?.origin {
            Origin::User { generation } => {
                let name = caller.principal.name.as_str();
                let kept = document::<User>(&*self.store, name).await?;
                let sound = |kept: &Kept<User>| {
                    kept.document.generation == generation && kept.document.disabled_at.is_none()
                };
                let kept = kept.filter(sound).ok_or_else(over)?;
                Ok(changes.require::<User>(name, kept.revision))
            }
            Origin::Invitation { invitation } => {
                let id = invitation.to_string();
                let kept = document::<Invitation>(&*self.store, &id).await?;
                let kept = kept.filter(|kept| kept.document.is_open(self.clock.now())).ok_or_else(over)?;
                Ok(changes.require::<Invitation>(id, kept.revision))
            }
            Origin::Provider { subject: None, .. } => Ok(changes),
            // Nobody has the local account of the name, who would be somebody else.
            Origin::Provider { subject: Some(_), .. } => {
                let name = caller.principal.name.as_str();
                let namesake = document::<User>(&*self.store, name).await?;
                if namesake.is_some() { Err(over()) } else { Ok(changes.require::<User>(name, 0)) }
            }
        }
    }
}
