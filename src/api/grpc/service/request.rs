//! `mayfly.v1.RequestService`.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::super::call::Shared;
use crate::api::proto::{
    self, CancelRequestRequest, CancelRequestResponse, CreateRequestRequest, CreateRequestResponse,
    GetRequestRequest, GetRequestResponse, ListRequestsRequest, ListRequestsResponse, ReviewRequestRequest,
    ReviewRequestResponse, WatchRequestRequest, WatchRequestResponse, WatchRequestsRequest,
    WatchRequestsResponse,
};

/// Asks for access, and decides on what others ask for.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

impl Service {
    fn not_yet(&self) -> Status {
        tracing::debug!(down = self.0.shutdown.is_cancelled(), "asked for what is not built yet");
        Status::unimplemented("this server does not do that yet")
    }
}

#[async_trait]
impl proto::request_service_server::RequestService for Service {
    type WatchRequestStream = ReceiverStream<Result<WatchRequestResponse, Status>>;
    type WatchRequestsStream = ReceiverStream<Result<WatchRequestsResponse, Status>>;

    async fn create_request(
        &self,
        _: Request<CreateRequestRequest>,
    ) -> Result<Response<CreateRequestResponse>, Status> {
        Err(self.not_yet())
    }

    async fn get_request(
        &self,
        _: Request<GetRequestRequest>,
    ) -> Result<Response<GetRequestResponse>, Status> {
        Err(self.not_yet())
    }

    async fn list_requests(
        &self,
        _: Request<ListRequestsRequest>,
    ) -> Result<Response<ListRequestsResponse>, Status> {
        Err(self.not_yet())
    }

    async fn watch_request(
        &self,
        _: Request<WatchRequestRequest>,
    ) -> Result<Response<Self::WatchRequestStream>, Status> {
        Err(self.not_yet())
    }

    async fn watch_requests(
        &self,
        _: Request<WatchRequestsRequest>,
    ) -> Result<Response<Self::WatchRequestsStream>, Status> {
        Err(self.not_yet())
    }

    async fn cancel_request(
        &self,
        _: Request<CancelRequestRequest>,
    ) -> Result<Response<CancelRequestResponse>, Status> {
        Err(self.not_yet())
    }

    async fn review_request(
        &self,
        _: Request<ReviewRequestRequest>,
    ) -> Result<Response<ReviewRequestResponse>, Status> {
        Err(self.not_yet())
    }
}
