//! Signing in at an identity provider, of `mayfly.v1.SessionService`.

use tonic::Status;

use super::{
    super::{
        call::{OpenCall, Shared},
        convert,
        parse::{Fields, resource},
        status,
    },
    session,
};
use crate::{
    api::proto::{
        BeginSignInRequest, BeginSignInResponse, CompleteSignInRequest, CompleteSignInResponse,
        ListSignInProvidersResponse, SignInProvider,
    },
    domain::Password,
    issuer::{Brought, Completed, Completion, NewSignIn, SignInOffer, SignInWay},
};

/// The lowest port that a program of a person may listen at.
const LOWEST_PORT: u16 = 1024;

pub(super) fn providers(shared: &Shared) -> ListSignInProvidersResponse {
    let providers = shared.issuer.sign_in_providers().into_iter();
    let message = |(name, port): (String, Option<u16>)| SignInProvider {
        name: format!("providers/{name}"),
        redirect_port: port.map(i32::from).unwrap_or_default(),
    };
    ListSignInProvidersResponse { providers: providers.map(message).collect() }
}

pub(super) async fn begin(
    shared: &Shared,
    call: OpenCall<BeginSignInRequest>,
) -> Result<BeginSignInResponse, Status> {
    let OpenCall { address, message: asked } = call;
    let mut fields = Fields::default();
    let way = fields.take("redirect_port", way(&asked));
    let provider = fields.take("provider", resource::<String>("providers", &asked.provider));
    let (Some(way), Some(provider)) = (way, provider) else { return Err(fields.refuse()) };
    let new = NewSignIn { provider, way, fresh: asked.fresh, address };
    let begun = shared.issuer.begin_sign_in(new).await;
    let begun = begun.map_err(|refusal| status::refused_stranger(&refusal))?;
    let reply = BeginSignInResponse {
        name: begun.pending.name(),
        secret: begun.secret.expose().to_owned(),
        expire_time: Some(convert::timestamp(begun.pending.expires_at)),
        ..BeginSignInResponse::default()
    };
    Ok(match begun.offer {
        SignInOffer::Browser { url } => {
            let state = begun.secret.state().to_string();
            BeginSignInResponse { authorization_uri: url, state, ..reply }
        }
        SignInOffer::Device(offer) => BeginSignInResponse {
            verification_uri: offer.verification_uri,
            user_code: offer.user_code,
            verification_uri_complete: offer.verification_uri_complete.unwrap_or_default(),
            poll_interval: Some(prost_types::Duration { seconds: offer.interval.into(), nanos: 0 }),
            ..reply
        },
    })
}

fn way(asked: &BeginSignInRequest) -> Result<SignInWay, &'static str> {
    match (u16::try_from(asked.redirect_port), asked.device) {
        (Ok(0), true) => Ok(SignInWay::Device),
        (_, true) => Err("means nothing with another device"),
        (Ok(redirect_port @ LOWEST_PORT..), false) => Ok(SignInWay::Browser { redirect_port }),
        (_, false) => Err("is no port from 1024 to 65535"),
    }
}

pub(super) async fn complete(
    shared: &Shared,
    call: OpenCall<CompleteSignInRequest>,
) -> Result<CompleteSignInResponse, Status> {
    let OpenCall { address, message: asked } = call;
    let mut fields = Fields::default();
    let Some(id) = fields.take("name", resource("signIns", &asked.name)) else { return Err(fields.refuse()) };
    let state = Password::new(asked.state);
    let brought = match (asked.code, asked.error) {
        (code, error) if code.is_empty() && error.is_empty() => Brought::Nothing,
        (code, error) if error.is_empty() => {
            Brought::Code { code: Password::new(code), state, issuer: asked.issuer }
        }
        (_, error) => Brought::Error { error, state },
    };
    let completion = Completion { id, secret: Password::new(asked.secret), brought, address };
    let completed = shared.issuer.complete_sign_in(completion).await;
    match completed.map_err(|refusal| status::refused_stranger(&refusal))? {
        Completed::Begun(begun) => Ok(CompleteSignInResponse {
            session: Some(session::message(&begun.session)),
            secret: begun.secret.expose().to_owned(),
            retry_delay: None,
        }),
        Completed::Pending(wait) => Ok(CompleteSignInResponse {
            session: None,
            secret: String::new(),
            retry_delay: prost_types::Duration::try_from(wait).ok(),
        }),
    }
}
