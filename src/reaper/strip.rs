//! Ending an elevation: its groups are taken from the account, and nothing else happens to it.
//!
//! ```text
//! let go of the groups (durable) ─▶ take away what nobody holds, verify ─▶ end sessions ─▶ forget (durable)
//! ```
//! What is taken is what is kept of the account says nobody holds any more. Should that change before it is forgotten, because another
//! lease begins or ends, what is held is given again and it is begun anew. Every step is idempotent.

use super::{
    claims::Claim,
    end::{Halt, Sessions, check, end_sessions},
};
use crate::{
    audit::{Actor, Draft},
    clock::Clock,
    crash::{self, Point},
    domain::{Elevation, EndReport, ExistingAccount, Lease},
    issuer::{AccountTurns, elevation_of, give_again},
    store::{Changes, Committed, Kept, Store, StoreError},
    target::{Target, TargetErrorKind},
};

/// How often it is begun anew within one attempt.
const CONFLICTS: u32 = 10;

/// What an end needs besides its target.
pub(super) struct Books<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) clock: &'a dyn Clock,
    pub(super) turns: &'a AccountTurns,
}

/// Ends an elevation step by step, as long as the claim on its lease stands.
pub(super) struct Strip<'a> {
    pub(super) books: &'a Books<'a>,
    pub(super) target: &'a dyn Target,
    pub(super) lease: &'a Lease,
    pub(super) account: ExistingAccount,
    pub(super) claim: &'a Claim,
}

impl Strip<'_> {
    /// Does it all; `at_the_door` is cleared once the target has taken the first step.
    pub(super) async fn run(&self, report: &mut EndReport, at_the_door: &mut bool) -> Result<(), Halt> {
        let id = Elevation::id_of(&self.lease.target, &self.account);
        let _turn = self.books.turns.wait(&id).await;
        for _ in 0..CONFLICTS {
            check(self.claim)?;
            let kept = self.let_go().await?;
            let surrendered = kept.document.surrendered();
            if !surrendered.is_empty() {
                report.was_absent = !self.target.strip(&self.account, &surrendered).await?;
                *at_the_door = false;
                crash::here(Point::EndDisabled);
                if self.lease.end_plan.end_sessions && !report.was_absent {
                    end_sessions(self.target, self.claim, Sessions::Existing(&self.account), report).await?;
                    crash::here(Point::EndSessionsEnded);
                }
            }
            // What others hold as well is theirs alone from now on, also with the server.
            self.target.let_go(&self.account, self.lease.id).await?;
            if self.forget(kept, &surrendered).await? {
                return self.restore().await;
            }
            self.restore().await?;
        }
        Err(Halt::refused("others give and take groups of the account at the same time"))
    }

    /// What is kept of the account once this lease holds nothing of it.
    async fn let_go(&self) -> Result<Kept<Elevation>, Halt> {
        for _ in 0..CONFLICTS {
            let mut kept = elevation_of(self.books.store, self.lease, &self.account).await?;
            if !kept.document.let_go(self.lease.id) {
                return Ok(kept);
            }
            let draft = self.draft("elevation.surrendered", &kept.document.surrendered());
            let changes = Changes::new().replace(&kept.document, kept.revision)?.record(draft);
            if changes.commit(self.books.store).await? == Committed::Yes {
                crash::here(Point::StripLetGo);
                kept.revision = kept.revision.saturating_add(1);
                return Ok(kept);
            }
        }
        Err(Halt::refused("what is kept of the account changes all the time"))
    }

    /// Notes that what was surrendered is gone. `false`: something changed meanwhile.
    async fn forget(&self, kept: Kept<Elevation>, surrendered: &[String]) -> Result<bool, Halt> {
        if surrendered.is_empty() {
            return Ok(true);
        }
        let Kept { revision, mut document } = kept;
        document.forget_surrendered();
        let draft = self.draft("elevation.taken_back", surrendered);
        let changes = Changes::new().replace(&document, revision)?.record(draft);
        let forgotten = changes.commit(self.books.store).await? == Committed::Yes;
        if forgotten {
            crash::here(Point::StripForgotten);
        }
        Ok(forgotten)
    }

    /// Gives again what other leases hold of this one's groups: another process may have taken it just when they began.
    async fn restore(&self) -> Result<(), Halt> {
        let kept = elevation_of(self.books.store, self.lease, &self.account).await?;
        let mut shared = kept.document.given();
        shared.retain(|group| self.lease.end_plan.member_of.contains(group));
        if shared.is_empty() {
            return Ok(());
        }
        check(self.claim)?;
        let held = (&kept.document, &self.account);
        match give_again(self.books.store, self.target, held, &shared).await? {
            Err(error) if error.kind != TargetErrorKind::Missing => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn draft(&self, action: &'static str, groups: &[String]) -> Draft {
        Draft::new(self.books.clock.now(), Actor::System, action, self.lease.resource_name())
            .with("account", self.account.to_string())
            .with("target", self.lease.target.as_str())
            .with("groups", groups.join(", "))
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Halt::Store(error)
    }
}
