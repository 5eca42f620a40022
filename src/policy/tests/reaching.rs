//! What somebody could come to have.

use super::*;

/// Sunday, four in the morning in Berlin.
const NIGHT: &str = "2026-03-08T03:00:00Z";

fn reach(text: &str) -> Reach {
    let policies = policies(text);
    let (ann, role) = (principal("ann", &["developers"]), role("orders-write", &[]));
    policies.reach(&ann, &role, at(NIGHT), &policies.circumstances())
}

#[test]
fn what_is_built_in_is_asked_once() {
    let (policies, role) = (Policies::builtin(), role("orders-read", &["group:developers"]));
    let circumstances = policies.circumstances();
    let ann = policies.reach(&principal("ann", &["developers"]), &role, at(NIGHT), &circumstances);
    assert_eq!((ann.asking, ann.asked, ann.given.as_str()), (Reachable::AtOnce, 1, ""));
    assert_eq!(ann.by, "roles/orders-read: allow group:developers");
    let bob = policies.reach(&principal("bob", &[]), &role, at(NIGHT), &circumstances);
    assert!(!bob.is_some() && bob.by.contains("does not allow"), "{bob:?}");
}

#[test]
fn what_takes_a_ticket_a_network_or_another_hour_can_be_obtained_all_the_same_which_is_said() {
    let scope = "principal in Group::\"developers\", action in [Action::\"request\", Action::\"auto_approve\"], resource";
    for (when, given) in [
        ("context has ticket && context.ticket like \"OPS-*\"", "with a ticket such as OPS-1"),
        (
            "context has address && context.address.isInRange(ip(\"10.1.0.0/16\"))",
            "from a network such as that of 10.1.0.1",
        ),
        ("context.ttl <= 300", "for five minutes or less"),
        ("context.now.hour >= 9 && context.now.hour < 17", "at another time, such as Sunday at 10:00"),
        ("context has second_factor_age && context.second_factor_age < 60", ""),
        ("context.justification_length > 80", ""),
    ] {
        let found = reach(&format!("@id(\"t\") permit ({scope}) when {{ {when} }};"));
        assert_eq!((found.asking, found.given.as_str()), (Reachable::AtOnce, given), "{when}: {found:?}");
        assert_eq!(found.policies, ["t"]);
    }
}

#[test]
fn what_takes_reviews_says_how_many() {
    let mut reviewed = role("orders-write", &["group:developers"]);
    let step = |name: &str, quorum| crate::domain::ReviewStep {
        name: name.to_owned(),
        reviewers: vec!["*".parse().unwrap()],
        quorum,
        denials: 1,
        escalate_after: None,
        escalate_to: Vec::new(),
        from_risk: 0,
    };
    reviewed.approval = vec![step("owner", 1), step("security", 2)];
    let policies = Policies::builtin();
    let ann = principal("ann", &["developers"]);
    let found = policies.reach(&ann, &reviewed, at(NIGHT), &policies.circumstances());
    assert_eq!(
        (found.asking, found.by.as_str()),
        (Reachable::Reviewed { approvals: 3 }, "reviews: owner, security")
    );
}

#[test]
fn what_nothing_permits_is_not_obtained_however_it_is_tried_and_trying_ends() {
    let found = reach(
        "@id(\"t\") permit (principal in Group::\"others\", action == Action::\"request\", resource) when { context.now.hour > 1 };",
    );
    assert_eq!((found.asking, found.break_glass), (Reachable::No, None));
    assert!(found.asked <= 320, "{}", found.asked);
}

#[test]
fn breaking_the_glass_is_a_way_of_its_own() {
    let found = reach("@id(\"glass\") permit (principal, action == Action::\"break_glass\", resource);");
    assert_eq!((found.asking, found.break_glass.as_deref()), (Reachable::No, Some("policy glass")));
    assert!(found.is_some());
}
