//! Sessions: seen, ended, and forgotten when they are over.

use crate::{
    audit::{Actor, Draft},
    domain::{PrincipalName, SessionId},
    identity::{
        Caller, Credential,
        people::{Origin, Session},
    },
    issuer::{Issuer, Refusal, RefusalKind},
    policy,
    store::{Changes, Committed, Kept, Listing, document, documents, due_documents},
};

use super::RETRIES;

/// Sessions forgotten along with one sign-in: more than one, so that they never pile up.
const PRUNED: u32 = 16;

impl Session {
    /// Its resource name.
    pub fn name(&self) -> String {
        format!("sessions/{}", self.id)
    }
}

impl Issuer {
    /// The session a caller presented, as it is now.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn session_of(&self, caller: &Caller) -> Result<Option<Kept<Session>>, Refusal> {
        let Credential::Session(id) = &caller.credential else { return Ok(None) };
        Ok(document::<Session>(&*self.store, &id.to_string()).await?)
    }

    /// The session of a caller that signed in with a local account.
    pub(super) async fn own_account(&self, caller: &Caller) -> Result<Session, Refusal> {
        let session = self.session_of(caller).await?.map(|kept| kept.document);
        let own = session.filter(|session| matches!(session.origin, Origin::User { .. }));
        own.ok_or_else(|| {
            Refusal::precondition("this is for people who signed in with a local account: `mayfly login`")
        })
    }

    /// Sessions that are not over, newest first, below `before`: one's own, or, for administrators, anybody's.
    ///
    /// # Errors
    /// [`Refusal`]: others' sessions asked for by somebody who may not, store unavailable.
    pub async fn signed_in(
        &self,
        caller: &Caller,
        of: Option<&PrincipalName>,
        everybody: bool,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, Refusal> {
        let own = &caller.principal.name;
        let of = of.unwrap_or(own);
        if everybody || of != own {
            self.authorise(caller, policy::Action::Administer, "session.listed", "sessions/-".into()).await?;
        }
        let before = before.map(|before| before.to_string());
        let by = (!everybody).then_some(("principal", of.as_str()));
        let listing = Listing { by, before: before.as_deref(), limit };
        let found = documents::<Session>(&*self.store, listing).await?;
        Ok(found.into_iter().map(|kept| kept.document).collect())
    }

    /// Ends a session: one's own, or, for administrators, anybody's. Ending twice is no error.
    ///
    /// # Errors
    /// [`Refusal`]: no such session, or not for this caller; store unavailable.
    pub async fn end_session(&self, caller: &Caller, id: SessionId) -> Result<Session, Refusal> {
        let unknown = || Refusal::not_found(format!("there is no session {id}"));
        for _ in 0..RETRIES {
            let kept = document::<Session>(&*self.store, &id.to_string()).await?;
            let owner = kept.as_ref().map(|kept| &kept.document.principal.name);
            if owner != Some(&caller.principal.name) {
                let resource = format!("sessions/{id}");
                self.authorise(caller, policy::Action::Administer, "session.ended", resource).await?;
            }
            let Some(kept) = kept else { return Err(unknown()) };
            if kept.document.ended_at.is_some() {
                return Ok(kept.document);
            }
            let now = self.clock.now();
            let ended = Session { ended_at: Some(now), ..kept.document };
            let draft = Draft::new(now, caller.actor(), "session.ended", ended.name())
                .with("principal", ended.principal.name.as_str());
            let changes = Changes::new().replace(&ended, kept.revision)?.record(draft);
            if changes.commit(&*self.store).await? == Committed::Yes {
                return Ok(ended);
            }
        }
        Err(Issuer::contended())
    }

    /// Forgets sessions that are over. Each sign-in does so for a few, so that nothing has to wake up for it.
    pub(super) async fn prune_sessions(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        for kept in due_documents::<Session>(&*self.store, now, PRUNED).await? {
            let draft = Draft::new(now, Actor::System, "session.forgotten", kept.document.name())
                .with("principal", kept.document.principal.name.as_str());
            // On a conflict somebody else forgets it.
            let _ = Changes::new().remove(&kept).record(draft).commit(&*self.store).await?;
        }
        Ok(())
    }
}

impl Refusal {
    /// As things stand it is not possible.
    pub(super) fn precondition(message: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Precondition, message)
    }
}
