//! Finding records: by who, on what, which action, when.
//!
//! The log has no index of what its records tell: every record is written on the way of somebody who waits for access. A search
//! looks through it instead, a bounded number of records at a time, and says where it got to. It looks only at the period that is
//! asked for, which it finds by bisection, and has the store read only records that contain what is sought.
//!
//! Where several processes share a store, each has a chain of its own. The chains are walked side by side and their records
//! told in the order of their times.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    str::FromStr,
};

use jiff::{SignedDuration, Timestamp};

use super::{Actor, AuditLog, AuditOutcome, AuditReadError, ChainPart, Record};
use crate::domain::{GrantId, LeaseId, PrincipalName, RequestId, RoleName, TargetName};

/// Records looked at before a search says where it got to; shared by the chains.
const LOOKED_AT: u64 = 20_000;

/// Records of one chain that are always looked at, however many chains there are.
const AT_LEAST: u64 = 500;

/// By how much a record's time may be out of order with its number: calls that overlap, and clocks that were set. A record that
/// was written while the clock was further off from its neighbours' may be missed by a search with a period.
const DISORDER: SignedDuration = SignedDuration::from_hours(24);

/// Facts that name a principal besides the one that acted.
const PRINCIPALS: [&str; 5] = ["principal", "requester", "holder", "reviewer", "sponsor"];

/// Which records. Conditions are joined by "and".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Done by this principal, or about it.
    pub principal: Option<PrincipalName>,
    /// Under or about this role.
    pub role: Option<RoleName>,
    /// On or about this target.
    pub target: Option<TargetName>,
    /// About this request.
    pub request: Option<RequestId>,
    /// About or under this grant.
    pub grant: Option<GrantId>,
    /// About this lease.
    pub lease: Option<LeaseId>,
    /// This action (`lease.issued`), or all of a noun (`lease`).
    pub action: Option<String>,
    /// With this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

impl AuditFilter {
    /// Whether a record passes.
    pub fn matches(&self, record: &Record) -> bool {
        let names = |collection: &str, fact: &str, name: &str| {
            let is = |text: &str| {
                text == name
                    || text
                        .strip_prefix(collection)
                        .and_then(|rest| rest.strip_prefix('/'))
                        .is_some_and(|rest| rest == name)
            };
            // What a resource is called by is never a bare name.
            (record.resource.contains('/') && is(&record.resource))
                || is_lock_on(record, fact, name)
                || record.details.get(fact).is_some_and(|value| is(value))
        };
        let about =
            |collection, fact, name: Option<String>| name.is_none_or(|name| names(collection, fact, &name));
        self.from.is_none_or(|from| from <= record.at)
            && self.until.is_none_or(|until| record.at < until)
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.action.as_deref().is_none_or(|action| is_action(&record.action, action))
            && self.principal.as_ref().is_none_or(|name| concerns(record, name))
            && about("roles", "role", self.role.as_ref().map(ToString::to_string))
            && about("targets", "target", self.target.as_ref().map(ToString::to_string))
            && about("requests", "request", self.request.map(|id| id.to_string()))
            && about("grants", "grant", self.grant.map(|id| id.to_string()))
            && about("leases", "lease", self.lease.map(|id| id.to_string()))
    }

    /// What the JSON of every record that passes contains: what is likely the rarest.
    fn needle(&self) -> String {
        // Whatever it stands in, a name is followed by the quote that ends it.
        let quoted = |name: &str| {
            let json = serde_json::Value::String(name.to_owned()).to_string();
            json.strip_prefix('"').map(str::to_owned).unwrap_or_default()
        };
        let ids = [
            self.lease.map(|id| id.to_string()),
            self.grant.map(|id| id.to_string()),
            self.request.map(|id| id.to_string()),
        ];
        let names = [
            self.principal.as_ref().map(PrincipalName::as_str),
            self.target.as_ref().map(TargetName::as_str),
            self.role.as_ref().map(RoleName::as_str),
        ];
        let action = self.action.as_ref().map(|action| format!("\"action\":\"{action}"));
        let outcome = match self.outcome {
            Some(AuditOutcome::Refused) => Some("\"outcome\":\"refused\"".to_owned()),
            Some(AuditOutcome::Failed) => Some("\"outcome\":\"failed\"".to_owned()),
            Some(AuditOutcome::Done) | None => None,
        };
        let mut rarest = ids
            .into_iter()
            .flatten()
            .chain(names.into_iter().flatten().map(quoted))
            .chain(action)
            .chain(outcome);
        rarest.next().unwrap_or_default()
    }
}

/// Whether it happened to the lock on something.
fn is_lock_on(record: &Record, kind: &str, name: &str) -> bool {
    let subject = record.resource.strip_prefix("locks/").and_then(|rest| rest.strip_prefix(kind));
    subject.and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| rest == name)
}

fn is_action(action: &str, asked: &str) -> bool {
    action.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a principal did it, or it was done to one.
fn concerns(record: &Record, principal: &PrincipalName) -> bool {
    let acted = matches!(&record.actor, Actor::Principal { name, .. } if name == principal);
    // Written by itself, or after its kind.
    let is =
        |text: &String| text.rsplit_once(':').map_or(text.as_str(), |(_, name)| name) == principal.as_str();
    let of = |collection: &str| {
        let rest = record.resource.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| rest == principal.as_str())
    };
    acted
        || PRINCIPALS.iter().any(|fact| record.details.get(*fact).is_some_and(is))
        || is_lock_on(record, "principal", principal.as_str())
        || of("principals")
        || of("users")
}

/// In which order records are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they happened.
    OldestFirst,
    /// The last first.
    NewestFirst,
}

/// How far a search got: of each chain, the number to look at next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<String, u64>);

/// The text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no position in an audit log")]
pub struct PositionError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (chain, seq)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{chain}:{seq}")?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let part = |part: &str| {
            let (chain, seq) = part.rsplit_once(':')?;
            Some((chain.to_owned(), seq.parse().ok()?))
        };
        text.split(',').map(part).collect::<Option<_>>().map(Self).ok_or(PositionError)
    }
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRecord {
    /// The chain it is in.
    pub chain: String,
    /// The record.
    pub record: Record,
    /// Where to go on behind it.
    pub next: Position,
}

/// A part of what a search finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What was found; perhaps nothing, although there is more.
    pub items: Vec<FoundRecord>,
    /// Where to go on; `None`: everything was looked at.
    pub next: Option<Position>,
}

/// Finds records: at most `limit`, and no more than can be found by looking at a bounded number.
///
/// # Errors
/// When the log cannot be read.
pub async fn search(
    log: &dyn AuditLog,
    filter: &AuditFilter,
    order: Order,
    from: Option<&Position>,
    limit: usize,
) -> Result<Found, AuditReadError> {
    let ends = log.chain_ends().await?;
    let share =
        LOOKED_AT.checked_div(u64::try_from(ends.len()).unwrap_or(u64::MAX)).unwrap_or(0).max(AT_LEAST);
    let search = Search { log, filter, order, needle: filter.needle(), limit: limit.clamp(1, 1_000) };
    let mut walks = Vec::new();
    for (chain, end) in ends {
        walks.push(search.walk(chain, end, from, share).await?);
    }
    let mut items = Vec::new();
    while items.len() < search.limit {
        for walk in &mut walks {
            search.fill(walk).await?;
        }
        // A chain that has more, but not within the bound, may hold the next record.
        if walks.iter().any(|walk| walk.found.is_empty() && !walk.is_over()) {
            break;
        }
        let next = walks
            .iter_mut()
            .filter(|walk| !walk.found.is_empty())
            .min_by(|one, other| search.compare(one, other));
        let Some((chain, record)) = next.and_then(|walk| Some((walk.chain.clone(), walk.found.pop_front()?)))
        else {
            break;
        };
        items.push(FoundRecord { chain, record, next: position(&walks) });
    }
    let over = walks.iter().all(|walk| walk.found.is_empty() && walk.is_over());
    Ok(Found { items, next: (!over).then(|| position(&walks)) })
}

fn position(walks: &[Walk]) -> Position {
    let next = |walk: &Walk| walk.found.front().map_or(walk.next, |record| record.seq);
    Position(walks.iter().map(|walk| (walk.chain.clone(), next(walk))).collect())
}

/// How far one chain was walked.
struct Walk {
    chain: String,
    /// The numbers that matter.
    first: u64,
    last: u64,
    /// The number to look at next; beyond the others when everything was looked at.
    next: u64,
    order: Order,
    /// Records that may still be looked at.
    left: u64,
    found: VecDeque<Record>,
}

impl Walk {
    fn is_over(&self) -> bool {
        match self.order {
            Order::OldestFirst => self.next > self.last,
            Order::NewestFirst => self.next < self.first,
        }
    }
}

struct Search<'a> {
    log: &'a dyn AuditLog,
    filter: &'a AuditFilter,
    order: Order,
    needle: String,
    limit: usize,
}

impl Search<'_> {
    async fn walk(
        &self,
        chain: String,
        end: u64,
        from: Option<&Position>,
        left: u64,
    ) -> Result<Walk, AuditReadError> {
        // What is archived is not here to be looked through. Numbers begin with 1, so that 0 is before all of them.
        let (order, containing) = (Order::OldestFirst, "");
        let oldest = ChainPart { chain: &chain, first: 1, last: end, order, containing, limit: 1 };
        let oldest = self.log.part(oldest).await?.first().map_or(1, |record| record.seq);
        let first = match self.filter.from.map(|from| from.saturating_sub(DISORDER).unwrap_or(Timestamp::MIN))
        {
            Some(from) => self.first_at(&chain, end, from).await?,
            None => oldest,
        };
        let last =
            match self.filter.until.map(|until| until.saturating_add(DISORDER).unwrap_or(Timestamp::MAX)) {
                Some(until) => self.first_at(&chain, end, until).await?.saturating_sub(1),
                None => end,
            };
        let begin = match self.order {
            Order::OldestFirst => first,
            Order::NewestFirst => last,
        };
        let known = from.and_then(|position| position.0.get(&chain).copied());
        let next = match self.order {
            Order::OldestFirst => known.map_or(begin, |known| known.max(begin)),
            Order::NewestFirst => known.map_or(begin, |known| known.min(begin)),
        };
        // Records that came while an earlier part was read, on a chain that was not there yet: newer than all that is left.
        let next = match (from, known, self.order) {
            (Some(_), None, Order::NewestFirst) => 0,
            _ => next,
        };
        Ok(Walk {
            chain,
            first: first.max(oldest),
            last,
            next,
            order: self.order,
            left,
            found: VecDeque::new(),
        })
    }

    /// The number of the first record that is not before a moment, as if times were in order; one above `end` when there is none.
    async fn first_at(&self, chain: &str, end: u64, moment: Timestamp) -> Result<u64, AuditReadError> {
        let (mut low, mut high) = (1, end.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            let part = ChainPart {
                chain,
                first: middle,
                last: end,
                order: Order::OldestFirst,
                containing: "",
                limit: 1,
            };
            // Where a number is missing, the next record tells.
            match self.log.part(part).await?.first() {
                Some(record) if record.at < moment => low = record.seq.max(middle).saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Looks further until something is found, everything was looked at, or it is enough for now.
    async fn fill(&self, walk: &mut Walk) -> Result<(), AuditReadError> {
        while walk.found.is_empty() && !walk.is_over() && walk.left > 0 {
            let reach = walk.left.saturating_sub(1);
            let (first, last) = match self.order {
                Order::OldestFirst => (walk.next, walk.last.min(walk.next.saturating_add(reach))),
                Order::NewestFirst => (walk.first.max(walk.next.saturating_sub(reach)), walk.next),
            };
            let limit = u32::try_from(self.limit).unwrap_or(u32::MAX);
            let part = ChainPart {
                chain: &walk.chain,
                first,
                last,
                order: self.order,
                containing: &self.needle,
                limit,
            };
            let records = self.log.part(part).await?;
            // As many as were asked for: there may be more in this part.
            let whole = records.len() < self.limit;
            let seen = records.last().map(|record| record.seq).filter(|_| !whole);
            let (looked, next) = match (self.order, seen) {
                (Order::OldestFirst, seen) => {
                    let to = seen.unwrap_or(last);
                    (to.saturating_sub(first), to.saturating_add(1))
                }
                (Order::NewestFirst, seen) => {
                    let to = seen.unwrap_or(first);
                    (last.saturating_sub(to), to.saturating_sub(1))
                }
            };
            walk.left = walk.left.saturating_sub(looked.saturating_add(1));
            walk.next = next;
            walk.found.extend(records.into_iter().filter(|record| self.filter.matches(record)));
        }
        Ok(())
    }

    /// Which of two chains' next records comes first.
    fn compare(&self, one: &Walk, other: &Walk) -> std::cmp::Ordering {
        let (first, second) = (one.found.front(), other.found.front());
        let time = first.map(|record| record.at).cmp(&second.map(|record| record.at));
        let time = if self.order == Order::NewestFirst { time.reverse() } else { time };
        time.then_with(|| one.chain.cmp(&other.chain))
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
