//! `mayfly.v1.ServerService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert,
};
use super::session;
use crate::{
    api::proto::{self, GetServerInfoRequest, GetServerInfoResponse, WhoAmIRequest, WhoAmIResponse},
    policy,
};

/// The server and the caller.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

#[async_trait]
impl proto::server_service_server::ServerService for Service {
    async fn get_server_info(
        &self,
        _request: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        Ok(Response::new(GetServerInfoResponse { version: env!("CARGO_PKG_VERSION").to_owned() }))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let call = Call::of(request)?;
        let caller = call.caller();
        let session = self.0.issuer.session_of(caller).await.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(WhoAmIResponse {
            principal: caller.principal.name.to_string(),
            principal_kind: convert::kind(caller.principal.kind).into(),
            groups: caller.principal.groups.iter().map(ToString::to_string).collect(),
            token: caller.credential.to_string(),
            address: caller.address.map(|address| address.to_string()).unwrap_or_default(),
            administrator: policy::is_administrator(&caller.principal),
            session: session.map(|kept| session::message(&kept.document)),
            second_factor_time: caller.second_factor_at.map(convert::timestamp),
            attributes: caller.principal.attributes.clone().into_iter().collect(),
        }))
    }
}
