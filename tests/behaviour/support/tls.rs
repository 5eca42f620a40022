//! Certificates of an authority that nobody outside one test trusts.

use std::{fs, path::PathBuf, sync::Arc};

use mayfly::sandbox::ServerTls;
use mysql_async::SslOpts;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tempfile::TempDir;
use tokio_postgres_rustls::MakeRustlsConnect;

/// An authority, and what it signed: a server at 127.0.0.1 (also `localhost`) and a client. All as PEM files, which
/// live as long as this value.
pub(crate) struct TestCertificates {
    directory: TempDir,
    authority: CertificateDer<'static>,
}

impl TestCertificates {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Mayfly test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(directory.path().join("authority.crt"), issuer.pem()).unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        for (file, common_name, names) in [("server", "localhost", names), ("client", "mayfly", Vec::new())] {
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, common_name);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            fs::write(directory.path().join(format!("{file}.crt")), certificate.pem()).unwrap();
            fs::write(directory.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
        }
        Self { authority: issuer.der().clone(), directory }
    }

    /// `authority.crt`, `server.crt`, `server.key`, `client.crt`, `client.key`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a database server of the sandbox is to show.
    pub(crate) fn for_servers(&self) -> ServerTls {
        ServerTls {
            certificate: self.file("server.crt"),
            key: self.file("server.key"),
            client_authority: None,
        }
    }

    /// Trusts nothing but this authority, and checks names.
    pub(crate) fn postgres_connector(&self) -> MakeRustlsConnect {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        MakeRustlsConnect::new(config)
    }

    /// Trusts this authority, and checks names.
    pub(crate) fn mysql_options(&self) -> SslOpts {
        SslOpts::default().with_root_certs(vec![self.file("authority.crt").into()])
    }
}
