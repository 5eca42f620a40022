//! Devices without a browser: what a provider offers them (RFC 8628), and how asking whether somebody signed in went.

use std::time::Duration;

use serde::Deserialize;

use super::{SignInError, Tokens};
use crate::{domain::Password, identity::assertion::is_trustworthy};

/// Seconds between two questions when the provider does not say.
const INTERVAL: u32 = 5;

/// The longest it makes anybody wait between two.
pub(super) const LONGEST_INTERVAL: u32 = 60;

/// Characters of a code that people type.
const USER_CODE_LIMIT: usize = 64;

/// What somebody is shown who signs in with another device.
#[derive(Debug)]
pub struct DeviceOffer {
    /// What the provider is asked about.
    pub device_code: Password,
    /// What is typed.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long there is to do it.
    pub life: Duration,
    /// Seconds between two questions whether it was done.
    pub interval: u32,
}

/// How asking a provider whether somebody signed in went.
#[derive(Debug)]
pub enum Polled {
    /// Somebody did.
    Done(Tokens),
    /// Nobody did yet.
    Pending,
    /// It was asked too often.
    SlowDown,
}

#[derive(Deserialize)]
struct Offer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u32>,
}

impl DeviceOffer {
    /// Reads what a provider offers. Addresses and codes are shown on terminals and opened in browsers: nothing odd gets through.
    pub(super) fn read(text: &[u8]) -> Result<Self, SignInError> {
        let odd = || SignInError::Answer("what it offers to a device");
        let offer: Offer = serde_json::from_slice(text).map_err(|_| odd())?;
        let address = |url: &str| is_trustworthy(url) && url.bytes().all(|byte| byte.is_ascii_graphic());
        let typed = |code: &str| {
            !code.is_empty()
                && code.len() <= USER_CODE_LIMIT
                && code.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        };
        if offer.device_code.is_empty() || !typed(&offer.user_code) || !address(&offer.verification_uri) {
            return Err(odd());
        }
        Ok(Self {
            device_code: Password::new(offer.device_code),
            user_code: offer.user_code,
            verification_uri_complete: offer.verification_uri_complete.filter(|url| address(url)),
            verification_uri: offer.verification_uri,
            life: Duration::from_secs(offer.expires_in),
            interval: offer.interval.unwrap_or(INTERVAL).clamp(1, LONGEST_INTERVAL),
        })
    }
}

impl Polled {
    /// What came of a question.
    pub(super) fn of(answer: Result<Tokens, SignInError>) -> Result<Self, SignInError> {
        match answer {
            Ok(tokens) => Ok(Polled::Done(tokens)),
            Err(SignInError::Refused(code)) if code == "authorization_pending" => Ok(Polled::Pending),
            Err(SignInError::Refused(code)) if code == "slow_down" => Ok(Polled::SlowDown),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(changes: &Value) -> Result<DeviceOffer, SignInError> {
        let mut offer = json!({
            "device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": "https://id.example/device", "expires_in": 600,
        });
        for (name, value) in changes.as_object().unwrap() {
            offer[name] = value.clone();
        }
        DeviceOffer::read(offer.to_string().as_bytes())
    }

    #[test]
    fn what_is_offered_is_bounded_and_fit_for_a_terminal() {
        let offer = read(&json!({})).unwrap();
        assert_eq!((offer.interval, offer.life), (5, Duration::from_secs(600)));
        assert_eq!(read(&json!({"interval": 0})).unwrap().interval, 1);
        assert_eq!(read(&json!({"interval": 1_000_000})).unwrap().interval, 60);
        let astray = read(&json!({"verification_uri_complete": "javascript:1"})).unwrap();
        assert_eq!(astray.verification_uri_complete, None);
        for changes in [
            json!({"device_code": ""}),
            json!({"user_code": ""}),
            json!({"user_code": "\u{1b}[2J"}),
            json!({"user_code": "x".repeat(65)}),
            json!({"verification_uri": "http://id.example/device"}),
            json!({"verification_uri": "https://id.example/\u{1b}[2J"}),
            json!({"expires_in": "soon"}),
        ] {
            assert!(read(&changes).is_err(), "{changes}");
        }
    }
}
