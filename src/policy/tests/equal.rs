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
        let terms = RequestTerms { ttl: hours(hours_asked), ..terms(&role) };
        for action in ["request", "auto_approve", "break_glass"] {
            let (all, indexed) =
                policies.admit_voices_unindexed(&who(&asker), &asked(&role, &terms), action);
            prop_assert_eq!(all, indexed, "{} {}", action, text);
        }
    }
}
