//! Ending one account, in the order that leaves no door open.
//!
//! ```text
//! disable login (committed) ─▶ end sessions until none is left ─▶ objects, by rule ─▶ drop ─▶ verify absence
//! ```
//! Every step is idempotent, so an end that failed anywhere is simply done again from the top.

use crate::{
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
}

/// Ends the account of a lease: returns what was done once the account is verified gone, or kept by rule.
pub(super) async fn end_account(target: &dyn Target, lease: &Lease) -> Result<EndReport, Unfinished> {
    let mut report = EndReport::default();
    match steps(target, lease, &mut report).await {
        Ok(()) => Ok(report),
        Err(error) => Err(Unfinished { progress: report, error }),
    }
}

async fn steps(target: &dyn Target, lease: &Lease, report: &mut EndReport) -> Result<(), TargetError> {
    let account = LeasedAccount::of(lease);
    let survey = target.disable(account).await?;
    report.was_absent = !survey.present;
    if survey.sessions > 0 {
        end_sessions(target, account, report).await?;
    }
    if needs_settling(survey, lease) {
        report.objects = target.settle_objects(account).await?;
        if lease.end_plan.owned_objects == OwnedObjects::Keep && report.objects.kept > 0 {
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
