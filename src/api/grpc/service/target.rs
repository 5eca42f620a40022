//! `mayfly.v1.TargetService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert,
    page::{self, Listing},
    parse::{Fields, resource},
};
use crate::{
    api::proto::{
        self, ExamineTargetRequest, ExamineTargetResponse, ListTargetsRequest, ListTargetsResponse,
        ResealSecretsRequest, ResealSecretsResponse, RotateTargetRequest, RotateTargetResponse,
    },
    domain::TargetName,
};

/// The databases.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

#[async_trait]
impl proto::target_service_server::TargetService for Service {
    async fn list_targets(
        &self,
        request: Request<ListTargetsRequest>,
    ) -> Result<Response<ListTargetsResponse>, Status> {
        let call = Call::of(request)?;
        let listing = Listing::of("targets");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let after = listing.cursor(&call.message.page_token, |text| text.parse::<TargetName>().ok());
        let after = fields.take("page_token", after);
        let (Some(size), Some(after)) = (size, after) else { return Err(fields.refuse()) };
        let targets = self.0.issuer.targets(call.caller()).await;
        let mut targets = targets.map_err(|refusal| call.refused(&refusal))?;
        targets.retain(|status| after.as_ref().is_none_or(|after| status.target.name() > after));
        let cut = listing.cut(
            &targets,
            (size, false, self.0.reply_budget),
            |status| convert::target(status.clone()),
            |status| status.target.name().to_string(),
        );
        Ok(Response::new(ListTargetsResponse { targets: cut.messages, next_page_token: cut.next }))
    }

    async fn examine_target(
        &self,
        request: Request<ExamineTargetRequest>,
    ) -> Result<Response<ExamineTargetResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let name = fields.take("name", resource("targets", &call.message.name));
        let name = name.ok_or_else(|| fields.refuse())?;
        let found = self.0.issuer.examine_target(call.caller(), &name).await;
        Ok(Response::new(convert::examination(found.map_err(|refusal| call.refused(&refusal))?)))
    }

    async fn rotate_target(
        &self,
        request: Request<RotateTargetRequest>,
    ) -> Result<Response<RotateTargetResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let name = fields.take("name", resource("targets", &call.message.name));
        let name = name.ok_or_else(|| fields.refuse())?;
        let rotated = self.0.issuer.rotate_target(call.caller(), &name).await;
        let rotated = rotated.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RotateTargetResponse {
            name: format!("targets/{}", rotated.target),
            rotate_time: Some(convert::timestamp(rotated.at)),
            resumed: rotated.resumed,
        }))
    }

    async fn reseal_secrets(
        &self,
        request: Request<ResealSecretsRequest>,
    ) -> Result<Response<ResealSecretsResponse>, Status> {
        let call = Call::of(request)?;
        let done = self.0.issuer.reseal_secrets(call.caller()).await;
        let done = done.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(ResealSecretsResponse {
            resealed_count: done.resealed,
            unchanged_count: done.unchanged,
        }))
    }
}
