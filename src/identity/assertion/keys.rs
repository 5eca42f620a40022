//! The keys of an identity provider: a JSON Web Key Set.

use std::fmt;

use aws_lc_rs::digest;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Algorithms that may be pinned. None with a shared secret: whoever can verify could sign.
pub const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Keys a set may have; providers have two to five.
const KEYS_LIMIT: usize = 100;

/// A key that signs assertions.
#[derive(Clone)]
struct PublicKey {
    id: Option<String>,
    /// The one algorithm it is for, when it says so.
    only: Option<String>,
    fits: Fits,
    key: DecodingKey,
}

/// What a key can be used with, by its type. Whatever a JWT says of itself, a key is used as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fits {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Fits {
    fn with(self, algorithm: Algorithm) -> bool {
        match self {
            Fits::Rsa => matches!(
                algorithm,
                Algorithm::RS256
                    | Algorithm::RS384
                    | Algorithm::RS512
                    | Algorithm::PS256
                    | Algorithm::PS384
                    | Algorithm::PS512
            ),
            Fits::P256 => algorithm == Algorithm::ES256,
            Fits::P384 => algorithm == Algorithm::ES384,
            Fits::Ed25519 => algorithm == Algorithm::EdDSA,
        }
    }
}

/// The keys of a provider. Two are the same when they were read from the same text.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    digest: [u8; 32],
}

/// Why a text is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not what it should be.
    #[error("it is no JSON Web Key Set: an object with a list named \"keys\"")]
    NoKeySet,
    /// Too many.
    #[error("it has more than {KEYS_LIMIT} keys")]
    TooMany,
    /// Only secrets, keys for encryption, or kinds of key that nothing here can be verified with.
    #[error("it has no key to verify signatures with (RSA, P-256, P-384 or Ed25519)")]
    Unusable,
}

/// Why no key was found for a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// There is none of that name.
    Unknown,
    /// There is one of that name, for something else.
    Unfit,
    /// No name was given, and there are several.
    Ambiguous,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a key set. Keys that cannot verify anything here are passed over.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_slice(text).map_err(|_| KeySetError::NoKeySet)?;
        if document.keys.len() > KEYS_LIMIT {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<PublicKey> = document.keys.into_iter().filter_map(public_key).collect();
        if keys.is_empty() {
            return Err(KeySetError::Unusable);
        }
        let mut value = [0; 32];
        value.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
        Ok(Self { keys, digest: value })
    }

    /// The key for a signature.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, NoKey> {
        let name = |key: &&PublicKey| id.is_none_or(|id| key.id.as_deref() == Some(id));
        let fit = |key: &&PublicKey| {
            key.fits.with(algorithm) && key.only.as_ref().is_none_or(|only| only.parse() == Ok(algorithm))
        };
        let mut fitting = self.keys.iter().filter(name).filter(fit);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.key),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (None, _) if self.keys.iter().any(|key| name(&key)) => Err(NoKey::Unfit),
            (None, _) => Err(NoKey::Unknown),
        }
    }
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for KeySet {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

fn public_key(value: Value) -> Option<PublicKey> {
    let only = value.get("alg").and_then(Value::as_str).map(str::to_owned);
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|to| *to == PublicKeyUse::Signature);
    let may_verify = jwk
        .common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let fits = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Fits::Rsa,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Fits::P256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Fits::P384,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Fits::Ed25519,
        _ => return None,
    };
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| for_signatures && may_verify)?;
    Some(PublicKey { id: jwk.common.key_id, only, fits, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"ec","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const RSA: &str = r#"{"kty":"RSA","kid":"rsa","alg":"RS256","use":"sig","n":"AQAB","e":"AQAB"}"#;

    fn set(keys: &[&str]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    #[test]
    fn a_key_is_found_by_its_name_and_used_as_what_it_is() {
        let keys = set(&[EC, RSA]).unwrap();
        assert!(keys.find(Some("ec"), Algorithm::ES256).is_ok());
        assert!(keys.find(Some("rsa"), Algorithm::RS256).is_ok());
        assert!(keys.find(None, Algorithm::ES256).is_ok());
        for (id, algorithm, why) in [
            (Some("ec"), Algorithm::RS256, NoKey::Unfit),
            (Some("ec"), Algorithm::ES384, NoKey::Unfit),
            (Some("ec"), Algorithm::HS256, NoKey::Unfit),
            (Some("rsa"), Algorithm::HS256, NoKey::Unfit),
            (Some("rsa"), Algorithm::PS256, NoKey::Unfit),
            (Some("other"), Algorithm::ES256, NoKey::Unknown),
            (None, Algorithm::HS256, NoKey::Unfit),
        ] {
            assert_eq!(keys.find(id, algorithm).err(), Some(why), "{id:?} {algorithm:?}");
        }
        let twins = set(&[EC, EC]).unwrap();
        assert_eq!(twins.find(Some("ec"), Algorithm::ES256).err(), Some(NoKey::Ambiguous));
    }

    #[test]
    fn keys_that_verify_nothing_are_passed_over_and_secrets_are_no_keys() {
        let secret = r#"{"kty":"oct","kid":"s","k":"c2VjcmV0"}"#;
        let encrypting = EC.replace(r#""kid":"ec""#, r#""kid":"enc","use":"enc""#);
        let unknown = r#"{"kty":"new","kid":"n"}"#;
        let keys = set(&[secret, &encrypting, unknown, "7", RSA]).unwrap();
        assert_eq!(keys.find(Some("s"), Algorithm::HS256).err(), Some(NoKey::Unknown));
        assert_eq!(keys.find(Some("enc"), Algorithm::ES256).err(), Some(NoKey::Unknown));
        assert!(keys.find(Some("rsa"), Algorithm::RS256).is_ok());
        assert_eq!(set(&[secret, &encrypting, unknown]), Err(KeySetError::Unusable));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#] {
            assert_eq!(KeySet::parse(text.as_bytes()), Err(KeySetError::NoKeySet), "{text}");
        }
        assert_eq!(set(&[]), Err(KeySetError::Unusable));
        assert_eq!(set(&[RSA; 101]), Err(KeySetError::TooMany));
    }
}
