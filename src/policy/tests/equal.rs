//! Asking only the policies that can apply comes to the same as asking all.

use proptest::prelude::*;

use super::*;

fn scope() -> impl Strategy<Value = String> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal == Principal::\"alice\"",
        "principal == Principal::\"bob\"",
        "principal in Group::\"one\"",
        "principal in Group::\"two\"",
        "principal is Principal",
        "principal is Principal in Group::\"one\"",
    ]);
    let action = prop::sample::select(vec![
        "action == Action::\"request\"",
        "action == Action::\"auto_approve\"",
        "action in [Action::\"request\", Action::\"auto_approve\"]",
        "action in [Action::\"request\", Action::\"request\"]",
        "action",
    ]);
    let resource = prop::sample::select(vec![
        "resource is Role",
        "resource == Role::\"a\"",
        "resource == Role::\"b\"",
        "resource in Target::\"orders\"",
        "resource in Target::\"other\"",
        "resource is Role in Target::\"orders\"",
    ]);
    (principal, action, resource)
        .prop_map(|(principal, action, resource)| format!("({principal}, {action}, {resource})"))
}

fn policy() -> impl Strategy<Value = String> {
    let condition = prop::sample::select(vec![
        "",
        "when { context.ttl > 3600 }",
        "when { context has ticket }",
        "unless { principal in Group::\"two\" }",
        "when { context.ttl * 9223372036854775807 > 0 }",
        "when { principal.name == \"alice\" || context.ttl * 9223372036854775807 > 0 }",
    ]);
    (prop::sample::select(vec!["permit", "permit", "forbid"]), scope(), condition)
        .prop_map(|(effect, scope, condition)| format!("{effect} {scope} {condition};\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn leaving_out_what_cannot_apply_changes_nothing(
        texts in prop::collection::vec(policy(), 0..12),
        name in prop::sample::select(vec!["alice", "bob", "carol"]),
        groups in prop::sample::subsequence(vec!["one", "two", "three"], 0..=3),
        resource in prop::sample::select(vec!["a", "b", "c"]),
        hours_asked in 1_u64..3,
    ) {
        let texts: Vec<String> =
            texts.iter().enumerate().map(|(at, text)| format!("@id(\"p{at}\")
{text}")).collect();
        let text = texts.concat();
        let (policies, asker, role) = (policies(&text), principal(name, &groups), role(resource, &["group:three"]));
        // The second time by what was kept the first, with another moment.
        for hours_asked in [hours_asked, 3 - hours_asked, hours_asked] {
            let terms = RequestTerms { ttl: hours(hours_asked), ..terms(&role) };
            for action in ["request", "auto_approve", "break_glass"] {
                let (all, indexed) =
                    policies.admit_voices_unindexed(&who(&asker), &asked(&role, &terms), action);
                prop_assert_eq!(all, indexed, "{} {}", action, text);
            }
        }
    }
}

#[test]
fn who_asks_and_for_what_is_looked_at_anew_once_it_is_another() {
    let policies = policies(
        "@id(\"p\") forbid (principal, action == Action::\"request\", resource) when { principal in Group::\"out\" };",
    );
    let admitted = |asker: &Principal, role: &Role| {
        matches!(policies.admit(&who(asker), &asked(role, &terms(role))), Admission::ByRule { .. })
    };
    let open = role("a", &["*"]);
    for _ in 0..2 {
        assert!(admitted(&principal("alice", &["in"]), &open));
        assert!(!admitted(&principal("alice", &["out"]), &open), "of another group now");
        assert!(!admitted(&principal("alice", &["in"]), &role("a", &["group:owners"])), "the role changed");
    }
}

#[test]
fn the_actions_asked_about_with_the_same_facts_are_declared_together() {
    assert!(SCHEMA.contains("\naction request, auto_approve, break_glass appliesTo {"));
}
