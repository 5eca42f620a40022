//! Who holds an existing account, and who waits for it: pure.
//!
//! ```text
//! free ──taken──▶ held by a lease ──given back, verified locked──▶ free
//! ```
//! Whoever asks while it is held has a place in the queue, for as long as he goes on asking. Only the first of those who wait takes
//! an account that is free.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Account, ExistingAccount, LeaseId, PrincipalName, RoleName, TargetName};

/// A place is lost when its owner has not asked for this long.
pub const PLACE_KEPT: SignedDuration = SignedDuration::from_secs(30);

/// That somebody asked again is noted only this long after it was noted last: so many ask, and each note is a write.
const NOTED_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What Mayfly has to do with an account that is handed to one holder at a time. It is kept also while nobody holds the account: that
/// it must be locked then is known by this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// The target.
    pub target: TargetName,
    /// The account there.
    pub account: Account,
    /// The lease it is held for, until it is verified locked again.
    pub holder: Option<LeaseId>,
    /// The lease it was held for last.
    pub last: Option<LeaseId>,
    /// Those who wait for it, in the order in which they came.
    pub waiting: Vec<Waiter>,
}

/// Somebody who waits for an account: one place for a principal under a role, however many of its processes ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who.
    pub principal: PrincipalName,
    /// Under which role.
    pub role: RoleName,
    /// Since when.
    pub since: Timestamp,
    /// When it was last noted that he asked.
    pub seen: Timestamp,
}

/// Somebody who asks for an account.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Who.
    pub principal: &'a PrincipalName,
    /// Under which role.
    pub role: &'a RoleName,
    /// The lease it would be held for.
    pub lease: LeaseId,
    /// When.
    pub at: Timestamp,
    /// How many may wait, by his role.
    pub room: usize,
}

/// What somebody is told who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is his.
    Taken,
    /// He has a place in the queue.
    Waits {
        /// Which, from 1.
        position: usize,
        /// What is to be written down of it.
        noted: Noted,
    },
    /// As many wait as may.
    Full {
        /// How many.
        waiting: usize,
    },
}

/// What is to be written down of somebody who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Nothing: it is known.
    Nothing,
    /// He is there still.
    Again,
    /// He came.
    New,
}

impl Checkout {
    /// Of an account that nobody held yet.
    pub fn new(target: TargetName, account: &ExistingAccount) -> Self {
        Self { target, account: account.account(), holder: None, last: None, waiting: Vec::new() }
    }

    /// What an account's is known by.
    pub fn id_of(target: &TargetName, account: &ExistingAccount) -> String {
        format!("{target}/{account}")
    }

    /// Somebody asks for it. Who waited and did not ask any more loses his place; those are returned.
    pub fn ask(&mut self, asker: &Asker<'_>) -> (Place, Vec<Waiter>) {
        let gone = self.forget_absent(asker.at);
        let place = self.waiting.iter().position(|waiter| waiter.is(asker));
        if self.holder.is_none() && (self.waiting.is_empty() || place == Some(0)) {
            self.waiting.retain(|waiter| !waiter.is(asker));
            self.hold(asker.lease);
            return (Place::Taken, gone);
        }
        (self.wait(asker, place), gone)
    }

    fn wait(&mut self, asker: &Asker<'_>, place: Option<usize>) -> Place {
        if let Some((at, waiter)) = place.and_then(|at| self.waiting.get_mut(at).map(|waiter| (at, waiter))) {
            let noted = if asker.at.duration_since(waiter.seen).abs() < NOTED_AGAIN {
                Noted::Nothing
            } else {
                waiter.seen = asker.at;
                Noted::Again
            };
            return Place::Waits { position: at.saturating_add(1), noted };
        }
        if self.waiting.len() >= asker.room {
            return Place::Full { waiting: self.waiting.len() };
        }
        self.waiting.push(Waiter {
            principal: asker.principal.clone(),
            role: asker.role.clone(),
            since: asker.at,
            seen: asker.at,
        });
        Place::Waits { position: self.waiting.len(), noted: Noted::New }
    }

    /// Forgets who did not ask any more, and says who that was.
    pub fn forget_absent(&mut self, now: Timestamp) -> Vec<Waiter> {
        let (here, gone) = self.waiting.drain(..).partition(|waiter| waiter.is_here(now));
        self.waiting = here;
        gone
    }

    /// It is held for a lease from now on.
    pub fn hold(&mut self, lease: LeaseId) {
        (self.holder, self.last) = (Some(lease), Some(lease));
    }

    /// It is held for a lease no more. Whether it was.
    pub fn free(&mut self, lease: LeaseId) -> bool {
        let held = self.holder == Some(lease);
        if held {
            self.holder = None;
        }
        held
    }
}

impl Waiter {
    /// Whether he asked a short while ago. A clock that was set back must not keep a place for ever.
    pub fn is_here(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen).abs() < PLACE_KEPT
    }

    fn is(&self, asker: &Asker<'_>) -> bool {
        self.principal == *asker.principal && self.role == *asker.role
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(number: u64) -> LeaseId {
        LeaseId::new(Timestamp::UNIX_EPOCH, number)
    }

    fn checkout() -> Checkout {
        let account = ExistingAccount::new("app", Vec::new()).unwrap();
        Checkout::new("shop".parse().unwrap(), &account)
    }

    /// `name` asks at a second, for the lease of that number; with room for three.
    fn ask(checkout: &mut Checkout, name: &str, second: i64, number: u64) -> Place {
        let (principal, role) = (name.parse().unwrap(), "app".parse().unwrap());
        let at = Timestamp::from_second(second).unwrap();
        checkout.ask(&Asker { principal: &principal, role: &role, lease: lease(number), at, room: 3 }).0
    }

    fn waits(position: usize, noted: Noted) -> Place {
        Place::Waits { position, noted }
    }

    #[test]
    fn one_holds_it_and_the_others_wait_in_the_order_in_which_they_came() {
        let mut checkout = checkout();
        for (name, expected) in [
            ("alice", Place::Taken),
            ("bob", waits(1, Noted::New)),
            ("carol", waits(2, Noted::New)),
            ("bob", waits(1, Noted::Nothing)),
            // Who holds it has no other turn than the others.
            ("alice", waits(3, Noted::New)),
            ("dave", Place::Full { waiting: 3 }),
            ("carol", waits(2, Noted::Nothing)),
        ] {
            assert_eq!(ask(&mut checkout, name, 0, 1), expected, "{name}");
        }
        assert_eq!((checkout.holder, checkout.last), (Some(lease(1)), Some(lease(1))));
    }

    #[test]
    fn a_free_account_is_the_firsts_and_nobody_elses() {
        let mut checkout = checkout();
        ask(&mut checkout, "alice", 0, 1);
        ask(&mut checkout, "bob", 0, 2);
        ask(&mut checkout, "carol", 0, 3);
        assert!(!checkout.free(lease(2)));
        assert!(checkout.free(lease(1)));
        assert!(!checkout.free(lease(1)));
        assert_eq!(ask(&mut checkout, "dave", 1, 4), waits(3, Noted::New));
        assert_eq!(ask(&mut checkout, "carol", 1, 3), waits(2, Noted::Nothing));
        assert_eq!(ask(&mut checkout, "bob", 1, 2), Place::Taken);
        assert_eq!(ask(&mut checkout, "carol", 2, 3), waits(1, Noted::Nothing));
        assert_eq!(checkout.holder, Some(lease(2)));
    }

    #[test]
    fn a_place_is_kept_as_long_as_its_owner_asks_again() {
        let mut checkout = checkout();
        ask(&mut checkout, "alice", 0, 1);
        ask(&mut checkout, "bob", 0, 2);
        ask(&mut checkout, "carol", 5, 3);
        for (second, expected) in [
            (9, waits(2, Noted::Nothing)),
            (15, waits(2, Noted::Again)),
            (29, waits(2, Noted::Again)),
            // Bob did not ask for half a minute.
            (30, waits(1, Noted::Nothing)),
            (58, waits(1, Noted::Again)),
        ] {
            assert_eq!(ask(&mut checkout, "carol", second, 3), expected, "{second}");
        }
        assert_eq!(ask(&mut checkout, "bob", 58, 2), waits(2, Noted::New));
        checkout.free(lease(1));
        // Nobody of them asks any more: whoever comes has it.
        assert_eq!(ask(&mut checkout, "dave", 88, 4), Place::Taken);
        assert!(checkout.waiting.is_empty());
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobodys_place_for_ever() {
        let mut checkout = checkout();
        ask(&mut checkout, "alice", 1_000, 1);
        ask(&mut checkout, "bob", 1_000, 2);
        checkout.free(lease(1));
        assert_eq!(ask(&mut checkout, "carol", 500, 3), Place::Taken);
    }

    #[test]
    fn who_lost_a_place_is_told_of_once() {
        let mut checkout = checkout();
        ask(&mut checkout, "alice", 0, 1);
        ask(&mut checkout, "bob", 0, 2);
        let (principal, role) = ("carol".parse().unwrap(), "app".parse().unwrap());
        let at = Timestamp::from_second(40).unwrap();
        let asker = Asker { principal: &principal, role: &role, lease: lease(3), at, room: 3 };
        let gone: Vec<String> =
            checkout.ask(&asker).1.into_iter().map(|waiter| waiter.principal.to_string()).collect();
        assert_eq!(gone, ["bob"]);
        assert_eq!(checkout.ask(&asker).1, []);
    }

    #[test]
    fn it_survives_the_store() {
        let mut checkout = checkout();
        ask(&mut checkout, "alice", 0, 1);
        ask(&mut checkout, "bob", 0, 2);
        let text = serde_json::to_string(&checkout).unwrap();
        assert_eq!(serde_json::from_str::<Checkout>(&text).unwrap(), checkout);
    }
}
