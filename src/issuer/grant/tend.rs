//! What the clock does to grants.

use super::super::request::grant_draft;
use crate::{
    audit::Actor,
    crash::{self, Point},
    domain::{Grant, GrantEvent, GrantState},
    issuer::{Issuer, Refusal},
    store::{Changes, Committed, Kept},
};

impl Issuer {
    /// Looks at a grant that is due: it begins, if it is allowed still, it ends, or its leases do. Should somebody have changed it
    /// since it was read, nothing happens; if it is due then, it is found again.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn tend_grant(&self, kept: Kept<Grant>) -> Result<(), Refusal> {
        let now = self.clock.now();
        match &kept.document.state {
            GrantState::Ended { .. } | GrantState::Revoked { .. } => {
                if kept.document.leases_ended {
                    Ok(())
                } else {
                    self.end_leases_under(&kept).await
                }
            }
            GrantState::Scheduled { start: Some(start), .. } if *start <= now => self.begin_grant(kept).await,
            _ => {
                self.move_on(kept).await?;
                Ok(())
            }
        }
    }

    /// The start of a grant has come: is it allowed still?
    async fn begin_grant(&self, kept: Kept<Grant>) -> Result<(), Refusal> {
        let request = self.kept_request(kept.document.request).await?;
        let reason = match request {
            None => Some("there is no request for it".to_owned()),
            Some(request) => {
                let who = self.absent(&request.document.requester);
                self.eligible(&who, &kept.document).await?.err().map(|no_longer| no_longer.0)
            }
        };
        match reason {
            Some(reason) => self.take_back(None, kept, &reason).await.map(drop),
            None => self.move_on(kept).await,
        }
    }

    async fn move_on(&self, kept: Kept<Grant>) -> Result<(), Refusal> {
        let now = self.clock.now();
        let before = kept.document.state.clone();
        let grant = kept.document.after(GrantEvent::Due { at: now }).map_err(Refusal::internal)?;
        if grant.state == before {
            return Ok(());
        }
        let draft = match &grant.state {
            GrantState::Active { until, .. } => {
                grant_draft(&grant, now, Actor::System, "grant.activated").with("until", until.to_string())
            }
            GrantState::Ended { lapsed: true, .. } => {
                grant_draft(&grant, now, Actor::System, "grant.ended").with("cause", "never claimed")
            }
            _ => grant_draft(&grant, now, Actor::System, "grant.ended").with("cause", "expired"),
        };
        let over = !grant.state.is_live();
        // Of one without leases there is nothing to end.
        let grant = Grant { leases_ended: over && grant.leases.is_empty(), ..grant };
        let mut changes = Changes::new().replace(&grant, kept.revision)?.record(draft);
        if over {
            changes = self.without_extensions(grant.id, changes).await?;
        }
        crash::here(Point::GrantEnding);
        if self.commit(changes).await? == Committed::Conflict {
            return Ok(());
        }
        crash::here(Point::GrantOver);
        if over && !grant.leases_ended {
            return self.end_leases_under(&Kept { revision: kept.revision + 1, document: grant }).await;
        }
        Ok(())
    }
}
