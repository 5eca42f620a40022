//! Why an answer is what it is, and what would change it.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;

use super::{Admission, Asked, Policies, Who};
use crate::domain::{RequestTerms, Ttl};

/// Something that would change an answer for the better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// What to do.
    pub what: String,
    /// What it would come to.
    pub then: Admission,
}

/// How good an answer is: denied, or the number of steps it takes.
fn rank(admission: &Admission) -> (bool, usize) {
    match admission {
        Admission::Denied { .. } => (true, 0),
        Admission::Reviewed { requirement } => (false, requirement.steps.len()),
        Admission::ByRule { .. } => (false, 0),
    }
}

impl Policies {
    /// What of the things a requester can change would lead to a better answer, each by itself: a ticket, a reason, less time,
    /// a second factor, another hour, ending what conflicts.
    pub fn alternatives(&self, who: &Who<'_>, asked: &Asked<'_>) -> Vec<Alternative> {
        let as_it_is = rank(&self.admit(who, asked));
        let mut better = Vec::new();
        let mut consider = |what: String, who: &Who<'_>, asked: &Asked<'_>| {
            let then = self.admit(who, asked);
            let is_better = rank(&then) < as_it_is;
            if is_better {
                better.push(Alternative { what, then });
            }
            is_better
        };
        let terms = asked.terms;
        let with = |terms: &RequestTerms,
                    consider: &mut dyn FnMut(String, &Who<'_>, &Asked<'_>) -> bool,
                    what| { consider(what, who, &Asked { terms, ..*asked }) };
        if terms.ticket.as_ref().is_none_or(|ticket| ticket.trim().is_empty()) {
            self.tickets().into_iter().any(|ticket| {
                let what = format!("name a ticket, such as {ticket}");
                with(&RequestTerms { ticket: Some(ticket), ..terms.clone() }, &mut consider, what)
            });
        }
        let reason = format!("{} {}", terms.justification, "x".repeat(100));
        let longer = RequestTerms { justification: reason, ..terms.clone() };
        with(&longer, &mut consider, "say at length what it is for".to_owned());
        shorter(terms.ttl).into_iter().any(|ttl| {
            with(&RequestTerms { ttl, ..terms.clone() }, &mut consider, format!("ask for {ttl} or less"))
        });
        consider(
            "give your second factor first".to_owned(),
            &Who { second_factor_at: Some(who.now), ..*who },
            asked,
        );
        consider(
            "end what you have under other roles first".to_owned(),
            who,
            &Asked { live_roles: &[], live_leases: 0, ..*asked },
        );
        let from = terms.start.unwrap_or(who.now);
        // Every half hour of a week: working hours and working days are among them.
        let starts = (1..=336).filter_map(|step| from.checked_add(SignedDuration::from_mins(30 * step)).ok());
        starts.into_iter().any(|start| {
            let local = start.to_zoned(self.zone.clone());
            let what = format!("begin later, such as on {}", local.strftime("%A, %-d %B at %H:%M"));
            with(&RequestTerms { start: Some(start), ..terms.clone() }, &mut consider, what)
        });
        better
    }

    /// Tickets that policies may want: their patterns, with something in place of each `*`.
    pub(super) fn tickets(&self) -> Vec<String> {
        let mut patterns = BTreeSet::new();
        for text in self.texts() {
            for after in text.split("ticket like \"").skip(1) {
                let pattern: String = after.chars().take_while(|c| *c != '"').collect();
                patterns.insert(pattern.replace('*', "1"));
            }
            for after in text.split("ticket == \"").skip(1) {
                patterns.insert(after.chars().take_while(|c| *c != '"').collect());
            }
        }
        patterns.into_iter().take(20).chain(["TICKET-1".to_owned()]).collect()
    }
}

/// Shorter times people ask for, the longest first.
fn shorter(ttl: Ttl) -> Vec<Ttl> {
    const MINUTES: [u64; 12] = [5760, 1440, 720, 480, 360, 240, 120, 60, 30, 15, 10, 5];
    let shorter = MINUTES.into_iter().filter_map(|minutes| Ttl::new(Duration::from_secs(minutes * 60)).ok());
    shorter.filter(|shorter| *shorter < ttl).collect()
}
