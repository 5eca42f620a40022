//! A server for tests of what the client side does with leases: it keeps count of the calls, and no database.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_stream::{Pending, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    transport::{Server, ServerTlsConfig},
};

use super::{Cli, Context, output::capture};
use crate::{
    api::proto::{
        self,
        lease_service_server::{LeaseService, LeaseServiceServer},
    },
    clock::Clock,
};

/// What was called, in order: the method and what mattered in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }

    pub(super) fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(super) async fn until(&self, call: &str) {
        let deadline = std::time::Duration::from_secs(10);
        let seen = async {
            while !self.so_far().iter().any(|seen| seen.starts_with(call)) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(deadline, seen)
            .await
            .unwrap_or_else(|_| panic!("no {call} in {:?}", self.so_far()));
    }
}

/// Where a fake server listens, with what a command needs to call it.
pub(super) struct Fake {
    pub(super) calls: Calls,
    address: String,
    token_file: tempfile::NamedTempFile,
}

struct Leases(Calls);

/// A lease of 15 minutes from second 1000 on, renewable for 15 minutes more.
pub(super) fn lease() -> proto::Lease {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    proto::Lease {
        name: "leases/06dp4f2h9c8x1k3m7q0r".into(),
        state: proto::LeaseState::Active.into(),
        update_time: at(1000),
        expire_time: at(1900),
        renewable_until_time: at(2800),
        ttl: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl LeaseService for Leases {
    type WatchLeasesStream = Pending<Result<proto::WatchLeasesResponse, Status>>;

    async fn issue_lease(
        &self,
        request: Request<proto::IssueLeaseRequest>,
    ) -> Result<Response<proto::IssueLeaseResponse>, Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        self.0.note(format!("issue {} {}", request.get_ref().role, token.unwrap_or("nobody")));
        let credential = proto::Credential {
            username: "mf_user".into(),
            password: "secret".into(),
            engine: proto::Engine::Postgres.into(),
            endpoints: vec![proto::Endpoint { host: "127.0.0.1".into(), port: 5432 }],
            database: "app".into(),
            tls_mode: "disable".into(),
        };
        Ok(Response::new(proto::IssueLeaseResponse { lease: Some(lease()), credential: Some(credential) }))
    }

    async fn renew_lease(
        &self,
        request: Request<proto::RenewLeaseRequest>,
    ) -> Result<Response<proto::RenewLeaseResponse>, Status> {
        let ttl = request.get_ref().ttl.map_or(0, |ttl| ttl.seconds);
        self.0.note(format!("renew {ttl}"));
        Ok(Response::new(proto::RenewLeaseResponse { lease: Some(lease()) }))
    }

    async fn release_lease(
        &self,
        request: Request<proto::ReleaseLeaseRequest>,
    ) -> Result<Response<proto::ReleaseLeaseResponse>, Status> {
        self.0.note(format!("release {}", request.get_ref().name));
        Err(Status::unavailable("the store is gone"))
    }

    async fn get_lease(
        &self,
        _: Request<proto::GetLeaseRequest>,
    ) -> Result<Response<proto::GetLeaseResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_leases(
        &self,
        request: Request<proto::ListLeasesRequest>,
    ) -> Result<Response<proto::ListLeasesResponse>, Status> {
        let request = request.into_inner();
        self.0.note(format!("list {} from {:?}", request.page_size, request.page_token));
        // Pages of two, whatever was asked for: a server may give fewer.
        Ok(Response::new(proto::ListLeasesResponse {
            leases: vec![lease(), lease()],
            next_page_token: if request.page_token == "3" { String::new() } else { "3".into() },
        }))
    }

    async fn watch_leases(
        &self,
        _: Request<proto::WatchLeasesRequest>,
    ) -> Result<Response<Self::WatchLeasesStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn revoke_lease(
        &self,
        _: Request<proto::RevokeLeaseRequest>,
    ) -> Result<Response<proto::RevokeLeaseResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn revoke_leases(
        &self,
        _: Request<proto::RevokeLeasesRequest>,
    ) -> Result<Response<proto::RevokeLeasesResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_sessions(
        &self,
        _: Request<proto::ListSessionsRequest>,
    ) -> Result<Response<proto::ListSessionsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

impl Fake {
    pub(super) async fn start() -> Self {
        Self::start_with(Server::builder(), "http").await
    }

    /// With TLS.
    pub(super) async fn start_tls(tls: ServerTlsConfig) -> Self {
        Self::start_with(Server::builder().tls_config(tls).unwrap(), "https").await
    }

    async fn start_with(mut server: Server, scheme: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let calls = Calls::default();
        let service = LeaseServiceServer::new(Leases(calls.clone()));
        let serving = server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        let token_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token_file.path(), "mf_test\n").unwrap();
        Self { calls, address, token_file }
    }

    /// Parses a command line and gives it a context that reaches this server.
    pub(super) fn command(
        &self,
        line: &str,
        clock: Arc<dyn Clock>,
    ) -> (super::Command, Context, capture::Captured, capture::Captured) {
        use clap::Parser as _;
        let token_file = self.token_file.path().to_str().unwrap();
        let options = ["--address", &self.address, "--token-file", token_file];
        let words = ["mayfly"].into_iter().chain(options).chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).unwrap();
        let format = cli.global.output;
        let (output, out, err) = capture::output(format);
        (cli.command, Context { global: cli.global, output, clock }, out, err)
    }
}
