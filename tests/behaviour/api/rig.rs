//! A server on a free port over a world of its own, and clients for it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use mayfly::{
    api::{
        grpc::{BindError, Bound, GrpcServer, GrpcSettings},
        proto::{
            audit_service_client::AuditServiceClient, lease_service_client::LeaseServiceClient,
            role_service_client::RoleServiceClient, server_service_client::ServerServiceClient,
            target_service_client::TargetServiceClient, token_service_client::TokenServiceClient,
        },
    },
    clock::Clock,
    domain::PrincipalKind,
    identity::{Authenticator, IdentitiesHandle},
    issuer::{MintedToken, NewToken},
    store::Store,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::support::world::{Database, World, caller};

/// A served world.
pub(super) struct Api {
    pub(super) world: World,
    pub(super) address: SocketAddr,
    pub(super) shutdown: CancellationToken,
    pub(super) serving: JoinHandle<()>,
    /// The first administrator's token.
    pub(super) administrator: String,
}

/// Ordinary settings on a free loopback port.
pub(super) fn settings() -> GrpcSettings {
    GrpcSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow_clear_text_beyond_loopback: false,
        max_message_bytes: 64 * 1024,
        max_concurrent_calls: 64,
        rate_per_principal: None,
        shutdown_grace: Duration::from_secs(20),
        tls: None,
    }
}

/// Binds a server over a world.
pub(super) async fn bind(world: &World, settings: GrpcSettings) -> Result<Bound, BindError> {
    bind_trusting(world, settings, Arc::default()).await
}

/// Binds a server that takes the word of others for who calls.
pub(super) async fn bind_trusting(
    world: &World,
    settings: GrpcSettings,
    identities: Arc<IdentitiesHandle>,
) -> Result<Bound, BindError> {
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let store = Arc::clone(&world.store) as Arc<dyn Store>;
    let authenticator = Arc::new(Authenticator::new(store, Arc::clone(&clock)).trusting(identities));
    GrpcServer::bind(settings, Arc::clone(&world.issuer), authenticator, clock).await
}

impl Api {
    /// Without any target.
    pub(super) async fn bare() -> Self {
        Self::serve(World::with(Vec::new(), Vec::new()).await, settings()).await
    }

    /// Over a database with the role `shop-read`.
    pub(super) async fn reading(database: &Database) -> Self {
        Self::serve(World::reading(database).await, settings()).await
    }

    /// Over a world, by settings.
    pub(super) async fn serve(world: World, settings: GrpcSettings) -> Self {
        let bound = bind(&world, settings).await.unwrap();
        Self::run(world, bound).await
    }

    /// Runs what is bound.
    pub(super) async fn run(world: World, bound: Bound) -> Self {
        let (address, shutdown) = (bound.local_addr(), CancellationToken::new());
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move { bound.serve(stop).await.unwrap() });
        let administrator = world.issuer.bootstrap(None).await.unwrap().secret.expose().to_owned();
        Self { world, address, shutdown, serving, administrator }
    }

    /// A connection in clear text.
    pub(super) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(super) async fn leases(&self) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::new(self.channel().await)
    }

    pub(super) async fn roles(&self) -> RoleServiceClient<Channel> {
        RoleServiceClient::new(self.channel().await)
    }

    pub(super) async fn targets(&self) -> TargetServiceClient<Channel> {
        TargetServiceClient::new(self.channel().await)
    }

    pub(super) async fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel().await)
    }

    pub(super) async fn server(&self) -> ServerServiceClient<Channel> {
        ServerServiceClient::new(self.channel().await)
    }

    pub(super) async fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel().await)
    }

    /// A fresh token of a principal, usable from some networks (none: from anywhere).
    pub(super) async fn mint(&self, name: &str, groups: &[&str], cidrs: &[&str]) -> MintedToken {
        let new = NewToken {
            principal: name.parse().unwrap(),
            kind: PrincipalKind::Workload,
            groups: groups.iter().map(|group| group.parse().unwrap()).collect::<BTreeSet<_>>(),
            cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
            description: String::new(),
            life: Some(Duration::from_secs(3600)),
        };
        self.world.issuer.create_token(&caller("root", &["administrators"]), new).await.unwrap()
    }

    /// The secret of a fresh token of a reader.
    pub(super) async fn reader(&self, name: &str) -> String {
        self.mint(name, &["readers"], &[]).await.secret.expose().to_owned()
    }
}

/// A request with a token.
pub(super) fn with<T>(token: &str, message: T) -> Request<T> {
    with_header(format!("Bearer {token}").as_bytes(), message)
}

/// A request with any authorization header.
pub(super) fn with_header<T>(value: &[u8], message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = MetadataValue::<Ascii>::try_from(value).unwrap();
    request.metadata_mut().append("authorization", value);
    request
}

/// Code and reason of a refusal.
pub(super) fn told(status: &Status) -> (Code, String) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

/// The fields a refusal names.
pub(super) fn named(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}
