//! Ending one account, in the order that leaves no door open.
//!
//! ```text
//! disable login (committed) ─▶ end sessions until none is left ─▶ objects, by rule ─▶ drop ─▶ verify absence
//! ```
//! Every step is idempotent, so an end that failed anywhere is simply done again from the top.

use crate::{
    crash::{self, Point},
    domain::{EndReport, Lease, OwnedObjects},
    target::{LeasedAccount, Survey, Target, TargetError, TargetErrorKind},
};

/// How often sessions are ended and looked for again within one attempt. Each pass waits for them a moment itself.
const SESSION_PASSES: u32 = 10;

/// An attempt that did not get to the end.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// What it did before.
    pub(super) progress: EndReport,
    /// Why it stopped.
    pub(super) error: TargetError,
    /// It did not even get as far as disabling the account.
    pub(super) at_the_door: bool,
}

impl Unfinished {
    /// Whether the target cannot be used at all, rather than this one account not be ended. A step that takes too long, or
    /// waits in vain for a lock, may be this account's trouble alone: somebody may hold on to what it owns. A target that
    /// does not even answer in time when an account is disabled is in trouble itself.
    pub(super) fn is_the_targets(&self) -> bool {
        match self.error.kind {
            TargetErrorKind::TimedOut => self.at_the_door,
            kind => kind.concerns_whole_target(),
        }
    }
}

/// Ends the account of a lease: returns what was done once the account is verified gone, or kept by rule.
pub(super) async fn end_account(target: &dyn Target, lease: &Lease) -> Result<EndReport, Unfinished> {
    let mut report = EndReport::default();
    let survey = match target.disable(LeasedAccount::of(lease)).await {
        Ok(survey) => survey,
        Err(error) => return Err(Unfinished { progress: report, error, at_the_door: true }),
    };
    crash::here(Point::EndDisabled);
    report.was_absent = !survey.present;
    match steps(target, lease, survey, &mut report).await {
        Ok(()) => Ok(report),
        Err(error) => Err(Unfinished { progress: report, error, at_the_door: false }),
    }
}

async fn steps(
    target: &dyn Target,
    lease: &Lease,
    survey: Survey,
    report: &mut EndReport,
) -> Result<(), TargetError> {
    let account = LeasedAccount::of(lease);
    if survey.sessions > 0 {
        end_sessions(target, account, report).await?;
        crash::here(Point::EndSessionsEnded);
    }
    if needs_settling(survey, lease) {
        report.objects = target.settle_objects(account).await?;
        crash::here(Point::EndSettled);
        if lease.end_plan.owned_objects == OwnedObjects::Keep && report.objects.kept > 0 {
            // No drop will insist that no session slipped in before the login was disabled, so look once more.
            end_sessions(target, account, report).await?;
            report.account_kept = true;
            return Ok(());
        }
    }
    if target.remove(account).await? {
        return Ok(());
    }
    // A session slipped in between disabling and dropping, or the drop is not visible yet: from the top.
    Err(TargetError::new(
        TargetErrorKind::Refused,
        "the account or a session of it is still there after the drop",
    ))
}

fn needs_settling(survey: Survey, lease: &Lease) -> bool {
    // A session that was still open when the survey was taken may have made objects since.
    survey.present && (survey.has_objects || survey.sessions > 0 || !lease.end_plan.end.is_empty())
}

async fn end_sessions(
    target: &dyn Target,
    account: LeasedAccount<'_>,
    report: &mut EndReport,
) -> Result<(), TargetError> {
    let mut remaining = 0;
    for _ in 0..SESSION_PASSES {
        let pass = target.end_sessions(account).await?;
        report.sessions_ended = report.sessions_ended.saturating_add(pass.ended);
        remaining = pass.remaining;
        if remaining == 0 {
            return Ok(());
        }
    }
    let message = format!("{remaining} sessions do not end; they may be rolling back");
    Err(TargetError::new(TargetErrorKind::Refused, message))
}
