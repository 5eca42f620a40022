//! `mayfly.v1.GrantService`.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::super::call::Shared;
use crate::api::proto::{
    self, ClaimGrantRequest, ClaimGrantResponse, ExtendGrantRequest, ExtendGrantResponse, GetGrantRequest,
    GetGrantResponse, ListGrantsRequest, ListGrantsResponse, RevokeGrantRequest, RevokeGrantResponse,
    WatchGrantsRequest, WatchGrantsResponse,
};

/// What approvals opened: claimed, extended, taken back.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

impl Service {
    fn not_yet(&self) -> Status {
        tracing::debug!(down = self.0.shutdown.is_cancelled(), "asked for what is not built yet");
        Status::unimplemented("this server does not do that yet")
    }
}

#[async_trait]
impl proto::grant_service_server::GrantService for Service {
    type WatchGrantsStream = ReceiverStream<Result<WatchGrantsResponse, Status>>;

    async fn get_grant(&self, _: Request<GetGrantRequest>) -> Result<Response<GetGrantResponse>, Status> {
        Err(self.not_yet())
    }

    async fn list_grants(
        &self,
        _: Request<ListGrantsRequest>,
    ) -> Result<Response<ListGrantsResponse>, Status> {
        Err(self.not_yet())
    }

    async fn watch_grants(
        &self,
        _: Request<WatchGrantsRequest>,
    ) -> Result<Response<Self::WatchGrantsStream>, Status> {
        Err(self.not_yet())
    }

    async fn claim_grant(
        &self,
        _: Request<ClaimGrantRequest>,
    ) -> Result<Response<ClaimGrantResponse>, Status> {
        Err(self.not_yet())
    }

    async fn extend_grant(
        &self,
        _: Request<ExtendGrantRequest>,
    ) -> Result<Response<ExtendGrantResponse>, Status> {
        Err(self.not_yet())
    }

    async fn revoke_grant(
        &self,
        _: Request<RevokeGrantRequest>,
    ) -> Result<Response<RevokeGrantResponse>, Status> {
        Err(self.not_yet())
    }
}
