//! TLS towards callers.

use std::{fs, time::Duration};

use mayfly::api::{
    grpc::{BindError, GrpcSettings, TlsFiles},
    proto::{GetServerInfoRequest, server_service_client::ServerServiceClient},
};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::rig::{Api, bind, settings};
use crate::support::{TestCertificates, world::World};

pub(super) fn files(certificates: &TestCertificates) -> TlsFiles {
    TlsFiles {
        certificate_file: certificates.file("server.crt"),
        key_file: certificates.file("server.key"),
        client_ca_file: None,
        require_client_certificate: false,
    }
}

pub(super) fn trusting(certificates: &TestCertificates) -> ClientTlsConfig {
    let authority = fs::read(certificates.file("authority.crt")).unwrap();
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name("localhost")
}

async fn served(tls: TlsFiles) -> Api {
    let world = World::with(Vec::new(), Vec::new()).await;
    Api::serve(world, GrpcSettings { tls: Some(tls), ..settings() }).await
}

async fn call(api: &Api, tls: ClientTlsConfig) -> Result<ServerServiceClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(format!("https://{}", api.address)).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.map_err(|error| format!("{error:?}"))?;
    let mut client = ServerServiceClient::new(channel);
    client.get_server_info(GetServerInfoRequest {}).await.map_err(|status| format!("{status:?}"))?;
    Ok(client)
}

#[tokio::test]
async fn callers_that_trust_the_authority_are_served_and_clear_text_is_not() {
    let certificates = TestCertificates::new();
    let api = served(files(&certificates)).await;
    call(&api, trusting(&certificates)).await.unwrap();
    call(&api, trusting(&TestCertificates::new())).await.unwrap_err();
    let clear = Endpoint::from_shared(format!("http://{}", api.address)).unwrap().connect().await;
    let answer = match clear {
        Ok(channel) => ServerServiceClient::new(channel).get_server_info(GetServerInfoRequest {}).await.err(),
        Err(_) => return,
    };
    assert!(answer.is_some());
}

#[tokio::test]
async fn a_reload_is_seen_by_new_connections_and_leaves_open_ones_alone() {
    let (first, second) = (TestCertificates::new(), TestCertificates::new());
    let tls = files(&first);
    let world = World::with(Vec::new(), Vec::new()).await;
    let bound = bind(&world, GrpcSettings { tls: Some(tls.clone()), ..settings() }).await.unwrap();
    let handle = bound.tls().unwrap();
    let api = Api::run(world, bound).await;
    let mut open = call(&api, trusting(&first)).await.unwrap();
    fs::copy(second.file("server.crt"), &tls.certificate_file).unwrap();
    handle.reload().unwrap_err();
    call(&api, trusting(&first)).await.unwrap();
    fs::copy(second.file("server.key"), &tls.key_file).unwrap();
    handle.reload().unwrap();
    call(&api, trusting(&second)).await.unwrap();
    call(&api, trusting(&first)).await.unwrap_err();
    open.get_server_info(GetServerInfoRequest {}).await.unwrap();
}

#[tokio::test]
async fn mutual_tls_refuses_callers_without_a_certificate_of_the_authority() {
    let (ours, theirs) = (TestCertificates::new(), TestCertificates::new());
    let required = TlsFiles {
        client_ca_file: Some(ours.file("authority.crt")),
        require_client_certificate: true,
        ..files(&ours)
    };
    let api = served(required).await;
    let identity = |of: &TestCertificates| {
        let read = |name| fs::read(of.file(name)).unwrap();
        Identity::from_pem(read("client.crt"), read("client.key"))
    };
    call(&api, trusting(&ours).identity(identity(&ours))).await.unwrap();
    call(&api, trusting(&ours)).await.unwrap_err();
    call(&api, trusting(&ours).identity(identity(&theirs))).await.unwrap_err();
}

#[tokio::test]
async fn clients_that_never_finish_their_handshake_hold_up_nobody() {
    let certificates = TestCertificates::new();
    let api = served(files(&certificates)).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(api.address).await.unwrap());
    }
    let served = tokio::time::timeout(Duration::from_secs(5), call(&api, trusting(&certificates)));
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn clear_text_beyond_loopback_must_be_asked_for_in_so_many_words() {
    let world = World::with(Vec::new(), Vec::new()).await;
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let listen = address.parse().unwrap();
        let refused = bind(&world, GrpcSettings { listen, ..settings() }).await.err().unwrap();
        assert!(matches!(refused, BindError::ClearText(_)), "{refused}");
    }
    let listen = "0.0.0.0:0".parse().unwrap();
    let allowed = GrpcSettings { listen, allow_clear_text_beyond_loopback: true, ..settings() };
    assert!(bind(&world, allowed).await.is_ok());
    let certificates = TestCertificates::new();
    let encrypted = GrpcSettings { listen, tls: Some(files(&certificates)), ..settings() };
    assert!(bind(&world, encrypted).await.is_ok());
}
