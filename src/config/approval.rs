//! `[approvals.NAME]`: the reviews that asking for a role takes.

use std::{cell::Cell, collections::BTreeSet};

use super::{
    keys,
    reader::{Located, Reader, quoted},
    section::Section,
};
use crate::domain::{ReviewStep, RoleName, Subject};

/// What is written below `[approvals]`.
pub(super) struct Approvals {
    approvals: Vec<Approval>,
    /// There are policies that may let use a role whom its list does not.
    pub(super) others_may_allow: bool,
}

struct Approval {
    name: Located<String>,
    /// `None`: something is wrong with them.
    steps: Option<Vec<ReviewStep>>,
    is_used: Cell<bool>,
}

pub(super) fn approvals(root: &Section<'_>) -> Approvals {
    let section = root.child("approvals");
    let approval = |(name, section): (Located<String>, Section<'_>)| {
        let named: Option<RoleName> = section.reader.parse(&name);
        let steps = steps(&section).filter(|_| named.is_some());
        Approval { name, steps, is_used: Cell::new(false) }
    };
    let approvals = section.children().into_iter().map(approval).collect();
    Approvals { approvals, others_may_allow: root.written("policy").is_some() }
}

/// The steps of the approval a role names; none when it names none. `None`: something is wrong.
pub(super) fn of_role(section: &Section<'_>, approvals: &Approvals) -> Option<Vec<ReviewStep>> {
    let Some(wanted) = section.text("approval") else {
        return section.written("approval").is_none().then(Vec::new);
    };
    let Some(found) = approvals.approvals.iter().find(|approval| approval.name.value == wanted.value) else {
        let names = approvals.approvals.iter().map(|approval| approval.name.value.as_str());
        let hint = keys::nearest(&wanted.value, names).map_or_else(
            || format!("write [[approvals.{}.steps]]", wanted.value.escape_debug()),
            |near| format!("did you mean {}?", quoted(near)),
        );
        section
            .reader
            .complain(&wanted.at, format!("there is no approval {}; {hint}", quoted(&wanted.value)));
        return None;
    };
    found.is_used.set(true);
    found.steps.clone()
}

/// An approval that no role takes was meant for one.
pub(super) fn warn_of_unused(root: &Section<'_>, approvals: &Approvals) {
    for approval in approvals.approvals.iter().filter(|approval| !approval.is_used.get()) {
        root.reader.warn(&approval.name.at, "no role takes it: write approval = \"…\" on one");
    }
}

fn steps(section: &Section<'_>) -> Option<Vec<ReviewStep>> {
    let items = section.items("steps");
    if items.is_empty() && !section.is_broken() && section.written("steps").is_none() {
        section.reader.complain(&section.at, "has no step: write [[approvals.NAME.steps]]");
        return None;
    }
    // Each is read before one that is wrong is given up on.
    let steps: Vec<Option<ReviewStep>> = items.iter().map(step).collect();
    let mut names = BTreeSet::new();
    for (item, step) in items.iter().zip(&steps) {
        if let Some(step) = step
            && !names.insert(step.name.as_str())
        {
            section
                .reader
                .complain(&item.at, format!("another step is called {} already", quoted(&step.name)));
            return None;
        }
    }
    let steps: Option<Vec<ReviewStep>> = steps.into_iter().collect();
    steps.filter(|steps| !steps.is_empty())
}

fn step(section: &Section<'_>) -> Option<ReviewStep> {
    let reader = section.reader;
    let name = section.name("name", 63).filter(|name| {
        let plain = !name.value.chars().any(char::is_control);
        if !plain {
            reader.complain(&name.at, "is for one line: no line breaks");
        }
        plain
    });
    let reviewers = section.texts("reviewers");
    if reviewers.as_ref().is_some_and(Vec::is_empty) {
        let at = section.written("reviewers").unwrap_or(section.at.clone());
        reader.complain(&at, "names nobody: nobody could ever approve");
    }
    let reviewers = reviewers.filter(|reviewers| !reviewers.is_empty());
    let reviewers = reviewers.and_then(|texts| reader.parse_all::<Subject>(&texts));
    let (quorum, denials) = (section.number::<u32>("quorum"), section.number::<u32>("denials"));
    let (after, to) = (section.duration("escalate_after"), escalation(section));
    let from_risk = section.number("from_risk");
    let (quorum, reviewers, to) = (quorum?, reviewers?, to?);
    refuse_unreachable(reader, &quorum, &reviewers, &to)?;
    Some(ReviewStep {
        name: name?.value,
        reviewers,
        quorum: quorum.value,
        denials: denials?.value,
        escalate_after: after.map(|after| after.value),
        escalate_to: to,
        from_risk: from_risk?.value,
    })
}

fn escalation(section: &Section<'_>) -> Option<Vec<Subject>> {
    let to = section.texts("escalate_to")?;
    match (section.written("escalate_after"), to.is_empty()) {
        (Some(at), true) => {
            section.reader.complain(&at, "needs escalate_to: whom else to let review then");
            return None;
        }
        (None, false) => {
            section.refuse("escalate_to", "needs escalate_after: when they may review");
            return None;
        }
        _ => {}
    }
    section.reader.parse_all(&to)
}

/// A quorum that the principals named cannot reach. Of groups and kinds nobody knows how many there will be.
fn refuse_unreachable(
    reader: &Reader<'_>,
    quorum: &Located<u32>,
    reviewers: &[Subject],
    escalation: &[Subject],
) -> Option<()> {
    let mut named = BTreeSet::new();
    for subject in reviewers.iter().chain(escalation) {
        let Subject::Principal(name) = subject else { return Some(()) };
        named.insert(name);
    }
    if usize::try_from(quorum.value).is_ok_and(|quorum| quorum <= named.len()) {
        return Some(());
    }
    let message = format!("is never reached: {} may review, each once", named.len());
    reader.complain(&quorum.at, message);
    None
}
