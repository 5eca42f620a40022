//! Codes that Mayfly draws and people type or paste, once: for setting a first password, for claiming an invitation, and
//! instead of a second factor that was lost.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::{domain::Password, random::Random};

/// Crockford's base 32: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters, of 5 bits each: 80 bits are beyond guessing at any rate that a server answers at.
const LENGTH: usize = 16;

/// Characters between dashes.
const GROUP: usize = 4;

/// The text is no such code. It says nothing about the text, which may be most of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a code, or cut off: a code is {LENGTH} letters and digits in groups of {GROUP}")]
pub struct CodeError;

fn draw(random: &dyn Random) -> Zeroizing<String> {
    let draw = |_| {
        let index = usize::try_from(random.below(32)).unwrap_or_default();
        char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
    };
    Zeroizing::new((0..LENGTH).map(draw).collect())
}

/// Without dashes and blanks, in lower case, with what is easily misread as what was meant.
fn normal(text: &str) -> Result<Zeroizing<String>, CodeError> {
    let mut code = Zeroizing::new(String::with_capacity(LENGTH));
    for c in text.trim().chars().filter(|c| !matches!(c, '-' | ' ')) {
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        if code.len() >= LENGTH || !ALPHABET.iter().any(|known| char::from(*known) == c) {
            return Err(CodeError);
        }
        code.push(c);
    }
    if code.len() == LENGTH { Ok(code) } else { Err(CodeError) }
}

/// A code in groups, for people.
fn grouped(code: &str) -> String {
    let mut text = String::new();
    for (position, c) in code.chars().enumerate() {
        if position > 0 && position.is_multiple_of(GROUP) {
            text.push('-');
        }
        text.push(c);
    }
    text
}

/// A code that opens one thing, once. Kept stretched with argon2.
#[derive(Clone)]
pub struct OneTimeCode(Zeroizing<String>);

impl OneTimeCode {
    /// Draws one.
    pub fn generate(random: &dyn Random) -> Self {
        Self(draw(random))
    }

    /// As what it is stretched as.
    pub fn as_password(&self) -> Password {
        Password::new(self.0.to_string())
    }

    /// The code, for the one reply it is in.
    pub fn expose(&self) -> String {
        grouped(&self.0)
    }
}

impl FromStr for OneTimeCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        normal(text).map(Self)
    }
}

impl fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeCode([redacted])")
    }
}

/// A code that stands in for a second factor, once. Kept as a digest: 80 random bits need no stretching, and a digest is found
/// among ten without ten stretchings.
#[derive(Clone)]
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// Draws one.
    pub fn generate(random: &dyn Random) -> Self {
        Self(draw(random))
    }

    /// What is kept of it.
    pub fn hash(&self) -> String {
        HEXLOWER.encode(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref())
    }

    /// The code, for the one reply it is in.
    pub fn expose(&self) -> String {
        grouped(&self.0)
    }
}

impl FromStr for RecoveryCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        normal(text).map(Self)
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_code_is_read_back_however_it_is_typed() {
        let code = RecoveryCode::generate(&SeededRandom::new(1));
        let text = code.expose();
        assert_eq!((text.len(), text.matches('-').count()), (19, 3));
        for typed in
            [&text, &text.replace('-', ""), &text.to_uppercase(), &format!(" {} ", text.replace('-', " "))]
        {
            assert_eq!(typed.parse::<RecoveryCode>().unwrap().hash(), code.hash(), "{typed}");
        }
        let misread = "0O1I-Labc-defg-hjkm".parse::<OneTimeCode>().unwrap();
        assert_eq!(misread.expose(), "0011-1abc-defg-hjkm");
    }

    #[test]
    fn what_is_no_code_is_refused_without_repeating_it() {
        let long = "a".repeat(10_000);
        for text in
            ["", "abcd", "abcd-efgh-jkmn-pqr", "abcd-efgh-jkmn-pqrst", "abcd-efgh-jkmn-pqr!", "é", &long]
        {
            assert_eq!(text.parse::<OneTimeCode>().unwrap_err(), CodeError, "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let random = SeededRandom::new(1);
        assert_eq!(format!("{:?}", OneTimeCode::generate(&random)), "OneTimeCode([redacted])");
        assert_eq!(format!("{:?}", RecoveryCode::generate(&random)), "RecoveryCode([redacted])");
    }
}
