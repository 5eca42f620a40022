//! What carries every call: the channel, and what says who calls.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tonic::{
    Code, Request, Status,
    body::Body,
    codegen::{StdError, http},
    metadata::{Ascii, MetadataMap, MetadataValue},
    transport::Channel,
};
use tower::Service;

use super::{CliError, identity_token::IdentitySource, token_source::BearerToken};
use crate::{
    api::proto::{ExchangeRequest, session_service_client::SessionServiceClient},
    clock::{Clock, SystemClock},
};

/// What says who calls.
#[derive(Clone)]
pub(super) enum Bearer {
    /// Nothing, or the certificate of the connection.
    Nothing,
    /// A token.
    Token(BearerToken),
    /// A session that a JWT is exchanged for.
    Identity(Arc<SignedIn>),
}

impl Bearer {
    async fn header(&self) -> Result<Option<MetadataValue<Ascii>>, Status> {
        match self {
            Bearer::Nothing => Ok(None),
            Bearer::Token(token) => Ok(Some(token.header())),
            Bearer::Identity(identity) => identity.header().await.map(Some),
        }
    }
}

/// Somebody whom a JWT makes known. The JWT is exchanged for a session with the first call, since one may be good only once and
/// a command makes several; and anew, with a new JWT, before the session ends, or lapses because it was not used for a while.
pub(super) struct SignedIn {
    source: IdentitySource,
    channel: Channel,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    session: Mutex<Option<Session>>,
}

struct Session {
    header: MetadataValue<Ascii>,
    began_at: Timestamp,
    life: SignedDuration,
    used_at: Timestamp,
    /// Unused for so long, it lapses.
    idle: SignedDuration,
}

impl Session {
    /// Whether it lasts for a while yet: a part of its time, of four, is left.
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.began_at) < self.life * 3 / 4
            && now.duration_since(self.used_at) < self.idle * 3 / 4
    }

    fn lasts(&self, now: Timestamp) -> bool {
        now.duration_since(self.began_at) < self.life && now.duration_since(self.used_at) < self.idle
    }

    fn used(&mut self, now: Timestamp) -> MetadataValue<Ascii> {
        self.used_at = now;
        self.header.clone()
    }
}

impl SignedIn {
    pub(super) fn new(source: IdentitySource, channel: Channel, timeout: Duration) -> Self {
        Self { source, channel, timeout, clock: Arc::new(SystemClock), session: Mutex::default() }
    }

    async fn header(&self) -> Result<MetadataValue<Ascii>, Status> {
        let mut session = self.session.lock().await;
        let now = self.clock.now();
        if let Some(current) = session.as_mut().filter(|session| session.is_fresh(now)) {
            return Ok(current.used(now));
        }
        match (self.exchange(now).await, session.as_mut().filter(|session| session.lasts(now))) {
            (Ok(fresh), _) => Ok(session.insert(fresh).header.clone()),
            // A JWT from a variable is not renewed: the session lasts as long as it lasts.
            (Err(_), Some(current)) => Ok(current.used(now)),
            (Err(status), None) => Err(status),
        }
    }

    async fn exchange(&self, now: Timestamp) -> Result<Session, Status> {
        let jwt = self.source.token().await.map_err(|error| local(&error))?;
        let jwt = BearerToken::parse(&jwt, "the identity token").map_err(|error| local(&error))?;
        let mut request = Request::new(ExchangeRequest {});
        request.set_timeout(self.timeout);
        request.metadata_mut().insert("authorization", jwt.header());
        let reply = SessionServiceClient::new(self.channel.clone()).exchange(request).await?.into_inner();
        let header =
            BearerToken::parse(&reply.secret, "the session").map_err(|error| local(&error))?.header();
        let session = reply.session.unwrap_or_default();
        // By the server's clock it lasts so long; by ours it began now.
        let begun = session.create_time.unwrap_or_default().seconds;
        let until = |at: prost_types::Timestamp| SignedDuration::from_secs(at.seconds.saturating_sub(begun));
        let life = until(session.expire_time.unwrap_or_default());
        let idle = session.idle_time.map_or(life, until);
        Ok(Session { header, began_at: now, life, used_at: now, idle })
    }
}

fn local(error: &CliError) -> Status {
    Status::new(Code::Unauthenticated, error.to_string())
}

/// The channel, with what says who calls.
#[derive(Clone)]
pub struct Line {
    channel: Channel,
    bearer: Bearer,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn new(channel: Channel, bearer: Bearer) -> Self {
        Self { channel, bearer }
    }

    /// The same channel, for another caller.
    pub(super) fn with(&self, bearer: Bearer) -> Self {
        Self::new(self.channel.clone(), bearer)
    }
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, StdError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.channel.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The one that was asked whether it is ready is the one to call.
        let next = self.channel.clone();
        let mut ready = mem::replace(&mut self.channel, next);
        let bearer = self.bearer.clone();
        Box::pin(async move {
            if let Some(header) = bearer.header().await? {
                let mut metadata = MetadataMap::from_headers(mem::take(request.headers_mut()));
                metadata.insert("authorization", header);
                *request.headers_mut() = metadata.into_headers();
            }
            Ok(ready.call(request).await?)
        })
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
