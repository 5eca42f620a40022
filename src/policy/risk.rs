//! How risky a request is: declared factors, each with its points and the reason it applies.
//!
//! What is not known (an address, whether it is the first use) counts against the request.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use super::{
    Asked, TargetFacts, Who,
    moment::{Moment, Weekday},
};
use crate::domain::{PrincipalKind, Risk, RiskFactor};

/// A declared factor. It applies when all of its conditions do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Its name.
    pub name: String,
    /// What it adds to the score.
    pub points: u32,
    /// When it applies; never empty.
    pub conditions: Vec<Condition>,
}

/// What makes a factor apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The target has each of these labels.
    Labels(BTreeMap<String, String>),
    /// The role joins one of these database roles; `*` stands for any text.
    MemberOf(Vec<String>),
    /// The requester is of one of these kinds.
    Kinds(Vec<PrincipalKind>),
    /// Access begins outside these hours of the day: minutes since midnight, the second not included. The first may be the
    /// later one: then they span midnight.
    OutsideHours(u16, u16),
    /// Access begins on one of these days.
    Weekdays(Vec<Weekday>),
    /// The requester never used the role before.
    FirstUse,
    /// More time is asked for.
    TtlAbove(Duration),
    /// The call comes from none of these networks.
    OutsideNetworks(Vec<IpNet>),
    /// No ticket is named.
    NoTicket,
    /// The second factor was given longer ago, or never.
    SecondFactorOlderThan(Duration),
}

/// What conditions look at.
pub(super) struct Evidence<'a> {
    pub(super) who: &'a Who<'a>,
    pub(super) asked: &'a Asked<'a>,
    pub(super) target: Option<&'a TargetFacts>,
    pub(super) start: Moment,
}

/// The factors that apply, and the sum of their points.
pub(super) fn assess(factors: &[Factor], evidence: &Evidence<'_>) -> Risk {
    let applies = |factor: &Factor| {
        let reasons: Option<Vec<String>> =
            factor.conditions.iter().map(|condition| condition.holds(evidence)).collect();
        Some(RiskFactor { name: factor.name.clone(), points: factor.points, because: reasons?.join("; ") })
    };
    let factors: Vec<RiskFactor> = factors.iter().filter_map(applies).collect();
    let score = factors.iter().fold(0_u32, |score, factor| score.saturating_add(factor.points));
    Risk { score, factors }
}

impl Condition {
    /// Why it holds; `None`: it does not.
    fn holds(&self, evidence: &Evidence<'_>) -> Option<String> {
        let (who, asked) = (evidence.who, evidence.asked);
        match self {
            Condition::Labels(wanted) => labels(wanted, evidence.target),
            Condition::MemberOf(patterns) => {
                let matched = |group: &&String| patterns.iter().any(|pattern| like(pattern, group));
                asked.role.member_of.iter().find(matched).map(|group| format!("the role joins {group}"))
            }
            Condition::Kinds(kinds) => kinds
                .contains(&who.principal.kind)
                .then(|| format!("the requester is a {}", who.principal.kind)),
            Condition::OutsideHours(from, until) => outside(evidence.start, *from, *until),
            Condition::Weekdays(days) => days
                .contains(&evidence.start.weekday)
                .then(|| format!("it begins on a {}", evidence.start.weekday.as_str())),
            Condition::FirstUse => match asked.first_use {
                Some(true) => Some("the requester never used the role before".to_owned()),
                Some(false) => None,
                None => Some("it is not known whether the requester ever used the role".to_owned()),
            },
            Condition::TtlAbove(limit) => (asked.terms.ttl.duration() > *limit)
                .then(|| format!("{} is longer than {}", asked.terms.ttl, spell(*limit))),
            Condition::OutsideNetworks(networks) => network(who, networks),
            Condition::NoTicket => {
                let none = asked.terms.ticket.as_ref().is_none_or(|ticket| ticket.trim().is_empty());
                none.then(|| "no ticket is named".to_owned())
            }
            Condition::SecondFactorOlderThan(limit) => second_factor(who, *limit),
        }
    }
}

fn labels(wanted: &BTreeMap<String, String>, target: Option<&TargetFacts>) -> Option<String> {
    let labels = target.map(|target| &target.labels);
    let has = |(name, value): (&String, &String)| labels.and_then(|labels| labels.get(name)) == Some(value);
    wanted.iter().all(has).then(|| {
        let shown: Vec<_> = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("the target is labelled {}", shown.join(", "))
    })
}

fn outside(start: Moment, from: u16, until: u16) -> Option<String> {
    let minutes = start.minutes();
    let inside =
        if from <= until { (from..until).contains(&minutes) } else { minutes >= from || minutes < until };
    let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    (!inside).then(|| format!("it begins at {}, outside {} to {}", clock(minutes), clock(from), clock(until)))
}

fn network(who: &Who<'_>, networks: &[IpNet]) -> Option<String> {
    match who.address.map(|address| address.to_canonical()) {
        None => Some("it is not known where the call comes from".to_owned()),
        Some(address) if networks.iter().any(|network| network.contains(&address)) => None,
        Some(address) => Some(format!("the call comes from {address}")),
    }
}

fn second_factor(who: &Who<'_>, limit: Duration) -> Option<String> {
    let Some(age) = second_factor_age(who) else {
        return Some("no second factor was given".to_owned());
    };
    (age > limit).then(|| format!("the second factor was given more than {} ago", spell(limit)))
}

/// How long ago a second factor was given; one from the future was given just now.
pub(super) fn second_factor_age(who: &Who<'_>) -> Option<Duration> {
    let at = who.second_factor_at?;
    Some(Duration::try_from(who.now.duration_since(at)).unwrap_or(Duration::ZERO))
}

fn spell(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{}s", duration.as_secs()), |duration| format!("{duration:#}"))
}

/// Whether a pattern stands for a text; `*` for any part of it, the empty one too.
fn like(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place it occurs leaves the most for what follows.
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("shop_write", "shop_write", true),
            ("shop_write", "shop_writer", false),
            ("*_write", "shop_write", true),
            ("*_write", "shop_writer", false),
            ("shop_*", "shop_", true),
            ("*admin*", "db_administrators", true),
            ("a*b*a", "aba", true),
            ("a*b*a", "aa", false),
            ("aa*aa", "aaa", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn hours_can_span_midnight() {
        let at =
            |hour, minute| Moment { year: 2026, month: 1, day: 1, hour, minute, weekday: Weekday::Thursday };
        assert_eq!(outside(at(8, 0), 480, 1080), None);
        assert_eq!(outside(at(17, 59), 480, 1080), None);
        assert_eq!(outside(at(18, 0), 480, 1080).unwrap(), "it begins at 18:00, outside 08:00 to 18:00");
        assert_eq!(outside(at(23, 0), 1320, 360), None);
        assert_eq!(outside(at(5, 59), 1320, 360), None);
        assert!(outside(at(12, 0), 1320, 360).is_some());
    }
}
