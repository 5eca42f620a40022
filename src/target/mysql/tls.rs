//! TLS towards the server, in the driver's terms.

use std::{fs, path::Path};

use mysql_async::{ClientIdentity, SslOpts};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::target::{TargetError, TargetErrorKind, TlsMode, TlsSettings};

/// The driver's options; `None`: clear text. Files are read here and now, so that a wrong one is told at the start.
///
/// # Errors
/// When a file cannot be read or does not hold what it should, or the system has no authorities to trust.
pub(super) fn options(settings: &TlsSettings) -> Result<Option<SslOpts>, TargetError> {
    let options = match settings.mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require => {
            SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true)
        }
        TlsMode::VerifyFull => {
            let roots = authorities(settings)?.into_iter().map(Into::into).collect();
            SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots)
        }
    };
    let identity =
        settings.client_certificate.as_ref().map(|(chain, key)| identity(chain, key)).transpose()?;
    Ok(Some(options.with_client_identity(identity)))
}

fn authorities(settings: &TlsSettings) -> Result<Vec<Vec<u8>>, TargetError> {
    let (found, place) = match &settings.ca_file {
        Some(file) => (certificates(file)?, file.display().to_string()),
        None => (rustls_native_certs::load_native_certs().certs, "the system".to_owned()),
    };
    // The driver gives up at the first authority it cannot use; systems have some that are odd.
    let mut usable = RootCertStore::empty();
    let kept: Vec<Vec<u8>> = found
        .into_iter()
        .filter(|certificate| usable.add(certificate.clone()).is_ok())
        .map(|certificate| certificate.to_vec())
        .collect();
    if kept.is_empty() {
        return Err(unusable(format!("{place} has no certificate of an authority")));
    }
    Ok(kept)
}

fn identity(chain: &Path, key: &Path) -> Result<ClientIdentity, TargetError> {
    if certificates(chain)?.is_empty() {
        return Err(unusable(format!("{} has no certificate", chain.display())));
    }
    let bytes = read(key)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| unusable(format!("{} has no private key", key.display())).caused_by(error))?;
    Ok(ClientIdentity::new(read(chain)?.into(), bytes.into()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    CertificateDer::pem_slice_iter(&read(file)?)
        .map(|found| found.map(CertificateDer::into_owned))
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(format!("{} is no PEM file", file.display())).caused_by(error))
}

fn read(file: &Path) -> Result<Vec<u8>, TargetError> {
    fs::read(file).map_err(|error| unusable(format!("{} cannot be read", file.display())).caused_by(error))
}

fn unusable(message: String) -> TargetError {
    TargetError::new(TargetErrorKind::Untrusted, message)
}
