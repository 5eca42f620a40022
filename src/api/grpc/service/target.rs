//! `mayfly.v1.TargetService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert,
    page::{self, Listing},
    parse::{Fields, named, resource},
};
use crate::{
    api::proto::{
        self, AcceptServerRequest, AcceptServerResponse, ExamineTargetRequest, ExamineTargetResponse,
        ListCheckoutsRequest, ListCheckoutsResponse, ListTargetsRequest, ListTargetsResponse,
        ReconcileTargetRequest, ReconcileTargetResponse, ResealSecretsRequest, ResealSecretsResponse,
        RotateTargetRequest, RotateTargetResponse,
    },
    domain::{TargetName, Waiter},
    issuer::{CheckedOut, Mode},
    store::Document as _,
    target::ServerIdentity,
};

/// Bytes of the longest identity a server can have.
const LONGEST_IDENTITY: usize = 200;

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
        let name = named("targets", &call.message.name)?;
        let found = self.0.issuer.examine_target(call.caller(), &name).await;
        Ok(Response::new(convert::examination(found.map_err(|refusal| call.refused(&refusal))?)))
    }

    async fn reconcile_target(
        &self,
        request: Request<ReconcileTargetRequest>,
    ) -> Result<Response<ReconcileTargetResponse>, Status> {
        let call = Call::of(request)?;
        let name = named("targets", &call.message.name)?;
        let mode = if call.message.dry_run { Mode::DryRun } else { Mode::Act };
        let report = self.0.issuer.reconcile_target(call.caller(), &name, mode).await;
        let report = report.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(convert::reconciled(report, self.0.reply_budget)))
    }

    async fn accept_server(
        &self,
        request: Request<AcceptServerRequest>,
    ) -> Result<Response<AcceptServerResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let name: Option<TargetName> = fields.take("name", resource("targets", &call.message.name));
        let identity = fields.take("identity", identity(&call.message));
        let (Some(name), Some(identity)) = (name, identity) else { return Err(fields.refuse()) };
        let succession = if call.message.validate_only {
            self.0.issuer.succession(call.caller(), &name).await
        } else {
            self.0.issuer.accept_server(call.caller(), &name, &identity).await
        };
        let succession = succession.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(convert::succession(succession)))
    }

    async fn rotate_target(
        &self,
        request: Request<RotateTargetRequest>,
    ) -> Result<Response<RotateTargetResponse>, Status> {
        let call = Call::of(request)?;
        let name = named("targets", &call.message.name)?;
        let rotated = self.0.issuer.rotate_target(call.caller(), &name).await;
        let rotated = rotated.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RotateTargetResponse {
            name: format!("targets/{}", rotated.target),
            rotate_time: Some(convert::timestamp(rotated.at)),
            resumed: rotated.resumed,
        }))
    }

    async fn list_checkouts(
        &self,
        request: Request<ListCheckoutsRequest>,
    ) -> Result<Response<ListCheckoutsResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let asked = Some(&call.message.target).filter(|target| !target.is_empty());
        let target = fields.take("target", asked.map(|target| resource("targets", target)).transpose());
        let size = fields.take("page_size", page::size(call.message.page_size));
        let (Some(target), Some(size)) = (target, size) else { return Err(fields.refuse()) };
        let filter: Option<TargetName> = target;
        let parts = [filter.as_ref().map(ToString::to_string).unwrap_or_default()];
        let listing = Listing::filtered("checkouts", &parts);
        let before = listing.cursor(&call.message.page_token, |text| Some(text.to_owned()));
        let before = fields.take("page_token", before).ok_or_else(|| fields.refuse())?;
        let found = self.0.issuer.checkouts(call.caller(), filter.as_ref(), (before, size)).await;
        let (found, next) = found.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, next.is_some(), self.0.reply_budget);
        let cut = listing.cut(&found, bounds, checkout, |found| found.checkout.id());
        Ok(Response::new(ListCheckoutsResponse { checkouts: cut.messages, next_page_token: cut.next }))
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

fn checkout(found: &CheckedOut) -> proto::Checkout {
    let waiter = |waiter: &Waiter| proto::Waiter {
        principal: waiter.principal.to_string(),
        role: format!("roles/{}", waiter.role),
        since_time: Some(convert::timestamp(waiter.since)),
    };
    proto::Checkout {
        target: format!("targets/{}", found.checkout.target),
        account: found.checkout.account.name.to_string(),
        lease: found.holder.as_ref().map(convert::lease),
        waiting: found.checkout.waiting.iter().map(waiter).collect(),
    }
}

/// The server that is meant; it may stay unnamed when nothing is agreed to yet.
fn identity(message: &AcceptServerRequest) -> Result<ServerIdentity, &'static str> {
    let text = message.identity.as_str();
    if text.is_empty() && !message.validate_only {
        return Err("say which server is meant");
    }
    if text.len() > LONGEST_IDENTITY || text.chars().any(char::is_control) {
        return Err("is at most 200 bytes on one line");
    }
    Ok(ServerIdentity(text.to_owned()))
}
