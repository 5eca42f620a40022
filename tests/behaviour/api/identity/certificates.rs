//! Client certificates as identities.

use std::{fs, sync::Arc};

use mayfly::{
    api::{
        grpc::{GrpcSettings, TlsFiles},
        proto::{WhoAmIRequest, WhoAmIResponse, server_service_client::ServerServiceClient},
    },
    clock::Clock,
    identity::{Identities, IdentitiesHandle},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd,
};
use tonic::{
    Code, Request,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use super::super::rig::{Api, bind_trusting, settings, told, with};
use crate::support::{TestCertificates, world::World};

const ID: &str = "spiffe://acme.example/ns/shop/sa/web";

/// A server that takes certificates of an authority for who calls.
struct Mesh {
    api: Api,
    server: TestCertificates,
    authority: CertifiedIssuer<'static, KeyPair>,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "mesh");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A client's certificate with URIs.
fn issue(
    authority: &CertifiedIssuer<'_, KeyPair>,
    uris: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> Identity {
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Identity::from_pem(params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

impl Mesh {
    async fn start(identities: &str) -> Self {
        let (server, authority) = (TestCertificates::new(), authority());
        let client_ca_file = server.file("mesh.crt");
        fs::write(&client_ca_file, authority.pem()).unwrap();
        let tls = TlsFiles {
            certificate_file: server.file("server.crt"),
            key_file: server.file("server.key"),
            client_ca_file: Some(client_ca_file.clone()),
            require_client_certificate: false,
        };
        let text = format!(
            "[store]\npath = \"mayfly.db\"\n[server.tls]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n\
             client_ca_file = \"{}\"\n{identities}",
            tls.certificate_file.display(),
            tls.key_file.display(),
            client_ca_file.display()
        );
        let origin = std::path::Path::new("/tmp/mayfly.toml");
        let loaded =
            mayfly::config::Config::parse(&text, origin, &mayfly::config::SystemEnvironment).unwrap();
        let world = World::with(Vec::new(), Vec::new()).await;
        let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
        let identities = Identities::new(&loaded.config.identity, &clock, &Identities::default()).unwrap();
        let handle = Arc::new(IdentitiesHandle::new(identities));
        let settings = GrpcSettings { tls: Some(tls), ..settings() };
        let bound = bind_trusting(&world, settings, handle).await.unwrap();
        Self { api: Api::run(world, bound).await, server, authority }
    }

    /// By SPIFFE ID.
    async fn spiffe() -> Self {
        Self::start(
            "[identity.mesh]\ncertificate = \"spiffe\"\nprincipal = \"{spiffe_id}\"\ngroups = [\"mesh\"]\n\
             bound_claims = { trust_domain = \"acme.example\" }",
        )
        .await
    }

    async fn client(
        &self,
        identity: Option<Identity>,
    ) -> Result<ServerServiceClient<tonic::transport::Channel>, String> {
        let trusted = Certificate::from_pem(fs::read(self.server.file("authority.crt")).unwrap());
        let tls = ClientTlsConfig::new().ca_certificate(trusted).domain_name("localhost");
        let tls = identity.map_or_else(|| tls.clone(), |identity| tls.clone().identity(identity));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.api.address)).unwrap();
        let channel =
            endpoint.tls_config(tls).unwrap().connect().await.map_err(|error| format!("{error:?}"))?;
        Ok(ServerServiceClient::new(channel))
    }

    async fn call(&self, identity: Identity) -> Result<WhoAmIResponse, tonic::Status> {
        let mut client = self.client(Some(identity)).await.map_err(tonic::Status::unknown)?;
        client.who_am_i(Request::new(WhoAmIRequest {})).await.map(tonic::Response::into_inner)
    }
}

fn refusal() -> (Code, String) {
    (Code::Unauthenticated, "CERTIFICATE_REFUSED".to_owned())
}

#[tokio::test]
async fn a_certificate_with_a_spiffe_id_is_who_calls() {
    let mesh = Mesh::spiffe().await;
    let me = mesh.call(issue(&mesh.authority, &[ID], |_| {})).await.unwrap();
    assert_eq!((&*me.principal, me.groups), (ID, vec!["mesh".to_owned()]));
    assert!(me.token.starts_with("certificates/") && me.token.len() == 13 + 64, "{}", me.token);
}

#[tokio::test]
async fn a_bearer_token_beside_a_certificate_says_who_calls() {
    let mesh = Mesh::spiffe().await;
    let mut client = mesh.client(Some(issue(&mesh.authority, &[ID], |_| {}))).await.unwrap();
    let reply = client.who_am_i(with(&mesh.api.administrator, WhoAmIRequest {})).await.unwrap().into_inner();
    assert!(reply.administrator);
    let status = client.who_am_i(with("mf_x", WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(told(&status).1, "TOKEN_MALFORMED");
}

#[tokio::test]
async fn a_caller_without_certificate_and_token_is_nobody() {
    let mesh = Mesh::spiffe().await;
    let mut client = mesh.client(None).await.unwrap();
    let status = client.who_am_i(Request::new(WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(told(&status).1, "TOKEN_MISSING");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let mesh = Mesh::spiffe().await;
    let status = mesh.call(issue(&authority(), &[ID], |_| {})).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    assert_eq!(mesh.api.world.audit().await.len(), 1, "nobody got as far as a call");
}

#[tokio::test]
async fn a_certificate_without_a_spiffe_id_is_refused() {
    let mesh = Mesh::spiffe().await;
    for uris in [&[][..], &["https://acme.example/x"]] {
        let status = mesh.call(issue(&mesh.authority, uris, |_| {})).await.unwrap_err();
        assert_eq!(told(&status), refusal());
    }
}

#[tokio::test]
async fn a_certificate_with_two_uris_is_refused() {
    let mesh = Mesh::spiffe().await;
    let status =
        mesh.call(issue(&mesh.authority, &[ID, "spiffe://acme.example/other"], |_| {})).await.unwrap_err();
    assert_eq!(told(&status), refusal());
    assert!(status.message().contains("has several"), "{status:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let mesh = Mesh::spiffe().await;
    let expired = issue(&mesh.authority, &[ID], |params| params.not_after = date_time_ymd(2020, 1, 1));
    assert_ne!(mesh.call(expired).await.unwrap_err().code(), Code::Ok);
}

#[tokio::test]
async fn a_connection_that_outlives_its_certificate_is_nobodys() {
    let mesh = Mesh::spiffe().await;
    let identity = issue(&mesh.authority, &[ID], |params| params.not_after = date_time_ymd(2090, 1, 1));
    let mut client = mesh.client(Some(identity)).await.unwrap();
    client.who_am_i(Request::new(WhoAmIRequest {})).await.unwrap();
    mesh.api.world.pass(70 * 366 * 24 * 3600);
    let status = client.who_am_i(Request::new(WhoAmIRequest {})).await.unwrap_err();
    assert_eq!(told(&status), refusal());
    assert!(status.message().contains("has expired"), "{status:?}");
}

#[tokio::test]
async fn a_certificate_of_another_trust_domain_is_refused() {
    let mesh = Mesh::spiffe().await;
    let status = mesh.call(issue(&mesh.authority, &["spiffe://evil.example/x"], |_| {})).await.unwrap_err();
    assert_eq!(told(&status), refusal());
    let last = mesh.api.world.audit().await.pop().unwrap();
    assert!(last.resource.starts_with("certificates/"), "{}", last.resource);
}

#[tokio::test]
async fn a_subject_is_an_identity_where_it_is_configured() {
    let mesh =
        Mesh::start("[identity.hosts]\ncertificate = \"subject\"\nprincipal = \"host:{common_name}\"").await;
    let named = |name: &'static str| {
        issue(&mesh.authority, &[], |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
        })
    };
    assert_eq!(mesh.call(named("web-1")).await.unwrap().principal, "host:web-1");
    assert_eq!(told(&mesh.call(named("web 1; drop")).await.unwrap_err()), refusal());
}
