//! `mayfly.v1.SessionService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::{
    super::{
        call::{Call, OpenCall, Shared},
        convert,
        page::{self, Listing},
        parse::{self, Fields, named},
        status,
    },
    sign_in,
};
use crate::{
    api::proto::{
        self, BeginSignInRequest, BeginSignInResponse, CompleteSignInRequest, CompleteSignInResponse,
        ExchangeRequest, ExchangeResponse, ListSignInProvidersRequest, ListSignInProvidersResponse,
        ListSignInSessionsRequest, ListSignInSessionsResponse, RevokeSessionRequest, RevokeSessionResponse,
        SignInRequest, SignInResponse, SignOutRequest, SignOutResponse, StepUpRequest, StepUpResponse,
    },
    domain::{Password, PrincipalName},
    identity::{
        Credential,
        people::{Origin, Session},
    },
    issuer::Attempt,
};

/// Sessions.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

/// A session as its message.
pub(super) fn message(session: &Session) -> proto::SignInSession {
    let at = |at| Some(convert::timestamp(at));
    proto::SignInSession {
        name: session.name(),
        principal: session.principal.name.to_string(),
        principal_kind: convert::kind(session.principal.kind).into(),
        origin: match &session.origin {
            Origin::User { .. } => "user".to_owned(),
            Origin::Invitation { invitation } => format!("invitations/{invitation}"),
            Origin::Provider { provider, .. } => format!("providers/{provider}"),
        },
        create_time: at(session.created_at),
        expire_time: at(session.expires_at),
        idle_time: at(session.idle_at()),
        use_time: at(session.used_at),
        second_factor_time: session.second_factor_at.map(convert::timestamp),
        end_time: session.ended_at.map(convert::timestamp),
    }
}

#[async_trait]
impl proto::session_service_server::SessionService for Service {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let OpenCall { address, message: asked } = OpenCall::of(request);
        let attempt = Attempt {
            name: asked.user,
            password: Password::new(asked.password),
            code: Password::new(asked.code),
            address,
        };
        let begun = self.0.issuer.sign_in(attempt).await;
        let begun = begun.map_err(|refusal| status::refused_stranger(&refusal))?;
        Ok(Response::new(SignInResponse {
            session: Some(message(&begun.session)),
            secret: begun.secret.expose().to_owned(),
        }))
    }

    async fn list_sign_in_providers(
        &self,
        _: Request<ListSignInProvidersRequest>,
    ) -> Result<Response<ListSignInProvidersResponse>, Status> {
        Ok(Response::new(sign_in::providers(&self.0)))
    }

    async fn begin_sign_in(
        &self,
        request: Request<BeginSignInRequest>,
    ) -> Result<Response<BeginSignInResponse>, Status> {
        sign_in::begin(&self.0, OpenCall::of(request)).await.map(Response::new)
    }

    async fn complete_sign_in(
        &self,
        request: Request<CompleteSignInRequest>,
    ) -> Result<Response<CompleteSignInResponse>, Status> {
        sign_in::complete(&self.0, OpenCall::of(request)).await.map(Response::new)
    }

    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let call = Call::of(request)?;
        let begun = self.0.issuer.exchange(call.caller()).await;
        let begun = begun.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(ExchangeResponse {
            session: Some(message(&begun.session)),
            secret: begun.secret.expose().to_owned(),
        }))
    }

    async fn step_up(&self, request: Request<StepUpRequest>) -> Result<Response<StepUpResponse>, Status> {
        let mut call = Call::of(request)?;
        let code = Password::new(std::mem::take(&mut call.message.code));
        let session = self.0.issuer.step_up(call.caller(), &code).await;
        let session = session.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(StepUpResponse { session: Some(message(&session)) }))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let call = Call::of(request)?;
        let Credential::Session(id) = call.caller().credential else {
            let mut fields = Fields::default();
            fields.take::<(), _>(
                "authorization",
                Err("holds an API token: only a session can be signed out of"),
            );
            return Err(fields.refuse());
        };
        let session = self.0.issuer.end_session(call.caller(), id).await;
        let session = session.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(SignOutResponse { session: Some(message(&session)) }))
    }

    async fn list_sign_in_sessions(
        &self,
        request: Request<ListSignInSessionsRequest>,
    ) -> Result<Response<ListSignInSessionsResponse>, Status> {
        let call = Call::of(request)?;
        let asked = &call.message;
        let listing = Listing::of("sessions");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(asked.page_size));
        let before = listing.cursor(&asked.page_token, |text| text.parse().ok());
        let before = fields.take("page_token", before);
        let of = fields.take("principal", parse::optional(&asked.principal, str::parse::<PrincipalName>));
        let (Some(size), Some(before), Some(of)) = (size, before, of) else { return Err(fields.refuse()) };
        let limit = size.saturating_add(1);
        let found = self.0.issuer.signed_in(call.caller(), of.as_ref(), asked.everybody, before, limit).await;
        let found = found.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&found, bounds, message, |session| session.id.to_string());
        Ok(Response::new(ListSignInSessionsResponse { sessions: cut.messages, next_page_token: cut.next }))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let call = Call::of(request)?;
        let id = named("sessions", &call.message.name)?;
        let session = self.0.issuer.end_session(call.caller(), id).await;
        let session = session.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(RevokeSessionResponse { session: Some(message(&session)) }))
    }
}
