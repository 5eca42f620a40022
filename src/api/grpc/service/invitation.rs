//! `mayfly.v1.InvitationService`.

use std::sync::Arc;

use jiff::Timestamp;
use tonic::{Request, Response, Status, async_trait};

use super::{
    super::{
        call::{Call, OpenCall, Shared},
        convert,
        page::{self, Listing},
        parse::{self, Fields, named, resource},
        status,
    },
    session,
};
use crate::{
    api::proto::{
        self, ClaimInvitationRequest, ClaimInvitationResponse, CreateInvitationRequest,
        CreateInvitationResponse, ListInvitationsRequest, ListInvitationsResponse, RevokeInvitationRequest,
        RevokeInvitationResponse,
    },
    domain::{GroupName, Password},
    identity::people::Invitation,
    issuer::NewInvitation,
};

/// Contractors' invitations.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

fn message(invitation: &Invitation) -> proto::Invitation {
    proto::Invitation {
        name: invitation.to_string(),
        contractor: invitation.label.to_string(),
        mail: invitation.mail.clone(),
        roles: invitation.roles.iter().map(|role| format!("roles/{role}")).collect(),
        groups: invitation.groups.iter().map(ToString::to_string).collect(),
        purpose: invitation.purpose.clone(),
        sponsor: invitation.sponsor.to_string(),
        cidrs: invitation.cidrs.iter().map(ToString::to_string).collect(),
        start_time: Some(convert::timestamp(invitation.valid_from)),
        expire_time: Some(convert::timestamp(invitation.valid_until)),
        failures: invitation.failures,
        create_time: Some(convert::timestamp(invitation.created_at)),
        claim_time: invitation.claimed_at.map(convert::timestamp),
        revoke_time: invitation.revoked_at.map(convert::timestamp),
        principal: invitation.principal().map(|principal| principal.name.to_string()).unwrap_or_default(),
    }
}

fn moment(at: prost_types::Timestamp) -> Result<Timestamp, &'static str> {
    Timestamp::new(at.seconds, at.nanos).map_err(|_| "is no moment")
}

fn new_invitation(asked: &CreateInvitationRequest) -> Result<NewInvitation, Status> {
    let mut fields = Fields::default();
    let label = fields.take("contractor", asked.contractor.parse());
    let roles = fields.each("roles", &asked.roles, |role| resource("roles", role));
    let groups = fields.each("groups", &asked.groups, |group| group.parse::<GroupName>());
    let cidrs = fields.each("cidrs", &asked.cidrs, |cidr| parse::network(cidr));
    let start = fields.take("start_time", asked.start_time.map(moment).transpose());
    let window = fields.take("window", asked.window.as_ref().map(parse::duration).transpose());
    let (Some(label), Some(roles), Some(groups), Some(cidrs), Some(start), Some(window)) =
        (label, roles, groups, cidrs, start, window)
    else {
        return Err(fields.refuse());
    };
    Ok(NewInvitation {
        label,
        mail: asked.mail.clone(),
        roles: roles.into_iter().collect(),
        groups: groups.into_iter().collect(),
        purpose: asked.purpose.clone(),
        cidrs,
        start,
        window,
    })
}

#[async_trait]
impl proto::invitation_service_server::InvitationService for Service {
    async fn create_invitation(
        &self,
        request: Request<CreateInvitationRequest>,
    ) -> Result<Response<CreateInvitationResponse>, Status> {
        let call = Call::of(request)?;
        let new = new_invitation(&call.message)?;
        let invited = self.0.issuer.invite(call.caller(), new).await;
        let invited = invited.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(CreateInvitationResponse {
            invitation: Some(message(&invited.invitation)),
            code: invited.code.expose(),
        }))
    }

    async fn list_invitations(
        &self,
        request: Request<ListInvitationsRequest>,
    ) -> Result<Response<ListInvitationsResponse>, Status> {
        let call = Call::of(request)?;
        let asked = &call.message;
        let listing = Listing::of("invitations");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(asked.page_size));
        let before = listing.cursor(&asked.page_token, |text| text.parse().ok());
        let before = fields.take("page_token", before);
        let (Some(size), Some(before)) = (size, before) else { return Err(fields.refuse()) };
        let limit = size.saturating_add(1);
        let found = self.0.issuer.invitations(call.caller(), asked.everybody, before, limit).await;
        let found = found.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&found, bounds, message, |invitation| invitation.id.to_string());
        Ok(Response::new(ListInvitationsResponse { invitations: cut.messages, next_page_token: cut.next }))
    }

    async fn revoke_invitation(
        &self,
        request: Request<RevokeInvitationRequest>,
    ) -> Result<Response<RevokeInvitationResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("invitations", &call.message.name)?;
        let revoked = self.0.issuer.revoke_invitation(call.caller(), id).await;
        let revoked = revoked.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RevokeInvitationResponse { invitation: Some(message(&revoked)) }))
    }

    async fn claim_invitation(
        &self,
        request: Request<ClaimInvitationRequest>,
    ) -> Result<Response<ClaimInvitationResponse>, Status> {
        let OpenCall { address, message: asked } = OpenCall::of(request);
        let begun = self.0.issuer.claim_invitation(&Password::new(asked.code), address).await;
        let begun = begun.map_err(|refusal| status::refused_stranger(&refusal))?;
        Ok(Response::new(ClaimInvitationResponse {
            session: Some(session::message(&begun.session)),
            secret: begun.secret.expose().to_owned(),
        }))
    }
}
