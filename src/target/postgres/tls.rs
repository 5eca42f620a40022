//! TLS towards PostgreSQL, with the provider given explicitly: nothing global is installed.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::target::{TargetError, TargetErrorKind, TlsMode, TlsSettings};

/// The connector that the settings ask for; `None`: clear text.
///
/// # Errors
/// Only when a file cannot be read or holds nothing of use, or the system has no roots where they are needed.
pub fn connector(settings: &TlsSettings) -> Result<Option<MakeRustlsConnect>, TargetError> {
    if settings.mode == TlsMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS cannot be set up").caused_by(error))?;
    let builder = match settings.mode {
        TlsMode::VerifyFull => builder.with_root_certificates(roots(settings.ca_file.as_deref())?),
        TlsMode::Require | TlsMode::Disable => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        }
    };
    let config = match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| unusable("the client certificate and key cannot be used").caused_by(error))?,
    };
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn unusable(message: impl Into<String>) -> TargetError {
    TargetError::new(TargetErrorKind::Untrusted, message)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    let cannot = || unusable(format!("no certificate can be read from {}", path.display()));
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| cannot().caused_by(error))?;
    if found.is_empty() { Err(cannot()) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TargetError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        unusable(format!("no private key can be read from {}", path.display())).caused_by(error)
    })
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TargetError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| {
                unusable(format!("{} has a certificate that is no authority", path.display()))
                    .caused_by(error)
            })?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(unusable("the system has no certificate authorities: name a CA file"));
        }
    }
    Ok(store)
}

/// `require`: encrypted, to whoever answers; the handshake must still be signed with the key of the certificate shown.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
