//! The gate in front of every service: who calls, how often, how many at once, for how long.
//!
//! It works on headers only, so a caller that is refused has no message read. Whatever is not listed as open needs a
//! token, services and methods that do not exist included.

use std::{
    convert::Infallible,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout_at};
use tonic::{
    Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response, header::AUTHORIZATION},
};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{
    call::Session,
    connection::Peer,
    deadline::Deadline,
    rate::{Rate, RateLimiter},
    settings::GrpcSettings,
    status,
};
use crate::{
    clock::Clock,
    domain::PrincipalName,
    identity::{AuthenticationError, Authenticator, Presented, Rejected, certificate::ClientCertificate},
};

/// Rejections that are audited per address; a flood of further ones is refused without a record of each.
const REJECTIONS: (u32, u32) = (1, 20);

/// Calls at once of callers without a token. They have places of their own, so that nobody unknown takes those of callers.
const OPEN_CALLS: usize = 64;

/// Attempts to sign in from one address: a household of people behind one, and no more guesses than that.
const SIGN_INS: (u32, u32) = (1, 20);

/// When trying again makes sense after too many calls at once, at the earliest and at the latest: those who are told so at the same
/// time are not to come at the same time.
const OVERLOADED: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(750));

/// Into how many moments the time between is parted.
const MOMENTS: u32 = 16;

/// Of the places for calls, how many parts of four calls for credentials can take. They wait for their turn, and must not keep others
/// from being let in that give leases back, renew or revoke them.
const ISSUING_PARTS: usize = 3;

/// Who may pass without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Probes: neither counted nor authenticated, so that an overloaded server still says how it is.
    Probe,
    /// Anybody, but only so many at once.
    Open,
    /// Anybody, so many at once, and so often from one address: what is presented is in the message.
    SignIn,
    /// Only callers with a token.
    Authenticated,
}

impl Access {
    fn to(path: &str) -> Self {
        if path.starts_with("/grpc.health.v1.Health/") {
            return Access::Probe;
        }
        if path == "/mayfly.v1.ServerService/GetServerInfo"
            || path == "/mayfly.v1.SessionService/ListSignInProviders"
            || path.starts_with("/grpc.reflection.v1.ServerReflection/")
        {
            return Access::Open;
        }
        if matches!(
            path,
            "/mayfly.v1.InvitationService/ClaimInvitation"
                | "/mayfly.v1.SessionService/BeginSignIn"
                | "/mayfly.v1.SessionService/CompleteSignIn"
                | "/mayfly.v1.SessionService/SignIn"
                | "/mayfly.v1.UserService/EnrolUser"
        ) {
            return Access::SignIn;
        }
        Access::Authenticated
    }
}

/// Whether a call asks for a credential, and so may have to wait. In an emergency one does not wait.
fn asks_for_credential(path: &str) -> bool {
    matches!(path, "/mayfly.v1.LeaseService/IssueLease" | "/mayfly.v1.GrantService/ClaimGrant")
}

/// What the gate decides by.
pub(super) struct Gatekeeper {
    authenticator: Arc<Authenticator>,
    calls: Semaphore,
    issuing: Semaphore,
    open_calls: Semaphore,
    turned_away: AtomicU32,
    rate: Option<RateLimiter<PrincipalName>>,
    rejections: Option<RateLimiter<IpAddr>>,
    sign_ins: Option<RateLimiter<IpAddr>>,
}

impl Gatekeeper {
    pub(super) fn new(
        settings: &GrpcSettings,
        authenticator: Arc<Authenticator>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let per_address = |(per_second, burst)| {
            Rate::new(per_second, burst).map(|rate| RateLimiter::new(Arc::clone(clock), rate))
        };
        let calls = settings.max_concurrent_calls.min(Semaphore::MAX_PERMITS);
        Self {
            authenticator,
            calls: Semaphore::new(calls),
            issuing: Semaphore::new((calls / 4 * ISSUING_PARTS).max(1)),
            turned_away: AtomicU32::new(0),
            open_calls: Semaphore::new(OPEN_CALLS),
            rate: settings.rate_per_principal.map(|rate| RateLimiter::new(Arc::clone(clock), rate)),
            rejections: per_address(REJECTIONS),
            sign_ins: per_address(SIGN_INS),
        }
    }

    async fn pass<S>(&self, mut request: Request<Body>, mut inner: S) -> Result<Response<Body>, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let access = Access::to(request.uri().path());
        let places = match access {
            Access::Probe => return Ok(infallible(inner.call(request).await)),
            Access::Open | Access::SignIn => &self.open_calls,
            Access::Authenticated => &self.calls,
        };
        // Held until the reply begins: a unary call is over by then, and streams have a limit of their own.
        let _permit = places.try_acquire().map_err(|_| self.turn_away())?;
        let _issuing = if asks_for_credential(request.uri().path()) {
            Some(self.issuing.try_acquire().map_err(|_| self.turn_away())?)
        } else {
            None
        };
        let deadline = Deadline::of(request.headers());
        let peer = request.extensions().get::<Peer>();
        let address = peer.map(|peer| peer.address.ip().to_canonical());
        let certificate = peer.and_then(|peer| peer.certificate.clone());
        if access == Access::SignIn {
            self.admit_attempt(address)?;
        }
        let span =
            tracing::info_span!("call", path = request.uri().path(), principal = tracing::field::Empty);
        let work = async {
            if access == Access::Authenticated {
                let session = self.admit(address, certificate, request.headers()).await?;
                let principal = session.caller().principal.name.as_str();
                tracing::Span::current().record("principal", principal);
                request.extensions_mut().insert(Arc::new(session));
            }
            request.extensions_mut().insert(deadline);
            Ok(infallible(inner.call(request).await))
        };
        let done = timeout_at(deadline.at(), work.instrument(span)).await;
        done.unwrap_or_else(|_| Err(status::deadline_exceeded()))
    }

    /// There is no place: each who is told so comes back at another moment.
    fn turn_away(&self) -> Status {
        let (earliest, latest) = OVERLOADED;
        let moment = self.turned_away.fetch_add(1, Ordering::Relaxed) % MOMENTS;
        let wait = earliest + latest.saturating_sub(earliest) * moment / MOMENTS;
        status::exhausted("OVERLOADED", "server", "Mayfly has as many calls under way as it may", wait)
    }

    /// The caller, if it may call now.
    async fn admit(
        &self,
        address: Option<IpAddr>,
        certificate: Option<Arc<ClientCertificate>>,
        headers: &HeaderMap,
    ) -> Result<Session, Status> {
        let bearer = match bearer(headers) {
            Ok(bearer) => bearer,
            Err(error) => return Err(self.reject(error.into(), address).await),
        };
        let presented = Presented { bearer, certificate: certificate.as_deref() };
        let caller = match self.authenticator.recognise(presented, address).await {
            Ok(caller) => caller,
            Err(rejected) => return Err(self.reject(rejected, address).await),
        };
        if let Some(rate) = &self.rate
            && let Err(wait) = rate.take(caller.principal.name.clone())
        {
            let message = "more calls than this principal may make";
            return Err(status::exhausted("RATE_LIMITED", caller.principal.name.as_str(), message, wait));
        }
        Ok(Session::new(caller, bearer, certificate))
    }

    /// Lets an attempt to sign in pass, unless its address made too many.
    fn admit_attempt(&self, address: Option<IpAddr>) -> Result<(), Status> {
        let key = address.map_or(IpAddr::from([0, 0, 0, 0]), network_of);
        let taken = self.sign_ins.as_ref().map_or(Ok(()), |sign_ins| sign_ins.take(key));
        taken.map_err(|wait| {
            let message = "too many attempts to sign in came from this address";
            status::exhausted("SIGN_INS_LIMITED", "address", message, wait)
        })
    }

    /// Audits a rejection, unless its address has had so many that they are a flood.
    async fn reject(&self, rejected: Rejected, address: Option<IpAddr>) -> Status {
        // A store that does not answer says nothing about who calls: its outage must not shut callers out beyond its end.
        if matches!(rejected.error, AuthenticationError::Store(_)) {
            return status::unauthenticated(&rejected.error);
        }
        let key = address.map_or(IpAddr::from([0, 0, 0, 0]), network_of);
        match self.rejections.as_ref().map_or(Ok(()), |rejections| rejections.take(key)) {
            Ok(()) => status::unauthenticated(&self.authenticator.record(rejected, address).await),
            Err(wait) => {
                let message = "too many calls that were not accepted came from this address";
                status::exhausted("REJECTIONS_LIMITED", "address", message, wait)
            }
        }
    }
}

/// What one caller holds: an IPv4 address, or an IPv6 network of 64 bits, within which addresses cost nothing.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

/// The token in a request's headers.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthenticationError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(AuthenticationError::Header("is there more than once"));
    }
    let text = value.to_str().map_err(|_| AuthenticationError::Header("has characters beyond ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token)),
        _ => Err(AuthenticationError::Header("is not of the form \"Bearer …\"")),
    }
}

fn infallible<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Puts a [`Gate`] in front of a service.
#[derive(Clone)]
pub(super) struct GateLayer(pub(super) Arc<Gatekeeper>);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, keeper: Arc::clone(&self.0) }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(super) struct Gate<S> {
    inner: S,
    keeper: Arc<Gatekeeper>,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was asked whether it is ready is the one to call.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        let keeper = Arc::clone(&self.keeper);
        Box::pin(async move { Ok(keeper.pass(request, ready).await.unwrap_or_else(Status::into_http)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.to_vec().try_into().unwrap());
        }
        headers
    }

    #[test]
    fn only_probes_reflection_server_info_and_sign_in_pass_without_a_token() {
        for (path, access) in [
            ("/grpc.health.v1.Health/Check", Access::Probe),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::Open),
            ("/mayfly.v1.ServerService/GetServerInfo", Access::Open),
            ("/mayfly.v1.SessionService/ListSignInProviders", Access::Open),
            ("/mayfly.v1.SessionService/SignIn", Access::SignIn),
            ("/mayfly.v1.SessionService/BeginSignIn", Access::SignIn),
            ("/mayfly.v1.SessionService/CompleteSignIn", Access::SignIn),
            ("/mayfly.v1.UserService/EnrolUser", Access::SignIn),
            ("/mayfly.v1.InvitationService/ClaimInvitation", Access::SignIn),
            ("/mayfly.v1.InvitationService/CreateInvitation", Access::Authenticated),
            ("/mayfly.v1.SessionService/StepUp", Access::Authenticated),
            ("/mayfly.v1.SessionService/ListSignInSessions", Access::Authenticated),
            ("/mayfly.v1.UserService/CreateUser", Access::Authenticated),
            ("/mayfly.v1.UserService/ChangePassword", Access::Authenticated),
            ("/mayfly.v1.ServerService/GetServerInfo/", Access::Authenticated),
            ("/mayfly.v1.ServerService/WhoAmI", Access::Authenticated),
            ("/mayfly.v1.LeaseService/IssueLease", Access::Authenticated),
            ("/mayfly.v1.TokenService/CreateToken", Access::Authenticated),
            ("//grpc.health.v1.Health/Check", Access::Authenticated),
            ("/", Access::Authenticated),
            ("", Access::Authenticated),
        ] {
            assert_eq!(Access::to(path), access, "{path}");
        }
    }

    #[test]
    fn a_bearer_token_is_read_and_anything_else_refused_in_words() {
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
        assert_eq!(bearer(&headers(&[b"Bearer mf_x"])).unwrap(), Some("mf_x"));
        assert_eq!(bearer(&headers(&[b"bearer mf_x"])).unwrap(), Some("mf_x"));
        for (values, words) in [
            (&[&b"Basic YWxpY2U6aHVudGVyMg=="[..]][..], "is not of the form \"Bearer …\""),
            (&[b"mf_x"], "is not of the form \"Bearer …\""),
            (&[b""], "is not of the form \"Bearer …\""),
            (&[b"Bearer mf_\xc3\xa9"], "has characters beyond ASCII"),
            (&[b"Bearer mf_x", b"Bearer mf_x"], "is there more than once"),
        ] {
            let error = bearer(&headers(values)).unwrap_err();
            assert_eq!(error.to_string(), format!("the authorization header {words}"));
        }
    }

    #[test]
    fn an_ipv6_caller_is_its_network() {
        let of = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
    }
}
