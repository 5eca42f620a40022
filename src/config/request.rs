//! `[requests]`: how long requests and grants wait, and how many may.

use super::section::Section;
use crate::issuer::RequestSettings;

pub(super) fn requests(section: &Section<'_>) -> Option<RequestSettings> {
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
    })
}
