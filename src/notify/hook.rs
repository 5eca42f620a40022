//! Where a webhook is posted to, and what it is signed with. Both are secrets.

use std::{fmt, net::IpAddr, sync::Arc};

use aws_lc_rs::hmac;
use data_encoding::BASE64;

/// What a key's text begins with, by the Standard Webhooks specification.
const PREFIX: &str = "whsec_";

/// Bytes a key may have, likewise.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The address of a webhook. Whoever has it may post there, so it is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(reqwest::Url);

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookUrlError {
    /// It cannot be read.
    #[error("is no address such as https://hooks.example.com/…")]
    Malformed,
    /// What is posted would cross a network in clear text.
    #[error("must begin with https:// (http:// is for this machine alone)")]
    ClearText,
    /// Names and passwords belong elsewhere.
    #[error("has a user or password in it, which is not sent")]
    Login,
}

impl HookUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none, or in clear text beyond this machine.
    pub fn parse(text: &str) -> Result<Self, HookUrlError> {
        let url = reqwest::Url::parse(text.trim()).map_err(|_| HookUrlError::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HookUrlError::Login);
        }
        let host = url.host_str().ok_or(HookUrlError::Malformed)?;
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_this_machine(host) => Ok(Self(url)),
            "http" => Err(HookUrlError::ClearText),
            _ => Err(HookUrlError::Malformed),
        }
    }

    pub(super) fn get(&self) -> &reqwest::Url {
        &self.0
    }
}

/// Whether a host is this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookUrl(…)")
    }
}

/// What posts are signed with.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<hmac::Key>,
    /// Tells keys apart, for a reload.
    print: [u8; 32],
}

/// The text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no signing key: whsec_ and 24 to 64 bytes in base64, for example from \
     `printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\"`"
)]
pub struct SigningKeyError;

impl SigningKey {
    /// Reads a key: `whsec_` and base64.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SigningKeyError)?;
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| SigningKeyError)?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(SigningKeyError);
        }
        let print = crate::audit::Digest::of(&bytes).0;
        Ok(Self { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)), print })
    }

    /// The signature of a post: of its identifier, its second and its body.
    pub(super) fn sign(&self, id: &str, second: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{second}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_does() {
        // The example of the specification's reference libraries.
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "secret", "whsec_", "whsec_MfKQ", "whsec_!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(SigningKey::parse(text).err(), Some(SigningKeyError), "{text}");
        }
    }

    #[test]
    fn an_address_is_encrypted_or_of_this_machine_and_is_never_shown() {
        for text in
            ["https://hooks.example.com/a?b=c", "http://127.0.0.1:8/x", "http://localhost/x", "http://[::1]/"]
        {
            let url = HookUrl::parse(text).unwrap();
            assert_eq!(format!("{url:?}"), "HookUrl(…)");
        }
        for (text, error) in [
            ("http://hooks.example.com/a", HookUrlError::ClearText),
            ("http://127.0.0.1.evil.example/", HookUrlError::ClearText),
            ("https://user:secret@hooks.example.com", HookUrlError::Login),
            ("ftp://hooks.example.com", HookUrlError::Malformed),
            ("hooks", HookUrlError::Malformed),
        ] {
            assert_eq!(HookUrl::parse(text), Err(error), "{text}");
        }
    }
}
