//! Why somebody could not be signed in at a provider.

use crate::identity::assertion::{AssertionError, FetchError};

/// Why somebody could not be signed in. The text is fit for whoever tries; it never has anything in it that the provider handed
/// out.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// No answer, or one that says nothing about the sign-in. The cause is for the log.
    #[error("the identity provider {provider} cannot be reached right now, or does not answer as it should")]
    Unavailable {
        /// The provider, by the name the configuration gives it.
        provider: String,
        /// The cause.
        #[source]
        source: Option<FetchError>,
    },
    /// The provider knows nothing of devices.
    #[error("the identity provider {0} does not let anybody sign in with a code typed on another device")]
    NoDevices(String),
    /// The provider says no, by a code of OAuth's.
    #[error("{}", words(.0))]
    Refused(String),
    /// What the provider answers is not what it should be.
    #[error("the identity provider's answer is not what it should be: {0}")]
    Answer(&'static str),
    /// The ID token is not accepted.
    #[error("the identity provider's ID token is not accepted: {0}")]
    Assertion(#[from] AssertionError),
    /// Nor this way.
    #[error("the identity provider's ID token is not accepted: {0}")]
    IdToken(#[from] IdTokenError),
}

/// Why an ID token is not one for this sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// It is for somebody else.
    #[error("it is meant for another client")]
    Audience,
    /// It was handed out to somebody else.
    #[error("it was handed out to another client (azp)")]
    Party,
    /// It is of another sign-in.
    #[error("it belongs to another sign-in (nonce)")]
    Nonce,
    /// It does not go with what came with it.
    #[error("it does not belong to the access token that came with it (at_hash)")]
    AccessToken,
    /// Nobody is named.
    #[error("it names nobody (sub)")]
    Subject,
    /// The provider does not say when the person signed in, or it was too long ago.
    #[error("the provider did not ask who you are again, or does not say when it did (auth_time)")]
    Stale,
    /// What the provider says of the person is about another.
    #[error("the provider says more (userinfo) about somebody else")]
    OtherSubject,
}

/// What a code of OAuth's means, in plain words. Others are told as they are, as far as they look like codes.
fn words(code: &str) -> String {
    let meaning = match code {
        "access_denied" => "the sign-in was refused at the identity provider",
        "expired_token" => "nobody signed in with the code in time",
        "invalid_grant" => {
            "the identity provider does not take what came back from it: used already, or too old"
        }
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            "the identity provider needs you to sign in there, and was told not to ask"
        }
        "invalid_client" | "unauthorized_client" => {
            "the identity provider does not know this Mayfly, or does not let it do this: an administrator must look at \
             identity.NAME.sign_in"
        }
        "invalid_scope" => {
            "the identity provider does not know what it was asked for: an administrator must look at \
             identity.NAME.sign_in.scopes"
        }
        "server_error" | "temporarily_unavailable" => {
            "the identity provider cannot sign anybody in right now"
        }
        code => return format!("the identity provider refused: {}", printable(code)),
    };
    format!("{meaning} ({code})")
}

/// A code that the provider or whoever pretends to be it made up, as far as it looks like one.
fn printable(code: &str) -> &str {
    let is_code = !code.is_empty()
        && code.len() <= 64
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_code { code } else { "it gives no reason" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_plainly_and_what_is_no_code_is_not_repeated() {
        let told = |code: &str| SignInError::Refused(code.to_owned()).to_string();
        assert_eq!(told("access_denied"), "the sign-in was refused at the identity provider (access_denied)");
        assert_eq!(told("odd_code"), "the identity provider refused: odd_code");
        for strange in ["", "<script>", "a b", "\u{1b}[2J", &"x".repeat(65)] {
            assert_eq!(told(strange), "the identity provider refused: it gives no reason");
        }
    }
}
