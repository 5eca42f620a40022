//! Places at which a test has the process killed, to see what is left behind, or stopped, to see what it does when it goes on.
//!
//! Only programs built with debug assertions can be armed; in an optimised build [`here`] is nothing. Whoever adds a step
//! whose half-way state matters adds a point before and after its effect, and the sweep over all points tests it.

use std::{
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};

/// The variable of the environment that arms a point: its name, or its name and the time it is passed, as in `issue.created:3`. With
/// `:stop` at the end the process is stopped there, as by SIGSTOP, instead of killed.
pub const VARIABLE: &str = "MAYFLY_CRASH_AT";

/// More than it takes a signal to reach every thread.
const TAKES_EFFECT: Duration = Duration::from_millis(200);

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal),* $(,)?) => {
        /// A place at which the process can be killed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point { $($(#[$doc])* $point),* }

        impl Point {
            /// All of them.
            pub const ALL: &'static [Point] = &[$(Point::$point),*];

            /// Its name, as `step.moment`.
            pub fn as_str(self) -> &'static str {
                match self { $(Point::$point => $name),* }
            }
        }
    };
}

points! {
    /// A request was allowed; nothing is durable yet.
    IssuePlanned = "issue.planned",
    /// The lease is durable as PROVISIONING; nothing was sent to the target.
    IssueBegun = "issue.begun",
    /// The creation is about to be sent; the lease is PROVISIONING.
    IssueCreating = "issue.creating",
    /// The account exists; the lease is still PROVISIONING.
    IssueCreated = "issue.created",
    /// The lease is durable as ACTIVE; nobody was told.
    IssueActivated = "issue.activated",
    /// The reply is about to leave.
    IssueReplying = "issue.replying",
    /// A request was repeated and its fresh password is on record; the account still has the earlier one.
    RepeatRecorded = "repeat.recorded",
    /// The account has the fresh password; nobody was told.
    RepeatReplaced = "repeat.replaced",
    /// A lease must not become, or stay, active; nothing says so yet.
    UndoAsked = "undo.asked",
    /// It is durable as ENDING, failed; the reaper was not told.
    UndoMarked = "undo.marked",
    /// A renewal was allowed; the target has the earlier expiry.
    RenewPlanned = "renew.planned",
    /// The target has the later expiry, the store the earlier one.
    RenewMoved = "renew.moved",
    /// The store has the later expiry as well; nobody was told.
    RenewStored = "renew.stored",
    /// A release or revocation was allowed; the lease is still ACTIVE.
    EndAsked = "end.asked",
    /// It is durable as ENDING; neither the reaper nor the caller was told.
    EndMarked = "end.marked",
    /// A lock is durable; what it ends is as it was.
    LockSet = "lock.set",
    /// What a lock ends is ending; the lock does not say so yet.
    LockSwept = "lock.swept",
    /// The reaper read a lease that is due; its state is as it was.
    EndDue = "end.due",
    /// The lease is ENDING; its account is untouched.
    EndBegun = "end.begun",
    /// The account cannot log in any more.
    EndDisabled = "end.disabled",
    /// Its sessions were ended.
    EndSessionsEnded = "end.sessions_ended",
    /// Its objects were dealt with.
    EndSettled = "end.settled",
    /// The account is verified gone; the lease is still ENDING.
    EndRemoved = "end.removed",
    /// The lease is durable as ended.
    EndRecorded = "end.recorded",
    /// An existing account's groups are durably held by nobody; it still has them.
    StripLetGo = "strip.let_go",
    /// That they were taken away is durable; the lease is still ENDING.
    StripForgotten = "strip.forgotten",
    /// An existing account was handed out and no session of others is left; the lease is still PROVISIONING.
    CheckoutCleared = "checkout.cleared",
    /// An existing account is verified locked and durably free; the lease is still ENDING.
    CheckoutFreed = "checkout.freed",
    /// An ACTIVE lease's account is missing; nothing is durable yet.
    ReconcileVanished = "reconcile.vanished",
    /// The lease of a missing account is durable as ENDING.
    ReconcileClosed = "reconcile.closed",
    /// An account of ours has no lease; nothing is durable yet.
    ReconcileOrphan = "reconcile.orphan",
    /// The lease of an orphan is durable as ENDING.
    ReconcileAdopted = "reconcile.adopted",
    /// An account of a lease that had ended is there; nothing is durable yet.
    ReconcileReappeared = "reconcile.reappeared",
    /// Its lease is durable as ENDING once more.
    ReconcileReopened = "reconcile.reopened",
    /// That an account was altered is recorded; nothing was sent to the target.
    ReconcileDrifted = "reconcile.drifted",
    /// It was put right on the target; that is not recorded.
    ReconcilePutRight = "reconcile.put_right",
    /// The lease of an altered account is durable as ENDING.
    ReconcileEnded = "reconcile.ended",
    /// A request was allowed, or its withdrawal was; nothing is durable yet.
    RequestPlanned = "request.planned",
    /// It is durable, with the grant it opened if it was granted by rule; nobody was told.
    RequestMade = "request.made",
    /// Somebody may break the glass; nothing is durable yet.
    GlassPlanned = "glass.planned",
    /// That it was broken is durable, with its grant; no lease was begun.
    GlassBroken = "glass.broken",
    /// A review was allowed; nothing is durable yet.
    ReviewPlanned = "review.planned",
    /// It is durable, with the grant it opened if it was the last one needed; nobody was told.
    ReviewRecorded = "review.recorded",
    /// The clock is about to move a request.
    ClockPlanned = "clock.planned",
    /// It is durable; nobody was told.
    ClockDone = "clock.done",
    /// A lease was allowed under a grant; nothing is durable yet.
    ClaimPlanned = "claim.planned",
    /// The lease is durable as PROVISIONING and stands in its grant; nothing was sent to the target.
    ClaimBegun = "claim.begun",
    /// A grant is about to begin, end, or be taken back.
    GrantEnding = "grant.ending",
    /// That is durable; of one that is over, the leases are as they were.
    GrantOver = "grant.over",
    /// The leases of a grant that is over are durable as ENDING; the grant does not say so yet.
    GrantLeasesEnding = "grant.leases_ending",
    /// A transaction of the embedded store is about to be committed.
    StoreCommitting = "store.committing",
    /// It is durable; none of those who wait for it were told.
    StoreCommitted = "store.committed",
    /// At the start: the store is open, nothing was written.
    StartOpened = "start.opened",
    /// At the start: it is on record; nothing that was interrupted has been taken up.
    StartRecorded = "start.recorded",
    /// At the start: what was interrupted is being taken up; no call was taken.
    StartRecovering = "start.recovering",
    /// The new password is durable as pending; nothing was sent to the target.
    RotateBegun = "rotate.begun",
    /// The target was given the new password's verifier; nobody has logged in with it yet.
    RotateChanged = "rotate.changed",
    /// The target has let the account in with the new password; the store still has it as pending.
    RotateProved = "rotate.proved",
    /// The new password is durable as the current one; nobody was told.
    RotatePromoted = "rotate.promoted",
}

/// A point that is armed, and how many times it may still be passed.
struct Armed {
    point: Point,
    passes: AtomicU32,
    signal: Signal,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// What was asked for names no point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE} names no crash point: {0:?}")]
pub struct UnknownPoint(String);

/// A point and the time it is passed at which the process dies, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Where.
    pub point: Point,
    /// At which pass.
    pub pass: u32,
    /// It is stopped, not killed.
    pub stop: bool,
}

impl FromStr for Charge {
    type Err = UnknownPoint;

    fn from_str(text: &str) -> Result<Self, UnknownPoint> {
        let stopped = text.strip_suffix(":stop");
        let (name, pass) = stopped.unwrap_or(text).split_once(':').unwrap_or((stopped.unwrap_or(text), "1"));
        let point = Point::ALL.iter().copied().find(|point| point.as_str() == name);
        let pass = pass.parse().ok().filter(|pass| *pass > 0);
        let (Some(point), Some(pass)) = (point, pass) else { return Err(UnknownPoint(text.to_owned())) };
        Ok(Charge { point, pass, stop: stopped.is_some() })
    }
}

/// Arms a point for the rest of the process's life. Only the first call counts.
pub fn arm(charge: Charge) {
    let signal = if charge.stop { Signal::STOP } else { Signal::KILL };
    let _ = ARMED.set(Armed { point: charge.point, passes: AtomicU32::new(charge.pass), signal });
}

/// Marks a place. Kills the process by SIGKILL, as a crash would (or stops it), when this place is armed and has been passed often enough.
#[inline]
pub fn here(point: Point) {
    if cfg!(debug_assertions) {
        die_if_armed(point);
    }
}

fn die_if_armed(point: Point) {
    let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
    if armed.passes.fetch_sub(1, Ordering::SeqCst) != 1 {
        return;
    }
    let _ = kill_process(getpid(), armed.signal);
    // The signal may take a moment; nothing may happen after this line before it does.
    std::thread::sleep(TAKES_EFFECT);
    if armed.signal == Signal::KILL {
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_a_point_and_a_pass() {
        let charge = |text: &str| text.parse::<Charge>();
        assert_eq!(charge("issue.begun"), Ok(Charge { point: Point::IssueBegun, pass: 1, stop: false }));
        assert_eq!(
            charge("issue.created:3"),
            Ok(Charge { point: Point::IssueCreated, pass: 3, stop: false })
        );
        assert_eq!(
            charge("issue.created:2:stop"),
            Ok(Charge { point: Point::IssueCreated, pass: 2, stop: true })
        );
        assert_eq!(charge("issue.begun:stop"), Ok(Charge { point: Point::IssueBegun, pass: 1, stop: true }));
        for text in ["", "issue", "issue.begun:0", "issue.begun:x", "issue.begun:"] {
            assert!(charge(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = Point::ALL.iter().map(|point| point.as_str()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
