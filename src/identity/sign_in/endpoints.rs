//! Where a provider is asked for what: its own description of itself, kept for a while.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::SignInError;
use crate::{
    clock::Clock,
    identity::assertion::{FetchError, Http, description_url, is_trustworthy},
};

/// How old a description becomes before it is fetched again.
const REFRESH: Duration = Duration::from_secs(3600);

/// How old it may become while it cannot be fetched.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The pause after it could not be fetched.
const PAUSE: Duration = Duration::from_secs(5);

/// Where a provider is asked for what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// Where people sign in.
    pub(super) authorization: String,
    /// Where codes are redeemed.
    pub(super) token: String,
    /// Where a device gets its code, if anywhere.
    pub(super) device: Option<String>,
    /// Where more is said of who signed in, if anywhere.
    pub(super) user_info: Option<String>,
    /// Whether clients prove who they are in the form rather than in a header.
    pub(super) secret_in_form: bool,
    /// Whether the provider says who it is when it sends a browser back (RFC 9207).
    pub(super) names_itself: bool,
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Endpoints {
    /// Reads an issuer's description of itself; `None`: it is another's, or leads where nothing can be trusted.
    fn read(issuer: &str, text: &[u8]) -> Option<Self> {
        let found: Description = serde_json::from_slice(text).ok()?;
        let all = [Some(&found.authorization_endpoint), Some(&found.token_endpoint)];
        let optional = [found.device_authorization_endpoint.as_ref(), found.userinfo_endpoint.as_ref()];
        let sound = all.into_iter().chain(optional).flatten().all(|url| is_trustworthy(url));
        // Without a word about it, the header is what every provider takes.
        let methods = found.token_endpoint_auth_methods_supported;
        let knows = |method: &str| methods.iter().flatten().any(|known| known == method);
        (found.issuer == issuer && sound).then_some(())?;
        Some(Self {
            secret_in_form: knows("client_secret_post") && !knows("client_secret_basic"),
            authorization: found.authorization_endpoint,
            token: found.token_endpoint,
            device: found.device_authorization_endpoint,
            user_info: found.userinfo_endpoint,
            names_itself: found.authorization_response_iss_parameter_supported,
        })
    }
}

/// Finds a provider's endpoints.
pub(super) struct Discovery {
    provider: String,
    issuer: String,
    clock: Arc<dyn Clock>,
    /// Held by the one who fetches.
    known: Mutex<Known>,
}

/// Times are the clock's uptime.
#[derive(Default)]
struct Known {
    endpoints: Option<(Arc<Endpoints>, Duration)>,
    failed_at: Option<Duration>,
}

impl Discovery {
    pub(super) fn new(provider: &str, issuer: &str, clock: &Arc<dyn Clock>) -> Self {
        Self {
            provider: provider.to_owned(),
            issuer: issuer.to_owned(),
            clock: Arc::clone(clock),
            known: Mutex::default(),
        }
    }

    /// The endpoints, fetched when they are not known or have become old. Of many who want them one fetches.
    pub(super) async fn endpoints(&self, http: &Http) -> Result<Arc<Endpoints>, SignInError> {
        let mut known = self.known.lock().await;
        let now = self.clock.uptime();
        let younger = |than: Duration| {
            let kept = known.endpoints.as_ref();
            kept.filter(|(_, at)| now.saturating_sub(*at) < than).map(|(endpoints, _)| Arc::clone(endpoints))
        };
        if let Some(endpoints) = younger(REFRESH) {
            return Ok(endpoints);
        }
        let stale = younger(LONGEST);
        let source = if known.failed_at.is_some_and(|at| now.saturating_sub(at) < PAUSE) {
            None
        } else {
            match self.fetch(http).await {
                Ok(endpoints) => {
                    let endpoints = Arc::new(endpoints);
                    *known = Known { endpoints: Some((Arc::clone(&endpoints), now)), failed_at: None };
                    return Ok(endpoints);
                }
                Err(error) => {
                    known.failed_at = Some(self.clock.uptime());
                    Some(error)
                }
            }
        };
        stale.ok_or_else(|| SignInError::Unavailable { provider: self.provider.clone(), source })
    }

    async fn fetch(&self, http: &Http) -> Result<Endpoints, FetchError> {
        let url = description_url(&self.issuer);
        let text = http.get(&url).await?;
        Endpoints::read(&self.issuer, &text).ok_or(FetchError::NoDescription(url))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://id.example";

    fn read(changes: &Value) -> Option<Endpoints> {
        let mut description = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example/auth",
            "token_endpoint": "https://id.example/token",
        });
        for (name, value) in changes.as_object().unwrap() {
            description[name] = value.clone();
        }
        Endpoints::read(ISSUER, description.to_string().as_bytes())
    }

    #[test]
    fn a_description_says_where_and_how_to_ask() {
        let least = read(&json!({})).unwrap();
        assert_eq!((least.device, least.secret_in_form, least.names_itself), (None, false, false));
        let post = |methods: Value| {
            read(&json!({"token_endpoint_auth_methods_supported": methods})).unwrap().secret_in_form
        };
        assert!(post(json!(["client_secret_post"])) && post(json!(["none", "client_secret_post"])));
        assert!(!post(json!(["client_secret_basic", "client_secret_post"])) && !post(json!(["none"])));
    }

    #[test]
    fn a_description_of_another_or_one_that_leads_astray_is_none() {
        for changes in [
            json!({"issuer": "https://id.example/"}),
            json!({"token_endpoint": "http://id.example/token"}),
            json!({"authorization_endpoint": "javascript:alert(1)"}),
            json!({"device_authorization_endpoint": "http://id.example/device"}),
            json!({"userinfo_endpoint": "file:///etc/passwd"}),
            json!({"token_endpoint": null}),
        ] {
            assert_eq!(read(&changes), None, "{changes}");
        }
    }
}
