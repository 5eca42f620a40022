//! `mayfly.v1.GrantService`.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{
    super::{
        call::{Call, Shared},
        convert as convert_lease, convert_request as convert,
        page::{self, Listing},
        parse::{self, Fields, named, resource},
    },
    request::said,
    watch_entries,
};
use crate::{
    api::proto::{
        self, ClaimGrantRequest, ClaimGrantResponse, ExtendGrantRequest, ExtendGrantResponse,
        GetGrantRequest, GetGrantResponse, ListGrantsRequest, ListGrantsResponse, RevokeGrantRequest,
        RevokeGrantResponse, WatchGrantsRequest, WatchGrantsResponse,
    },
    domain::{RoleName, TargetName},
    issuer::{ClaimRequest, GrantFilter, NewExtension},
};

/// What approvals opened: claimed, extended, taken back.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

fn filter(fields: &mut Fields, asked: Option<&proto::GrantFilter>) -> Option<GrantFilter> {
    let Some(asked) = asked else { return Some(GrantFilter::default()) };
    let states = fields.each("filter.states", &asked.states, |state| convert::grant_state(*state));
    let principal = fields.take("filter.principal", parse::optional(&asked.principal, str::parse));
    let role =
        fields.take("filter.role", parse::optional(&asked.role, |text| resource::<RoleName>("roles", text)));
    let target = fields.take(
        "filter.target",
        parse::optional(&asked.target, |text| resource::<TargetName>("targets", text)),
    );
    let mut states: Vec<_> = states?.into_iter().flatten().collect();
    states.sort_unstable();
    states.dedup();
    Some(GrantFilter { states, principal: principal?, role: role?, target: target? })
}

#[async_trait]
impl proto::grant_service_server::GrantService for Service {
    type WatchGrantsStream = ReceiverStream<Result<WatchGrantsResponse, Status>>;

    async fn get_grant(
        &self,
        request: Request<GetGrantRequest>,
    ) -> Result<Response<GetGrantResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("grants", &call.message.name)?;
        let grant = self.0.issuer.grant(call.caller(), id).await;
        let grant = grant.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(GetGrantResponse { grant: Some(convert::grant(&grant)) }))
    }

    async fn list_grants(
        &self,
        request: Request<ListGrantsRequest>,
    ) -> Result<Response<ListGrantsResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let filter = filter(&mut fields, call.message.filter.as_ref());
        let (Some(size), Some(filter)) = (size, filter) else { return Err(fields.refuse()) };
        let listing = Listing::filtered("grants", &[format!("{filter:?}")]);
        let before = listing.cursor(&call.message.page_token, |text| text.parse().ok());
        let before = fields.take("page_token", before).ok_or_else(|| fields.refuse())?;
        let found = self.0.issuer.grants(call.caller(), filter, (size, before)).await;
        let (grants, next) = found.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&grants, bounds, convert::grant, |grant| grant.id.to_string());
        let next = if cut.messages.len() < grants.len() { cut.next } else { listing.go_on(next) };
        Ok(Response::new(ListGrantsResponse { grants: cut.messages, next_page_token: next }))
    }

    async fn watch_grants(
        &self,
        request: Request<WatchGrantsRequest>,
    ) -> Result<Response<Self::WatchGrantsStream>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let filter = filter(&mut fields, call.message.filter.as_ref());
        let filter = filter.ok_or_else(|| fields.refuse())?;
        let filter = self.0.issuer.narrow_grants(call.caller(), filter);
        let filter = filter.map_err(|refusal| call.refused(&refusal))?;
        watch_entries::grants(&self.0, &call, filter).map(Response::new)
    }

    async fn claim_grant(
        &self,
        request: Request<ClaimGrantRequest>,
    ) -> Result<Response<ClaimGrantResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let grant = fields.take("name", resource("grants", &call.message.name));
        let ttl = fields.take("ttl", parse::ttl(call.message.ttl.as_ref()));
        let (Some(grant), Some(ttl)) = (grant, ttl) else { return Err(fields.refuse()) };
        let claim = ClaimRequest { grant, ttl, idempotency_key: said(&call.message.idempotency_key) };
        let issued = self.0.issuer.claim(call.caller(), claim).await;
        let issued = convert_lease::issued(issued.map_err(|refusal| call.refused(&refusal))?);
        Ok(Response::new(ClaimGrantResponse { lease: issued.lease, credential: issued.credential }))
    }

    async fn extend_grant(
        &self,
        request: Request<ExtendGrantRequest>,
    ) -> Result<Response<ExtendGrantResponse>, Status> {
        let call = Call::of(request)?;
        let message = &call.message;
        let mut fields = Fields::default();
        let grant = fields.take("name", resource("grants", &message.name));
        let ttl = fields.take("ttl", parse::ttl(message.ttl.as_ref()));
        let (Some(grant), Some(ttl)) = (grant, ttl) else { return Err(fields.refuse()) };
        let new = NewExtension {
            grant,
            ttl,
            justification: message.justification.clone(),
            ticket: said(&message.ticket),
            idempotency_key: said(&message.idempotency_key),
        };
        let made = self.0.issuer.extend_grant(call.caller(), new).await;
        let made = made.map_err(|refusal| call.refused(&refusal))?;
        let seen = self.0.issuer.seen_by(call.caller(), made.request);
        Ok(Response::new(ExtendGrantResponse { request: Some(convert::request(&seen)) }))
    }

    async fn revoke_grant(
        &self,
        request: Request<RevokeGrantRequest>,
    ) -> Result<Response<RevokeGrantResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("grants", &call.message.name)?;
        let grant = self.0.issuer.revoke_grant(call.caller(), id, call.message.reason.clone()).await;
        let grant = grant.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RevokeGrantResponse { grant: Some(convert::grant(&grant)) }))
    }
}
