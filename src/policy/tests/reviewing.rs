//! Who may review, and whether anybody can.

use super::*;
use crate::domain::{Request, RequestId, RequestKind, RequestState, Requirement, ReviewStep};

fn step() -> ReviewStep {
    ReviewStep {
        name: "team".to_owned(),
        reviewers: vec!["group:leads".parse().unwrap(), "principal:alice".parse().unwrap()],
        quorum: 1,
        denials: 1,
        escalate_after: Some(Duration::from_secs(60)),
        escalate_to: vec!["group:on-call".parse().unwrap()],
        from_risk: 0,
    }
}

fn request(role: &Role, escalated: bool) -> Request {
    let now = at(MORNING);
    Request {
        id: RequestId::new(now, 1),
        kind: RequestKind::Access,
        requester: principal("alice", &["leads"]),
        sponsor: None,
        terms: terms(role),
        requirement: Requirement { steps: vec![step()], ..Requirement::default() },
        reviews: Vec::new(),
        created_at: now,
        expires_at: now + jiff::SignedDuration::from_hours(1),
        sign_off: None,
        remind_at: None,
        state: RequestState::Pending { step: 0, since: now, escalated },
    }
}

fn review(policies: &Policies, reviewer: &Principal, escalated: bool) -> Decision {
    let role = role("orders-read", &["*"]);
    policies.may_review(&who(reviewer), &request(&role, escalated), &role)
}

fn reason(decision: Decision) -> String {
    match decision {
        Decision::Deny { reason, .. } => reason,
        Decision::Allow { by, .. } => panic!("allowed by {by}"),
    }
}

#[test]
fn those_a_step_names_review_and_nobody_for_himself() {
    let builtin = Policies::builtin();
    let lead = review(&builtin, &principal("bob", &["leads"]), false);
    assert_eq!(
        lead,
        Decision::Allow {
            by: "step team: group:leads".to_owned(),
            policies: vec!["builtin.reviewers".to_owned()]
        }
    );
    assert_eq!(
        reason(review(&builtin, &principal("root", &["administrators"]), false)),
        "you are no reviewer of the step team"
    );
    let own = "@id(\"own.all\")\npermit (principal, action, resource);";
    for set in [&builtin, &policies(own)] {
        assert_eq!(
            reason(review(set, &principal("alice", &["leads"]), false)),
            "nobody reviews a request of his own"
        );
    }
    assert_eq!(
        reason(review(&policies(own), &principal("eve", &[]), false)),
        "you are no reviewer of the step team"
    );
}

#[test]
fn those_it_escalates_to_review_once_it_did() {
    let (builtin, carol) = (Policies::builtin(), principal("carol", &["on-call"]));
    assert!(!review(&builtin, &carol, false).is_allowed());
    assert!(review(&builtin, &carol, true).is_allowed());
}

#[test]
fn a_policy_narrows_who_reviews() {
    let text = "@id(\"own.not-the-same-team\")\nforbid (principal, action == Action::\"review\", resource)\n\
                when { context.requester in Group::\"leads\" && principal in Group::\"leads\" && !context.escalated };";
    let policies = policies(text);
    let bob = principal("bob", &["leads"]);
    assert_eq!(reason(review(&policies, &bob, false)), "policy own.not-the-same-team forbids it");
    assert!(review(&policies, &bob, true).is_allowed());
}
