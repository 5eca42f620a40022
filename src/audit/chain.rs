//! Where a chain ends.

use std::{fmt, str::FromStr};

use super::Digest;

/// The end of a chain: its last record's number and hash. Kept elsewhere, it is what proves that nothing was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// The last record's sequence number; 0 for a chain without records.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

/// The text is not the end of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected SEQ:HASH, a record's number and its 64 hexadecimal digits")]
pub struct ChainHeadError;

impl ChainHead {
    /// The end of a chain without records.
    pub const GENESIS: ChainHead = ChainHead { seq: 0, hash: Digest::GENESIS };
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, String::from(self.hash))
    }
}

impl FromStr for ChainHead {
    type Err = ChainHeadError;

    fn from_str(text: &str) -> Result<Self, ChainHeadError> {
        let (seq, hash) = text.split_once(':').ok_or(ChainHeadError)?;
        let seq = seq.parse().map_err(|_| ChainHeadError)?;
        let hash = Digest::try_from(hash.to_owned()).map_err(|_| ChainHeadError)?;
        Ok(Self { seq, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_from_its_text() {
        let head = ChainHead { seq: 7, hash: Digest::of(b"seven") };
        assert_eq!(head.to_string().parse(), Ok(head));
        for text in ["", "7", "7:", "x:00", "7:zz", ":"] {
            assert_eq!(text.parse::<ChainHead>(), Err(ChainHeadError), "{text:?}");
        }
    }
}
