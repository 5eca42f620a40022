//! What somebody could come to have, circumstances permitting.
//!
//! The set is asked as it is asked when somebody really wants access, under the circumstances that its own policies speak of:
//! tickets, addresses, hours. What needs others, such as a reason of certain words, is not found; what is found is no guess.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::{Admission, Asked, Decision, Policies, Who};
use crate::domain::{Principal, RequestTerms, Role, Ttl};

/// Circumstances tried at most.
const MOST: usize = 160;

/// Circumstances tried to see whether who needs no break-glass could break it as well.
const FURTHER: usize = 8;

/// Tickets and addresses tried, of each.
const NAMED: usize = 4;

/// Hours between the moments tried, over a week.
const STEP: i64 = 3;

/// As short a time as somebody would ask for.
const BRIEF: Duration = Duration::from_secs(300);

/// The best that asking for a role comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachable {
    /// Nothing.
    No,
    /// It is granted once so many have approved it.
    Reviewed {
        /// How many.
        approvals: u32,
    },
    /// It is granted by rule.
    AtOnce,
}

/// What somebody could come to have under a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The best that asking comes to.
    pub asking: Reachable,
    /// The rule that lets, or why nothing does.
    pub by: String,
    /// The policies that decided, by id.
    pub policies: Vec<String>,
    /// Under which circumstances; empty: under any that were tried.
    pub given: String,
    /// The rule that lets it break the glass; `None`: none does.
    pub break_glass: Option<String>,
    /// How often the policies were asked to find this out.
    pub asked: usize,
}

impl Reach {
    /// Nothing, for a reason that is no policy's.
    pub fn none(why: impl Into<String>) -> Self {
        let by = why.into();
        Self {
            asking: Reachable::No,
            by,
            policies: Vec::new(),
            given: String::new(),
            break_glass: None,
            asked: 0,
        }
    }

    /// Whether there is any way.
    pub fn is_some(&self) -> bool {
        self.asking != Reachable::No || self.break_glass.is_some()
    }
}

/// Something under which policies may answer otherwise.
#[derive(Debug, Clone, Default)]
struct Circumstance {
    ticket: Option<String>,
    address: Option<IpAddr>,
    brief: bool,
    later: Option<i64>,
}

/// The circumstances a set of policies speaks of, the ordinary ones first.
#[derive(Debug, Clone)]
pub struct Circumstances(Vec<Circumstance>);

impl Circumstance {
    fn words(&self, at: Timestamp, policies: &Policies) -> String {
        let mut words = Vec::new();
        words.extend(self.ticket.as_ref().map(|ticket| format!("with a ticket such as {ticket}")));
        words.extend(self.address.map(|address| format!("from a network such as that of {address}")));
        words.extend(self.brief.then(|| "for five minutes or less".to_owned()));
        words.extend(self.later.map(|_| {
            let local = at.to_zoned(policies.zone().clone());
            format!("at another time, such as {}", local.strftime("%A at %H:%M"))
        }));
        words.join(", ")
    }

    fn terms(&self, role: &Role) -> RequestTerms {
        let brief = Ttl::new(BRIEF).ok().filter(|_| self.brief);
        let ttl = brief.map_or(role.ttl.default(), |brief| brief.min(role.ttl.default()));
        RequestTerms {
            // Long enough for policies that want a reason of some length.
            justification: "access review: what could be obtained by asking, whatever it were asked for, and however long that took \
                            to say".to_owned(),
            ticket: self.ticket.clone(),
            ..RequestTerms::plain(role, ttl)
        }
    }

    fn moment(&self, now: Timestamp) -> Timestamp {
        let later = SignedDuration::from_hours(self.later.unwrap_or_default());
        now.checked_add(later).unwrap_or(now)
    }
}

/// Better answers are greater.
fn rank(admission: &Admission) -> (u8, std::cmp::Reverse<u32>) {
    match admission {
        Admission::Denied { .. } => (0, std::cmp::Reverse(0)),
        Admission::Reviewed { .. } => (1, std::cmp::Reverse(approvals(admission))),
        Admission::ByRule { .. } => (2, std::cmp::Reverse(0)),
    }
}

fn approvals(admission: &Admission) -> u32 {
    match admission {
        Admission::Reviewed { requirement } => requirement.steps.iter().map(|step| step.quorum.max(1)).sum(),
        Admission::ByRule { .. } | Admission::Denied { .. } => 0,
    }
}

impl Policies {
    /// The circumstances that the policies speak of.
    pub fn circumstances(&self) -> Circumstances {
        let ordinary = Circumstance::default();
        if !self.looks_at_holdings() {
            // What is built in looks at none.
            return Circumstances(vec![ordinary]);
        }
        let ticketed = |ticket| Circumstance { ticket: Some(ticket), ..Circumstance::default() };
        let placed = |address| Circumstance { address: Some(address), ..Circumstance::default() };
        let tickets: Vec<_> = self.tickets().into_iter().take(NAMED).map(ticketed).collect();
        let addresses: Vec<_> = self.addresses().into_iter().take(NAMED).map(placed).collect();
        let both = |one: &Circumstance, other: &Circumstance| Circumstance {
            ticket: one.ticket.clone(),
            address: other.address,
            brief: true,
            later: None,
        };
        let pairs: Vec<_> =
            tickets.iter().flat_map(|one| addresses.iter().map(move |other| both(one, other))).collect();
        let brief = Circumstance { brief: true, ..Circumstance::default() };
        let everything = Circumstance {
            ticket: tickets.first().and_then(|one| one.ticket.clone()),
            address: addresses.first().and_then(|one| one.address),
            brief: true,
            later: None,
        };
        let mut all = vec![ordinary];
        all.extend(tickets);
        all.extend(addresses);
        all.push(brief);
        all.extend(pairs);
        if self.speaks_of_time() {
            let hours = (1..=7 * 24 / STEP).map(|step| step * STEP);
            let at = |later| {
                let plain = Circumstance { later: Some(later), ..Circumstance::default() };
                [plain, Circumstance { later: Some(later), ..everything.clone() }]
            };
            all.extend(hours.flat_map(at));
        }
        all.truncate(MOST);
        Circumstances(all)
    }

    /// What a principal could come to have under a role, with a second factor given just now and a reason, if it has nothing else.
    pub fn reach(
        &self,
        principal: &Principal,
        role: &Role,
        now: Timestamp,
        circumstances: &Circumstances,
    ) -> Reach {
        let mut best: Option<(Admission, String)> = None;
        let mut break_glass = None;
        let mut asked_for = 0;
        for (index, circumstance) in circumstances.0.iter().enumerate() {
            let (at, terms) = (circumstance.moment(now), circumstance.terms(role));
            let who = Who { principal, address: circumstance.address, second_factor_at: Some(at), now: at };
            let asked =
                Asked { role, terms: &terms, live_leases: 0, first_use: Some(false), live_roles: &[] };
            let rank_so_far = best.as_ref().map(|(admission, _)| rank(admission));
            if rank_so_far.is_none_or(|so_far| so_far.0 < 2) {
                let admission = self.admit(&who, &asked);
                asked_for += 1;
                if rank_so_far.is_none_or(|so_far| rank(&admission) > so_far) {
                    best = Some((admission, circumstance.words(at, self)));
                }
            }
            if break_glass.is_none() && self.looks_at_holdings() {
                asked_for += 1;
                if let Decision::Allow { by, .. } = self.may_break_glass(&who, &asked) {
                    break_glass = Some(by);
                }
            }
            let enough = match best.as_ref().map(|(admission, _)| rank(admission).0) {
                Some(2) => break_glass.is_some() || index >= FURTHER,
                // What takes reviews now may take none at another hour.
                _ => false,
            };
            if enough {
                break;
            }
        }
        let (admission, given) = best.unwrap_or_else(|| {
            let reason = "no circumstance was tried".to_owned();
            (Admission::Denied { reason, policies: Vec::new() }, String::new())
        });
        let approvals = approvals(&admission);
        let (asking, by, policies, given) = match admission {
            Admission::Denied { reason, policies } => (Reachable::No, reason, policies, String::new()),
            Admission::ByRule { by, requirement } => (Reachable::AtOnce, by, requirement.policies, given),
            Admission::Reviewed { requirement } => {
                let names: Vec<&str> = requirement.steps.iter().map(|step| step.name.as_str()).collect();
                let by = format!("reviews: {}", names.join(", "));
                (Reachable::Reviewed { approvals }, by, requirement.policies, given)
            }
        };
        Reach { asking, by, policies, given, break_glass, asked: asked_for }
    }

    /// An address of each network that policies name.
    fn addresses(&self) -> BTreeSet<IpAddr> {
        let mut addresses = BTreeSet::new();
        for text in self.texts() {
            for after in text.split("ip(\"").skip(1) {
                let named: String = after.chars().take_while(|c| *c != '"').collect();
                let network = named.parse::<IpNet>().ok();
                let inside = network.and_then(|network| network.hosts().next());
                addresses.extend(inside.or_else(|| named.parse().ok()));
            }
        }
        addresses
    }

    /// Whether the hour or the day makes a difference.
    fn speaks_of_time(&self) -> bool {
        let parts = ["weekday", "hour", "minute", "month", ".day", "year"];
        let risky = !self.factors().is_empty();
        risky || self.texts().any(|text| parts.iter().any(|part| text.contains(part)))
    }
}
