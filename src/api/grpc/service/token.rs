//! `mayfly.v1.TokenService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, Shared},
    convert,
    page::{self, Listing},
    parse::{self, Fields, named},
};
use crate::{
    api::proto::{
        self, CreateTokenRequest, CreateTokenResponse, ListTokensRequest, ListTokensResponse,
        RevokeTokenRequest, RevokeTokenResponse,
    },
    domain::GroupName,
    issuer::NewToken,
};

/// API tokens.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

fn new_token(asked: &CreateTokenRequest) -> Result<NewToken, Status> {
    let mut fields = Fields::default();
    let principal = fields.take("principal", asked.principal.parse());
    let kind = fields.take("principal_kind", convert::kind_from_proto(asked.principal_kind));
    let groups = fields.each("groups", &asked.groups, |group| group.parse::<GroupName>());
    let cidrs = fields.each("cidrs", &asked.cidrs, |cidr| parse::network(cidr));
    let life = fields.take("ttl", asked.ttl.as_ref().map(parse::duration).transpose());
    let (Some(principal), Some(kind), Some(groups), Some(cidrs), Some(life)) =
        (principal, kind, groups, cidrs, life)
    else {
        return Err(fields.refuse());
    };
    let groups = groups.into_iter().collect();
    Ok(NewToken { principal, kind, groups, cidrs, description: asked.description.clone(), life })
}

#[async_trait]
impl proto::token_service_server::TokenService for Service {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let call = Call::of(request)?;
        let new = new_token(&call.message)?;
        let minted = self.0.issuer.create_token(call.caller(), new).await;
        let minted = minted.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(CreateTokenResponse {
            token: Some(convert::token(&minted.stored)),
            secret: minted.secret.expose().to_owned(),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let call = Call::of(request)?;
        let listing = Listing::of("tokens");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let before = listing.cursor(&call.message.page_token, |text| text.parse().ok());
        let before = fields.take("page_token", before);
        let (Some(size), Some(before)) = (size, before) else { return Err(fields.refuse()) };
        // One more than asked for tells whether there are more.
        let tokens = self.0.issuer.tokens(call.caller(), before, size.saturating_add(1)).await;
        let tokens = tokens.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&tokens, bounds, convert::token, |token| token.id.to_string());
        Ok(Response::new(ListTokensResponse { tokens: cut.messages, next_page_token: cut.next }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("tokens", &call.message.name)?;
        let token = self.0.issuer.revoke_token(call.caller(), id).await;
        let token = token.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RevokeTokenResponse { token: Some(convert::token(&token)) }))
    }
}
