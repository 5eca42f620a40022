//! What makes an ID token one for this sign-in (OpenID Connect Core, 3.1.3.7); that it is the provider's and good now was verified
//! before.

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::{IdTokenError, SignInSettings, secret::same};
use crate::{
    domain::Principal,
    identity::assertion::{instant, later},
};

/// Characters a subject has at most, by the specification.
const SUBJECT_LIMIT: usize = 255;

/// What was asked for when a sign-in began.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// Whether the person was to be asked again.
    pub fresh: bool,
}

/// Somebody who signed in at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who, here.
    pub principal: Principal,
    /// Who, there.
    pub subject: String,
    /// When a second factor was given there, if the provider says so.
    pub second_factor_at: Option<Timestamp>,
}

/// What an ID token must fit.
pub(super) struct Fit<'a> {
    pub(super) settings: &'a SignInSettings,
    /// `None`: it came in answer to a question of ours that had no room for one.
    pub(super) nonce: Option<&'a str>,
    pub(super) access_token: Option<&'a str>,
    pub(super) asked: Asked,
    /// How far the provider's clock may be off.
    pub(super) leeway: std::time::Duration,
}

impl Fit<'_> {
    /// Whether it fits. Returns the subject.
    pub(super) fn check(&self, claims: &Value, algorithm: Algorithm) -> Result<String, IdTokenError> {
        self.check_client(claims)?;
        let nonce = claims.get("nonce").and_then(Value::as_str);
        if self.nonce.is_some_and(|expected| !nonce.is_some_and(|nonce| same(nonce, expected))) {
            return Err(IdTokenError::Nonce);
        }
        if let (Some(hash), Some(token)) = (claims.get("at_hash"), self.access_token)
            && hash.as_str() != Some(&half_digest(token, algorithm))
        {
            return Err(IdTokenError::AccessToken);
        }
        self.check_freshness(claims)?;
        let subject = claims.get("sub").and_then(Value::as_str);
        let subject = subject.filter(|subject| !subject.is_empty() && subject.len() <= SUBJECT_LIMIT);
        subject.map(str::to_owned).ok_or(IdTokenError::Subject)
    }

    /// It is for us, and if it is for others as well it says that we are who it was handed out to.
    fn check_client(&self, claims: &Value) -> Result<(), IdTokenError> {
        let own = |value: &Value| value.as_str() == Some(&self.settings.client_id);
        let (is_ours, others) = match claims.get("aud") {
            Some(Value::Array(audiences)) => (audiences.iter().any(own), audiences.len() > 1),
            Some(audience) => (own(audience), false),
            None => (false, false),
        };
        if !is_ours {
            return Err(IdTokenError::Audience);
        }
        match claims.get("azp") {
            Some(party) if !own(party) => Err(IdTokenError::Party),
            None if others => Err(IdTokenError::Party),
            _ => Ok(()),
        }
    }

    fn check_freshness(&self, claims: &Value) -> Result<(), IdTokenError> {
        let longest = if self.asked.fresh { Some(std::time::Duration::ZERO) } else { self.settings.max_age };
        let Some(longest) = longest else { return Ok(()) };
        let at = instant(claims, "auth_time").ok().flatten().ok_or(IdTokenError::Stale)?;
        let until = later(at, longest.saturating_add(self.leeway));
        if until < self.asked.at { Err(IdTokenError::Stale) } else { Ok(()) }
    }

    /// When a second factor was given, if the claims say so in the words the configuration knows. When is what the provider says
    /// of when the person signed in, and never later than now.
    pub(super) fn second_factor_at(&self, claims: &Value, now: Timestamp) -> Option<Timestamp> {
        let known = |words: &[String], word: &Value| {
            word.as_str().is_some_and(|word| words.iter().any(|known| known == word))
        };
        let acr = claims.get("acr").is_some_and(|acr| known(&self.settings.second_factor_acr, acr));
        let methods = claims.get("amr").and_then(Value::as_array).into_iter().flatten();
        let amr = methods.into_iter().any(|method| known(&self.settings.second_factor_amr, method));
        let at = instant(claims, "auth_time").ok().flatten();
        at.filter(|_| acr || amr).map(|at| at.min(now))
    }
}

/// The first half of an access token's digest, by the algorithm of the signature.
fn half_digest(token: &str, algorithm: Algorithm) -> String {
    let kind = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let whole = digest::digest(kind, token.as_bytes());
    BASE64URL_NOPAD.encode(whole.as_ref().get(..whole.as_ref().len() / 2).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn settings() -> SignInSettings {
        SignInSettings {
            client_id: "mayfly".to_owned(),
            client_secret: None,
            scopes: Vec::new(),
            redirect_port: None,
            max_age: None,
            second_factor_acr: vec!["gold".to_owned()],
            second_factor_amr: vec!["mfa".to_owned()],
            user_info: false,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fit(settings: &SignInSettings, fresh: bool) -> Fit<'_> {
        Fit {
            settings,
            nonce: Some("n"),
            access_token: Some("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            asked: Asked { at: at(1_000), fresh },
            leeway: Duration::from_secs(30),
        }
    }

    fn checked(settings: &SignInSettings, fresh: bool, changes: &Value) -> Result<String, IdTokenError> {
        let mut claims = json!({"aud": "mayfly", "nonce": "n", "sub": "248289761001"});
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        fit(settings, fresh).check(&claims, Algorithm::RS256)
    }

    #[test]
    fn it_is_for_us_and_for_this_sign_in() {
        let settings = settings();
        let check = |changes: Value| checked(&settings, false, &changes);
        assert_eq!(check(json!({})).unwrap(), "248289761001");
        assert!(check(json!({"aud": ["mayfly"]})).is_ok());
        assert!(check(json!({"aud": ["other", "mayfly"], "azp": "mayfly"})).is_ok());
        // The example of OpenID Connect Core, appendix A.3.
        assert!(check(json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"})).is_ok());
        for (changes, error) in [
            (json!({"aud": "other"}), IdTokenError::Audience),
            (json!({"aud": null}), IdTokenError::Audience),
            (json!({"aud": ["other"]}), IdTokenError::Audience),
            (json!({"aud": ["other", "mayfly"]}), IdTokenError::Party),
            (json!({"azp": "other"}), IdTokenError::Party),
            (json!({"nonce": null}), IdTokenError::Nonce),
            (json!({"nonce": "m"}), IdTokenError::Nonce),
            (json!({"nonce": ["n"]}), IdTokenError::Nonce),
            (json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RR"}), IdTokenError::AccessToken),
            (json!({"at_hash": 7}), IdTokenError::AccessToken),
            (json!({"sub": null}), IdTokenError::Subject),
            (json!({"sub": ""}), IdTokenError::Subject),
            (json!({"sub": "x".repeat(256)}), IdTokenError::Subject),
        ] {
            assert_eq!(check(changes.clone()), Err(error), "{changes}");
        }
    }

    #[test]
    fn somebody_who_was_to_be_asked_again_was_and_not_too_long_ago() {
        let mut settings = settings();
        for (auth_time, accepted) in [(json!(970), true), (json!(969), false), (json!("x"), false)] {
            assert_eq!(checked(&settings, true, &json!({"auth_time": auth_time})).is_ok(), accepted);
        }
        assert_eq!(checked(&settings, true, &json!({})), Err(IdTokenError::Stale));
        settings.max_age = Some(Duration::from_secs(600));
        assert_eq!(checked(&settings, false, &json!({})), Err(IdTokenError::Stale));
        assert!(checked(&settings, false, &json!({"auth_time": 370})).is_ok());
        assert_eq!(checked(&settings, false, &json!({"auth_time": 369})), Err(IdTokenError::Stale));
    }

    #[test]
    fn a_second_factor_counts_only_in_words_that_are_configured_and_with_a_time() {
        let settings = settings();
        let given = |claims: Value| fit(&settings, false).second_factor_at(&claims, at(1_000));
        assert_eq!(given(json!({"acr": "gold", "auth_time": 900})), Some(at(900)));
        assert_eq!(given(json!({"amr": ["pwd", "mfa"], "auth_time": 900})), Some(at(900)));
        assert_eq!(given(json!({"amr": ["mfa"], "auth_time": 2_000})), Some(at(1_000)));
        for claims in [
            json!({"acr": "gold"}),
            json!({"acr": "silver", "auth_time": 900}),
            json!({"acr": ["gold"], "auth_time": 900}),
            json!({"amr": "mfa", "auth_time": 900}),
            json!({"amr": ["gold"], "auth_time": 900}),
            json!({"auth_time": 900}),
        ] {
            assert_eq!(given(claims.clone()), None, "{claims}");
        }
    }
}
