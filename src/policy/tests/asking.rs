//! Asking for roles, and everything else that is asked.

use super::*;
use crate::domain::{ADMINISTRATORS, ReviewStep};

fn step(name: &str, from_risk: u32) -> ReviewStep {
    ReviewStep {
        name: name.to_owned(),
        reviewers: vec!["group:leads".parse().unwrap()],
        quorum: 1,
        denials: 1,
        escalate_after: None,
        escalate_to: Vec::new(),
        from_risk,
    }
}

fn denied(admission: &Admission) -> &str {
    match admission {
        Admission::Denied { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn by_rule(admission: &Admission) -> (&str, &[String]) {
    match admission {
        Admission::ByRule { by, requirement } => (by, &requirement.policies),
        other => panic!("{other:?}"),
    }
}

fn steps(admission: &Admission) -> Vec<&str> {
    match admission {
        Admission::Reviewed { requirement } => {
            requirement.steps.iter().map(|step| step.name.as_str()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_role_that_lists_nobody_is_for_nobody_not_even_administrators() {
    let (admin, role) = (principal("root", &[ADMINISTRATORS]), role("orders-read", &[]));
    let terms = terms(&role);
    let policies = Policies::builtin();
    let expected = "the role orders-read does not allow human root";
    assert_eq!(denied(&policies.admit(&who(&admin), &asked(&role, &terms))), expected);
    let issue = Action::Issue { role: &role, ttl: terms.ttl };
    let none = Decision::Deny { reason: expected.to_owned(), policies: Vec::new() };
    assert_eq!(policies.decide(&who(&admin), &issue), none);
}

#[test]
fn a_role_allows_whom_it_lists_and_says_by_which_entry() {
    for (subject, expected) in [
        ("group:payments", true),
        ("principal:alice", true),
        ("kind:human", true),
        ("*", true),
        ("group:other", false),
        ("principal:bob", false),
        ("kind:workload", false),
    ] {
        let (alice, role) = (principal("alice", &["payments"]), role("orders-read", &[subject]));
        let terms = terms(&role);
        let admission = Policies::builtin().admit(&who(&alice), &asked(&role, &terms));
        if expected {
            let policies = ["builtin.role-allow".to_owned(), "builtin.role-auto-approve".to_owned()];
            let by = format!("roles/orders-read: allow {subject}");
            assert_eq!(by_rule(&admission), (by.as_str(), &policies[..]));
        } else {
            denied(&admission);
        }
    }
}

#[test]
fn reviews_are_those_of_the_role_unless_a_policy_approves_by_rule() {
    let alice = principal("alice", &[]);
    let role = Role { approval: vec![step("team", 0), step("owner", 40)], ..role("orders-read", &["*"]) };
    let terms = terms(&role);
    let builtin = Policies::builtin().admit(&who(&alice), &asked(&role, &terms));
    assert_eq!(steps(&builtin), ["team"]);
    let text = "@id(\"own.auto\")\npermit (principal, action == Action::\"auto_approve\", resource) when { context.ttl <= 3600 };";
    let own = policies(text).admit(&who(&alice), &asked(&role, &terms));
    assert_eq!(by_rule(&own).0, "roles/orders-read: allow *; approved by policy own.auto");
    let terms = RequestTerms { ttl: hours(2), ..terms };
    assert_eq!(steps(&policies(text).admit(&who(&alice), &asked(&role, &terms))), ["team"]);
}

#[test]
fn what_is_permitted_to_ask_for_and_approved_by_nothing_is_denied() {
    let (alice, role) = (principal("alice", &[]), role("orders-read", &[]));
    let terms = terms(&role);
    let text = "@id(\"own.ask\")\npermit (principal, action == Action::\"request\", resource);";
    let admission = policies(text).admit(&who(&alice), &asked(&role, &terms));
    assert!(denied(&admission).contains("no policy approves that by rule, and the role has no reviews"));
    let both = "@id(\"own.ask\")\npermit (principal, action in [Action::\"request\", Action::\"auto_approve\"], resource);";
    let admission = policies(both).admit(&who(&alice), &asked(&role, &terms));
    assert_eq!(by_rule(&admission).0, "policy own.ask");
}

#[test]
fn forbidding_wins_and_its_advice_is_told() {
    let (alice, role) = (principal("alice", &[]), role("orders-read", &["*"]));
    let terms = terms(&role);
    let text = "@id(\"own.ticket\")\n@advice(\"name a ticket, such as OPS-123\")\n\
                forbid (principal, action == Action::\"request\", resource)\n\
                when { resource.target has environment && resource.target.environment == \"production\" }\n\
                unless { context has ticket && context.ticket like \"OPS-*\" };";
    let policies = policies(text);
    let admission = policies.admit(&who(&alice), &asked(&role, &terms));
    assert_eq!(
        admission,
        Admission::Denied {
            reason: "policy own.ticket forbids it: name a ticket, such as OPS-123".to_owned(),
            policies: vec!["own.ticket".to_owned()]
        }
    );
    let with = |ticket: &str| RequestTerms { ticket: Some(ticket.to_owned()), ..terms.clone() };
    by_rule(&policies.admit(&who(&alice), &asked(&role, &with("OPS-7"))));
    for ticket in ["", " ", "OPS", "ops-7"] {
        denied(&policies.admit(&who(&alice), &asked(&role, &with(ticket))));
    }
}

#[test]
fn what_cannot_be_evaluated_denies_even_when_it_only_forbids() {
    let (alice, role) = (principal("alice", &[]), role("orders-read", &["*"]));
    let terms = terms(&role);
    for effect in ["forbid", "permit"] {
        for action in ["request", "auto_approve"] {
            let text = format!(
                "@id(\"own.err\")\n{effect} (principal, action == Action::\"{action}\", resource)\n\
                 when {{ context.ttl * 9223372036854775807 > 0 }};"
            );
            let admission = policies(&text).admit(&who(&alice), &asked(&role, &terms));
            assert_eq!(
                admission,
                Admission::Denied {
                    reason: "policy own.err could not be evaluated, which denies".to_owned(),
                    policies: vec!["own.err".to_owned()]
                }
            );
        }
    }
}

#[test]
fn forbidding_approval_by_rule_takes_every_review_or_denies() {
    let alice = principal("alice", &[]);
    let text = "@id(\"own.look\")\nforbid (principal, action == Action::\"auto_approve\", resource);";
    let reviewed = Role { approval: vec![step("team", 10), step("owner", 40)], ..role("a", &["*"]) };
    let about = terms(&reviewed);
    assert_eq!(steps(&policies(text).admit(&who(&alice), &asked(&reviewed, &about))), ["team", "owner"]);
    let admission = Policies::builtin().admit(&who(&alice), &asked(&reviewed, &about));
    assert_eq!(by_rule(&admission).0, "roles/a: allow *; a risk of 0 takes no review");
    let free = role("b", &["*"]);
    let about = terms(&free);
    let admission = policies(text).admit(&who(&alice), &asked(&free, &about));
    assert_eq!(denied(&admission), "policy own.look forbids it, and the role has no reviews");
}

#[test]
fn conflicting_roles_are_not_held_together_by_anybody() {
    let admin = principal("root", &[ADMINISTRATORS]);
    let (pay, book) = (role("pay", &["*"]), "book".parse().unwrap());
    let mut rules = rules("");
    rules.conflicts = [(pay.name.clone(), [book].into())].into();
    let (policies, terms) = (Policies::new(rules).unwrap(), terms(&pay));
    let live = ["read".parse().unwrap(), "book".parse().unwrap()];
    let asked = Asked { live_roles: &live, ..asked(&pay, &terms) };
    let reason = "nobody holds pay and book at once: end what you have under book first";
    assert_eq!(denied(&policies.admit(&who(&admin), &asked)), reason);
    assert_eq!(policies.may_break_glass(&who(&admin), &asked), Decision::deny(reason));
    by_rule(&policies.admit(&who(&admin), &Asked { live_roles: &live[..1], ..asked }));
}

#[test]
fn break_glass_is_for_whom_a_policy_names_with_a_fresh_second_factor() {
    let text = "@id(\"own.glass\")\npermit (principal in Group::\"on-call\", action == Action::\"break_glass\", resource)\n\
                when { context has second_factor_age && context.second_factor_age < 300 && context.ttl <= 3600 };";
    let (policies, role) = (policies(text), role("orders-admin", &[]));
    let terms = terms(&role);
    let (alice, root) = (principal("alice", &["on-call"]), principal("root", &[ADMINISTRATORS]));
    let allowed = |who: &Who<'_>| policies.may_break_glass(who, &asked(&role, &terms)).is_allowed();
    let given = |ago: i64| Some(at(MORNING) - jiff::SignedDuration::from_secs(ago));
    assert!(!allowed(&who(&alice)));
    assert!(!allowed(&Who { second_factor_at: given(300), ..who(&alice) }));
    assert!(allowed(&Who { second_factor_at: given(299), ..who(&alice) }));
    assert!(!allowed(&Who { second_factor_at: given(1), ..who(&root) }));
    assert!(!Policies::builtin().may_break_glass(&who(&root), &asked(&role, &terms)).is_allowed());
}

#[test]
fn leases_belong_to_their_holder() {
    let (alice, bob, admin) =
        (principal("alice", &[]), principal("bob", &[]), principal("root", &[ADMINISTRATORS]));
    let policies = Policies::builtin();
    let allowed = |asker: &Principal, action: Action<'_>| policies.decide(&who(asker), &action).is_allowed();
    for (asker, view, renew, release) in
        [(&alice, true, true, true), (&bob, false, false, false), (&admin, true, false, false)]
    {
        assert_eq!(allowed(asker, Action::View { owner: &alice.name }), view, "{}", asker.name);
        assert_eq!(allowed(asker, Action::Renew { owner: &alice.name }), renew, "{}", asker.name);
        assert_eq!(allowed(asker, Action::Release { owner: &alice.name }), release, "{}", asker.name);
    }
    let by = |asker: &Principal| match policies.decide(&who(asker), &Action::View { owner: &alice.name }) {
        Decision::Allow { by, .. } => by,
        Decision::Deny { reason, .. } => reason,
    };
    assert_eq!(by(&alice), "holder of the lease");
    assert_eq!(by(&admin), "group:administrators");
}

#[test]
fn authority_is_for_administrators_and_can_be_narrowed() {
    let (alice, admin) = (principal("alice", &[]), principal("root", &[ADMINISTRATORS]));
    let auditors = "@id(\"own.auditors\")\npermit (principal in Group::\"auditors\", action == Action::\"view_audit\", resource);\n\
                    @id(\"own.office\")\nforbid (principal, action == Action::\"administer\", resource)\n\
                    unless { context has address && context.address.isInRange(ip(\"10.0.0.0/8\")) };";
    let (builtin, own) = (Policies::builtin(), policies(auditors));
    for action in [Action::Revoke, Action::ViewAudit, Action::Administer, Action::Lock, Action::Invite] {
        assert!(builtin.decide(&who(&admin), &action).is_allowed(), "{action:?}");
        assert!(!builtin.decide(&who(&alice), &action).is_allowed(), "{action:?}");
    }
    assert!(own.decide(&who(&principal("carol", &["auditors"])), &Action::ViewAudit).is_allowed());
    assert!(!own.decide(&who(&admin), &Action::Administer).is_allowed());
    for (address, expected) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("192.0.2.1", false)] {
        let asker = Who { address: Some(address.parse().unwrap()), ..who(&admin) };
        assert_eq!(own.decide(&asker, &Action::Administer).is_allowed(), expected, "{address}");
    }
}

#[test]
fn attributes_labels_and_local_time_are_known_to_policies() {
    let text = "@id(\"own.ci\")\npermit (principal, action in [Action::\"request\", Action::\"auto_approve\"], resource in Target::\"orders\")\n\
                when { principal.kind == Kind::\"workload\" && principal.hasTag(\"repository\") && principal.getTag(\"repository\") == \"shop/api\" }\n\
                when { resource.target.hasTag(\"team\") && resource.target.getTag(\"team\") == \"payments\" }\n\
                when { context.start.hour >= 9 && context.start.hour < 17 }\n\
                unless { [Weekday::\"saturday\", Weekday::\"sunday\"].contains(context.start.weekday) };";
    let (policies, role) = (policies(text), role("orders-read", &[]));
    let ci = |repository: &str| Principal {
        kind: PrincipalKind::Workload,
        attributes: [("repository".to_owned(), repository.to_owned())].into(),
        ..principal("ci", &[])
    };
    let (own, other) = (ci("shop/api"), ci("shop/web"));
    let allowed = |principal: &Principal, start: &str| {
        let terms = RequestTerms { start: Some(at(start)), ..terms(&role) };
        matches!(policies.admit(&who(principal), &asked(&role, &terms)), Admission::ByRule { .. })
    };
    assert!(allowed(&own, MORNING));
    assert!(!allowed(&other, MORNING));
    // Nine o'clock in Berlin is eight in UTC in winter, and seven in summer.
    for (start, expected) in [
        ("2026-01-15T07:59:59Z", false),
        ("2026-01-15T08:00:00Z", true),
        ("2026-07-15T06:59:59Z", false),
        ("2026-07-15T07:00:00Z", true),
        ("2026-07-15T15:00:00Z", false),
        ("2026-01-17T10:00:00Z", false),
    ] {
        assert_eq!(allowed(&own, start), expected, "{start}");
    }
}
