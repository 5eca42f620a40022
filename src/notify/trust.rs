//! Whose certificates are believed.

use std::{error::Error, fs, io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The authorities of a file, as they stand in it.
pub(super) fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let place = file.display();
    let text = fs::read(file).map_err(|error| format!("{place} cannot be read: {error}"))?;
    let found = CertificateDer::pem_slice_iter(&text)
        .map(|one| one.map(CertificateDer::into_owned))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| format!("{place} is no PEM file"))?;
    if found.is_empty() { Err(format!("{place} holds no PEM certificate")) } else { Ok(found) }
}

/// TLS that verifies a server's certificate and name: by the authorities of a file, or by the system's.
pub(super) fn client(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            for certificate in authorities(file)? {
                roots
                    .add(certificate)
                    .map_err(|_| format!("{} has a certificate that is no authority", file.display()))?;
            }
        }
        // None at all is told when a certificate is to be verified: a channel in clear text needs none.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| "TLS cannot be set up".to_owned())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Why a certificate was not believed, where that is what an error comes from; in a word.
pub(super) fn distrusted(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    // An I/O error that wraps another passes over it when it is asked for its source.
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.map(|inner| inner as &(dyn Error + 'static));
        let found = inner.into_iter().chain([error]).find_map(|error| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(why)) = found {
            // The full text names every host the certificate is for.
            return Some(format!("{why:?}").chars().take_while(char::is_ascii_alphanumeric).collect());
        }
        next = inner.or_else(|| error.source());
    }
    None
}
