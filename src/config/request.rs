//! `[requests]`: how long requests and grants wait, and how many may.

use super::section::Section;
use crate::issuer::{BreakGlassSettings, RequestSettings};

/// `[break_glass]`.
pub(super) fn break_glass(section: &Section<'_>) -> Option<BreakGlassSettings> {
    let max_ttl = section.duration("max_ttl");
    let per_day = section.number("per_day");
    let remind_every = section.period("remind_every");
    let second_factor_within = section.duration("second_factor_within");
    Some(BreakGlassSettings {
        max_ttl: max_ttl?.value,
        per_day: per_day?.value,
        remind_every: remind_every?.value,
        second_factor_within: second_factor_within?.value,
    })
}

pub(super) fn requests(
    section: &Section<'_>,
    break_glass: Option<BreakGlassSettings>,
) -> Option<RequestSettings> {
    let request_ttl = section.duration("request_ttl");
    let claim_within = section.duration("claim_within");
    let start_within = section.duration("start_within");
    let pending = section.number("pending_per_principal");
    let remind_every = section.period("remind_every");
    Some(RequestSettings {
        request_ttl: request_ttl?.value,
        claim_within: claim_within?.value,
        start_within: start_within?.value,
        pending_per_principal: pending?.value,
        remind_every: remind_every?.value,
        break_glass: break_glass?,
    })
}
