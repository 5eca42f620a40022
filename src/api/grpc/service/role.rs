//! `mayfly.v1.RoleService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert, convert_request,
    page::{self, Listing},
    parse::{self, Fields, resource},
};
use crate::{
    api::proto::{self, CheckRoleRequest, CheckRoleResponse, ListRolesRequest, ListRolesResponse},
    domain::RoleName,
};

/// What one can ask for.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

#[async_trait]
impl proto::role_service_server::RoleService for Service {
    async fn list_roles(
        &self,
        request: Request<ListRolesRequest>,
    ) -> Result<Response<ListRolesResponse>, Status> {
        let call = Call::of(request)?;
        let listing = Listing::of("roles");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let after = listing.cursor(&call.message.page_token, |text| text.parse::<RoleName>().ok());
        let after = fields.take("page_token", after);
        let (Some(size), Some(after)) = (size, after) else { return Err(fields.refuse()) };
        let mut roles = self.0.issuer.roles(call.caller());
        roles.retain(|offer| after.as_ref().is_none_or(|after| offer.role.name > *after));
        let cut = listing.cut(
            &roles,
            (size, false, self.0.reply_budget),
            |offer| convert::role(&offer.role, &*offer.target, (offer.allowed, offer.reviews)),
            |offer| offer.role.name.to_string(),
        );
        Ok(Response::new(ListRolesResponse { roles: cut.messages, next_page_token: cut.next }))
    }

    async fn check_role(
        &self,
        request: Request<CheckRoleRequest>,
    ) -> Result<Response<CheckRoleResponse>, Status> {
        let call = Call::of(request)?;
        let mut fields = Fields::default();
        let name = fields.take("name", resource("roles", &call.message.name));
        let ttl = fields.take("ttl", parse::ttl(call.message.ttl.as_ref()));
        let (Some(name), Some(ttl)) = (name, ttl) else { return Err(fields.refuse()) };
        let checked = self.0.issuer.check_role(call.caller(), &name, ttl).await;
        let (check, target) = checked.map_err(|refusal| call.refused(&refusal))?;
        let allowed = check.verdict.is_ok();
        let reviews = check.steps.iter().map(|step| step.quorum.max(1)).sum();
        Ok(Response::new(CheckRoleResponse {
            role: Some(convert::role(&check.role, &*target, (allowed, reviews))),
            allowed,
            reason: check.verdict.unwrap_or_else(|reason| reason),
            ttl: Some(convert::ttl(check.ttl)),
            live_leases: check.live,
            max_leases: check.role.limits.per_principal,
            steps: check.steps.iter().map(convert_request::step).collect(),
        }))
    }
}
