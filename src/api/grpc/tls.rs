//! TLS for callers, from files that can be read again while serving.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::settings::TlsFiles;

/// Why TLS could not be set up from the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or has nothing of the kind in it.
    #[error("{}: no {what} can be read from it", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What was expected.
        what: &'static str,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// A file has no certificate.
    #[error("{}: there is no certificate in it", .0.display())]
    Empty(PathBuf),
    /// The certificate and the key do not belong together, or cannot be used.
    #[error("the certificate in {} cannot be used with the key in {}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// An authority cannot be used.
    #[error("{}: an authority in it cannot be used", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// Client certificates cannot be verified.
    #[error("client certificates cannot be verified")]
    Verifier(#[from] VerifierBuilderError),
    /// No protocol version is possible.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// Client certificates are required and there is nobody to trust for them.
    #[error("client certificates are required, but no client_ca_file says which to accept")]
    NoClientAuthority,
}

/// The TLS that new connections get. Clones are the same.
#[derive(Clone)]
pub struct TlsHandle(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for TlsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsHandle").field(&self.0.files).finish()
    }
}

impl TlsHandle {
    /// TLS as the files say.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(configure(&files)?));
        Ok(Self(Arc::new(Inner { files, current })))
    }

    /// Reads the files again. Connections that are open stay as they are.
    ///
    /// # Errors
    /// [`TlsError`], naming the file; what was in use stays in use then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = Arc::new(configure(&self.0.files)?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shakes hands with a client; the caller bounds the time.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current()).accept(stream).await
    }
}

fn configure(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let certificates = certificates(&files.certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|source| TlsError::File {
        file: files.key_file.clone(),
        what: "private key",
        source,
    })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = client_verifier(files, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key)
        .map_err(|source| TlsError::Pair {
            certificate: files.certificate_file.clone(),
            key: files.key_file.clone(),
            source,
        })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn client_verifier(
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(file) = &files.client_ca_file else {
        if files.require_client_certificate {
            return Err(TlsError::NoClientAuthority);
        }
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(file)? {
        roots.add(authority).map_err(|source| TlsError::Authority { file: file.clone(), source })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if files.require_client_certificate { builder } else { builder.allow_unauthenticated() };
    Ok(builder.build()?)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::File { file: file.to_owned(), what: "certificate", source };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(file.to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn write_pair(directory: &TempDir, name: &str) -> (PathBuf, PathBuf) {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = directory.path().join(format!("{name}.crt"));
        let key = directory.path().join(format!("{name}.key"));
        fs::write(&certificate, pair.cert.pem()).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    }

    fn files((certificate_file, key_file): (PathBuf, PathBuf)) -> TlsFiles {
        TlsFiles { certificate_file, key_file, client_ca_file: None, require_client_certificate: false }
    }

    #[test]
    fn a_broken_reload_keeps_what_was_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(write_pair(&directory, "server"));
        let handle = TlsHandle::load(files.clone()).unwrap();
        let before = handle.current();
        handle.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &handle.current()));
        let before = handle.current();
        for broken in ["", "-----BEGIN CERTIFICATE-----\nnot base64", "words"] {
            fs::write(&files.certificate_file, broken).unwrap();
            let error = handle.reload().unwrap_err().to_string();
            assert!(error.contains("server.crt"), "{error}");
            assert!(Arc::ptr_eq(&before, &handle.current()));
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, _) = write_pair(&directory, "one");
        let (_, key) = write_pair(&directory, "other");
        let error = TlsHandle::load(files((certificate, key))).unwrap_err();
        assert!(matches!(error, TlsError::Pair { .. }), "{error}");
    }

    #[test]
    fn requiring_client_certificates_needs_an_authority() {
        let directory = tempfile::tempdir().unwrap();
        let files = TlsFiles { require_client_certificate: true, ..files(write_pair(&directory, "server")) };
        assert!(matches!(TlsHandle::load(files), Err(TlsError::NoClientAuthority)));
    }
}
