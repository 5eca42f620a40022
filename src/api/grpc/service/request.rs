//! `mayfly.v1.RequestService`.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{
    super::{
        call::{Call, Shared},
        convert_request as convert,
        page::{self, Listing},
        parse::{self, Fields, named, resource},
    },
    watch_entries,
};
use crate::{
    api::proto::{
        self, CancelRequestRequest, CancelRequestResponse, CreateRequestRequest, CreateRequestResponse,
        GetRequestRequest, GetRequestResponse, ListRequestsRequest, ListRequestsResponse,
        ReviewRequestRequest, ReviewRequestResponse, WatchRequestRequest, WatchRequestResponse,
        WatchRequestsRequest, WatchRequestsResponse,
    },
    domain::{RoleName, TargetName, Verdict},
    issuer::{NewRequest, NewReview, RequestFilter, SeenRequest},
};

/// Asks for access, and decides on what others ask for.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

/// The text, unless it is empty.
pub(super) fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn filter(fields: &mut Fields, asked: Option<&proto::RequestFilter>) -> Option<RequestFilter> {
    let Some(asked) = asked else { return Some(RequestFilter::default()) };
    let states = fields.each("filter.states", &asked.states, |state| convert::request_state(*state));
    let requester = fields.take("filter.requester", parse::optional(&asked.requester, str::parse));
    let role =
        fields.take("filter.role", parse::optional(&asked.role, |text| resource::<RoleName>("roles", text)));
    let target = fields.take(
        "filter.target",
        parse::optional(&asked.target, |text| resource::<TargetName>("targets", text)),
    );
    let mut states: Vec<_> = states?.into_iter().flatten().collect();
    states.sort_unstable();
    states.dedup();
    Some(RequestFilter {
        states,
        requester: requester?,
        role: role?,
        target: target?,
        to_review: asked.to_review,
    })
}

impl Service {
    fn seen<T>(&self, call: &Call<T>, request: crate::domain::Request) -> proto::AccessRequest {
        convert::request(&self.0.issuer.seen_by(call.caller(), request))
    }
}

#[async_trait]
impl proto::request_service_server::RequestService for Service {
    type WatchRequestStream = ReceiverStream<Result<WatchRequestResponse, Status>>;
    type WatchRequestsStream = ReceiverStream<Result<WatchRequestsResponse, Status>>;

    async fn create_request(
        &self,
        request: Request<CreateRequestRequest>,
    ) -> Result<Response<CreateRequestResponse>, Status> {
        let call = Call::of(request)?;
        let message = &call.message;
        let mut fields = Fields::default();
        let role = fields.take("role", resource("roles", &message.role));
        let ttl = fields.take("ttl", parse::ttl(message.ttl.as_ref()));
        let start = fields.take("start_time", convert::moment(message.start_time.as_ref()));
        let (Some(role), Some(ttl), Some(start)) = (role, ttl, start) else { return Err(fields.refuse()) };
        let new = NewRequest {
            role,
            ttl,
            start,
            parallel: message.parallel,
            justification: message.justification.clone(),
            ticket: said(&message.ticket),
            idempotency_key: said(&message.idempotency_key),
        };
        let made = self.0.issuer.create_request(call.caller(), new).await;
        let made = made.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(CreateRequestResponse {
            grant: made.grant.as_ref().map(convert::grant),
            reused: made.reused,
            request: Some(self.seen(&call, made.request)),
        }))
    }

    async fn get_request(
        &self,
        request: Request<GetRequestRequest>,
    ) -> Result<Response<GetRequestResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("requests", &call.message.name)?;
        let seen = self.0.issuer.request(call.caller(), id).await;
        let seen = seen.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(GetRequestResponse { request: Some(convert::request(&seen)) }))
    }

    async fn list_requests(
        &self,
        request: Request<ListRequestsRequest>,
    ) -> Result<Response<ListRequestsResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let filter = filter(&mut fields, call.message.filter.as_ref());
        let (Some(size), Some(filter)) = (size, filter) else { return Err(fields.refuse()) };
        let listing = Listing::filtered("requests", &[format!("{filter:?}")]);
        let before = listing.cursor(&call.message.page_token, |text| text.parse().ok());
        let before = fields.take("page_token", before).ok_or_else(|| fields.refuse())?;
        let found = self.0.issuer.requests(call.caller(), &filter, (size, before)).await;
        let (seen, next) = found.map_err(|refusal| call.refused(&refusal))?;
        let id = |seen: &SeenRequest| seen.request.id.to_string();
        let cut = listing.cut(&seen, (size, false, self.0.reply_budget), convert::request, id);
        let next = if cut.messages.len() < seen.len() { cut.next } else { listing.go_on(next) };
        Ok(Response::new(ListRequestsResponse { requests: cut.messages, next_page_token: next }))
    }

    async fn watch_request(
        &self,
        request: Request<WatchRequestRequest>,
    ) -> Result<Response<Self::WatchRequestStream>, Status> {
        let call = Call::of(request)?;
        let id = named("requests", &call.message.name)?;
        watch_entries::request(&self.0, &call, id).await.map(Response::new)
    }

    async fn watch_requests(
        &self,
        request: Request<WatchRequestsRequest>,
    ) -> Result<Response<Self::WatchRequestsStream>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let filter = filter(&mut fields, call.message.filter.as_ref());
        let filter = filter.ok_or_else(|| fields.refuse())?;
        watch_entries::requests(&self.0, &call, filter).map(Response::new)
    }

    async fn cancel_request(
        &self,
        request: Request<CancelRequestRequest>,
    ) -> Result<Response<CancelRequestResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("requests", &call.message.name)?;
        let cancelled = self.0.issuer.cancel_request(call.caller(), id, call.message.reason.clone()).await;
        let cancelled = cancelled.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(CancelRequestResponse { request: Some(self.seen(&call, cancelled)) }))
    }

    async fn review_request(
        &self,
        request: Request<ReviewRequestRequest>,
    ) -> Result<Response<ReviewRequestResponse>, Status> {
        let call = Call::of(request)?;
        let message = &call.message;
        let mut fields = Fields::default();
        let id = fields.take("name", resource("requests", &message.name));
        let verdict = fields.take("verdict", convert::verdict(message.verdict));
        let ttl = fields.take("ttl", parse::ttl(message.ttl.as_ref()));
        let start = fields.take("start_time", convert::moment(message.start_time.as_ref()));
        let (Some(id), Some(verdict), Some(ttl), Some(start)) = (id, verdict, ttl, start) else {
            return Err(fields.refuse());
        };
        let verdict = match verdict {
            proto::Verdict::Approve => Verdict::Approve { ttl, start },
            _ => Verdict::Deny,
        };
        let review = NewReview { verdict, comment: message.comment.clone() };
        let reviewed = self.0.issuer.review_request(call.caller(), id, review).await;
        let reviewed = reviewed.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(ReviewRequestResponse { request: Some(self.seen(&call, reviewed)) }))
    }
}
