//! Risk, from declared factors.

use super::*;

fn factor(name: &str, points: u32, conditions: Vec<Condition>) -> Factor {
    Factor { name: name.to_owned(), points, conditions }
}

fn with(factors: Vec<Factor>) -> Policies {
    Policies::new(Rules { factors, ..rules("") }).unwrap()
}

fn told(policies: &Policies, who: &Who<'_>, asked: &Asked<'_>) -> Vec<String> {
    let risk = policies.risk(who, asked);
    assert_eq!(risk.score, risk.factors.iter().map(|factor| factor.points).sum::<u32>());
    risk.factors
        .iter()
        .map(|factor| format!("{} +{}: {}", factor.name, factor.points, factor.because))
        .collect()
}

#[test]
fn every_factor_says_why_it_applies() {
    let label = |value: &str| Condition::Labels([("sensitivity".to_owned(), value.to_owned())].into());
    let policies = with(vec![
        factor("sensitive", 30, vec![label("high")]),
        factor("harmless", 5, vec![label("low")]),
        factor("writes", 20, vec![Condition::MemberOf(vec!["*_write".to_owned(), "*_admin".to_owned()])]),
        factor("night", 15, vec![Condition::OutsideHours(8 * 60, 18 * 60)]),
        factor("weekend", 10, vec![Condition::Weekdays(vec![Weekday::Saturday, Weekday::Sunday])]),
        factor("new", 10, vec![Condition::FirstUse]),
        factor("long", 10, vec![Condition::TtlAbove(Duration::from_secs(4 * 3600))]),
        factor("outside", 20, vec![Condition::OutsideNetworks(vec!["10.0.0.0/8".parse().unwrap()])]),
        factor("no-ticket", 5, vec![Condition::NoTicket]),
        factor("stale", 5, vec![Condition::SecondFactorOlderThan(Duration::from_secs(900))]),
        factor("guest", 5, vec![Condition::Kinds(vec![PrincipalKind::Contractor]), label("high")]),
    ]);
    let alice = principal("alice", &[]);
    let role = Role { member_of: vec!["shop_write".to_owned()], ..role("a", &["*"]) };
    // A Saturday night in Berlin, a Friday night in UTC.
    let bad = RequestTerms { start: Some(at("2026-07-17T22:30:00Z")), ttl: hours(6), ..terms(&role) };
    assert_eq!(
        told(&policies, &who(&alice), &Asked { first_use: None, ..asked(&role, &bad) }),
        [
            "sensitive +30: the target is labelled sensitivity=high",
            "writes +20: the role joins shop_write",
            "night +15: it begins at 00:30, outside 08:00 to 18:00",
            "weekend +10: it begins on a saturday",
            "new +10: it is not known whether the requester ever used the role",
            "long +10: 6h is longer than 4h",
            "outside +20: it is not known where the call comes from",
            "no-ticket +5: no ticket is named",
            "stale +5: no second factor was given",
        ]
    );
    let good = RequestTerms { ticket: Some("OPS-1".to_owned()), ..terms(&role) };
    let asker = Who {
        address: Some("10.1.2.3".parse().unwrap()),
        second_factor_at: Some(at(MORNING)),
        ..who(&alice)
    };
    assert_eq!(
        told(&policies, &asker, &asked(&role, &good)),
        ["sensitive +30: the target is labelled sensitivity=high", "writes +20: the role joins shop_write"]
    );
}

#[test]
fn risk_chooses_the_steps_and_policies_see_it() {
    use crate::domain::ReviewStep;
    let step = |name: &str, from_risk| ReviewStep {
        name: name.to_owned(),
        reviewers: vec!["*".parse().unwrap()],
        quorum: 1,
        denials: 1,
        escalate_after: None,
        escalate_to: Vec::new(),
        from_risk,
    };
    let long = factor("long", 30, vec![Condition::TtlAbove(Duration::from_secs(3600))]);
    let longer = factor("longer", 30, vec![Condition::TtlAbove(Duration::from_secs(2 * 3600))]);
    let text = "@id(\"own.max\")\nforbid (principal, action == Action::\"request\", resource) when { context.risk > 60 };";
    let longest = factor("longest", 30, vec![Condition::TtlAbove(Duration::from_secs(3 * 3600))]);
    let policies = Policies::new(Rules { factors: vec![long, longer, longest], ..rules(text) }).unwrap();
    let role = Role { approval: vec![step("team", 30), step("owner", 60)], ..role("a", &["*"]) };
    let alice = principal("alice", &[]);
    for (ttl, expected) in [(1, Some(0)), (2, Some(1)), (3, Some(2)), (4, None)] {
        let terms = RequestTerms { ttl: hours(ttl), ..terms(&role) };
        let steps = match policies.admit(&who(&alice), &asked(&role, &terms)) {
            Admission::ByRule { .. } => Some(0),
            Admission::Reviewed { requirement } => Some(requirement.steps.len()),
            Admission::Denied { .. } => None,
        };
        assert_eq!(steps, expected, "{ttl}");
    }
}
