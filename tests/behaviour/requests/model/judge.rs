//! Whether what came of a call is what ought to have.

use mayfly::{
    domain::RequestState,
    issuer::{Ended, Refusal, RefusalKind},
};

use super::{
    act::Voice,
    books::{BY_RULE, REVIEWED, SECOND, micros},
    call::{Call, Outcome},
    history::History,
};

fn refused<T>(outcome: Result<T, Refusal>, kind: RefusalKind) {
    let refusal = outcome.err().unwrap_or_else(|| panic!("not refused: {kind:?}"));
    assert_eq!(refusal.kind, kind, "{refusal}");
}

impl History {
    /// Compares what came of a call with what ought to have, and keeps the books.
    pub(super) fn judge(&mut self, call: Call, outcome: Outcome) {
        match (call, outcome) {
            (Call::Ask { who, ttl, start, parallel }, Outcome::Requested(outcome)) => {
                let outcome = *outcome;
                let (ttl, parallel) = (micros(ttl), usize::try_from(parallel).unwrap());
                if self.books.locked(who, REVIEWED) {
                    return refused(outcome, RefusalKind::Locked);
                }
                let made = outcome.unwrap();
                assert_eq!(made.reused, self.books.covered(who, ttl, start, parallel));
                if !made.reused {
                    self.books.ask(made.request.id, who, (ttl, start), parallel);
                }
            }
            (Call::Review { at, who, voice, .. }, Outcome::Request(outcome)) => {
                let asked = &self.books.asked[at];
                let wider = matches!(voice, Voice::Shorter(seconds) if micros(seconds) > asked.ttl);
                let kind = match () {
                    () if self.books.is_locked_out(who) => Some(RefusalKind::Locked),
                    () if asked.stage != "pending" => Some(RefusalKind::Decided),
                    () if asked.who == who => Some(RefusalKind::Denied),
                    () if asked.voices.contains(&who) => Some(RefusalKind::Reviewed),
                    () if wider => Some(RefusalKind::Invalid("ttl")),
                    () => None,
                };
                match kind {
                    Some(kind) => refused(outcome, kind),
                    None => self.reviewed((at, who, voice), &outcome.unwrap().state),
                }
            }
            (Call::Cancel { at, .. }, Outcome::Request(outcome)) => match self.books.asked[at].stage {
                "pending" => {
                    outcome.unwrap();
                    self.books.asked[at].stage = "cancelled";
                }
                "cancelled" => drop(outcome.unwrap()),
                _ => refused(outcome, RefusalKind::Decided),
            },
            (Call::Extend { at, ttl, .. }, Outcome::Requested(outcome)) => {
                let outcome = *outcome;
                if self.books.given[at].stage != "active" {
                    return refused(outcome, RefusalKind::GrantEnded);
                }
                match self.books.waiting_for_more(at) {
                    Some(waits) if waits.voices.is_empty() && waits.ttl == micros(ttl) => {
                        assert_eq!(outcome.unwrap().request.id, waits.id);
                    }
                    Some(waits) => match outcome {
                        Ok(same) => assert_eq!(same.request.id, waits.id),
                        Err(refusal) => assert_eq!(refusal.kind, RefusalKind::InProgress),
                    },
                    None => self.books.extend(outcome.unwrap().request.id, at, micros(ttl)),
                }
            }
            (call, outcome) => self.judge_leases(call, outcome),
        }
    }

    fn judge_leases(&mut self, call: Call, outcome: Outcome) {
        match (call, outcome) {
            (Call::Claim { at, times, .. }, Outcome::Issued(outcomes)) => {
                let room = self.books.room(at).min(usize::try_from(times).unwrap());
                let (issued, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
                assert_eq!(issued.len(), room, "as many as allowed, however many come at once");
                for refusal in refused.into_iter().filter_map(Result::err) {
                    self.unclaimed(at, room, &refusal);
                }
                for issued in issued.into_iter().flatten() {
                    self.books.claimed(at);
                    let expires = self.books.leased_under(issued.lease.id, at);
                    assert_eq!(issued.lease.expires_at().unwrap().as_microsecond(), expires);
                }
            }
            (Call::Issue { who, ttl }, Outcome::Issued(outcomes)) => {
                let outcome = outcomes.into_iter().next().unwrap();
                if self.books.locked(who, BY_RULE) {
                    return refused(outcome, RefusalKind::Locked);
                }
                let lease = outcome.unwrap().lease;
                let expires = self.books.leased_by_rule(lease.id, who, micros(ttl));
                assert_eq!(lease.expires_at().unwrap().as_microsecond(), expires);
            }
            (Call::Renew { at, ttl, .. }, Outcome::Lease(outcome)) => {
                let (lease, asked) = (&self.books.leased[at], self.books.now + micros(ttl));
                let latest = self.books.at_most(lease);
                let kind = match () {
                    () if self.books.locked(lease.holder, lease.role()) => Some(RefusalKind::Locked),
                    () if !lease.live => Some(RefusalKind::Ended),
                    () if asked > latest => Some(RefusalKind::Invalid("ttl")),
                    () => None,
                };
                if let Some(kind) = kind {
                    return refused(outcome, kind);
                }
                outcome.unwrap();
                let lease = &mut self.books.leased[at];
                lease.expires = lease.expires.max(asked);
            }
            (Call::Release { at, .. }, Outcome::Lease(outcome)) => {
                outcome.unwrap();
                self.books.leased[at].live = false;
            }
            (Call::Revoke { at, .. }, Outcome::Grant(outcome)) => {
                outcome.unwrap();
                self.books.revoke(at);
            }
            (Call::Lock { subject, life }, Outcome::Locked(outcome)) => {
                let until = life.map(|life| self.books.now + micros(life));
                let (leases, requests, grants) = self.books.lock(subject, until);
                assert_eq!(outcome.unwrap().1, Ended { leases, requests, grants });
            }
            (Call::Unlock(subject), Outcome::Unlocked(outcome)) => match self.books.locks.remove(subject) {
                Some(_) => drop(outcome.unwrap()),
                None => refused(outcome, RefusalKind::NotFound),
            },
            (_, Outcome::Passed) => {}
            (call, _) => panic!("{call:?} comes to nothing like this"),
        }
    }

    pub(super) fn reviewed(&mut self, (at, who, voice): (usize, &'static str, Voice), state: &RequestState) {
        let opened = match state {
            RequestState::Approved { grant, .. } => Some(*grant),
            _ => None,
        };
        self.books.review(at, who, voice, opened);
    }

    fn unclaimed(&self, grant: usize, room: usize, refusal: &Refusal) {
        let (given, now) = (&self.books.given[grant], self.books.now);
        let kind = match () {
            () if !given.is_live() => {
                let locked = self.books.locked(given.holder, REVIEWED);
                assert!(refusal.kind == RefusalKind::GrantEnded || locked, "{refusal}");
                return;
            }
            () if given.stage == "scheduled" && given.start.is_some_and(|start| now < start) => {
                RefusalKind::NotBegun
            }
            () if room == 0 && given.stage == "active" && given.until - now < SECOND => {
                RefusalKind::GrantEnded
            }
            () => RefusalKind::LimitReached,
        };
        assert_eq!(refusal.kind, kind, "{refusal}");
    }
}
