//! What a crash left of a call.

use mayfly::domain::LeaseState;

use super::{
    books::{SECOND, micros},
    call::Call,
    history::History,
    seen::Seen,
};

/// Seconds after which somebody else carries out what a crash left of a lock.
const TAKEN_UP: i64 = 3;

impl History {
    /// Nobody was told what came of a call: all of it or nothing happened, and which is for the store to say.
    pub(super) fn learn(&mut self, call: Call, seen: &Seen) {
        let asked: Vec<_> = seen.new_requests(&self.books).map(|request| request.id).collect();
        let leased: Vec<_> = seen.new_leases(&self.books).cloned().collect();
        match call {
            Call::Ask { who, ttl, start, parallel } => {
                for id in &asked {
                    self.books.ask(*id, who, (micros(ttl), start), usize::try_from(parallel).unwrap());
                }
            }
            Call::Extend { at, ttl, .. } => {
                for id in &asked {
                    self.books.extend(*id, at, micros(ttl));
                }
            }
            Call::Review { at, id, who, voice } => {
                let request = &seen.requests[&id];
                if request.reviews.len() > self.books.asked[at].voices.len() {
                    assert_eq!(request.reviews.last().unwrap().reviewer.as_str(), who);
                    self.reviewed((at, who, voice), &request.state);
                }
            }
            Call::Cancel { at, id, .. } if seen.requests[&id].state.as_str() == "cancelled" => {
                self.books.asked[at].stage = "cancelled";
            }
            Call::Claim { at, id, .. } => {
                let begun =
                    seen.grants[&id].state.as_str() == "active" && self.books.given[at].stage == "scheduled";
                assert!(!begun || !leased.is_empty(), "a claim that starts the clock leaves a lease");
                assert!(leased.len() <= self.books.room(at));
                if begun {
                    self.books.claimed(at);
                }
                for lease in &leased {
                    let expires = self.books.leased_under(lease.id, at);
                    self.half_issued(&lease.state, expires);
                }
            }
            Call::Issue { who, ttl } => {
                for lease in &leased {
                    let expires = self.books.leased_by_rule(lease.id, who, micros(ttl));
                    self.half_issued(&lease.state, expires);
                }
            }
            Call::Renew { at, id, ttl, .. } => {
                if let LeaseState::Active { expires_at } = seen.leases[&id].state {
                    let (now, lease) = (self.books.now, &mut self.books.leased[at]);
                    let renewed = expires_at.as_microsecond();
                    assert!(renewed == lease.expires || renewed == now + micros(ttl), "{renewed}");
                    lease.expires = renewed;
                }
            }
            Call::Release { at, id, .. } => {
                self.books.leased[at].live &= matches!(seen.leases[&id].state, LeaseState::Active { .. });
            }
            Call::Revoke { at, id } if seen.grants[&id].state.as_str() == "revoked" => self.books.revoke(at),
            Call::Lock { subject, .. } => {
                let set = seen.locks.iter().find(|lock| {
                    lock.subject.to_string() == subject && lock.since.as_microsecond() == self.books.now
                });
                if let Some(lock) = set {
                    self.books.lock(subject, lock.until.map(jiff::Timestamp::as_microsecond));
                    self.pass(TAKEN_UP);
                }
            }
            Call::Unlock(subject) => {
                if seen.locks.iter().all(|lock| lock.subject.to_string() != subject) {
                    self.books.locks.remove(subject);
                }
            }
            Call::Cancel { .. } | Call::Revoke { .. } | Call::Pass(_) => {}
        }
    }

    /// A lease that a crash cut short on its way. What was not active by then never will be.
    fn half_issued(&mut self, state: &LeaseState, expires: i64) {
        let lease = self.books.leased.last_mut().unwrap();
        match state {
            LeaseState::Active { expires_at } => assert_eq!(expires_at.as_microsecond(), expires),
            LeaseState::Provisioning { deadline } => {
                lease.live = false;
                let wait = deadline.as_microsecond() - self.now();
                self.pass(wait / SECOND + 1);
            }
            LeaseState::Ending { .. } | LeaseState::Ended { .. } => lease.live = false,
        }
    }
}
