//! Whether anybody could approve at all.

use std::collections::BTreeSet;

use crate::domain::{Principal, PrincipalName, ReviewStep, Subject};

/// Why the steps could never be gone through; `None`: they might. Nobody knows who belongs to a group, so a step that names one
/// counts as possible.
pub(super) fn why_not(requester: &Principal, steps: &[ReviewStep]) -> Option<String> {
    let (mut named, mut needed) = (BTreeSet::new(), 0_usize);
    for step in steps {
        let quorum = usize::try_from(step.quorum.max(1)).unwrap_or(usize::MAX);
        let Some(reviewers) = all_named(step) else { continue };
        let others: BTreeSet<_> = reviewers.into_iter().filter(|name| **name != requester.name).collect();
        if others.len() < quorum {
            return Some(format!(
                "the step {} takes {quorum}, and {} besides you may review it",
                step.name,
                if others.is_empty() { "nobody".to_owned() } else { others.len().to_string() }
            ));
        }
        named.extend(others);
        needed = needed.saturating_add(quorum);
    }
    (named.len() < needed)
        .then(|| format!("its steps take {needed} different reviewers, and there are {}", named.len()))
}

/// The reviewers of a step that names them one by one.
fn all_named(step: &ReviewStep) -> Option<Vec<&PrincipalName>> {
    let escalation = step.escalate_to.iter().filter(|_| step.escalate_after.is_some());
    step.reviewers.iter().chain(escalation).map(name).collect()
}

fn name(subject: &Subject) -> Option<&PrincipalName> {
    match subject {
        Subject::Principal(name) => Some(name),
        Subject::Group(_) | Subject::Kind(_) | Subject::Anyone => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PrincipalKind;

    fn step(quorum: u32, reviewers: &[&str]) -> ReviewStep {
        ReviewStep {
            name: "owner".to_owned(),
            reviewers: reviewers.iter().map(|subject| subject.parse().unwrap()).collect(),
            quorum,
            denials: 1,
            escalate_after: None,
            escalate_to: Vec::new(),
            from_risk: 0,
        }
    }

    #[test]
    fn steps_that_only_the_requester_could_take_are_for_nobody() {
        let requester = Principal {
            name: "alice".parse().unwrap(),
            kind: PrincipalKind::Human,
            groups: BTreeSet::new(),
            attributes: [].into(),
        };
        let possible = |steps: &[ReviewStep]| why_not(&requester, steps).is_none();
        assert!(!possible(&[step(1, &["principal:alice"])]));
        assert!(!possible(&[step(1, &[])]));
        assert!(possible(&[step(1, &["principal:alice", "principal:bob"])]));
        assert!(!possible(&[step(2, &["principal:alice", "principal:bob"])]));
        assert!(possible(&[step(5, &["group:owners"])]));
        // Each reviews once, in whichever step.
        assert!(!possible(&[step(1, &["principal:bob"]), step(1, &["principal:bob"])]));
        assert!(possible(&[step(1, &["principal:bob"]), step(1, &["principal:bob", "principal:carol"])]));
        let escalating = ReviewStep {
            escalate_after: Some(std::time::Duration::from_secs(60)),
            escalate_to: vec!["group:security".parse().unwrap()],
            ..step(1, &["principal:alice"])
        };
        assert!(possible(&[escalating]));
    }
}
