//! Signing in with another device: a code is shown here and typed there, and the server is asked whether that happened.

use std::time::Duration;

use tonic::Code;
use tonic_types::StatusExt as _;

use super::{Wanted, addressed, bare, begin};
use crate::{
    api::proto,
    cli::{CliError, Connection, Context, Exit, error::printable, view},
};

/// The shortest pause between two questions.
const SHORTEST: Duration = Duration::from_millis(500);

/// The pause when the server cannot say how long it should be.
const USUAL: Duration = Duration::from_secs(5);

pub(super) async fn sign_in(
    connection: &Connection,
    wanted: &Wanted,
    context: &mut Context,
) -> Result<proto::CompleteSignInResponse, CliError> {
    let begun = begin(connection, wanted, 0).await?;
    let url = addressed(&begun.verification_uri)?;
    let provider = printable(bare(&wanted.provider));
    context.output.note(&format!("to sign in at {provider}, open this on any device:"));
    context.output.note(&format!("  {url}"));
    context.output.note("and type the code");
    context.output.note(&format!("  {}", printable(&begun.user_code)));
    if let Ok(complete) = addressed(&begun.verification_uri_complete) {
        context.output.note("or open both at once:");
        context.output.note(&format!("  {complete}"));
    }
    let _spinner = context.output.spinner("waiting for somebody to sign in");
    let mut wait = pause(begun.poll_interval);
    loop {
        tokio::time::sleep(wait).await;
        let message = proto::CompleteSignInRequest {
            name: begun.name.clone(),
            secret: begun.secret.clone(),
            ..proto::CompleteSignInRequest::default()
        };
        match connection.sessions().complete_sign_in(connection.call(message)).await {
            Ok(reply) if reply.get_ref().session.is_some() => return Ok(reply.into_inner()),
            Ok(reply) => wait = pause(reply.into_inner().retry_delay),
            // Neither says anything about the sign-in, which goes on; its end does not depend on the server.
            Err(status) if matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) => {
                let told = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
                wait = told.unwrap_or(USUAL).max(SHORTEST);
            }
            Err(status) => return Err(connection.explain(&status)),
        }
        if view::moment(begun.expire_time).is_none_or(|until| until <= context.clock.now()) {
            let error = CliError::new(Exit::Unauthenticated, "nobody signed in with the code in time");
            return Err(error.hint("begin again with `mayfly login --device`"));
        }
    }
}

fn pause(told: Option<prost_types::Duration>) -> Duration {
    told.and_then(|told| told.try_into().ok()).unwrap_or(USUAL).max(SHORTEST)
}
