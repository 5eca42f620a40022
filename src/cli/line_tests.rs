//! What a long command calls as: a session that is exchanged for anew before it ends or lapses.

use std::path::Path;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Response,
    transport::{Endpoint, Server},
};

use super::*;
use crate::{
    api::proto::{
        self,
        session_service_server::{SessionService, SessionServiceServer},
    },
    clock::ManualClock,
};

/// How long a session of the fake server lasts, and how long unused.
const LIFE: i64 = 3_600;
const IDLE: i64 = 600;

/// Hands out sessions, each named after the JWT it was exchanged for.
struct Sessions;

fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

type Answer<T> = Result<Response<T>, Status>;

fn nothing<T>() -> Answer<T> {
    Err(Status::unimplemented(""))
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn exchange(&self, request: Request<ExchangeRequest>) -> Answer<proto::ExchangeResponse> {
        let bearer = request.metadata().get("authorization").unwrap().to_str().unwrap();
        let secret = format!("mfs_{}", bearer.trim_start_matches("Bearer ").replace('.', "-"));
        // By a clock of its own, which is not ours.
        let session = proto::SignInSession {
            create_time: Some(at(1_000)),
            expire_time: Some(at(1_000 + LIFE)),
            idle_time: Some(at(1_000 + IDLE)),
            ..proto::SignInSession::default()
        };
        Ok(Response::new(proto::ExchangeResponse { session: Some(session), secret }))
    }

    async fn list_sign_in_providers(
        &self,
        _: Request<proto::ListSignInProvidersRequest>,
    ) -> Answer<proto::ListSignInProvidersResponse> {
        nothing()
    }

    async fn begin_sign_in(
        &self,
        _: Request<proto::BeginSignInRequest>,
    ) -> Answer<proto::BeginSignInResponse> {
        nothing()
    }

    async fn complete_sign_in(
        &self,
        _: Request<proto::CompleteSignInRequest>,
    ) -> Answer<proto::CompleteSignInResponse> {
        nothing()
    }

    async fn sign_in(&self, _: Request<proto::SignInRequest>) -> Answer<proto::SignInResponse> {
        nothing()
    }

    async fn step_up(&self, _: Request<proto::StepUpRequest>) -> Answer<proto::StepUpResponse> {
        nothing()
    }

    async fn sign_out(&self, _: Request<proto::SignOutRequest>) -> Answer<proto::SignOutResponse> {
        nothing()
    }

    async fn list_sign_in_sessions(
        &self,
        _: Request<proto::ListSignInSessionsRequest>,
    ) -> Answer<proto::ListSignInSessionsResponse> {
        nothing()
    }

    async fn revoke_session(
        &self,
        _: Request<proto::RevokeSessionRequest>,
    ) -> Answer<proto::RevokeSessionResponse> {
        nothing()
    }
}

async fn signed_in(source: IdentitySource) -> (SignedIn, Arc<ManualClock>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder().add_service(SessionServiceServer::new(Sessions));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let signed_in = SignedIn::new(source, channel, Duration::from_secs(10));
    (SignedIn { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..signed_in }, clock)
}

fn hand_out(file: &Path, jwt: &str) {
    std::fs::write(file, jwt).unwrap();
}

async fn calls_as(signed_in: &SignedIn) -> Result<String, Status> {
    signed_in.header().await.map(|header| header.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_session_is_exchanged_for_anew_before_it_ends_and_no_sooner() {
    let file = tempfile::NamedTempFile::new().unwrap();
    hand_out(file.path(), "a.b.1");
    let (signed_in, clock) = signed_in(IdentitySource::File(file.path().to_owned())).await;
    assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-1");
    hand_out(file.path(), "a.b.2");
    // In use all the time: nine times three hundred seconds are three quarters of its life.
    for _ in 0..8 {
        clock.advance(SignedDuration::from_secs(300));
        assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-1");
    }
    clock.advance(SignedDuration::from_secs(300));
    assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-2");
}

#[tokio::test]
async fn a_session_that_was_not_used_for_long_is_exchanged_for_anew_before_it_lapses() {
    let file = tempfile::NamedTempFile::new().unwrap();
    hand_out(file.path(), "a.b.1");
    let (signed_in, clock) = signed_in(IdentitySource::File(file.path().to_owned())).await;
    assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-1");
    hand_out(file.path(), "a.b.2");
    clock.advance(SignedDuration::from_secs(IDLE * 3 / 4 - 1));
    assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-1");
    clock.advance(SignedDuration::from_secs(IDLE * 3 / 4));
    assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-2");
}

#[tokio::test]
async fn without_a_new_jwt_the_session_lasts_as_long_as_it_lasts() {
    let file = tempfile::NamedTempFile::new().unwrap();
    hand_out(file.path(), "a.b.1");
    let (signed_in, clock) = signed_in(IdentitySource::File(file.path().to_owned())).await;
    assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-1");
    hand_out(file.path(), "nothing like it");
    clock.advance(SignedDuration::from_secs(IDLE - 1));
    assert_eq!(calls_as(&signed_in).await.unwrap(), "Bearer mfs_a-b-1");
    clock.advance(SignedDuration::from_secs(IDLE));
    let refused = calls_as(&signed_in).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("does not hold a JWT"), "{refused:?}");
}
