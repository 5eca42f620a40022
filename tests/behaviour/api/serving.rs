//! Health, reflection, and stopping.

use std::time::Duration;

use mayfly::api::proto::{GetServerInfoRequest, WatchLeasesRequest};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::rig::{Api, bind, settings, told, with};
use crate::support::world::World;

#[tokio::test]
async fn health_is_told_to_anybody_for_the_server_and_each_service() {
    let api = Api::bare().await;
    let mut health = HealthClient::new(api.channel().await);
    for service in ["", "mayfly.v1.LeaseService", "mayfly.v1.AuditService", "mayfly.v1.TokenService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = health.check(request).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service}");
    }
    let request = HealthCheckRequest { service: "mayfly.v1.NoSuchService".to_owned() };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_the_services_and_hands_out_their_files() {
    let api = Api::bare().await;
    let mut client = ServerReflectionClient::new(api.channel().await);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let requests = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("mayfly.v1.LeaseService".to_owned())),
    ]);
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        replies.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let names: Vec<&str> = listed.service.iter().map(|service| &*service.name).collect();
    for name in ["Audit", "Lease", "Role", "Server", "Target", "Token"] {
        assert!(names.contains(&&*format!("mayfly.v1.{name}Service")), "{names:?}");
    }
    let reply = replies.next().await.unwrap().unwrap().message_response;
    assert!(
        matches!(reply, Some(MessageResponse::FileDescriptorResponse(files)) if !files.file_descriptor_proto.is_empty())
    );
}

#[tokio::test]
async fn stopping_tells_watchers_ends_streams_and_returns() {
    let api = Api::bare().await;
    let channel = api.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let mut probes = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(probes.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let request = with(&api.administrator, WatchLeasesRequest::default());
    let mut watch = api.leases().await.watch_leases(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().synced);
    api.shutdown.cancel();
    assert_eq!(probes.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let status = watch.message().await.unwrap_err();
    assert_eq!(told(&status), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    tokio::time::timeout(Duration::from_secs(10), api.serving).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(api.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_cut_off_after_the_grace() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let mut settings = settings();
    settings.shutdown_grace = Duration::from_millis(200);
    let bound = bind(&world, settings).await.unwrap();
    let api = Api::run(world, bound).await;
    // A reflection stream stays open for as long as its caller likes.
    let mut client = ServerReflectionClient::new(api.channel().await);
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([asked]).chain(tokio_stream::pending());
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    replies.message().await.unwrap().unwrap();
    api.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), api.serving).await.unwrap().unwrap();
    replies.message().await.unwrap_err();
}

#[tokio::test]
async fn unknown_methods_need_a_token_and_then_are_unimplemented() {
    let api = Api::bare().await;
    let mut grpc = tonic::client::Grpc::new(api.channel().await);
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/mayfly.v1.LeaseService/NoSuchMethod");
    for (request, code) in [
        (tonic::Request::new(GetServerInfoRequest {}), Code::Unauthenticated),
        (with(&api.administrator, GetServerInfoRequest {}), Code::Unimplemented),
    ] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<GetServerInfoRequest, GetServerInfoRequest>::default();
        let status = grpc.unary(request, path.clone(), codec).await.unwrap_err();
        assert_eq!(status.code(), code);
    }
}
