//! Getting an identity provider's keys over HTTPS.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use serde::Deserialize;

use super::{KeySet, keys::KeySetError};

/// Bytes a provider's answer may have; those of providers have a few thousand.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// How long one answer may take, to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a provider's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// At this address.
    Url(String),
    /// Where the provider's own description says, which is at a place that follows from the issuer.
    Discovery {
        /// The issuer.
        issuer: String,
    },
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The client cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// Nor this way.
    #[error("HTTP cannot be set up")]
    Client(#[source] reqwest::Error),
    /// No answer.
    #[error("{url} does not answer: {}", causes(source))]
    Transport {
        /// The address.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// An answer that is no success. Redirections are not followed: who can redirect could hand out keys.
    #[error("{url} answers with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// Too long an answer.
    #[error("{0} answers with more than {ANSWER_LIMIT} bytes")]
    TooLong(String),
    /// The answer is something else.
    #[error("{url}: {source}")]
    NoKeySet {
        /// The address.
        url: String,
        /// What is wrong.
        source: KeySetError,
    },
    /// The provider's description of itself is none, or another's.
    #[error("{0} does not describe this issuer, or names no address of keys over https")]
    NoDescription(String),
}

fn causes(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// Whether keys may be fetched from an address: over TLS, or from this machine.
pub fn is_trustworthy(url: &str) -> bool {
    let Ok(url) = url.parse::<reqwest::Url>() else { return false };
    let host = url.host_str().unwrap_or_default();
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let plain = url.username().is_empty() && url.password().is_none() && !host.is_empty();
    plain && (url.scheme() == "https" || (url.scheme() == "http" && loopback))
}

/// Fetches keys.
pub(super) struct Fetcher {
    client: Client,
    place: KeyPlace,
}

impl Fetcher {
    /// Trusts the authorities given, or else the system's.
    pub(super) fn new(
        place: KeyPlace,
        authorities: Option<&[CertificateDer<'static>]>,
    ) -> Result<Self, FetchError> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(authorities) => {
                for authority in authorities {
                    roots.add(authority.clone()).map_err(FetchError::Tls)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(FetchError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(FetchError::Client)?;
        Ok(Self { client, place })
    }

    /// The keys as they are now.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let url = match &self.place {
            KeyPlace::Url(url) => url.clone(),
            KeyPlace::Discovery { issuer } => self.discover(issuer).await?,
        };
        let text = self.get(&url).await?;
        KeySet::parse(&text).map_err(|source| FetchError::NoKeySet { url, source })
    }

    async fn discover(&self, issuer: &str) -> Result<String, FetchError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let text = self.get(&url).await?;
        let description: Option<Description> = serde_json::from_slice(&text).ok();
        let keys = description.filter(|found| found.issuer == issuer && is_trustworthy(&found.jwks_uri));
        keys.map(|found| found.jwks_uri).ok_or(FetchError::NoDescription(url))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let failed = |source: reqwest::Error| FetchError::Transport {
            url: url.to_owned(),
            source: source.without_url(),
        };
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(FetchError::Status { url: url.to_owned(), status: response.status().as_u16() });
        }
        let mut text = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(failed)? {
            if text.len() + bytes.len() > ANSWER_LIMIT {
                return Err(FetchError::TooLong(url.to_owned()));
            }
            text.extend_from_slice(&bytes);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::is_trustworthy;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for url in
            ["https://example.com/jwks", "http://127.0.0.1:80/", "http://[::1]:1/x", "http://localhost/x"]
        {
            assert!(is_trustworthy(url), "{url}");
        }
        for url in [
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "file:///etc/passwd",
            "https://a:b@c/",
            "x",
            "",
        ] {
            assert!(!is_trustworthy(url), "{url}");
        }
    }
}
