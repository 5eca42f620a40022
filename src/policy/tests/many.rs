//! Sets of thousands of policies.

use std::fmt::Write as _;

use super::*;

#[test]
fn five_thousand_policies_decide_like_one() {
    let mut text = String::new();
    for number in 0..5_000 {
        let scope = if number % 2 == 0 {
            format!("principal in Group::\"g{number}\", action == Action::\"request\", resource")
        } else {
            "principal, action == Action::\"request\", resource".to_owned()
        };
        let _ = write!(
            text,
            "@id(\"own.{number}\")\npermit ({scope}) when {{ context.ttl < {number} && resource.name == \"r{number}\" }};\n"
        );
    }
    let policies = policies(&text);
    assert_eq!(policies.len(), 5_006);
    let alice = principal("alice", &["g4000"]);
    let admit = |name: &str| {
        let role = role(name, &[]);
        let about = terms(&role);
        match policies.admit(&who(&alice), &asked(&role, &about)) {
            Admission::Denied { policies, .. } => policies,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(admit("r4000"), ["own.4000"]);
    assert_eq!(admit("r4001"), ["own.4001"]);
    assert_eq!(admit("r4002"), [""; 0]);
    assert_eq!(admit("r3"), [""; 0]);
}
