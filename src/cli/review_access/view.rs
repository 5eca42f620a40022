//! An access, as JSON and in words.

use jiff::Timestamp;
use serde::Serialize;

use super::{super::view, count};
use crate::api::proto::{self, AccessReach};

#[derive(Debug, Serialize)]
pub(super) struct ItemView {
    principal: String,
    principal_kind: String,
    known_by: Vec<String>,
    role: String,
    target: String,
    reach: String,
    reviews: u32,
    reach_by: String,
    policies: Vec<String>,
    reach_given: String,
    break_glass_by: String,
    leases: Vec<String>,
    grants: Vec<String>,
    requests: Vec<String>,
    uses: u64,
    last_use_time: Option<Timestamp>,
    last_allowed_by: String,
    evidence: Vec<String>,
    locks: Vec<String>,
    certified_by: String,
    certify_time: Option<Timestamp>,
    certify_comment: String,
    changed_since_certified: bool,
    etag: String,
}

impl From<&proto::AccessItem> for ItemView {
    fn from(item: &proto::AccessItem) -> Self {
        Self {
            principal: item.principal.clone(),
            principal_kind: view::kind_word(item.principal_kind()),
            known_by: item.known_by.clone(),
            role: item.role.clone(),
            target: item.target.clone(),
            reach: reach_word(item.reach()).to_owned(),
            reviews: item.reviews,
            reach_by: item.reach_by.clone(),
            policies: item.policies.clone(),
            reach_given: item.reach_given.clone(),
            break_glass_by: item.break_glass_by.clone(),
            leases: item.leases.clone(),
            grants: item.grants.clone(),
            requests: item.requests.clone(),
            uses: item.uses,
            last_use_time: view::moment(item.last_use_time),
            last_allowed_by: item.last_allowed_by.clone(),
            evidence: item.evidence.clone(),
            locks: item.locks.clone(),
            certified_by: item.certified_by.clone(),
            certify_time: view::moment(item.certify_time),
            certify_comment: item.certify_comment.clone(),
            changed_since_certified: item.changed_since_certified,
            etag: item.etag.clone(),
        }
    }
}

fn reach_word(reach: AccessReach) -> &'static str {
    match reach {
        AccessReach::Unspecified | AccessReach::None => "none",
        AccessReach::AfterReview => "after_review",
        AccessReach::AtOnce => "at_once",
    }
}

/// What could be obtained, in words.
pub(super) fn obtains(item: &proto::AccessItem) -> String {
    let asking = match item.reach() {
        AccessReach::AtOnce => "at once".to_owned(),
        AccessReach::AfterReview => {
            format!(
                "after {}",
                count(usize::try_from(item.reviews).unwrap_or(usize::MAX), "review", "reviews")
            )
        }
        AccessReach::Unspecified | AccessReach::None => "no".to_owned(),
    };
    let parts = [
        (!asking.is_empty()).then_some(asking),
        (!item.break_glass_by.is_empty()).then(|| "break-glass".to_owned()),
        (!item.locks.is_empty()).then(|| "locked".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// By what, and under which circumstances.
pub(super) fn by(item: &proto::AccessItem) -> String {
    let asking = match (item.reach(), item.reach_given.as_str()) {
        (AccessReach::None | AccessReach::Unspecified, _) => String::new(),
        (_, "") => item.reach_by.clone(),
        (_, given) => format!("{} ({given})", item.reach_by),
    };
    let glass = match item.break_glass_by.as_str() {
        "" => String::new(),
        by => format!("break-glass: {by}"),
    };
    [asking, glass].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What is held, in words.
pub(super) fn holds(item: &proto::AccessItem) -> String {
    let part =
        |names: &[String], one: &str, many: &str| (!names.is_empty()).then(|| count(names.len(), one, many));
    let parts = [
        part(&item.leases, "lease", "leases"),
        part(&item.grants, "grant", "grants"),
        part(&item.requests, "request", "requests"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
