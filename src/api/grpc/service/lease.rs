//! `mayfly.v1.LeaseService`.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{
    super::{
        call::{Call, Shared},
        convert,
        page::{self, Listing},
        parse::{self, Fields, named, resource},
    },
    watch,
};
use crate::{
    api::proto::{
        self, GetLeaseRequest, GetLeaseResponse, IssueLeaseRequest, IssueLeaseResponse, ListLeasesRequest,
        ListLeasesResponse, ListSessionsRequest, ListSessionsResponse, ReleaseLeaseRequest,
        ReleaseLeaseResponse, RenewLeaseRequest, RenewLeaseResponse, RevokeLeaseRequest, RevokeLeaseResponse,
        RevokeLeasesRequest, RevokeLeasesResponse, WatchLeasesRequest, WatchLeasesResponse,
    },
    domain::{Lease, LeaseState},
    issuer::IssueRequest,
    store::PageRequest,
};

/// Issues, tracks and ends leases.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

impl Service {
    /// The lease once it has ended, if the caller waits for that and its deadline lets it; else as it is.
    async fn settled<T>(&self, call: &Call<T>, lease: Lease, wait: bool) -> proto::Lease {
        let issuer = &self.0.issuer;
        if !wait || matches!(lease.state, LeaseState::Ended { .. }) {
            return convert::lease(&lease);
        }
        let ended = tokio::select! {
            ended = issuer.ended(lease.id) => ended,
            () = call.deadline.nearly() => issuer.lease(call.caller(), lease.id).await,
            () = self.0.shutdown.cancelled() => issuer.lease(call.caller(), lease.id).await,
        };
        // It is ending, durably: not being able to look at it now is no reason to report a failure.
        convert::lease(&ended.unwrap_or(lease))
    }
}

#[async_trait]
impl proto::lease_service_server::LeaseService for Service {
    type WatchLeasesStream = ReceiverStream<Result<WatchLeasesResponse, Status>>;

    async fn issue_lease(
        &self,
        request: Request<IssueLeaseRequest>,
    ) -> Result<Response<IssueLeaseResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let role = fields.take("role", resource("roles", &call.message.role));
        let ttl = fields.take("ttl", parse::ttl(call.message.ttl.as_ref()));
        let (Some(role), Some(ttl)) = (role, ttl) else { return Err(fields.refuse()) };
        let key = &call.message.idempotency_key;
        let request = IssueRequest {
            role,
            ttl,
            purpose: call.message.purpose.clone(),
            idempotency_key: (!key.is_empty()).then(|| key.clone()),
        };
        let issued = self.0.issuer.issue(call.caller(), request).await;
        Ok(Response::new(convert::issued(issued.map_err(|refusal| call.refused(&refusal))?)))
    }

    async fn get_lease(
        &self,
        request: Request<GetLeaseRequest>,
    ) -> Result<Response<GetLeaseResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("leases", &call.message.name)?;
        let lease = self.0.issuer.lease(call.caller(), id).await;
        let lease = lease.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(GetLeaseResponse { lease: Some(convert::lease(&lease)) }))
    }

    async fn list_leases(
        &self,
        request: Request<ListLeasesRequest>,
    ) -> Result<Response<ListLeasesResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let filter = parse::lease_filter(&mut fields, call.message.filter.as_ref());
        let (Some(size), Some(filter)) = (size, filter) else { return Err(fields.refuse()) };
        let listing = Listing::of_leases(&filter);
        let before = listing.cursor(&call.message.page_token, |text| text.parse().ok());
        let before = fields.take("page_token", before).ok_or_else(|| fields.refuse())?;
        let page = self.0.issuer.leases(call.caller(), filter, PageRequest { size, before }).await;
        let page = page.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, page.next.is_some(), self.0.reply_budget);
        let cut = listing.cut(&page.items, bounds, convert::lease, |lease| lease.id.to_string());
        Ok(Response::new(ListLeasesResponse { leases: cut.messages, next_page_token: cut.next }))
    }

    async fn watch_leases(
        &self,
        request: Request<WatchLeasesRequest>,
    ) -> Result<Response<Self::WatchLeasesStream>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let filter = parse::lease_filter(&mut fields, call.message.filter.as_ref());
        let filter = filter.ok_or_else(|| fields.refuse())?;
        watch::leases(&self.0, &call, filter).await.map(Response::new)
    }

    async fn renew_lease(
        &self,
        request: Request<RenewLeaseRequest>,
    ) -> Result<Response<RenewLeaseResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let id = fields.take("name", resource("leases", &call.message.name));
        let ttl = fields.take("ttl", parse::ttl(call.message.ttl.as_ref()));
        let (Some(id), Some(ttl)) = (id, ttl) else { return Err(fields.refuse()) };
        let lease = self.0.issuer.renew(call.caller(), id, ttl).await;
        let lease = lease.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RenewLeaseResponse { lease: Some(convert::lease(&lease)) }))
    }

    async fn release_lease(
        &self,
        request: Request<ReleaseLeaseRequest>,
    ) -> Result<Response<ReleaseLeaseResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("leases", &call.message.name)?;
        let lease = self.0.issuer.release(call.caller(), id).await;
        let lease = lease.map_err(|refusal| call.refused(&refusal))?;
        let lease = self.settled(&call, lease, call.message.wait).await;
        Ok(Response::new(ReleaseLeaseResponse { lease: Some(lease) }))
    }

    async fn revoke_lease(
        &self,
        request: Request<RevokeLeaseRequest>,
    ) -> Result<Response<RevokeLeaseResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("leases", &call.message.name)?;
        let lease = self.0.issuer.revoke(call.caller(), id, call.message.reason.clone()).await;
        let lease = lease.map_err(|refusal| call.refused(&refusal))?;
        let lease = self.settled(&call, lease, call.message.wait).await;
        Ok(Response::new(RevokeLeaseResponse { lease: Some(lease) }))
    }

    async fn revoke_leases(
        &self,
        request: Request<RevokeLeasesRequest>,
    ) -> Result<Response<RevokeLeasesResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let filter = parse::lease_filter(&mut fields, call.message.filter.as_ref());
        let filter = filter.ok_or_else(|| fields.refuse())?;
        let revoked = self.0.issuer.revoke_all(call.caller(), filter, call.message.reason.clone()).await;
        let revoked_count = revoked.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RevokeLeasesResponse { revoked_count }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("leases", &call.message.name)?;
        let sessions = self.0.issuer.sessions(call.caller(), id).await;
        let sessions = sessions.map_err(|refusal| call.refused(&refusal))?;
        let sessions = sessions.into_iter().map(convert::session).collect();
        Ok(Response::new(ListSessionsResponse { sessions }))
    }
}
