//! Posting to a webhook: over TLS that verifies, straight to the address, following nothing, and reading no answer but its status.

use std::{path::Path, time::Duration};

use reqwest::{
    Client, StatusCode,
    header::{CONTENT_TYPE, HeaderName, RETRY_AFTER},
    redirect::Policy,
};

use super::{HookUrl, Undelivered, trust};

/// Posts to one address.
pub(super) struct Post {
    client: Client,
    url: HookUrl,
}

impl Post {
    pub(super) fn open(url: HookUrl, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, String> {
        let client = Client::builder()
            .tls_backend_preconfigured(trust::client(ca_file)?)
            .user_agent(concat!("mayfly/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .connect_timeout(timeout)
            .timeout(timeout)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|_| "its HTTP client cannot be made".to_owned())?;
        Ok(Self { client, url })
    }

    /// Posts JSON, with further headers.
    pub(super) async fn json(
        &self,
        body: Vec<u8>,
        headers: Vec<(HeaderName, String)>,
    ) -> Result<(), Undelivered> {
        let mut request =
            self.client.post(self.url.get().clone()).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| Undelivered::because(words(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Err(Undelivered { words: refused(status), retry_after })
    }
}

fn refused(status: StatusCode) -> String {
    let number = status.as_u16();
    match number {
        300..=399 => {
            format!("the receiver answered {number}: it wants to be followed elsewhere, which is not done")
        }
        401 | 403 | 404 | 410 => {
            format!("the receiver answered {number}: the address is wrong, or was taken back")
        }
        429 => "the receiver answered 429: too much at once".to_owned(),
        _ => format!("the receiver answered {number}"),
    }
}

/// What went wrong, without the address.
fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the receiver did not answer in time".to_owned();
    }
    match trust::distrusted(error) {
        Some(why) => format!("the receiver's certificate is not trusted: {why}"),
        None if error.is_connect() => "the receiver cannot be reached".to_owned(),
        None => "the connection to the receiver broke".to_owned(),
    }
}
