//! Getting an identity provider's keys over HTTPS.

use std::error::Error;

use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::{
    KeySet,
    http::{ANSWER_LIMIT, Http},
    keys::KeySetError,
};

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

/// Where an issuer describes itself.
pub(in crate::identity) fn description_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
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
    http: Http,
    place: KeyPlace,
}

impl Fetcher {
    /// Trusts the authorities given, or else the system's.
    pub(super) fn new(
        place: KeyPlace,
        authorities: Option<&[CertificateDer<'static>]>,
    ) -> Result<Self, FetchError> {
        Ok(Self { http: Http::new(authorities)?, place })
    }

    /// The keys as they are now.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let url = match &self.place {
            KeyPlace::Url(url) => url.clone(),
            KeyPlace::Discovery { issuer } => self.discover(issuer).await?,
        };
        let text = self.http.get(&url).await?;
        KeySet::parse(&text).map_err(|source| FetchError::NoKeySet { url, source })
    }

    async fn discover(&self, issuer: &str) -> Result<String, FetchError> {
        let url = description_url(issuer);
        let text = self.http.get(&url).await?;
        let description: Option<Description> = serde_json::from_slice(&text).ok();
        let keys = description.filter(|found| found.issuer == issuer && is_trustworthy(&found.jwks_uri));
        keys.map(|found| found.jwks_uri).ok_or(FetchError::NoDescription(url))
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
