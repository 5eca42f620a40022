//! The gRPC server: bound, then serving until it is told to stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService as _,
    transport::{Server, server::Router},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::layer::util::{Identity, Stack};

use super::{
    call::Shared,
    gate::{GateLayer, Gatekeeper},
    listener,
    service::{
        access_review, audit, break_glass, grant, invitation, lease, lock, notice, request, role, server,
        session, target, token, user,
    },
    settings::GrpcSettings,
    streams::Streams,
    tls::{TlsError, TlsHandle},
};
use crate::{
    api::{
        DESCRIPTORS,
        proto::{
            access_review_service_server::AccessReviewServiceServer,
            audit_service_server::AuditServiceServer, break_glass_service_server::BreakGlassServiceServer,
            grant_service_server::GrantServiceServer, invitation_service_server::InvitationServiceServer,
            lease_service_server::LeaseServiceServer, lock_service_server::LockServiceServer,
            notice_service_server::NoticeServiceServer, request_service_server::RequestServiceServer,
            role_service_server::RoleServiceServer, server_service_server::ServerServiceServer,
            session_service_server::SessionServiceServer, target_service_server::TargetServiceServer,
            token_service_server::TokenServiceServer, user_service_server::UserServiceServer,
        },
    },
    clock::Clock,
    identity::Authenticator,
    issuer::Issuer,
};

/// Streams, calls included, that one connection may have open.
const STREAMS_PER_CONNECTION: u32 = 128;

/// A connection on which nothing happens is asked for a sign of life this often …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// … and closed when none comes within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes a request's headers may have: a JWT has up to 16 KiB, and one that is longer is to be told so.
const HEADER_BYTES: u32 = 32 * 1024;

/// Bytes a reply may have: what gRPC clients accept unless told otherwise.
const REPLY_BYTES: usize = 4 * 1024 * 1024;

/// Names under which health is told: the whole server, and each service.
const HEALTH: [&str; 16] = [
    "",
    AccessReviewServiceServer::<()>::NAME,
    AuditServiceServer::<()>::NAME,
    BreakGlassServiceServer::<()>::NAME,
    GrantServiceServer::<()>::NAME,
    InvitationServiceServer::<()>::NAME,
    LeaseServiceServer::<()>::NAME,
    LockServiceServer::<()>::NAME,
    RequestServiceServer::<()>::NAME,
    NoticeServiceServer::<()>::NAME,
    RoleServiceServer::<()>::NAME,
    ServerServiceServer::<()>::NAME,
    SessionServiceServer::<()>::NAME,
    TargetServiceServer::<()>::NAME,
    TokenServiceServer::<()>::NAME,
    UserServiceServer::<()>::NAME,
];

/// Why the server could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Tokens and passwords would cross a network unencrypted.
    #[error(
        "{0} can be reached from other machines, and without TLS tokens and passwords would travel in clear text: \
         configure TLS, listen on a loopback address, or say allow_clear_text_beyond_loopback = true"
    )]
    ClearText(SocketAddr),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Why serving ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors compiled into this binary cannot be served.
    #[error("reflection cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the gRPC transport failed")]
    Transport(#[from] tonic::transport::Error),
}

/// The gRPC face of an issuer.
pub struct GrpcServer;

/// A server that listens; callers can connect, and are served once [`Bound::serve`] runs.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsHandle>,
    settings: GrpcSettings,
    issuer: Arc<Issuer>,
    authenticator: Arc<Authenticator>,
    clock: Arc<dyn Clock>,
}

impl GrpcServer {
    /// Reads the TLS files and listens.
    ///
    /// # Errors
    /// [`BindError`]: clear text beyond loopback, unusable TLS files, an address in use.
    pub async fn bind(
        settings: GrpcSettings,
        issuer: Arc<Issuer>,
        authenticator: Arc<Authenticator>,
        clock: Arc<dyn Clock>,
    ) -> Result<Bound, BindError> {
        let address = settings.listen;
        let is_loopback = address.ip().to_canonical().is_loopback();
        if settings.tls.is_none() && !is_loopback && !settings.allow_clear_text_beyond_loopback {
            return Err(BindError::ClearText(address));
        }
        let tls = settings.tls.clone().map(TlsHandle::load).transpose()?;
        let unable = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        Ok(Bound { listener, address, tls, settings, issuer, authenticator, clock })
    }
}

impl Bound {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its TLS, for reading the files again; `None`: it serves clear text.
    pub fn tls(&self) -> Option<TlsHandle> {
        self.tls.clone()
    }

    /// Serves until `shutdown` is cancelled, then lets calls under way finish (streams are told to come back elsewhere); what is
    /// not over within the grace given is cut off.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        let (_, ready) = watch::channel(true);
        self.serve_while(ready, shutdown).await
    }

    /// Likewise; to whoever asks for its health it says that it does not serve while `ready` is not so. Calls are still answered, each
    /// with what it comes to.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve_while(
        self,
        ready: watch::Receiver<bool>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in HEALTH {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
        let router = self.router(shutdown.clone())?.add_service(health_service);
        let grace = self.settings.shutdown_grace;
        let cut = CancellationToken::new();
        let incoming = listener::accept(self.listener, self.tls, cut.clone());
        let stopped = report(health, ready, shutdown.clone());
        let serving = router.serve_with_incoming_shutdown(incoming, stopped);
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            served = &mut serving => return Ok(served?),
            () = async { shutdown.cancelled().await; tokio::time::sleep(grace).await } => {}
        }
        tracing::warn!("calls still under way after {grace:?} are cut off");
        cut.cancel();
        Ok(serving.await?)
    }

    fn router(&self, shutdown: CancellationToken) -> Result<Router<Stack<GateLayer, Identity>>, ServeError> {
        let limit = self.settings.max_message_bytes;
        let shared = Arc::new(Shared {
            issuer: Arc::clone(&self.issuer),
            authenticator: Arc::clone(&self.authenticator),
            streams: Arc::new(Streams::default()),
            shutdown,
            // An eighth is left for the rest of the reply.
            reply_budget: REPLY_BYTES - REPLY_BYTES / 8,
        });
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()?;
        macro_rules! bounded {
            ($server:ident, $service:expr) => {
                $server::new($service).max_decoding_message_size(limit).max_encoding_message_size(REPLY_BYTES)
            };
        }
        let keeper = Gatekeeper::new(&self.settings, Arc::clone(&self.authenticator), &self.clock);
        Ok(Server::builder()
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(HEADER_BYTES)
            .layer(GateLayer(Arc::new(keeper)))
            .add_service(bounded!(AccessReviewServiceServer, access_review::Service(Arc::clone(&shared))))
            .add_service(bounded!(AuditServiceServer, audit::Service(Arc::clone(&shared))))
            .add_service(bounded!(BreakGlassServiceServer, break_glass::Service(Arc::clone(&shared))))
            .add_service(bounded!(GrantServiceServer, grant::Service(Arc::clone(&shared))))
            .add_service(bounded!(InvitationServiceServer, invitation::Service(Arc::clone(&shared))))
            .add_service(bounded!(LeaseServiceServer, lease::Service(Arc::clone(&shared))))
            .add_service(bounded!(LockServiceServer, lock::Service(Arc::clone(&shared))))
            .add_service(bounded!(RequestServiceServer, request::Service(Arc::clone(&shared))))
            .add_service(bounded!(NoticeServiceServer, notice::Service(Arc::clone(&shared))))
            .add_service(bounded!(RoleServiceServer, role::Service(Arc::clone(&shared))))
            .add_service(bounded!(ServerServiceServer, server::Service(Arc::clone(&shared))))
            .add_service(bounded!(SessionServiceServer, session::Service(Arc::clone(&shared))))
            .add_service(bounded!(TargetServiceServer, target::Service(Arc::clone(&shared))))
            .add_service(bounded!(TokenServiceServer, token::Service(Arc::clone(&shared))))
            .add_service(bounded!(UserServiceServer, user::Service(Arc::clone(&shared))))
            .add_service(reflection))
    }
}

/// Tells whoever watches the server's health how it fares. Once it is told to stop: says so, and ends their streams.
async fn report(mut health: HealthReporter, mut ready: watch::Receiver<bool>, shutdown: CancellationToken) {
    let follow = async {
        loop {
            let status =
                if *ready.borrow_and_update() { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in HEALTH {
                health.set_service_status(name, status).await;
            }
            if ready.changed().await.is_err() {
                // Nobody watches it: it stays as it is.
                std::future::pending::<()>().await;
            }
        }
    };
    shutdown.run_until_cancelled(follow).await;
    for name in HEALTH {
        health.set_service_status(name, ServingStatus::NotServing).await;
        health.clear_service_status(name).await;
    }
}
