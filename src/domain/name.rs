//! Names people choose: parsed once at the edge, trusted afterwards.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a name was refused. Never repeats the name itself, which may be hostile or very long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// More bytes than the field allows.
    #[error("is {length} bytes long; at most {limit} are allowed")]
    TooLong {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A character outside the allowed set.
    #[error("has {character:?} at byte {position}; allowed are {allowed}")]
    Character {
        /// The first offending character.
        character: char,
        /// Its byte offset.
        position: usize,
        /// The allowed set, in words.
        allowed: &'static str,
    },
}

struct Rule {
    limit: usize,
    first: fn(char) -> bool,
    rest: fn(char) -> bool,
    allowed: &'static str,
}

fn check(text: &str, rule: &Rule) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > rule.limit {
        return Err(NameError::TooLong { length: text.len(), limit: rule.limit });
    }
    for (position, character) in text.char_indices() {
        let accepts = if position == 0 { rule.first } else { rule.rest };
        if !accepts(character) {
            return Err(NameError::Character { character, position, allowed: rule.allowed });
        }
    }
    Ok(())
}

const SLUG: Rule = Rule {
    limit: 63,
    first: |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
    rest: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    allowed: "a-z, 0-9 and, after the first character, -",
};

const SUBJECT: Rule = Rule {
    limit: 200,
    first: |c| c.is_ascii_alphanumeric(),
    rest: |c| c.is_ascii_alphanumeric() || "._@:/+=-".contains(c),
    allowed: "A-Z, a-z, 0-9 and, after the first character, . _ @ : / + = -",
};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, &$rule)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                check(&text, &$rule)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Names a target: 1 to 63 of `a-z`, `0-9`, `-`.
    TargetName, SLUG
}

name! {
    /// Names a role (an access profile, not a database role): 1 to 63 of `a-z`, `0-9`, `-`.
    RoleName, SLUG
}

name! {
    /// Names an identity provider, or a mapping of certificates: 1 to 63 of `a-z`, `0-9`, `-`.
    IdentityName, SLUG
}

name! {
    /// Names a channel that notices go through: 1 to 63 of `a-z`, `0-9`, `-`.
    ChannelName, SLUG
}

name! {
    /// Names a principal: 1 to 200 of `A-Z`, `a-z`, `0-9`, `.`, `_`, `@`, `:`, `/`, `+`, `=`, `-`.
    PrincipalName, SUBJECT
}

name! {
    /// Names a group of principals; the same characters as a principal's name.
    GroupName, SUBJECT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_ordinary_names() {
        for text in ["orders", "orders-read", "0", &"a".repeat(63)] {
            assert_eq!(text.parse::<RoleName>().unwrap().as_str(), text);
        }
        for text in ["alice", "Alice@example.com", "repo:acme/shop:ref", "spiffe+x=1", &"a".repeat(200)] {
            assert_eq!(text.parse::<PrincipalName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_hostile_names() {
        let long = "a".repeat(10 * 1024);
        for text in ["", "a b", "a'b", "a\"b", "a;b", "a`b", "a\\b", "naïve", "a\0b", "-a", "a\nb", &long] {
            assert!(text.parse::<RoleName>().is_err(), "{text:?}");
            assert!(text.parse::<PrincipalName>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<RoleName>(serde_json::json!(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_where_without_repeating_the_name() {
        let error = "ab;drop".parse::<RoleName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "has ';' at byte 2; allowed are a-z, 0-9 and, after the first character, -"
        );
        let error = "a".repeat(64).parse::<RoleName>().unwrap_err();
        assert_eq!(error.to_string(), "is 64 bytes long; at most 63 are allowed");
    }
}
