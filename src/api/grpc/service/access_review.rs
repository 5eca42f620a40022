//! `mayfly.v1.AccessReviewService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert::{kind, timestamp},
    convert_request::moment,
    page::{self, Listing},
    parse::{Fields, optional, resource},
};
use crate::{
    api::proto::{
        self, AccessOutcome, AccessReach, AccessVerdict, DecideAccessRequest, DecideAccessResponse,
        ListAccessRequest, ListAccessResponse,
    },
    domain::{PrincipalName, RoleName, TargetName},
    issuer::{AccessCursor, AccessDecision, AccessFilter, AccessItem, Decided, Ruling},
    policy::Reachable,
};

/// Reviews of access.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

/// The verdict of a decision is none.
#[derive(Debug, thiserror::Error)]
#[error("is not set: certify or revoke")]
struct VerdictError;

fn names<T: std::fmt::Display>(collection: &str, ids: &[T]) -> Vec<String> {
    ids.iter().map(|id| format!("{collection}/{id}")).collect()
}

fn message(item: &AccessItem) -> proto::AccessItem {
    let (reach, reviews) = match item.reach.asking {
        Reachable::No => (AccessReach::None, 0),
        Reachable::Reviewed { approvals } => (AccessReach::AfterReview, approvals),
        Reachable::AtOnce => (AccessReach::AtOnce, 0),
    };
    let certified = item.certified.as_ref();
    proto::AccessItem {
        principal: item.principal.to_string(),
        principal_kind: kind(item.kind).into(),
        known_by: item.known_by.clone(),
        role: format!("roles/{}", item.role),
        target: format!("targets/{}", item.target),
        reach: reach.into(),
        reviews,
        reach_by: item.reach.by.clone(),
        policies: item.reach.policies.clone(),
        reach_given: item.reach.given.clone(),
        break_glass_by: item.reach.break_glass.clone().unwrap_or_default(),
        leases: names("leases", &item.leases),
        grants: names("grants", &item.grants),
        requests: names("requests", &item.requests),
        uses: item.uses,
        last_use_time: item.last_used.map(timestamp),
        last_allowed_by: item.allowed_by.clone(),
        evidence: item.evidence.clone(),
        locks: names("locks", &item.locked),
        certified_by: certified.map(|one| one.by.to_string()).unwrap_or_default(),
        certify_time: certified.map(|one| timestamp(one.at)),
        certify_comment: certified.map(|one| one.comment.clone()).unwrap_or_default(),
        changed_since_certified: item.changed(),
        etag: item.etag(),
    }
}

fn outcome(decided: &Decided) -> AccessOutcome {
    AccessOutcome {
        item: Some(message(&decided.item)),
        leases_ended: decided.ended.leases,
        requests_cancelled: decided.ended.requests,
        grants_revoked: decided.ended.grants,
        locked: decided.locked,
    }
}

fn filter(fields: &mut Fields, asked: &ListAccessRequest) -> Option<AccessFilter> {
    let principal = fields.take("principal", optional(&asked.principal, str::parse::<PrincipalName>));
    let role = fields.take("role", optional(&asked.role, |text| resource::<RoleName>("roles", text)));
    let target =
        fields.take("target", optional(&asked.target, |text| resource::<TargetName>("targets", text)));
    let since = fields.take("since_time", moment(asked.since_time.as_ref()));
    Some(AccessFilter {
        principal: principal?,
        role: role?,
        target: target?,
        since: since?,
        unused: asked.unused,
    })
}

fn decision(fields: &mut Fields, index: usize, asked: &proto::AccessDecision) -> Option<AccessDecision> {
    let field = |name: &str| format!("decisions[{index}].{name}");
    let ruling = match asked.verdict() {
        AccessVerdict::Certify if !asked.lock => Ok(Ruling::Certify),
        AccessVerdict::Revoke => Ok(Ruling::Revoke { lock: asked.lock }),
        AccessVerdict::Certify | AccessVerdict::Unspecified => Err(VerdictError),
    };
    let principal = fields.take(field("principal"), asked.principal.parse::<PrincipalName>());
    let role = fields.take(field("role"), resource::<RoleName>("roles", &asked.role));
    let ruling = fields.take(field("verdict"), ruling);
    let (comment, etag) = (asked.comment.clone(), asked.etag.clone());
    Some(AccessDecision { principal: principal?, role: role?, ruling: ruling?, comment, etag })
}

#[async_trait]
impl proto::access_review_service_server::AccessReviewService for Service {
    async fn list_access(
        &self,
        request: Request<ListAccessRequest>,
    ) -> Result<Response<ListAccessResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let filter = filter(&mut fields, &call.message);
        let parts = filter.as_ref().map(|filter| vec![format!("{filter:?}")]).unwrap_or_default();
        let listing = Listing::filtered("access", &parts);
        let size = fields.take("page_size", page::size(call.message.page_size));
        let after = listing.cursor(&call.message.page_token, |text| text.parse::<AccessCursor>().ok());
        let after = fields.take("page_token", after);
        let (Some(filter), Some(size), Some(after)) = (filter, size, after) else {
            return Err(fields.refuse());
        };
        let page = self.0.issuer.access(call.caller(), filter, (size, after)).await;
        let page = page.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let place = |item: &AccessItem| {
            let (principal, role) = (item.principal.clone(), item.role.clone());
            AccessCursor { as_of: page.as_of, principal, role }.to_string()
        };
        let cut = listing.cut(&page.items, bounds, message, place);
        // What was cut off comes next; otherwise it goes on where looking ended, which may be behind the last item.
        let next = if cut.next.is_empty() { listing.go_on(page.next) } else { cut.next };
        Ok(Response::new(ListAccessResponse {
            items: cut.messages,
            next_page_token: next,
            counted_since_time: Some(timestamp(page.counted_since)),
        }))
    }

    async fn decide_access(
        &self,
        request: Request<DecideAccessRequest>,
    ) -> Result<Response<DecideAccessResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let asked = call.message.decisions.iter().enumerate();
        let decisions: Option<Vec<_>> =
            asked.map(|(index, asked)| decision(&mut fields, index, asked)).collect();
        let decisions = decisions.ok_or_else(|| fields.refuse())?;
        let decided = self.0.issuer.decide_access(call.caller(), decisions, call.message.validate_only).await;
        let decided = decided.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(DecideAccessResponse { outcomes: decided.iter().map(outcome).collect() }))
    }
}
