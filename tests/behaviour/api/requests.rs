//! Asking, reviewing, claiming, watching and locking over the network: real clients over real TLS.

mod asking;
mod claiming;
mod glass;
mod locks;
mod refusals;
mod watching;

use mayfly::{
    api::{
        grpc::GrpcSettings,
        proto::{
            AccessRequest, ClaimGrantRequest, CreateRequestRequest, ReviewRequestRequest, Verdict,
            break_glass_service_client::BreakGlassServiceClient, grant_service_client::GrantServiceClient,
            lock_service_client::LockServiceClient, request_service_client::RequestServiceClient,
        },
    },
    clock::SystemClock,
    domain::{ReviewStep, Role},
};
use prost_types::Duration;
use tonic::transport::{Channel, Endpoint};

use super::{
    rig::{Api, settings, with},
    tls::{files, trusting},
};
use crate::support::{
    TestCertificates,
    world::{Database, World, databases},
};

/// A served world with the role `shop-read`, which takes one review by the group `owners`.
struct Office {
    api: Api,
    database: Database,
    channel: Channel,
    certificates: TestCertificates,
    alice: String,
    bob: String,
}

fn reviewed(database: &Database) -> Role {
    let mut role = database.reading_role("shop-read", "shop");
    role.scram_iterations = 64;
    role.approval = vec![ReviewStep {
        name: "owners".to_owned(),
        reviewers: vec!["group:owners".parse().unwrap()],
        quorum: 1,
        denials: 1,
        escalate_after: None,
        escalate_to: Vec::new(),
        from_risk: 0,
    }];
    role
}

impl Office {
    /// With Alice, who asks, and Bob, who reviews. `None`: no database is to be tested.
    async fn open() -> Option<Self> {
        Self::with(settings()).await
    }

    async fn with(settings: GrpcSettings) -> Option<Self> {
        let database = databases().await.into_iter().next()?;
        let certificates = TestCertificates::new();
        let target = World::target(database.settings("shop"), std::sync::Arc::new(SystemClock));
        let world = World::with(vec![target], vec![reviewed(&database)]).await;
        let settings = GrpcSettings { tls: Some(files(&certificates)), ..settings };
        let api = Api::serve(world, settings).await;
        let channel = connected(&api, &certificates).await;
        let (alice, bob) = (api.reader("alice").await, owner(&api, "bob").await);
        Some(Self { api, database, channel, certificates, alice, bob })
    }

    /// A connection of its own.
    async fn another_channel(&self) -> Channel {
        connected(&self.api, &self.certificates).await
    }

    fn requests(&self) -> RequestServiceClient<Channel> {
        RequestServiceClient::new(self.channel.clone())
    }

    fn grants(&self) -> GrantServiceClient<Channel> {
        GrantServiceClient::new(self.channel.clone())
    }

    fn locks(&self) -> LockServiceClient<Channel> {
        LockServiceClient::new(self.channel.clone())
    }

    fn glass(&self) -> BreakGlassServiceClient<Channel> {
        BreakGlassServiceClient::new(self.channel.clone())
    }

    /// What Alice asks for, as it waits.
    async fn asked(&self, new: CreateRequestRequest) -> AccessRequest {
        // Within one millisecond the order of identifiers is chance.
        self.api.world.pass(1);
        let made = self.requests().create_request(with(&self.alice, new)).await.unwrap().into_inner();
        made.request.unwrap()
    }

    /// What Alice asks for and Bob agrees to: the grant's name.
    async fn granted(&self, new: CreateRequestRequest) -> String {
        let request = self.asked(new).await;
        let review = with(&self.bob, approval(&request.name));
        let approved = self.requests().review_request(review).await.unwrap().into_inner();
        approved.request.unwrap().grant
    }
}

async fn connected(api: &Api, certificates: &TestCertificates) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://{}", api.address)).unwrap();
    endpoint.tls_config(trusting(certificates)).unwrap().connect().await.unwrap()
}

async fn owner(api: &Api, name: &str) -> String {
    api.mint(name, &["owners"], &[]).await.secret.expose().to_owned()
}

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

fn asking(ttl: i64) -> CreateRequestRequest {
    CreateRequestRequest {
        role: "roles/shop-read".to_owned(),
        ttl: Some(seconds(ttl)),
        justification: "to look at an order".to_owned(),
        ..CreateRequestRequest::default()
    }
}

fn approval(name: &str) -> ReviewRequestRequest {
    ReviewRequestRequest {
        name: name.to_owned(),
        verdict: Verdict::Approve.into(),
        ..ReviewRequestRequest::default()
    }
}

fn claim(grant: &str) -> ClaimGrantRequest {
    ClaimGrantRequest { name: grant.to_owned(), ..ClaimGrantRequest::default() }
}
