//! `mayfly.v1.BreakGlassService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::{
    super::{
        call::{Call, Shared},
        convert, convert_request,
        page::{self, Listing},
        parse::{self, Fields, resource},
    },
    request::said,
};
use crate::{
    api::proto::{
        self, BreakGlassRequest, BreakGlassResponse, ListBreakGlassUsesRequest, ListBreakGlassUsesResponse,
        SignOffBreakGlassRequest, SignOffBreakGlassResponse,
    },
    domain::RequestId,
    issuer::BreakGlass,
};

/// Access without reviews.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

#[async_trait]
impl proto::break_glass_service_server::BreakGlassService for Service {
    async fn break_glass(
        &self,
        request: Request<BreakGlassRequest>,
    ) -> Result<Response<BreakGlassResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let role = fields.take("role", resource("roles", &call.message.role));
        let ttl = fields.take("ttl", parse::ttl(call.message.ttl.as_ref()));
        let (Some(role), Some(ttl)) = (role, ttl) else { return Err(fields.refuse()) };
        let (reason, ticket) = (call.message.reason.clone(), said(&call.message.ticket));
        let wanted = BreakGlass { role, ttl, reason, ticket };
        let broken = self.0.issuer.break_glass(call.caller(), wanted).await;
        let (request, issued) = broken.map_err(|refusal| call.refused(&refusal))?;
        let seen = self.0.issuer.seen_by(call.caller(), request);
        let issued = convert::issued(issued);
        Ok(Response::new(BreakGlassResponse {
            request: Some(convert_request::request(&seen)),
            lease: issued.lease,
            credential: issued.credential,
        }))
    }

    async fn list_break_glass_uses(
        &self,
        request: Request<ListBreakGlassUsesRequest>,
    ) -> Result<Response<ListBreakGlassUsesResponse>, Status> {
        let call = Call::of(request)?;
        let all = call.message.all;
        let listing = Listing::filtered("break-glass", &[all.to_string()]);
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let before = listing.cursor(&call.message.page_token, |text| text.parse::<RequestId>().ok());
        let before = fields.take("page_token", before);
        let (Some(size), Some(before)) = (size, before) else { return Err(fields.refuse()) };
        // One more than asked for tells whether there are more.
        let part = (size.saturating_add(1), before);
        let uses = self.0.issuer.break_glass_uses(call.caller(), all, part).await;
        let uses = uses.map_err(|refusal| call.refused(&refusal))?;
        let seen: Vec<_> =
            uses.into_iter().map(|request| self.0.issuer.seen_by(call.caller(), request)).collect();
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&seen, bounds, convert_request::request, |seen| seen.request.id.to_string());
        Ok(Response::new(ListBreakGlassUsesResponse { requests: cut.messages, next_page_token: cut.next }))
    }

    async fn sign_off_break_glass(
        &self,
        request: Request<SignOffBreakGlassRequest>,
    ) -> Result<Response<SignOffBreakGlassResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let id = fields.take("name", resource::<RequestId>("requests", &call.message.name));
        let id = id.ok_or_else(|| fields.refuse())?;
        let signed = self.0.issuer.sign_off(call.caller(), id, call.message.comment.clone()).await;
        let signed = signed.map_err(|refusal| call.refused(&refusal))?;
        let seen = self.0.issuer.seen_by(call.caller(), signed);
        Ok(Response::new(SignOffBreakGlassResponse { request: Some(convert_request::request(&seen)) }))
    }
}
