//! Recognising a caller by the session it presents.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Invitation, Origin, SESSION_PREFIX, Session, SessionToken, User};
use crate::{
    domain::Principal,
    identity::{AuthenticationError, Authenticator, Caller, Credential, Rejected},
    store::{Changes, Kept, Listing, document, documents},
};

/// Whether what a caller presents is meant to be a session.
pub(in crate::identity) fn is_session(presented: &str) -> bool {
    presented.starts_with(SESSION_PREFIX)
}

impl Authenticator {
    /// The caller of a session. Groups are those of now, so that a change of them, or the account's end, counts at once.
    pub(in crate::identity) async fn of_session(
        &self,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<Caller, Rejected> {
        let token: SessionToken = presented.parse().map_err(AuthenticationError::Malformed)?;
        let hash = token.hash();
        let listing = Listing { by: Some(("hash", &hash)), before: None, limit: 1 };
        let found = documents::<Session>(&*self.store, listing).await.map_err(AuthenticationError::from)?;
        let kept = found.into_iter().next().ok_or(AuthenticationError::UnknownSession)?;
        let id = kept.document.id;
        let now = self.clock.now();
        match self.stands(&kept.document, address, now).await {
            Ok(principal) => {
                let second_factor_at = kept.document.second_factor_at;
                self.touch(kept, now).await;
                Ok(Caller { principal, credential: Credential::Session(id), address, second_factor_at })
            }
            Err(error) => Err(Rejected { error, credential: Some(Credential::Session(id)) }),
        }
    }

    /// Who a session speaks for, if it still does.
    async fn stands(
        &self,
        session: &Session,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, AuthenticationError> {
        if session.ended_at.is_some() {
            return Err(AuthenticationError::SessionEnded);
        }
        if !session.is_live(now) {
            return Err(AuthenticationError::SessionExpired);
        }
        let inside =
            |address: IpAddr| session.cidrs.iter().any(|cidr| cidr.contains(&address.to_canonical()));
        if !session.cidrs.is_empty() && !address.is_some_and(inside) {
            return Err(AuthenticationError::Address);
        }
        match &session.origin {
            Origin::User { generation } => {
                let user = document::<User>(&*self.store, session.principal.name.as_str()).await?;
                let user = user.map(|kept| kept.document);
                let user = user.filter(|user| user.generation == *generation && user.disabled_at.is_none());
                user.map(|user| user.principal()).ok_or(AuthenticationError::SessionEnded)
            }
            Origin::Invitation { invitation } => {
                let kept = document::<Invitation>(&*self.store, &invitation.to_string()).await?;
                let open = kept.is_some_and(|kept| kept.document.is_open(now));
                if open { Ok(session.principal.clone()) } else { Err(AuthenticationError::SessionEnded) }
            }
            // What a provider vouched for ends with the configuration's trust in it.
            origin @ Origin::Provider { .. } if !self.identities.current().vouch_for(origin) => {
                Err(AuthenticationError::SessionEnded)
            }
            Origin::Provider { subject: None, .. } => Ok(session.principal.clone()),
            // A name is one person's: whoever has the local account of that name is somebody else.
            Origin::Provider { subject: Some(_), .. } => {
                let namesake = document::<User>(&*self.store, session.principal.name.as_str()).await?;
                if namesake.is_some() {
                    Err(AuthenticationError::SessionEnded)
                } else {
                    Ok(session.principal.clone())
                }
            }
        }
    }

    /// Writes down that a session is in use. Whether that succeeds is nothing to the call.
    async fn touch(&self, kept: Kept<Session>, now: Timestamp) {
        let Some(touched) = kept.document.touched(now) else { return };
        let Ok(changes) = Changes::new().replace(&touched, kept.revision) else { return };
        if let Err(error) = changes.commit(&*self.store).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot note that a session is in use");
        }
    }
}
