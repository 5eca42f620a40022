//! TLS towards the server: each mode, with certificates that fit and ones that do not.

use std::path::{Path, PathBuf};

use mayfly::{
    domain::Engine,
    sandbox::{Server, ServerTls},
    target::{Target, TargetErrorKind, TlsMode, TlsSettings, mysql::Mysql},
};
use mysql_async::prelude::Queryable;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

use super::rig;
use crate::support::{MyFixture, own_server};

/// Certificates in files.
struct Papers {
    _directory: TempDir,
    authority: PathBuf,
    other_authority: PathBuf,
    /// For 127.0.0.1.
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn issue(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    directory: &Path,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.extended_key_usages = vec![purpose];
    let certificate = params.signed_by(&key, issuer).unwrap();
    (
        write(directory, &format!("{name}.crt"), &certificate.pem()),
        write(directory, &format!("{name}.key"), &key.serialize_pem()),
    )
}

fn papers() -> Papers {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let path = directory.path();
    Papers {
        authority: write(path, "ca.crt", &ours.pem()),
        other_authority: write(path, "other.crt", &other.pem()),
        server: issue(&ours, path, "server", ExtendedKeyUsagePurpose::ServerAuth),
        client: issue(&ours, path, "client", ExtendedKeyUsagePurpose::ClientAuth),
        _directory: directory,
    }
}

async fn server(engine: Engine, papers: &Papers) -> Option<MyFixture<Server>> {
    let (certificate, key) = papers.server.clone();
    let client_authority = Some(papers.authority.clone());
    let server = own_server(engine, |spec| {
        spec.tls = Some(ServerTls { certificate, key, client_authority });
    })
    .await?;
    Some(MyFixture::on(server).await)
}

fn target(fixture: &MyFixture<Server>, engine: Engine, host: &str, tls: TlsSettings) -> Mysql {
    let account = fixture.sample.administrator.clone();
    let mut settings = rig::settings(engine, fixture.port(), &account.user, account.password);
    settings.hosts = vec![(host.to_owned(), fixture.port())];
    settings.tls = tls;
    Mysql::new(settings, rig::surroundings()).unwrap()
}

fn tls(mode: TlsMode, ca_file: Option<&PathBuf>) -> TlsSettings {
    TlsSettings { mode, ca_file: ca_file.cloned(), client_certificate: None }
}

async fn modes(engine: Engine) {
    let papers = papers();
    let Some(fixture) = server(engine, &papers).await else { return };
    let kind = async |host: &str, settings| {
        target(&fixture, engine, host, settings).ping().await.err().map(|error| error.kind)
    };
    assert_eq!(kind("127.0.0.1", tls(TlsMode::Disable, None)).await, None);
    assert_eq!(kind("127.0.0.1", tls(TlsMode::Require, None)).await, None);
    let verified = tls(TlsMode::VerifyFull, Some(&papers.authority));
    assert_eq!(kind("127.0.0.1", verified.clone()).await, None);
    // The certificate does not name this host.
    assert_eq!(kind("localhost", verified.clone()).await, Some(TargetErrorKind::Untrusted));
    let foreign = tls(TlsMode::VerifyFull, Some(&papers.other_authority));
    assert_eq!(kind("127.0.0.1", foreign).await, Some(TargetErrorKind::Untrusted));

    let mut root = fixture.root().await;
    let user = &fixture.sample.administrator.user;
    root.query_drop(format!("ALTER USER `{user}`@'%' REQUIRE X509")).await.unwrap();
    assert_eq!(kind("127.0.0.1", verified.clone()).await, Some(TargetErrorKind::Unauthenticated));
    let with_certificate =
        TlsSettings { client_certificate: Some(papers.client.clone()), ..verified.clone() };
    assert_eq!(kind("127.0.0.1", with_certificate).await, None);
    root.query_drop(format!("ALTER USER `{user}`@'%' REQUIRE NONE")).await.unwrap();

    root.query_drop("SET GLOBAL require_secure_transport = ON").await.unwrap();
    // MariaDB does not say why it refuses.
    let shut_out =
        if engine == Engine::Mysql { TargetErrorKind::Untrusted } else { TargetErrorKind::Unauthenticated };
    assert_eq!(kind("127.0.0.1", tls(TlsMode::Disable, None)).await, Some(shut_out));
    assert_eq!(kind("127.0.0.1", verified).await, None);
}

#[tokio::test]
async fn each_mode_does_what_it_says_on_mysql() {
    modes(Engine::Mysql).await;
}

#[tokio::test]
async fn each_mode_does_what_it_says_on_mariadb() {
    modes(Engine::Mariadb).await;
}

#[tokio::test]
async fn a_server_without_tls_is_not_trusted_when_tls_is_asked_for() {
    let Some(fixture) = own_server(Engine::Mariadb, |_| ()).await else { return };
    let fixture = MyFixture::on(fixture).await;
    let error =
        target(&fixture, Engine::Mariadb, "127.0.0.1", tls(TlsMode::Require, None)).ping().await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Untrusted, "{error:?}");
}

#[tokio::test]
async fn unusable_files_are_told_at_the_start() {
    let papers = papers();
    let missing = PathBuf::from("/nowhere/ca.pem");
    let (certificate, key) = papers.client.clone();
    for tls in [
        tls(TlsMode::VerifyFull, Some(&missing)),
        tls(TlsMode::VerifyFull, Some(&key)),
        TlsSettings {
            client_certificate: Some((certificate.clone(), certificate.clone())),
            ..tls(TlsMode::Require, None)
        },
        TlsSettings { client_certificate: Some((key.clone(), key)), ..tls(TlsMode::Require, None) },
    ] {
        let mut settings =
            rig::settings(Engine::Mysql, 1, "anybody", mayfly::domain::Password::new(String::new()));
        settings.tls = tls;
        let error = Mysql::new(settings, rig::surroundings()).err().unwrap();
        assert_eq!(error.kind, TargetErrorKind::Untrusted, "{error:?}");
    }
}
