//! Ending many leases together, in the order in which one ends.
//!
//! ```text
//! disable all (committed) ─▶ end sessions of those that have any, look at these again ─▶ drop what is bare ─▶ verify absence
//! ```
//! Nothing is decided here about an account that is out of the ordinary, and no failure is put on a lease: such leases are left,
//! and are ended one by one, from the top. A single account can cost a batch its speed, never its outcome.

use super::claims::Claim;
use crate::{
    crash::{self, Point},
    domain::{EndReport, Lease},
    target::{Glance, LeasedAccount, Target, TargetError},
};

/// What became of leases that were to be ended together.
#[derive(Default)]
pub(super) struct Together {
    /// Their accounts are verified gone.
    pub(super) ended: Vec<(Lease, EndReport)>,
    /// To be ended on their own, with what was done already.
    pub(super) left: Vec<(Lease, EndReport)>,
}

/// A lease on its way through the batch.
struct Candidate {
    lease: Lease,
    report: EndReport,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not looked at yet.
    Untouched,
    /// It has sessions.
    InUse,
    /// Nothing is left to do but to remove it.
    Bare,
    /// Verified gone.
    Gone,
    /// To be ended on its own.
    Apart,
}

/// Whether a lease may be one of many: its account was made for it, and nothing of the role's own is to be run at its end.
fn is_plain(lease: &Lease) -> bool {
    LeasedAccount::of(lease).is_some() && lease.end_plan.end.is_empty()
}

/// Leases whose access is over, as far as that can be had together: what is left is to remove their accounts.
pub(super) struct Closed {
    candidates: Vec<Candidate>,
}

/// Ends the access that leases give, as long as the claim on them stands: no login, no session. Removing the accounts is for later, when
/// others have lost their access, too.
pub(super) async fn close_together(target: &dyn Target, leases: Vec<Lease>, claim: &Claim) -> Closed {
    let stage = |lease: &Lease| if is_plain(lease) { Stage::Untouched } else { Stage::Apart };
    let mut candidates: Vec<Candidate> = leases
        .into_iter()
        .map(|lease| Candidate { stage: stage(&lease), lease, report: EndReport::default() })
        .collect();
    // One alone has nothing to gain.
    if candidates.iter().filter(|candidate| candidate.stage == Stage::Untouched).count() > 1
        && let Err(error) = (Batch { target, claim, candidates: &mut candidates }).close().await
    {
        not_together(target, &error);
        for candidate in &mut candidates {
            candidate.stage = Stage::Apart;
        }
    }
    Closed { candidates }
}

impl Closed {
    /// Takes those out that are to be ended on their own, with what was done already: they may still give access.
    pub(super) fn take_apart(&mut self) -> Vec<(Lease, EndReport)> {
        let apart = self.candidates.extract_if(.., |candidate| candidate.stage != Stage::Bare);
        apart.map(|Candidate { lease, report, .. }| (lease, report)).collect()
    }

    /// Removes the accounts that nothing else is left of.
    pub(super) async fn remove(mut self, target: &dyn Target, claim: &Claim) -> Together {
        let batch = Batch { target, claim, candidates: &mut self.candidates };
        if let Err(error) = batch.remove().await {
            not_together(target, &error);
        }
        let mut together = Together::default();
        for Candidate { lease, report, stage } in self.candidates {
            let place = if stage == Stage::Gone { &mut together.ended } else { &mut together.left };
            place.push((lease, report));
        }
        together
    }
}

fn not_together(target: &dyn Target, error: &TargetError) {
    tracing::debug!(
        target_name = %target.name(), error = error as &dyn std::error::Error,
        "leases could not be ended together; each is ended on its own"
    );
}

struct Batch<'a> {
    target: &'a dyn Target,
    claim: &'a Claim,
    candidates: &'a mut [Candidate],
}

impl Batch<'_> {
    async fn close(mut self) -> Result<(), TargetError> {
        self.disable(Stage::Untouched).await?;
        self.end_sessions().await
    }

    /// Those at a stage, if the claim on them stands.
    fn at(&mut self, stage: Stage) -> Vec<&mut Candidate> {
        let stands = self.claim.stands();
        self.candidates.iter_mut().filter(|candidate| stands && candidate.stage == stage).collect()
    }

    /// Disables those at a stage, and sorts them by what is seen.
    async fn disable(&mut self, stage: Stage) -> Result<(), TargetError> {
        let target = self.target;
        let mut candidates = self.at(stage);
        if candidates.is_empty() {
            return Ok(());
        }
        let glances = target.disable_many(&accounts(&candidates)).await?;
        for (candidate, glance) in candidates.iter_mut().zip(glances) {
            crash::here(Point::EndDisabled);
            if stage == Stage::Untouched {
                candidate.report.was_absent = glance == Glance::Absent;
            }
            candidate.stage = match glance {
                Glance::Absent | Glance::Bare => Stage::Bare,
                Glance::InUse if stage == Stage::Untouched => Stage::InUse,
                // Sessions that come back, or what they made.
                Glance::InUse | Glance::Laden => Stage::Apart,
            };
        }
        Ok(())
    }

    /// Ends the sessions of those that have any, and looks what there is when they are gone.
    async fn end_sessions(&mut self) -> Result<(), TargetError> {
        let target = self.target;
        let mut candidates = self.at(Stage::InUse);
        if candidates.is_empty() {
            return Ok(());
        }
        let passes = target.end_sessions_of_many(&accounts(&candidates)).await?;
        for (candidate, pass) in candidates.iter_mut().zip(passes) {
            crash::here(Point::EndSessionsEnded);
            candidate.report.sessions_ended = pass.ended;
            if pass.remaining > 0 {
                candidate.stage = Stage::Apart;
            }
        }
        self.disable(Stage::InUse).await
    }

    async fn remove(mut self) -> Result<(), TargetError> {
        let target = self.target;
        let mut candidates = self.at(Stage::Bare);
        if candidates.is_empty() {
            return Ok(());
        }
        let gone = target.remove_many(&accounts(&candidates)).await?;
        for (candidate, gone) in candidates.iter_mut().zip(gone) {
            if gone {
                candidate.stage = Stage::Gone;
            }
        }
        Ok(())
    }
}

fn accounts<'a>(candidates: &'a [&mut Candidate]) -> Vec<LeasedAccount<'a>> {
    candidates.iter().filter_map(|candidate| LeasedAccount::of(&candidate.lease)).collect()
}
