//! The second factor: codes of six digits that change every half minute (RFC 6238), each accepted once.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::{domain::Password, random::Random};

/// Seconds a code is shown for.
pub const TOTP_STEP: u64 = 30;

/// Steps by which a telephone's clock may be off, either way.
const SKEW: u16 = 1;

/// Bytes of the shared secret: what RFC 4226 recommends.
const SECRET_LENGTH: usize = 20;

/// What an authenticator shows beside the account.
const ISSUER: &str = "Mayfly";

/// What is kept is no secret of a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is kept of the second factor cannot be understood")]
pub struct SecondFactorError;

/// The secret an authenticator shares with us. `Debug` shows nothing of it; it is kept sealed only.
pub struct TotpSecret(Totp);

impl TotpSecret {
    /// Draws one for an account.
    ///
    /// # Errors
    /// Never for the name of a principal.
    pub fn generate(random: &dyn Random, account: &str) -> Result<Self, SecondFactorError> {
        let mut bytes = Zeroizing::new([0; SECRET_LENGTH]);
        random.fill(bytes.as_mut());
        Self::of(*bytes, account)
    }

    /// The one that was kept.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(kept: &Password, account: &str) -> Result<Self, SecondFactorError> {
        let bytes = BASE32_NOPAD.decode(kept.expose().as_bytes()).map_err(|_| SecondFactorError)?;
        let bytes = Zeroizing::new(bytes);
        let bytes: [u8; SECRET_LENGTH] = bytes.as_slice().try_into().map_err(|_| SecondFactorError)?;
        Self::of(bytes, account)
    }

    fn of(bytes: [u8; SECRET_LENGTH], account: &str) -> Result<Self, SecondFactorError> {
        // A colon would end the issuer's name in the URL.
        let account = account.replace(':', "_");
        let builder = Builder::new().with_digits(6).with_skew(SKEW).with_step_duration(TOTP_STEP);
        let builder = builder.with_issuer(Some(ISSUER)).with_account_name(account);
        builder.with_secret(Secret::new_stack(bytes)).build().map(Self).map_err(|_| SecondFactorError)
    }

    /// As it is sealed and kept, and as it is typed into an authenticator that reads no URL.
    pub fn to_text(&self) -> Password {
        Password::new(BASE32_NOPAD.encode(self.0.secret().as_bytes()))
    }

    /// The `otpauth://` URL that authenticators read.
    ///
    /// # Errors
    /// Never for the name of a principal.
    pub fn url(&self) -> Result<Password, SecondFactorError> {
        self.0.to_url().map(Password::new).map_err(|_| SecondFactorError)
    }

    /// The step that a code belongs to, when it is a code of now, give or take one step, and of a later step than the last one
    /// accepted.
    pub fn check(&self, code: &str, now: Timestamp, last: Option<u64>) -> Option<u64> {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let step = self.0.check(code.trim(), seconds)?;
        last.is_none_or(|last| step > last).then_some(step)
    }

    /// The code of a moment: for tests and demonstrations, which have no telephone.
    pub fn code(&self, at: Timestamp) -> String {
        self.0.generate(u64::try_from(at.as_second()).unwrap_or_default()).to_string()
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::random::SeededRandom;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, for SHA-1: the last six digits.
        let text = Password::new(BASE32_NOPAD.encode(b"12345678901234567890"));
        let secret = TotpSecret::read(&text, "alice").unwrap();
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(secret.code(at(second)), code);
            assert_eq!(secret.check(code, at(second), None), Some(u64::try_from(second).unwrap() / 30));
        }
    }

    #[test]
    fn a_code_is_good_for_one_step_either_way_and_once() {
        let secret = TotpSecret::generate(&SeededRandom::new(1), "alice").unwrap();
        let now = at(1_800_000_000);
        let code = secret.code(now);
        let step = secret.check(&code, now, None).unwrap();
        for (seconds, good) in [(-60, false), (-30, true), (30, true), (59, true), (60, false)] {
            let moment = now + SignedDuration::from_secs(seconds);
            assert_eq!(secret.check(&code, moment, None).is_some(), good, "{seconds}");
        }
        assert_eq!(secret.check(&code, now, Some(step)), None);
        assert_eq!(secret.check(&code, now, Some(step + 1)), None);
        assert_eq!(secret.check(&code, now, Some(step - 1)), Some(step));
    }

    #[test]
    fn what_is_no_code_is_not_accepted() {
        let secret = TotpSecret::generate(&SeededRandom::new(1), "alice").unwrap();
        let now = at(1_800_000_000);
        for code in
            ["", "12345", "1234567", "abcdef", "-12345", "+12345", "１２３４５６", &"1".repeat(10_000)]
        {
            assert_eq!(secret.check(code, now, None), None, "{code}");
        }
    }

    #[test]
    fn it_is_kept_as_text_and_offered_as_a_url() {
        let secret = TotpSecret::generate(&SeededRandom::new(1), "repo:alice").unwrap();
        let again = TotpSecret::read(&secret.to_text(), "repo:alice").unwrap();
        assert_eq!(again.code(at(0)), secret.code(at(0)));
        let url = secret.url().unwrap();
        assert!(url.expose().starts_with("otpauth://totp/Mayfly:repo_alice?secret="), "{}", url.expose());
        assert_eq!(format!("{secret:?}"), "TotpSecret([redacted])");
        assert!(TotpSecret::read(&Password::new("AAAA".to_owned()), "alice").is_err());
    }
}
