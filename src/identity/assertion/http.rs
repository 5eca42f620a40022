//! HTTP with identity providers: over TLS or on this machine, bounded in time and size, and never redirected.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Method, RequestBuilder, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};

use super::FetchError;

/// Bytes a provider's answer may have; those of providers have a few thousand.
pub(super) const ANSWER_LIMIT: usize = 1024 * 1024;

/// How long one answer may take, to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client of a provider.
pub(in crate::identity) struct Http(Client);

/// What a provider answered, whatever its status.
pub(in crate::identity) struct Answer {
    /// The status.
    pub(in crate::identity) status: u16,
    /// The body.
    pub(in crate::identity) body: Vec<u8>,
}

impl Http {
    /// Trusts the authorities given, or else the system's.
    pub(in crate::identity) fn new(
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
        Ok(Self(client))
    }

    /// What is at an address. Any status but success is an error.
    pub(in crate::identity) async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        successful(url, self.send(url, self.0.request(Method::GET, url)).await?)
    }

    /// Likewise, with an authorization.
    pub(in crate::identity) async fn get_as(
        &self,
        url: &str,
        authorization: HeaderValue,
    ) -> Result<Vec<u8>, FetchError> {
        let request = self.0.request(Method::GET, url).header(AUTHORIZATION, authorization);
        successful(url, self.send(url, request).await?)
    }

    /// Posts a form, encoded already. What it means is up to status and body.
    pub(in crate::identity) async fn post(
        &self,
        url: &str,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, FetchError> {
        let request = self.0.request(Method::POST, url).body(form);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = match authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        self.send(url, request).await
    }

    async fn send(&self, url: &str, request: RequestBuilder) -> Result<Answer, FetchError> {
        let failed = |source: reqwest::Error| FetchError::Transport {
            url: url.to_owned(),
            source: source.without_url(),
        };
        let request = request.header(ACCEPT, "application/json");
        let mut response: Response = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(failed)? {
            if body.len() + bytes.len() > ANSWER_LIMIT {
                return Err(FetchError::TooLong(url.to_owned()));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(Answer { status: response.status().as_u16(), body })
    }
}

fn successful(url: &str, answer: Answer) -> Result<Vec<u8>, FetchError> {
    match answer.status {
        200..300 => Ok(answer.body),
        status => Err(FetchError::Status { url: url.to_owned(), status }),
    }
}
