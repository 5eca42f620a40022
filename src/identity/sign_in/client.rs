//! A provider that people sign in at: what it is asked, and what is made of its answers.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    Asked, DeviceOffer, IdTokenError, Polled, SignInError, SignInSecret, SignInSettings, SignedIn,
    endpoints::{Discovery, Endpoints},
    form::{basic, bearer, encoded},
    id_token::Fit,
};
use crate::{
    clock::Clock,
    identity::assertion::{Answer, AssertionError, FetchError, Http, KeySettings, Provider},
};

/// What a device asks with.
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A provider that people sign in at.
pub struct SignInProvider {
    provider: Arc<Provider>,
    settings: SignInSettings,
    http: Http,
    discovery: Discovery,
}

/// What a provider handed out for a sign-in. Redacted in `Debug`, wiped when dropped, and kept nowhere.
pub struct Tokens {
    id_token: Zeroizing<String>,
    access_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

impl fmt::Debug for SignInProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInProvider").field("provider", &self.provider.name).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Handed {
    id_token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl SignInProvider {
    /// A provider, by its settings for people who sign in.
    pub(in crate::identity) fn new(
        provider: &Arc<Provider>,
        settings: &SignInSettings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, FetchError> {
        let authorities = match &provider.settings.keys {
            KeySettings::Fetched { authorities, .. } => authorities.as_deref(),
            KeySettings::Read { .. } => None,
        };
        Ok(Self {
            provider: Arc::clone(provider),
            settings: settings.clone(),
            http: Http::new(authorities)?,
            discovery: Discovery::new(&provider.name, &provider.settings.issuer, clock),
        })
    }

    /// The one port at 127.0.0.1 that it sends browsers back to; `None`: to any.
    pub fn redirect_port(&self) -> Option<u16> {
        self.settings.redirect_port
    }

    /// Where somebody signs in with a browser, which is then sent to `redirect_uri`.
    ///
    /// # Errors
    /// [`SignInError::Unavailable`].
    pub async fn authorization_url(
        &self,
        secret: &SignInSecret,
        redirect_uri: &str,
        fresh: bool,
    ) -> Result<String, SignInError> {
        let endpoints = self.endpoints().await?;
        let (state, nonce, challenge, scope) =
            (secret.state(), secret.nonce(), secret.challenge(), self.settings.scope());
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", &*self.settings.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &*scope),
            ("state", &**state),
            ("nonce", &**nonce),
            ("code_challenge", &*challenge),
            ("code_challenge_method", "S256"),
        ];
        let freshness = self.freshness(fresh);
        fields.extend(freshness.iter().map(|(name, value)| (*name, value.as_str())));
        let separator = if endpoints.authorization.contains('?') { '&' } else { '?' };
        Ok(format!("{}{separator}{}", endpoints.authorization, encoded(&fields)))
    }

    /// How the provider is told to ask who it is, where it may not take its own word for it.
    fn freshness(&self, fresh: bool) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if fresh {
            fields.extend([("prompt", "login".to_owned()), ("max_age", "0".to_owned())]);
            if !self.settings.second_factor_acr.is_empty() {
                fields.push(("acr_values", self.settings.second_factor_acr.join(" ")));
            }
        } else if let Some(age) = self.settings.max_age {
            fields.push(("max_age", age.as_secs().to_string()));
        }
        fields
    }

    /// Whether who sent a browser back is this provider, as far as it says so (RFC 9207).
    ///
    /// # Errors
    /// [`SignInError::Answer`] when it is another, or should have said so; [`SignInError::Unavailable`].
    pub async fn check_issuer(&self, issuer: &str) -> Result<(), SignInError> {
        let silent = issuer.is_empty();
        if !silent && issuer != self.provider.settings.issuer {
            return Err(SignInError::Answer("it came from another provider (iss)"));
        }
        if silent && self.endpoints().await?.names_itself {
            return Err(SignInError::Answer("it does not say from whom it is (iss)"));
        }
        Ok(())
    }

    /// Redeems the code that a browser was sent back with.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn redeem(
        &self,
        secret: &SignInSecret,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Tokens, SignInError> {
        let verifier = secret.verifier();
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &**verifier),
        ];
        self.tokens(&fields).await
    }

    /// Begins a sign-in with another device.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn offer_device(&self, fresh: bool) -> Result<DeviceOffer, SignInError> {
        let endpoints = self.endpoints().await?;
        let url = endpoints.device.as_ref();
        let url = url.ok_or_else(|| SignInError::NoDevices(self.provider.name.clone()))?;
        let (scope, freshness) = (self.settings.scope(), self.freshness(fresh));
        let mut fields = vec![("scope", &*scope)];
        fields.extend(freshness.iter().map(|(name, value)| (*name, value.as_str())));
        let answer = self.post(&endpoints, url, &fields).await?;
        DeviceOffer::read(&self.successful(url, answer)?)
    }

    /// Asks whether somebody signed in with the code that goes with a device's.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn poll_device(&self, device_code: &str) -> Result<Polled, SignInError> {
        let fields = [("grant_type", DEVICE_GRANT), ("device_code", device_code)];
        Polled::of(self.tokens(&fields).await)
    }

    /// Who signed in. `secret` is that of a sign-in in which the provider was told what to repeat.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn who(
        &self,
        tokens: &Tokens,
        secret: Option<&SignInSecret>,
        asked: Asked,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let (mut claims, algorithm) = self.provider.claims(&tokens.id_token, now).await?;
        let nonce = secret.map(SignInSecret::nonce);
        let fit = Fit {
            settings: &self.settings,
            nonce: nonce.as_ref().map(|nonce| nonce.as_str()),
            access_token: tokens.access_token.as_ref().map(|token| token.as_str()),
            asked,
            leeway: self.provider.settings.leeway,
        };
        let subject = fit.check(&claims, algorithm)?;
        let second_factor_at = fit.second_factor_at(&claims, now);
        if self.settings.user_info {
            self.add_user_info(&mut claims, &subject, tokens).await?;
        }
        let principal = self.provider.settings.mapping.principal(&claims);
        let principal = principal.map_err(AssertionError::Mapping)?;
        Ok(SignedIn { principal, subject, second_factor_at })
    }

    /// Adds what the provider says of the subject beyond the ID token, which stays as it is.
    async fn add_user_info(
        &self,
        claims: &mut Value,
        subject: &str,
        tokens: &Tokens,
    ) -> Result<(), SignInError> {
        let endpoints = self.endpoints().await?;
        let missing =
            SignInError::Answer("it has no userinfo, which identity.NAME.sign_in.user_info asks for");
        let token = tokens.access_token.as_ref().and_then(|token| bearer(token));
        let (Some(url), Some(token)) = (&endpoints.user_info, token) else { return Err(missing) };
        let text = self.http.get_as(url, token).await.map_err(|error| self.unavailable(error))?;
        let Ok(Value::Object(more)) = serde_json::from_slice(&text) else {
            return Err(SignInError::Answer("its userinfo is no JSON object"));
        };
        if more.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(IdTokenError::OtherSubject.into());
        }
        if let Some(claims) = claims.as_object_mut() {
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    async fn endpoints(&self) -> Result<Arc<Endpoints>, SignInError> {
        self.discovery.endpoints(&self.http).await
    }

    async fn tokens(&self, fields: &[(&str, &str)]) -> Result<Tokens, SignInError> {
        let endpoints = self.endpoints().await?;
        let answer = self.post(&endpoints, &endpoints.token, fields).await?;
        let text = Zeroizing::new(self.successful(&endpoints.token, answer)?);
        let handed: Handed =
            serde_json::from_slice(&text).map_err(|_| SignInError::Answer("what it hands out"))?;
        let id_token = handed.id_token.ok_or(SignInError::Answer("it hands out no ID token"))?;
        Ok(Tokens {
            id_token: Zeroizing::new(id_token),
            access_token: handed.access_token.map(Zeroizing::new),
        })
    }

    /// Posts a form, and says who asks.
    async fn post(
        &self,
        endpoints: &Endpoints,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, SignInError> {
        let (client_id, mut fields) = (&*self.settings.client_id, fields.to_vec());
        let mut authorization = None;
        match &self.settings.client_secret {
            None => fields.push(("client_id", client_id)),
            Some(secret) if endpoints.secret_in_form => {
                fields.extend([("client_id", client_id), ("client_secret", secret.0.expose())]);
            }
            Some(secret) => authorization = basic(client_id, secret.0.expose()),
        }
        let answer = self.http.post(url, encoded(&fields), authorization).await;
        answer.map_err(|error| self.unavailable(error))
    }

    /// The body of an answer that is a success, or what it says instead.
    fn successful(&self, url: &str, answer: Answer) -> Result<Vec<u8>, SignInError> {
        match answer.status {
            200 => Ok(answer.body),
            400..500 => match serde_json::from_slice::<Refused>(&answer.body) {
                Ok(refused) => Err(SignInError::Refused(refused.error)),
                Err(_) => Err(SignInError::Answer("it refuses without a reason")),
            },
            status => Err(self.unavailable(FetchError::Status { url: url.to_owned(), status })),
        }
    }

    fn unavailable(&self, error: FetchError) -> SignInError {
        SignInError::Unavailable { provider: self.provider.name.clone(), source: Some(error) }
    }
}
