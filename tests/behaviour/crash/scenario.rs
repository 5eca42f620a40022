//! What has to be done for a crash point to be passed.

use mayfly::{
    clock::{Clock as _, SystemClock},
    crash::Point,
};
use tonic::{Code, Status};

use super::{
    caller::{Caller, Held, is_live},
    deed::Deed,
    place::{Place, Served},
};

/// Seconds of a lease that outlives its test.
pub(super) const LONG: u32 = 300;
/// Seconds of a lease that does not.
const SHORT: u32 = 3;

/// Locks the target for a moment, and so ends whatever lives on it.
pub(super) const LOCK: &[&str] =
    &["lock", "target", "target", "--for", "2s", "--reason", "a test of crashes"];

/// By then it has lapsed and was carried out, however it was interrupted.
pub(super) const LOCKED_FOR: std::time::Duration = std::time::Duration::from_secs(4);

/// What is done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing but starting it, while there is something to be taken up.
    Start,
    /// A credential is issued.
    Issue,
    /// The same request is made twice.
    Repeat,
    /// A credential is asked for that the target refuses to create.
    Refused,
    /// A lease is renewed.
    Renew,
    /// A lease with a session and an object is released.
    Release,
    /// A lease with a session and an object is revoked.
    Revoke,
    /// A lease with a session and an object expires.
    Expire,
    /// Access is asked for, reviewed, claimed and taken back.
    Approval,
    /// Access is asked for, and nobody reviews it.
    Neglect,
    /// Somebody on call breaks the glass.
    Glass,
    /// An existing account is elevated, and the elevation released.
    Elevate,
    /// An existing account is checked out, asked for again, renewed and given back.
    CheckOut,
    /// All of those above that take no review.
    Life,
    /// Something is done to an account behind Mayfly's back, and the target is compared with the store.
    Reconcile(Deed),
    /// A command of the program is run by the administrator, while a lease with a session and an object lives.
    Command(&'static [&'static str]),
}

/// Ends whatever lives.
const REVOKE_ALL: &[&str] = &["lease", "revoke", "--target", "target", "--reason", "a test of crashes"];

/// Gives Mayfly's own account another password.
pub(super) const ROTATE: &[&str] = &["target", "rotate", "target"];

/// How a point is swept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    /// What leads to it.
    pub(super) act: Act,
    /// At which of the times it is passed the process dies; each is a case of its own.
    pub(super) passes: &'static [u32],
    /// The engine makes a difference to what is left half-way.
    pub(super) by_engine: bool,
    /// A lease may be ACTIVE though its caller was told nothing: its password is lost with the process.
    pub(super) reply_may_be_lost: bool,
}

const ONCE: &[u32] = &[1];

/// Every commit of an ordinary life, and a few of the next.
const COMMITS: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// The scenario of a point. Every point has one: the compiler sees to that.
pub(super) fn scenario(point: Point) -> Scenario {
    let reached_by = |act| Scenario { act, passes: ONCE, by_engine: false, reply_may_be_lost: false };
    let on_target = |act| Scenario { by_engine: true, ..reached_by(act) };
    let unheard = |act| Scenario { reply_may_be_lost: true, ..reached_by(act) };
    // Recovery passes these as well, whatever reply is on its way just then.
    let also_later = |scenario| Scenario { reply_may_be_lost: true, ..scenario };
    match point {
        Point::IssuePlanned | Point::IssueBegun => reached_by(Act::Issue),
        Point::IssueCreating | Point::IssueCreated => on_target(Act::Issue),
        Point::IssueActivated | Point::IssueReplying => unheard(Act::Issue),
        Point::RepeatRecorded => reached_by(Act::Repeat),
        Point::RepeatReplaced => on_target(Act::Repeat),
        Point::UndoAsked => on_target(Act::Refused),
        Point::UndoMarked => reached_by(Act::Refused),
        Point::RenewPlanned | Point::RenewStored => reached_by(Act::Renew),
        Point::RenewMoved => on_target(Act::Renew),
        Point::EndAsked => reached_by(Act::Revoke),
        Point::EndMarked => reached_by(Act::Command(REVOKE_ALL)),
        Point::LockSet | Point::LockSwept => reached_by(Act::Command(LOCK)),
        Point::EndDue | Point::EndBegun | Point::EndRecorded => also_later(reached_by(Act::Expire)),
        Point::EndDisabled | Point::EndSessionsEnded | Point::EndSettled | Point::EndRemoved => {
            also_later(on_target(Act::Release))
        }
        Point::CheckoutCleared | Point::CheckoutFreed => also_later(on_target(Act::CheckOut)),
        Point::StripLetGo | Point::StripForgotten => also_later(on_target(Act::Elevate)),
        Point::ReconcileVanished | Point::ReconcileClosed => reached_by(Act::Reconcile(Deed::Drop)),
        Point::ReconcileOrphan | Point::ReconcileAdopted => reached_by(Act::Reconcile(Deed::Stray)),
        Point::ReconcileReappeared | Point::ReconcileReopened => reached_by(Act::Reconcile(Deed::Revive)),
        Point::ReconcileDrifted | Point::ReconcilePutRight => on_target(Act::Reconcile(Deed::Alter)),
        Point::ReconcileEnded => reached_by(Act::Reconcile(Deed::AlterForGood)),
        Point::RequestPlanned
        | Point::RequestMade
        | Point::ReviewPlanned
        | Point::ReviewRecorded
        | Point::ClaimPlanned
        | Point::GrantEnding
        | Point::GrantOver
        | Point::GrantLeasesEnding => reached_by(Act::Approval),
        Point::GlassPlanned | Point::GlassBroken => reached_by(Act::Glass),
        Point::ClaimBegun => on_target(Act::Approval),
        Point::ClockPlanned | Point::ClockDone => reached_by(Act::Neglect),
        Point::StoreCommitting | Point::StoreCommitted => Scenario { passes: COMMITS, ..unheard(Act::Life) },
        Point::RotateChanged => on_target(Act::Command(ROTATE)),
        Point::RotateBegun | Point::RotateProved | Point::RotatePromoted => reached_by(Act::Command(ROTATE)),
        Point::StartOpened | Point::StartRecorded | Point::StartRecovering => reached_by(Act::Start),
    }
}

/// What was done to an installation, and what its callers hold since.
pub(super) struct Story<'p> {
    pub(super) place: &'p Place,
    /// Every credential that was delivered.
    pub(super) held: Vec<Held>,
    /// Keys of requests that had no answer, or a bad one.
    pub(super) unanswered: Vec<String>,
    /// An account was, or was about to be, handed out.
    pub(super) hands_out: bool,
    /// Somebody has been at the target.
    pub(super) tampered: bool,
    keys: u32,
    /// The key under which the account is asked for that is handed out.
    handed_under: Option<String>,
}

impl<'p> Story<'p> {
    pub(super) fn at(place: &'p Place) -> Self {
        Self {
            place,
            held: Vec::new(),
            unanswered: Vec::new(),
            hands_out: false,
            tampered: false,
            keys: 0,
            handed_under: None,
        }
    }

    /// Does it over and over until the server is dead.
    pub(super) async fn until_dead(&mut self, act: Act, served: &mut Served<'_>) {
        let Some(caller) = served.caller().await else { return };
        let begun = SystemClock.now();
        while !served.has_ended() {
            assert!(SystemClock.now().duration_since(begun).as_secs() < 60, "{act:?} does not lead there");
            // The first call that fails ends the round; whether the server is dead is seen above.
            let _ = self.play(act, &caller).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Does it once.
    pub(super) async fn play(&mut self, act: Act, caller: &Caller) -> Result<(), Status> {
        match act {
            Act::Start => {}
            Act::Issue => drop(self.issue(caller, LONG).await?),
            Act::Repeat => self.repeat(caller).await?,
            Act::Refused => drop(caller.issue(&self.place.refused, LONG, "").await),
            Act::Renew => {
                let at = self.issue(caller, LONG).await?;
                caller.renew(&mut self.held[at], 2 * LONG).await?;
            }
            Act::Release => {
                let at = self.settled_in(caller, LONG).await?;
                caller.release(&mut self.held[at], true).await?;
            }
            Act::Revoke => {
                let at = self.settled_in(caller, LONG).await?;
                caller.revoke(&mut self.held[at], true).await?;
            }
            Act::Expire => {
                let at = self.settled_in(caller, SHORT).await?;
                while is_live(caller.lease(&self.held[at].lease).await?.state()) {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
            Act::Elevate => {
                let mut held = caller.issue(&self.place.elevating, LONG, "").await?;
                caller.release(&mut held, true).await?;
            }
            Act::CheckOut => self.check_out(caller).await?,
            Act::Reconcile(deed) => {
                self.tamper(deed, caller).await?;
                self.place.command(&caller.address, &["reconcile"]).await;
            }
            Act::Command(arguments) => {
                let ends_all = arguments == REVOKE_ALL || arguments == LOCK;
                if ends_all || self.held.is_empty() {
                    self.settled_in(caller, LONG).await?;
                }
                if ends_all {
                    self.held.iter_mut().for_each(|held| held.end_asked = true);
                }
                self.place.command(&caller.address, arguments).await;
            }
            Act::Approval => {
                let key = self.next_key();
                self.approval(caller, &key).await?;
            }
            Act::Neglect => {
                let key = self.next_key();
                self.neglect(caller, &key).await?;
            }
            Act::Glass => {
                let key = self.next_key();
                self.glass(caller, &key).await?;
            }
            Act::Life => {
                for act in [Act::Repeat, Act::Renew, Act::Release, Act::Refused, Act::Expire] {
                    Box::pin(self.play(act, caller)).await?;
                }
            }
        }
        Ok(())
    }

    async fn tamper(&mut self, deed: Deed, caller: &Caller) -> Result<(), Status> {
        self.tampered = true;
        if deed == Deed::Stray {
            self.place.create_behind_our_back(None).await;
            return Ok(());
        }
        let at = self.issue(caller, LONG).await?;
        let held = &mut self.held[at];
        // What is not put right ends the lease.
        held.end_asked = deed != Deed::Alter;
        match deed {
            Deed::Drop => self.place.drop_behind_our_back(&held.account).await,
            Deed::Alter | Deed::AlterForGood => self.place.alter_behind_our_back(&held.account).await,
            Deed::Revive | Deed::Stray => {
                caller.release(held, true).await?;
                self.place.create_behind_our_back(Some(&held.lease)).await;
            }
        }
        Ok(())
    }

    /// Asks under the same key until that is answered, for the account is held as long.
    async fn check_out(&mut self, caller: &Caller) -> Result<(), Status> {
        let key = self.handed_under.take().unwrap_or_else(|| self.next_key());
        let issued = caller.issue(&self.place.handing, LONG, &key).await;
        let ended = matches!(&issued, Err(status) if status.code() == Code::FailedPrecondition);
        self.handed_under = Some(key.clone()).filter(|_| !ended);
        self.hands_out = true;
        let mut held = issued?;
        held.ask_again(caller, &self.place.handing).await?;
        held.log_in(&self.place.database).await.unwrap_or_else(|error| panic!("{held:?}: {error}"));
        caller.renew(&mut held, 2 * LONG).await?;
        caller.release(&mut held, true).await?;
        self.handed_under = None;
        Ok(())
    }

    fn next_key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.place.role, self.keys)
    }

    /// Issues under a fresh key, and says at which place the credential is kept.
    async fn issue(&mut self, caller: &Caller, ttl: u32) -> Result<usize, Status> {
        let key = self.next_key();
        if ttl == LONG {
            self.unanswered.push(key.clone());
        }
        let held = caller.issue(&self.place.role, ttl, &key).await?;
        self.unanswered.retain(|unanswered| *unanswered != key);
        self.held.push(held);
        Ok(self.held.len() - 1)
    }

    pub(super) async fn settled_in(&mut self, caller: &Caller, ttl: u32) -> Result<usize, Status> {
        let at = self.issue(caller, ttl).await?;
        let settled = self.held[at].settle_in(&self.place.database).await;
        // The short-lived may have expired on the way in; any other must be let in.
        assert!(settled.is_ok() || ttl == SHORT, "{settled:?}");
        Ok(at)
    }

    async fn repeat(&mut self, caller: &Caller) -> Result<(), Status> {
        let at = self.issue(caller, LONG).await?;
        self.held[at].ask_again(caller, &self.place.role).await
    }
}
