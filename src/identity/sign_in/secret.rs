//! The secret of a sign-in that is under way: `mfi_` and 256 random bits, held by whoever began it and by nobody else.
//!
//! State, nonce and verifier are derived from it. The store keeps a digest only: whoever reads the store can neither complete
//! anybody's sign-in nor redeem a code. A device's code comes from the provider, and is kept sealed with a key derived likewise.

use std::{fmt, str::FromStr};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use zeroize::Zeroizing;

use crate::{
    domain::{InstanceId, Password, SignInId},
    identity::{TokenFormatError, token},
    random::Random,
    sealing::{Bound, Keyring, SealError, Sealed},
};

/// What every such secret begins with.
pub const SIGN_IN_PREFIX: &str = "mfi_";

/// The secret of a sign-in. Redacted in `Debug`, wiped when dropped; stored only as a digest.
#[derive(Clone)]
pub struct SignInSecret(Zeroizing<String>);

/// Where a device's code is sealed for.
#[derive(Debug, Clone, Copy)]
struct Device {
    instance: InstanceId,
    sign_in: SignInId,
}

impl Bound for Device {
    fn parts(&self) -> Vec<String> {
        vec!["mayfly device code".to_owned(), self.instance.to_string(), self.sign_in.to_string()]
    }
}

impl SignInSecret {
    /// Draws one.
    pub fn generate(random: &dyn Random) -> Self {
        Self(token::draw(SIGN_IN_PREFIX, random))
    }

    /// The digest it is known by.
    pub fn hash(&self) -> String {
        HEXLOWER.encode(&token::sha256(self.0.as_bytes()))
    }

    /// Whether a digest is its own.
    pub fn is_of(&self, hash: &str) -> bool {
        same(&self.hash(), hash)
    }

    /// The secret itself, for the one reply it is in.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What comes back from the provider along with the code, so that it is known to belong to this sign-in.
    pub fn state(&self) -> Zeroizing<String> {
        self.derived("state")
    }

    /// Whether a state is its own.
    pub fn has_state(&self, state: &str) -> bool {
        same(&self.state(), state)
    }

    /// What the ID token must repeat.
    pub(super) fn nonce(&self) -> Zeroizing<String> {
        self.derived("nonce")
    }

    /// What only whoever began the sign-in can redeem the code with (RFC 7636): 43 characters.
    pub(super) fn verifier(&self) -> Zeroizing<String> {
        self.derived("verifier")
    }

    /// What the provider is shown of the verifier beforehand.
    pub(super) fn challenge(&self) -> String {
        challenge_of(&self.verifier())
    }

    /// Seals a device's code.
    ///
    /// # Errors
    /// [`SealError`], which cannot be.
    pub fn seal_device(
        &self,
        place: (InstanceId, SignInId),
        code: &Password,
        random: &dyn Random,
    ) -> Result<String, SealError> {
        let (instance, sign_in) = place;
        let sealed = self.keyring()?.seal(Device { instance, sign_in }, code, random)?;
        Ok(sealed.to_string())
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`SealError`]: it is another's, or was altered.
    pub fn open_device(&self, place: (InstanceId, SignInId), sealed: &str) -> Result<Password, SealError> {
        let (instance, sign_in) = place;
        let sealed: Sealed = sealed.parse().map_err(|_| SealError::NoKey)?;
        self.keyring()?.open(Device { instance, sign_in }, &sealed)
    }

    fn keyring(&self) -> Result<Keyring, SealError> {
        let key = Zeroizing::new(BASE64.encode(self.tag("device").as_ref()));
        Keyring::parse(&key).map_err(|_| SealError::NoKey)
    }

    fn derived(&self, what: &str) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(self.tag(what).as_ref()))
    }

    fn tag(&self, what: &str) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        hmac::sign(&key, format!("mayfly sign-in {what}").as_bytes())
    }
}

fn challenge_of(verifier: &str) -> String {
    BASE64URL_NOPAD.encode(&token::sha256(verifier.as_bytes()))
}

/// Whether two texts are the same, in a time that depends on their lengths alone.
pub(super) fn same(left: &str, right: &str) -> bool {
    verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

impl FromStr for SignInSecret {
    type Err = TokenFormatError;

    fn from_str(text: &str) -> Result<Self, TokenFormatError> {
        token::check(SIGN_IN_PREFIX, text).map(Self)
    }
}

impl fmt::Debug for SignInSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{identity::people::SessionToken, random::SeededRandom};

    #[test]
    fn a_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge_of(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn what_is_derived_differs_and_says_nothing_of_the_secret() {
        let random = SeededRandom::new(1);
        let (one, other) = (SignInSecret::generate(&random), SignInSecret::generate(&random));
        let of = |secret: &SignInSecret| {
            [secret.state(), secret.nonce(), secret.verifier()].map(|derived| derived.to_string())
        };
        let all: std::collections::BTreeSet<_> = of(&one).into_iter().chain(of(&other)).collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|derived| derived.len() == 43));
        assert!(one.has_state(&one.state()) && !one.has_state(&other.state()) && !one.has_state(""));
        assert!(one.is_of(&one.hash()) && !one.is_of(&other.hash()));
        assert_eq!(format!("{one:?}"), "SignInSecret([redacted])");
        assert_eq!(one.expose().parse::<SignInSecret>().unwrap().hash(), one.hash());
        assert!(one.expose().parse::<SessionToken>().is_err());
    }

    #[test]
    fn a_devices_code_opens_with_its_own_secret_in_its_own_place_only() {
        let random = SeededRandom::new(1);
        let (one, other) = (SignInSecret::generate(&random), SignInSecret::generate(&random));
        let instance: InstanceId = "7e57000000000000000a".parse().unwrap();
        let id = |bits| SignInId::new(Timestamp::UNIX_EPOCH, bits);
        let code = Password::new("device code".to_owned());
        let sealed = one.seal_device((instance, id(1)), &code, &random).unwrap();
        assert!(!sealed.contains("device"));
        assert_eq!(one.open_device((instance, id(1)), &sealed).unwrap().expose(), "device code");
        assert!(one.open_device((instance, id(2)), &sealed).is_err());
        assert!(other.open_device((instance, id(1)), &sealed).is_err());
        assert!(one.open_device((instance, id(1)), "v1.x").is_err());
    }
}
