//! Who is next: a bounded number under way, and a bounded queue that is fair to each principal. Pure; no clock, no waking.
//!
//! Principals with calls waiting take turns, one call each; a principal's own calls go in the order in which they came. So a
//! principal with one call waits for one turn of the others, however many calls they have. When the queue is full, whoever
//! has most calls in it gives up its latest for somebody who has fewer, so a queue filled by one is open to all others.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// One call's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What becomes of a call that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is under way.
    Go,
    /// It waits. The one that gave up its place for it, if one had to.
    Wait { ticket: Ticket, displaced: Option<Ticket> },
    /// The queue is full.
    Full,
}

/// How much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Calls under way.
    pub(super) under_way: usize,
    /// Calls waiting.
    pub(super) waiting: usize,
}

/// Calls under way and calls that wait, by whose they are.
#[derive(Debug)]
pub(super) struct Queue<K> {
    limits: Limits,
    under_way: usize,
    waiting: usize,
    /// Whoever has calls waiting, once each, in the order of their turns.
    turns: VecDeque<K>,
    calls: HashMap<K, VecDeque<Ticket>>,
    last: u64,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, under_way: 0, waiting: 0, turns: VecDeque::new(), calls: HashMap::new(), last: 0 }
    }

    /// Calls under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Calls waiting.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Nobody is here.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting == 0
    }

    /// Other limits from now on. Whoever is here stays; who may go now is told by [`Queue::next`].
    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A call of `who` comes.
    pub(super) fn arrive(&mut self, who: &K) -> Arrival {
        if self.waiting == 0 && self.under_way < self.limits.under_way {
            self.under_way += 1;
            return Arrival::Go;
        }
        let displaced = if self.waiting < self.limits.waiting {
            None
        } else {
            match self.displace(who) {
                Some(displaced) => Some(displaced),
                None => return Arrival::Full,
            }
        };
        self.last += 1;
        let ticket = Ticket(self.last);
        let own = self.calls.entry(who.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(who.clone());
        }
        own.push_back(ticket);
        self.waiting += 1;
        Arrival::Wait { ticket, displaced }
    }

    /// How many waiting calls would go before one of `who` that came now.
    pub(super) fn ahead_of(&self, who: &K) -> usize {
        let own = self.calls.get(who).map_or(0, VecDeque::len);
        // Before its turn comes the n-th time, all others have had theirs n times, as far as they have calls.
        let others = self.calls.iter().filter(|(other, _)| *other != who);
        let before: usize = others.map(|(_, calls)| calls.len().min(own + 1)).sum();
        before + own
    }

    /// A call that was under way is over.
    pub(super) fn over(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// The next call that may go, if any: it is under way then. To be asked until there is none.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        if self.under_way >= self.limits.under_way {
            return None;
        }
        let who = self.turns.pop_front()?;
        let own = self.calls.get_mut(&who)?;
        let ticket = own.pop_front()?;
        if own.is_empty() {
            self.forget(&who);
        } else {
            self.turns.push_back(who);
        }
        self.waiting -= 1;
        self.under_way += 1;
        Some(ticket)
    }

    /// A waiting call was given up. `false`: it does not wait (any more).
    pub(super) fn leave(&mut self, who: &K, ticket: Ticket) -> bool {
        let Some(own) = self.calls.get_mut(who) else { return false };
        let Some(at) = own.iter().position(|one| *one == ticket) else { return false };
        own.remove(at);
        self.waiting -= 1;
        if own.is_empty() {
            self.turns.retain(|other| other != who);
            self.forget(who);
        }
        true
    }

    /// Makes room for `who` at the cost of whoever has most calls waiting, provided that it has more than `who` will have.
    fn displace(&mut self, who: &K) -> Option<Ticket> {
        let own = self.calls.get(who).map_or(0, VecDeque::len);
        let (most, calls) = self.calls.iter_mut().max_by_key(|(_, calls)| calls.len())?;
        if calls.len() <= own + 1 {
            return None;
        }
        let latest = calls.pop_back()?;
        self.waiting -= 1;
        debug_assert!(most != who, "it has more calls than whoever it is compared with");
        Some(latest)
    }

    fn forget(&mut self, who: &K) {
        self.calls.remove(who);
        // What a crowd needed is given back when it has gone.
        if self.calls.is_empty() {
            self.calls.shrink_to(0);
            self.turns.shrink_to(0);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
