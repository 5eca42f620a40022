//! How much, how often, for how long.

use std::time::Duration;

use mayfly::api::{
    grpc::{GrpcSettings, Rate},
    proto::{
        GetServerInfoRequest, GetServerInfoResponse, IssueLeaseRequest, ListLeasesRequest,
        WatchLeasesRequest, WhoAmIRequest,
    },
};
use tonic::{Code, codegen::http::uri::PathAndQuery};
use tonic_types::StatusExt as _;

use super::rig::{Api, settings, told, with};
use crate::support::world::World;

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_and_the_connection_goes_on() {
    let api = Api::bare().await;
    let mut client = api.leases().await;
    let request = IssueLeaseRequest { purpose: "x".repeat(65 * 1024), ..Default::default() };
    let status = client.issue_lease(with(&api.administrator, request)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    client.list_leases(with(&api.administrator, ListLeasesRequest::default())).await.unwrap();
}

#[tokio::test]
async fn a_principal_that_calls_too_often_is_told_when_to_come_back() {
    let settings = GrpcSettings { rate_per_principal: Rate::new(10, 3), ..settings() };
    let api = Api::serve(World::with(Vec::new(), Vec::new()).await, settings).await;
    let (eager, other) = (api.reader("eager").await, api.reader("other").await);
    let mut server = api.server().await;
    for _ in 0..3 {
        server.who_am_i(with(&eager, WhoAmIRequest {})).await.unwrap();
    }
    let status = server.who_am_i(with(&eager, WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(told(&status), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(wait, Duration::from_millis(100));
    assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "eager");
    server.who_am_i(with(&other, WhoAmIRequest {})).await.unwrap();
    api.world.pass(1);
    server.who_am_i(with(&eager, WhoAmIRequest {})).await.unwrap();
}

#[tokio::test]
async fn a_second_token_of_a_principal_does_not_double_its_rate() {
    let settings = GrpcSettings { rate_per_principal: Rate::new(1, 1), ..settings() };
    let api = Api::serve(World::with(Vec::new(), Vec::new()).await, settings).await;
    let (one, two) = (api.reader("eager").await, api.reader("eager").await);
    let mut server = api.server().await;
    server.who_am_i(with(&one, WhoAmIRequest {})).await.unwrap();
    let status = server.who_am_i(with(&two, WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_not_queued() {
    let settings = GrpcSettings { max_concurrent_calls: 0, ..settings() };
    let api = Api::serve(World::with(Vec::new(), Vec::new()).await, settings).await;
    let status = api.server().await.who_am_i(with(&api.administrator, WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(told(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test]
async fn callers_without_a_token_do_not_take_the_places_of_those_with_one() {
    let settings = GrpcSettings { max_concurrent_calls: 2, ..settings() };
    let api = Api::serve(World::with(Vec::new(), Vec::new()).await, settings).await;
    let channel = tonic::client::Grpc::new(api.channel().await);
    let path = PathAndQuery::from_static("/mayfly.v1.ServerService/GetServerInfo");
    let mut idle = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (mut client, path) = (channel.clone(), path.clone());
        idle.spawn(async move {
            client.ready().await.unwrap();
            // A call whose message never comes.
            let messages = tonic::Request::new(tokio_stream::pending::<GetServerInfoRequest>());
            let codec = tonic_prost::ProstCodec::<GetServerInfoRequest, GetServerInfoResponse>::default();
            client.client_streaming(messages, path, codec).await
        });
    }
    let refused = idle.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(told(&refused), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    api.server().await.who_am_i(with(&api.administrator, WhoAmIRequest {})).await.unwrap();
}

#[tokio::test]
async fn a_principal_has_a_bounded_number_of_streams_and_gets_them_back() {
    let api = Api::bare().await;
    let app = api.reader("app").await;
    let mut client = api.leases().await;
    let mut open = Vec::new();
    let status = loop {
        match client.watch_leases(with(&app, WatchLeasesRequest::default())).await {
            Ok(stream) => open.push(stream),
            Err(status) => break status,
        }
    };
    assert_eq!(told(&status), (Code::ResourceExhausted, "STREAMS_LIMITED".to_owned()));
    assert_eq!(open.len(), 16);
    client.watch_leases(with(&api.administrator, WatchLeasesRequest::default())).await.unwrap();
    drop(open);
    crate::support::eventually("a stream can be opened again", async || {
        client.clone().watch_leases(with(&app, WatchLeasesRequest::default())).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_at_the_deadline_its_caller_set() {
    let api = Api::bare().await;
    let mut request = with(&api.administrator, WatchLeasesRequest::default());
    // In the header only, so that the client's own timer does not answer first.
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut stream = api.leases().await.watch_leases(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().synced);
    assert_eq!(stream.message().await.unwrap_err().code(), Code::DeadlineExceeded);
}
