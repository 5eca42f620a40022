//! What the clock does to requests.

use super::{decide::request_draft, from};
use crate::{
    audit::Actor,
    crash::{self, Point},
    domain::{Request, RequestEvent, RequestKind, RequestState},
    issuer::{Issuer, Refusal},
    store::{Changes, Committed, Kept},
};

impl Issuer {
    /// Looks at a request that is due: it expires, escalates or is recalled. Should somebody have changed it since it was read,
    /// nothing happens; if it is due then, it is found again.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn tend_request(&self, kept: Kept<Request>) -> Result<(), Refusal> {
        let now = self.clock.now();
        let before = kept.document.clone();
        if let (RequestKind::Extension { extends }, true) = (&before.kind, before.is_pending()) {
            let grant = self.kept_grant(*extends).await?;
            if grant.is_none_or(|grant| grant.document.until().is_none_or(|until| until <= now)) {
                let reason = "the grant it would extend is over";
                let (changes, _) = self.cancelled(None, kept, reason, Changes::new())?;
                return self.tended(changes).await;
            }
        }
        let settings = self.request_settings.current();
        let remind = match before.kind {
            RequestKind::BreakGlass => settings.break_glass.remind_every.map(|every| from(now, every)),
            RequestKind::Access | RequestKind::Extension { .. } => settings.remind_at(now),
        };
        let after = kept.document.after(RequestEvent::Due { at: now, remind })?;
        if after == before {
            return Ok(());
        }
        let mut changes = Changes::new().replace(&after, kept.revision)?;
        let recalled = before.remind_at.is_some_and(|at| at <= now);
        let action = match (&before.state, &after.state) {
            (_, RequestState::Expired { .. }) => Some("request.expired"),
            (
                RequestState::Pending { escalated: false, .. },
                RequestState::Pending { escalated: true, .. },
            ) => Some("request.escalated"),
            _ => None,
        };
        if let Some(action) = action {
            let mut draft = request_draft(&after, now, Actor::System, action);
            if let Some(step) = after.step() {
                draft = draft.with("step", step.name.as_str());
            }
            changes = changes.record(draft);
        } else if recalled {
            let step = after.step().map_or("sign-off", |step| step.name.as_str());
            changes = changes
                .record(request_draft(&after, now, Actor::System, "request.reminded").with("step", step));
        }
        self.tended(changes).await
    }

    async fn tended(&self, changes: Changes) -> Result<(), Refusal> {
        crash::here(Point::ClockPlanned);
        // On a conflict it is found again, if it is due then.
        if self.commit(changes).await? == Committed::Yes {
            crash::here(Point::ClockDone);
        }
        Ok(())
    }
}
