//! A grant that is over ends the leases under it.
//!
//! That it is over is durable before the first of its leases is touched, and it is due until they all are ending: whatever dies in
//! between, the clerk takes it up. What is ending is the reaper's.

use super::super::request::grant_draft;
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{EndCause, Grant, GrantEvent, GrantState, Lease, LeaseEvent, LeaseState},
    identity::Caller,
    issuer::{Issuer, Refusal},
    store::{ApplyError, Changes, Committed, Kept},
};

impl Issuer {
    /// Takes a grant back, by somebody or by a rule. `None`: others changed it meanwhile; then nothing happened.
    pub(in crate::issuer) async fn take_back(
        &self,
        by: Option<&Caller>,
        kept: Kept<Grant>,
        reason: &str,
    ) -> Result<Option<Grant>, Refusal> {
        let now = self.clock.now();
        let before = kept.document.state.clone();
        let name = by.map(|caller| caller.principal.name.clone());
        let event = GrantEvent::Revoked { at: now, by: name, reason: reason.to_owned() };
        let grant = kept.document.after(event).map_err(Refusal::internal)?;
        if grant.state == before {
            return Ok(Some(grant));
        }
        let actor = by.map_or(Actor::System, Caller::actor);
        let draft = grant_draft(&grant, now, actor, "grant.revoked").with("reason", reason);
        let changes = Changes::new().replace(&grant, kept.revision)?.record(draft);
        let changes = self.without_extensions(grant.id, changes).await?;
        crash::here(Point::GrantEnding);
        if self.commit(changes).await? == Committed::Conflict {
            return Ok(None);
        }
        crash::here(Point::GrantOver);
        let kept = Kept { revision: kept.revision + 1, document: grant };
        if let Err(error) = self.end_leases_under(&kept).await {
            tracing::warn!(
                grant = %kept.document.id, error = &error as &dyn std::error::Error,
                "leases under a revoked grant are left to the clerk"
            );
        }
        Ok(Some(kept.document))
    }

    /// Ends the leases under a grant that is over, and writes down that this is done. On a conflict somebody else does it.
    pub(super) async fn end_leases_under(&self, kept: &Kept<Grant>) -> Result<(), Refusal> {
        let grant = &kept.document;
        for lease in self.store.leases(&grant.leases).await? {
            self.end_under(grant, &lease).await?;
        }
        crash::here(Point::GrantLeasesEnding);
        let done = Grant { leases_ended: true, ..grant.clone() };
        let _ = self.commit(Changes::new().replace(&done, kept.revision)?).await?;
        Ok(())
    }

    async fn end_under(&self, grant: &Grant, lease: &Lease) -> Result<(), Refusal> {
        let now = self.clock.now();
        let not_before = match lease.state {
            LeaseState::Provisioning { deadline } => deadline,
            LeaseState::Active { .. } => now,
            LeaseState::Ending { .. } | LeaseState::Ended { .. } => return Ok(()),
        };
        let (name, cause) = match &grant.state {
            GrantState::Revoked { reason, .. } => {
                ("revoked", EndCause::Revoked { reason: format!("its grant was revoked: {reason}") })
            }
            _ => ("expired", EndCause::Expired),
        };
        let draft = Draft::new(now, Actor::System, "lease.ending", lease.resource_name())
            .with("cause", name)
            .with("grant", grant.resource_name());
        let event = LeaseEvent::EndRequested { at: now, cause, not_before };
        match self.store.apply(lease.id, event, now, Some(draft)).await {
            Ok(lease) => {
                if let Some(due_at) = lease.state.due_at() {
                    self.reaper.due(&lease.target, due_at);
                }
                Ok(())
            }
            // It ended meanwhile.
            Err(ApplyError::Illegal { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
