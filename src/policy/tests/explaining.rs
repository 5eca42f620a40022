//! What would change an answer.

use super::*;

fn changes(text: &str, asked_for: &RequestTerms, second_factor: bool) -> Vec<String> {
    let (alice, role) = (principal("alice", &["developers"]), role("orders-read", &["group:developers"]));
    let asker = Who { second_factor_at: second_factor.then(|| at(MORNING)), ..who(&alice) };
    let alternatives = policies(text).alternatives(&asker, &asked(&role, asked_for));
    alternatives.into_iter().map(|alternative| alternative.what).collect()
}

#[test]
fn what_a_requester_can_change_is_tried() {
    let about = terms(&role("orders-read", &[]));
    let forbid = |unless: &str| {
        format!(
            "@id(\"own.stop\")\nforbid (principal, action == Action::\"request\", resource) unless {{ {unless} }};"
        )
    };
    for (unless, expected) in [
        ("context has ticket && context.ticket like \"OPS-*\"", "name a ticket, such as OPS-1"),
        ("context.justification_length >= 20", "say at length what it is for"),
        ("context.ttl <= 900", "ask for 15m or less"),
        ("context has second_factor_age && context.second_factor_age < 60", "give your second factor first"),
        // It is eleven in Berlin.
        ("context.start.hour >= 13", "begin later, such as on Thursday, 15 January at 13:00"),
    ] {
        assert_eq!(changes(&forbid(unless), &about, false), [expected]);
    }
    assert_eq!(changes("", &about, false), [""; 0]);
    assert_eq!(changes(&forbid("false"), &about, true), [""; 0]);
}
