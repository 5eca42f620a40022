//! How long access lasts.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The longest TTL anybody can configure or ask for: a year. Longer than that is a standing credential.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A time to live: at least one second, at most 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Ttl(u64);

/// Why a duration is no TTL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Less than a second.
    #[error("a TTL is at least one second")]
    TooShort,
    /// More than 366 days.
    #[error("a TTL is at most 366 days")]
    TooLong,
    /// Above what the role allows.
    #[error("the TTL asked for, {asked}, is above the role's maximum of {max}")]
    AboveMaximum {
        /// Asked for.
        asked: Ttl,
        /// Allowed.
        max: Ttl,
    },
}

impl Ttl {
    /// From whole seconds; fractions are cut off.
    ///
    /// # Errors
    /// When it is shorter than a second or longer than 366 days.
    pub fn new(duration: Duration) -> Result<Self, TtlError> {
        match duration {
            d if d < Duration::from_secs(1) => Err(TtlError::TooShort),
            d if d > LONGEST => Err(TtlError::TooLong),
            d => Ok(Self(d.as_secs())),
        }
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl TryFrom<u64> for Ttl {
    type Error = TtlError;

    fn try_from(seconds: u64) -> Result<Self, TtlError> {
        Self::new(Duration::from_secs(seconds))
    }
}

impl From<Ttl> for u64 {
    fn from(ttl: Ttl) -> u64 {
        ttl.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        for (value, unit) in [(days, 'd'), (rest / 3600, 'h'), (rest % 3600 / 60, 'm'), (rest % 60, 's')] {
            if value > 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A role's default and maximum TTL; the default is never above the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlBounds {
    default: Ttl,
    max: Ttl,
}

impl TtlBounds {
    /// Pairs a default with a maximum.
    ///
    /// # Errors
    /// When the default is above the maximum.
    pub fn new(default: Ttl, max: Ttl) -> Result<Self, TtlError> {
        if default > max {
            return Err(TtlError::AboveMaximum { asked: default, max });
        }
        Ok(Self { default, max })
    }

    /// What a request without a TTL gets.
    pub fn default(&self) -> Ttl {
        self.default
    }

    /// The longest a lease may live, renewals included.
    pub fn max(&self) -> Ttl {
        self.max
    }

    /// The TTL for a request: what was asked for, or the default.
    ///
    /// # Errors
    /// When more than the maximum is asked for. It is refused, not cut: a caller that got less than it asked for would
    /// find out too late.
    pub fn choose(&self, asked: Option<Ttl>) -> Result<Ttl, TtlError> {
        match asked {
            None => Ok(self.default),
            Some(asked) if asked > self.max => Err(TtlError::AboveMaximum { asked, max: self.max }),
            Some(asked) => Ok(asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Ttl {
        Ttl::try_from(n).unwrap()
    }

    #[test]
    fn bounds_what_a_ttl_can_be() {
        assert_eq!(Ttl::new(Duration::ZERO), Err(TtlError::TooShort));
        assert_eq!(Ttl::new(Duration::from_millis(999)), Err(TtlError::TooShort));
        assert_eq!(Ttl::new(Duration::MAX), Err(TtlError::TooLong));
        assert_eq!(seconds(1).duration(), Duration::from_secs(1));
    }

    #[test]
    fn choosing_refuses_rather_than_cuts() {
        let bounds = TtlBounds::new(seconds(60), seconds(3600)).unwrap();
        assert_eq!(bounds.choose(None), Ok(seconds(60)));
        assert_eq!(bounds.choose(Some(seconds(3600))), Ok(seconds(3600)));
        let refused = bounds.choose(Some(seconds(3601))).unwrap_err();
        assert_eq!(refused.to_string(), "the TTL asked for, 1h1s, is above the role's maximum of 1h");
        assert!(TtlBounds::new(seconds(3601), seconds(3600)).is_err());
    }

    #[test]
    fn reads_as_people_write_it() {
        for (n, text) in [(1, "1s"), (60, "1m"), (5400, "1h30m"), (86_400, "1d"), (90_061, "1d1h1m1s")] {
            assert_eq!(seconds(n).to_string(), text);
        }
    }
}
