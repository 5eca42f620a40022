//! API tokens: `mf_` and 256 random bits.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use data_encoding::{BASE32_NOPAD, Encoding};
use zeroize::Zeroizing;

use crate::{random::Random, store::TokenHash};

/// What every token begins with, so that secret scanners and people recognise one.
pub const TOKEN_PREFIX: &str = "mf_";

/// 256 bits: beyond guessing, so a fast hash suffices to keep it (nothing to stretch).
const SECRET_BYTES: usize = 32;

/// A check on typing and truncation, not on authenticity: the first bytes of the secret's digest.
const CHECK_BYTES: usize = 3;

/// An API token in memory. Redacted in `Debug`, wiped when dropped; stored only as a digest.
#[derive(Clone)]
pub struct ApiToken(Zeroizing<String>);

/// The text is not a token. It says nothing about the text, which may be somebody's secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Mayfly token, or cut off: a token is \"mf_\" and 56 letters and digits")]
pub struct TokenFormatError;

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    value
}

fn encode(bytes: &[u8]) -> String {
    let encoding: &Encoding = &BASE32_NOPAD;
    encoding.encode(bytes).to_ascii_lowercase()
}

/// Draws a token that begins with `prefix`.
pub(super) fn draw(prefix: &str, random: &dyn Random) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES + CHECK_BYTES]);
    let (secret, check) = bytes.split_at_mut(SECRET_BYTES);
    random.fill(secret);
    check.copy_from_slice(sha256(secret).get(..CHECK_BYTES).unwrap_or_default());
    Zeroizing::new(format!("{prefix}{}", encode(bytes.as_slice())))
}

/// The text, if it is a token that begins with `prefix`, whole and without a slip.
pub(super) fn check(prefix: &str, text: &str) -> Result<Zeroizing<String>, TokenFormatError> {
    let body = text.strip_prefix(prefix).ok_or(TokenFormatError)?;
    let upper = Zeroizing::new(body.to_ascii_uppercase());
    let bytes = Zeroizing::new(BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| TokenFormatError)?);
    let (secret, check) = bytes.split_at_checked(SECRET_BYTES).ok_or(TokenFormatError)?;
    if check.len() != CHECK_BYTES
        || sha256(secret).get(..CHECK_BYTES) != Some(check)
        || body != encode(&bytes)
    {
        return Err(TokenFormatError);
    }
    Ok(Zeroizing::new(text.to_owned()))
}

impl ApiToken {
    /// Draws a token.
    pub fn generate(random: &dyn Random) -> Self {
        Self(draw(TOKEN_PREFIX, random))
    }

    /// The digest under which it is kept.
    pub fn hash(&self) -> TokenHash {
        TokenHash(sha256(self.0.as_bytes()))
    }

    /// The token itself, for the one reply it is in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiToken {
    type Err = TokenFormatError;

    fn from_str(text: &str) -> Result<Self, TokenFormatError> {
        check(TOKEN_PREFIX, text).map(Self)
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn reads_back_what_it_draws() {
        let token = ApiToken::generate(&SeededRandom::new(1));
        assert_eq!(token.expose().len(), 59);
        let read: ApiToken = token.expose().parse().unwrap();
        assert_eq!(read.hash(), token.hash());
        assert_ne!(ApiToken::generate(&SeededRandom::new(2)).hash(), token.hash());
    }

    #[test]
    fn refuses_truncated_mistyped_and_foreign_tokens() {
        let token = ApiToken::generate(&SeededRandom::new(1)).expose().to_owned();
        let mut mistyped = token.clone().into_bytes();
        mistyped[20] = if mistyped[20] == b'a' { b'b' } else { b'a' };
        let mistyped = String::from_utf8(mistyped).unwrap();
        let long = format!("{token}{}", "a".repeat(10_240));
        for text in [
            "",
            "mf_",
            &token[..58],
            &token[3..],
            &mistyped,
            &token.to_ascii_uppercase(),
            "hvs.CAESIJ",
            "mf_é",
            &long,
        ] {
            assert_eq!(text.parse::<ApiToken>().unwrap_err(), TokenFormatError, "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", ApiToken::generate(&SeededRandom::new(1))), "ApiToken([redacted])");
    }
}
