//! How people sign in at a provider, as the configuration describes it.

use std::time::Duration;

use crate::domain::Password;

/// What Mayfly and a provider know each other by. Two are the same when they say the same.
#[derive(Debug, Clone)]
pub struct ClientSecret(pub Password);

impl PartialEq for ClientSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }
}

impl Eq for ClientSecret {}

/// How people sign in at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInSettings {
    /// What Mayfly is called there.
    pub client_id: String,
    /// What it proves that by; `None`: it is a public client.
    pub client_secret: Option<ClientSecret>,
    /// What is asked for, besides `openid`.
    pub scopes: Vec<String>,
    /// The one port at 127.0.0.1 that the provider sends browsers back to; `None`: to any.
    pub redirect_port: Option<u16>,
    /// How long ago the person may have signed in at the provider; `None`: as long as that lets it be.
    pub max_age: Option<Duration>,
    /// Values of `acr` that say that a second factor was given.
    pub second_factor_acr: Vec<String>,
    /// Values in `amr` that say so.
    pub second_factor_amr: Vec<String>,
    /// Whether claims that the ID token lacks are asked for.
    pub user_info: bool,
}

impl SignInSettings {
    /// The scopes as they are asked for.
    pub(super) fn scope(&self) -> String {
        let more = self.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(more).collect::<Vec<_>>().join(" ")
    }
}
