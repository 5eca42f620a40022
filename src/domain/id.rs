//! Identifiers: sortable by time, short enough to live inside a MySQL account name.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

/// Crockford's base 32, lower case: no `i`, `l`, `o`, `u`, so it survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters in a rendered identifier: 100 bits at 5 bits each.
const LENGTH: usize = 20;

/// Low bits drawn at random; the 48 above them are milliseconds since the Unix epoch.
const RANDOM_BITS: u32 = 52;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: expected {LENGTH} characters of 0-9 and a-z without i, l, o, u")]
pub struct IdError;

fn compose(at: Timestamp, entropy: u64) -> u128 {
    let millis = u128::try_from(at.as_millisecond()).unwrap_or(0) & ((1 << 48) - 1);
    (millis << RANDOM_BITS) | u128::from(entropy & ((1 << RANDOM_BITS) - 1))
}

fn write(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for position in (0..LENGTH).rev() {
        let digit = usize::try_from((value >> (position * 5)) & 31).unwrap_or(0);
        let byte = ALPHABET.get(digit).copied().unwrap_or(b'0');
        fmt::Write::write_char(f, char::from(byte))?;
    }
    Ok(())
}

fn read(text: &str) -> Result<u128, IdError> {
    if text.len() != LENGTH {
        return Err(IdError);
    }
    text.bytes().try_fold(0u128, |value, byte| {
        let digit = ALPHABET.iter().position(|&letter| letter == byte).ok_or(IdError)?;
        Ok((value << 5) | digit as u128)
    })
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Builds an identifier from the moment of creation (milliseconds are kept) and 64 random bits, of which
            /// the low 52 are used. Not a secret: the time in it is readable.
            pub fn new(at: Timestamp, entropy: u64) -> Self {
                Self(compose(at, entropy))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                read(text).map(Self)
            }
        }
    };
}

identifier! {
    /// Identifies a lease: 20 characters such as `06dp4f2h9c8x1k3m7q0r`, ordered by creation time.
    LeaseId
}

identifier! {
    /// Identifies an API token (not its secret part): 20 characters, ordered by creation time.
    TokenId
}

identifier! {
    /// Identifies a request for access: 20 characters, ordered by creation time.
    RequestId
}

identifier! {
    /// Identifies a grant: 20 characters, ordered by creation time.
    GrantId
}

identifier! {
    /// Identifies a session of somebody who is signed in (not its secret part): 20 characters, ordered by creation time.
    SessionId
}

identifier! {
    /// Identifies a sign-in that is under way (not its secret part): 20 characters, ordered by creation time.
    SignInId
}

identifier! {
    /// Identifies an invitation (not its secret part): 20 characters, ordered by creation time.
    InvitationId
}

identifier! {
    /// Identifies a notification: 20 characters, ordered by creation time.
    NoticeId
}

identifier! {
    /// Identifies an installation of Mayfly, which is what shares one store: 20 characters. It is on every account the
    /// installation creates, so that two installations can share a target without touching each other's.
    InstanceId
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn renders_and_reads_back() {
        for (millis, entropy) in [(0, 0), (1_795_305_600_000, 7), (1_795_305_600_000, u64::MAX)] {
            let id = LeaseId::new(at(millis), entropy);
            let text = id.to_string();
            assert_eq!(text.len(), LENGTH);
            assert_eq!(text.parse::<LeaseId>().unwrap(), id);
        }
    }

    #[test]
    fn sorts_by_time_as_value_and_as_text() {
        let earlier = LeaseId::new(at(1_795_305_600_000), u64::MAX);
        let later = LeaseId::new(at(1_795_305_600_001), 0);
        assert!(earlier < later);
        assert!(earlier.to_string() < later.to_string());
    }

    #[test]
    fn refuses_what_is_not_an_identifier() {
        for text in [
            "",
            "06dp4f2h9c8x1k3m7q0",
            "06dp4f2h9c8x1k3m7q0rr",
            "06dp4f2h9c8x1k3m7q0U",
            "ééééééé",
            "' or 1=1 --00000000",
        ] {
            assert_eq!(text.parse::<LeaseId>(), Err(IdError), "{text:?}");
        }
    }
}
