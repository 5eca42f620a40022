//! Ending one account, in the order that leaves no door open.
//!
//! ```text
//! disable login (committed) ─▶ end sessions until none is left ─▶ objects, by rule ─▶ drop ─▶ verify absence
//! ```
//! Every step is idempotent, so an end that failed anywhere is simply done again from the top. An account that was there before its
//! lease is not ended: see [`strip`](super::strip) and [`check_in`](super::check_in).

use super::{
    check_in::CheckIn,
    claims::Claim,
    strip::{Books, Strip},
};
use crate::{
    crash::{self, Point},
    domain::{EndReport, ExistingAccount, Lease, LeaseKind, OwnedObjects},
    store::StoreError,
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

/// Why an end was not come to.
#[derive(Debug)]
pub(super) enum Stopped {
    /// An attempt failed.
    Unfinished(Unfinished),
    /// The claim on the lease may have lapsed: another process may work on it, and this one leaves it alone.
    NotHeld,
    /// The store failed.
    Store(StoreError),
}

/// Why a step was not done.
pub(super) enum Halt {
    Target(TargetError),
    NotHeld,
    Store(StoreError),
}

impl From<TargetError> for Halt {
    fn from(error: TargetError) -> Self {
        Halt::Target(error)
    }
}

impl Halt {
    /// The target does not do as it is told, or others are in the way.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Halt::Target(TargetError::new(TargetErrorKind::Refused, message))
    }
}

/// Stops whoever does not hold the lease any more.
pub(super) fn check(claim: &Claim) -> Result<(), Halt> {
    if claim.stands() { Ok(()) } else { Err(Halt::NotHeld) }
}

/// Whose sessions end.
#[derive(Clone, Copy)]
pub(super) enum Sessions<'a> {
    /// Of an account that was made for the lease.
    Made(LeasedAccount<'a>),
    /// Of one that was there before: those that are open now.
    Existing(&'a ExistingAccount),
}

/// Ends sessions until none is left, as long as the claim stands.
pub(super) async fn end_sessions(
    target: &dyn Target,
    claim: &Claim,
    whose: Sessions<'_>,
    report: &mut EndReport,
) -> Result<(), Halt> {
    let mut remaining = 0;
    for _ in 0..SESSION_PASSES {
        check(claim)?;
        let pass = match whose {
            Sessions::Made(account) => target.end_sessions(account).await?,
            Sessions::Existing(account) => target.end_existing_sessions(account).await?,
        };
        report.sessions_ended = report.sessions_ended.saturating_add(pass.ended);
        remaining = pass.remaining;
        if remaining == 0 {
            return Ok(());
        }
    }
    Err(Halt::refused(format!("{remaining} sessions do not end; they may be rolling back")))
}

/// Ends an account step by step, as long as the claim on its lease stands.
struct End<'a> {
    target: &'a dyn Target,
    account: LeasedAccount<'a>,
    claim: &'a Claim,
}

/// How a lease is ended on its target. What is stripped is of a type that nothing which drops will take.
enum Procedure<'a> {
    /// Its account was made for it, and goes.
    Remove(LeasedAccount<'a>),
    /// Its account was there before, and loses what it was given.
    Strip(ExistingAccount),
    /// Its account was there before, and is locked.
    CheckIn(ExistingAccount),
}

impl<'a> Procedure<'a> {
    /// By the lease's kind, if its account is of that kind.
    fn of(lease: &'a Lease) -> Option<Self> {
        match lease.kind {
            LeaseKind::Ephemeral => LeasedAccount::of(lease).map(Procedure::Remove),
            LeaseKind::Elevation => ExistingAccount::of(&lease.account).map(Procedure::Strip),
            LeaseKind::Checkout => ExistingAccount::of(&lease.account).map(Procedure::CheckIn),
        }
    }
}

/// Ends a lease on its target: returns what was done once that is verified, with what this attempt did before.
pub(super) async fn end_lease(
    books: &Books<'_>,
    target: &dyn Target,
    (lease, before): (&Lease, EndReport),
    claim: &Claim,
) -> Result<EndReport, Stopped> {
    let (mut report, mut at_the_door) = (before, true);
    let outcome = match Procedure::of(lease) {
        Some(Procedure::Remove(account)) => {
            let end = End { target, account, claim };
            return end.remove_account(lease, before).await;
        }
        Some(Procedure::Strip(account)) => {
            let strip = Strip { books, target, lease, account, claim };
            strip.run(&mut report, &mut at_the_door).await
        }
        Some(Procedure::CheckIn(account)) => {
            let check_in = CheckIn { books, target, lease, account, claim };
            check_in.run(&mut report, &mut at_the_door).await
        }
        None => {
            let message = "the account is not one of the lease's kind: nothing is done to it";
            Err(Halt::Target(TargetError::new(TargetErrorKind::Refused, message)))
        }
    };
    outcome.map(|()| report).map_err(|halt| unfinished(halt, report, at_the_door))
}

fn unfinished(halt: Halt, progress: EndReport, at_the_door: bool) -> Stopped {
    match halt {
        Halt::Target(error) => Stopped::Unfinished(Unfinished { progress, error, at_the_door }),
        Halt::NotHeld => Stopped::NotHeld,
        Halt::Store(error) => Stopped::Store(error),
    }
}

impl End<'_> {
    /// Returns what was done once the account is verified gone, or kept by rule.
    async fn remove_account(&self, lease: &Lease, mut report: EndReport) -> Result<EndReport, Stopped> {
        let survey = match self.disable().await {
            Ok(survey) => survey,
            Err(halt) => return Err(unfinished(halt, report, true)),
        };
        crash::here(Point::EndDisabled);
        report.was_absent = !survey.present;
        match self.steps(lease, survey, &mut report).await {
            Ok(()) => Ok(report),
            Err(halt) => Err(unfinished(halt, report, false)),
        }
    }

    async fn disable(&self) -> Result<Survey, Halt> {
        check(self.claim)?;
        Ok(self.target.disable(self.account).await?)
    }

    async fn steps(&self, lease: &Lease, survey: Survey, report: &mut EndReport) -> Result<(), Halt> {
        if survey.sessions > 0 {
            end_sessions(self.target, self.claim, Sessions::Made(self.account), report).await?;
            crash::here(Point::EndSessionsEnded);
        }
        if needs_settling(survey, lease) {
            check(self.claim)?;
            report.objects = self.target.settle_objects(self.account).await?;
            crash::here(Point::EndSettled);
            if lease.end_plan.owned_objects == OwnedObjects::Keep && report.objects.kept > 0 {
                // No drop will insist that no session slipped in before the login was disabled, so look once more.
                end_sessions(self.target, self.claim, Sessions::Made(self.account), report).await?;
                report.account_kept = true;
                return Ok(());
            }
        }
        check(self.claim)?;
        if self.target.remove(self.account).await? {
            return Ok(());
        }
        // A session slipped in between disabling and dropping, or the drop is not visible yet: from the top.
        Err(Halt::Target(TargetError::new(
            TargetErrorKind::Refused,
            "the account or a session of it is still there after the drop",
        )))
    }
}

fn needs_settling(survey: Survey, lease: &Lease) -> bool {
    // A session that was still open when the survey was taken may have made objects since.
    survey.present && (survey.has_objects || survey.sessions > 0 || !lease.end_plan.end.is_empty())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{
        Account, AccountName, EndPlan, Engine, LeaseId, LeaseState, LeaseTerms, PrincipalKind, PrincipalRef,
        Ttl,
    };

    fn lease(kind: LeaseKind, account: Account) -> Lease {
        let at = Timestamp::UNIX_EPOCH;
        Lease {
            id: LeaseId::new(at, 7),
            kind,
            role: "read".parse().unwrap(),
            target: "shop".parse().unwrap(),
            principal: PrincipalRef { name: "alice".parse().unwrap(), kind: PrincipalKind::Human },
            account,
            terms: LeaseTerms {
                ttl: Ttl::try_from(60).unwrap(),
                renewable_until: at,
                purpose: String::new(),
                allowed_by: String::new(),
                grant: None,
            },
            end_plan: EndPlan {
                owned_objects: OwnedObjects::Drop,
                member_of: vec!["read".to_owned()],
                renew: Vec::new(),
                end: Vec::new(),
                end_sessions: true,
            },
            idempotency_key: None,
            created_at: at,
            updated_at: at,
            state: LeaseState::Active { expires_at: at },
        }
    }

    #[test]
    fn only_an_account_that_mayfly_made_is_ever_removed() {
        let (role, principal) = ("read".parse().unwrap(), "alice".parse().unwrap());
        let made = Account {
            name: AccountName::compose(
                Engine::Postgres,
                &role,
                &principal,
                LeaseId::new(Timestamp::UNIX_EPOCH, 7),
            ),
            hosts: Vec::new(),
        };
        let existing = ExistingAccount::new("alice", Vec::new()).unwrap().account();
        let procedure = |kind, account: &Account| match Procedure::of(&lease(kind, account.clone())) {
            Some(Procedure::Remove(_)) => "remove",
            Some(Procedure::Strip(_)) => "strip",
            Some(Procedure::CheckIn(_)) => "check in",
            None => "none",
        };
        assert_eq!(procedure(LeaseKind::Ephemeral, &made), "remove");
        assert_eq!(procedure(LeaseKind::Elevation, &existing), "strip");
        assert_eq!(procedure(LeaseKind::Checkout, &existing), "check in");
        // However a store came to say so.
        assert_eq!(procedure(LeaseKind::Ephemeral, &existing), "none");
        assert_eq!(procedure(LeaseKind::Elevation, &made), "none");
        assert_eq!(procedure(LeaseKind::Checkout, &made), "none");
    }
}
