//! An identity provider to try things with: a key of its own, the key set that goes with it, and assertions as a CI system signs
//! them for its jobs. Nobody but a sandbox and tests may trust it.

use std::{fs, io, path::Path, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Bytes of a coordinate of a public key.
const COORDINATE: usize = 32;

/// An identity provider.
pub struct LocalIssuer {
    url: String,
    key_id: String,
    key: EcdsaKeyPair,
}

impl std::fmt::Debug for LocalIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalIssuer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The system's cryptography failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key can be made, or nothing signed with it")]
pub struct SigningError;

impl LocalIssuer {
    /// An issuer of a name (an address by custom) with a fresh key of a name.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn generate(url: impl Into<String>, key_id: impl Into<String>) -> Result<Self, SigningError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningError)?;
        Ok(Self { url: url.into(), key_id: key_id.into(), key })
    }

    /// What its assertions say of who issued them.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key that verifies its assertions, as a key set has it.
    pub fn public_key(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(COORDINATE).unwrap_or_default();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.key_id,
            "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y),
        })
    }

    /// Its key set.
    pub fn key_set(&self) -> String {
        json!({"keys": [self.public_key()]}).to_string()
    }

    /// Writes its key set, for `jwks_file`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_key_set(&self, file: &Path) -> io::Result<()> {
        fs::write(file, self.key_set())
    }

    /// Signs claims.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn sign(&self, claims: &Value) -> Result<String, SigningError> {
        self.sign_with(&json!({"alg": "ES256", "typ": "JWT", "kid": self.key_id}), claims)
    }

    /// Signs claims under any header.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> Result<String, SigningError> {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| SigningError)?;
        Ok(format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref())))
    }

    /// What a CI system claims of a job: which repository and branch it runs for. `id` tells it from other assertions.
    pub fn job(&self, repository: &str, branch: &str, audience: &str, now: Timestamp, id: &str) -> Value {
        let second = now.as_second();
        let life = i64::try_from(JOB_LIFE.as_secs()).unwrap_or_default();
        json!({
            "iss": self.url,
            "aud": audience,
            "sub": format!("repo:{repository}:ref:refs/heads/{branch}"),
            "repository": repository,
            "ref": format!("refs/heads/{branch}"),
            "iat": second,
            "nbf": second,
            "exp": second + life,
            "jti": id,
        })
    }
}

/// How long an assertion of a job is good.
pub const JOB_LIFE: Duration = Duration::from_secs(300);
