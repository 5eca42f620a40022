//! Verifying a chain offline: nothing but the records themselves is believed.
//!
//! A chain proves its own order and completeness up to its end. That nothing was cut off its end, or that the whole was
//! not written anew, only a [`ChainHead`] kept elsewhere can prove.
//!
//! A chain may begin later than with its first record: when a record that is in it says that what came before was archived. The
//! archive's files, verified before the rest, make it whole again.

use std::io::{self, BufRead, Read};

use jiff::Timestamp;

use super::{ARCHIVED, ChainHead, Digest, Record, THROUGH};

/// The longest line that is taken for a record: far more than any record has.
const LONGEST_LINE: u64 = 1 << 20;

/// One record of a verified chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// When it was made.
    pub at: Timestamp,
}

/// A chain that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How many records it has.
    pub records: u64,
    /// What its first record follows: the last one that was archived, where any was.
    pub after: ChainHead,
    /// The first; `None` for an empty log.
    pub first: Option<Link>,
    /// The last; `None` for an empty log.
    pub last: Option<Link>,
}

/// What is wrong with a chain.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A line that is no record.
    #[error("what should be record {seq} is not a record")]
    NotARecord {
        /// The record expected there.
        seq: u64,
        /// Why it is none.
        #[source]
        source: serde_json::Error,
    },
    /// A record that is not written the way it was when it was sealed.
    #[error("record {seq} was rewritten: it means what its hash says, but its text is not the original one")]
    Rewritten {
        /// The record.
        seq: u64,
    },
    /// A record whose content does not match its hash.
    #[error("record {seq} was edited: its content does not match its hash")]
    Edited {
        /// The record.
        seq: u64,
    },
    /// The chain does not begin at 1.
    #[error(
        "the log begins with record {seq}, not with record 1, and no record of it says that what came before was archived: everything \
         before it is missing"
    )]
    Beginning {
        /// What it begins with.
        seq: u64,
    },
    /// A record that is known to have existed and is in an archive by now.
    #[error(
        "record {seq}, which must be in the log, was archived: verify the archive's files together with the log"
    )]
    Archived {
        /// The record.
        seq: u64,
    },
    /// Records between two others are not there.
    #[error("record {expected} is missing: record {found} follows record {}", .expected - 1)]
    Missing {
        /// The first that is missing.
        expected: u64,
        /// What is in its place.
        found: u64,
    },
    /// A record that comes a second time or too late.
    #[error("record {seq} is out of place: it comes after record {}", .expected - 1)]
    OutOfPlace {
        /// The record.
        seq: u64,
        /// What should be in its place.
        expected: u64,
    },
    /// A record that does not follow the one before it.
    #[error("record {seq} does not follow record {}: one of them was exchanged", .seq - 1)]
    Unlinked {
        /// The record.
        seq: u64,
    },
    /// The log ends before the head it must have.
    #[error(
        "the log was cut off: it ends with record {last}, and record {expected} is known to have existed"
    )]
    CutOff {
        /// Its last record.
        last: u64,
        /// The head.
        expected: u64,
    },
    /// The log has another record than the head it must have.
    #[error("record {seq} is not the one that is known to have existed: the log was written anew")]
    Replaced {
        /// The record.
        seq: u64,
    },
    /// The last line has no end.
    #[error("the line of record {seq} is incomplete: it was cut off, or it is being written right now")]
    Torn {
        /// The record expected there.
        seq: u64,
    },
    /// It cannot be read.
    #[error("the log cannot be read after record {after}")]
    Read {
        /// The last record that could be read; 0 when there was none.
        after: u64,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Verifies a chain record by record.
#[derive(Debug)]
pub struct Verifier {
    expected: Option<ChainHead>,
    /// What the first record follows.
    start: ChainHead,
    /// A record says that everything before the first was archived.
    is_continued: bool,
    end: ChainHead,
    first: Option<Link>,
    last: Option<Link>,
}

impl Verifier {
    /// A verifier for a chain from its beginning, or from behind what was archived of it; it must contain `expected`, when that is
    /// given.
    pub fn new(expected: Option<ChainHead>) -> Self {
        let start = ChainHead::GENESIS;
        Self { expected, start, is_continued: false, end: start, first: None, last: None }
    }

    /// A verifier for what follows a record of a chain.
    pub fn after(start: ChainHead) -> Self {
        Self { start, is_continued: true, end: start, ..Self::new(None) }
    }

    /// Takes the next record as written, and returns it.
    ///
    /// # Errors
    /// When it is not the next record, or not as it was sealed.
    pub fn line(&mut self, line: &str) -> Result<Record, VerifyError> {
        let seq = self.next_seq();
        let record: Record =
            serde_json::from_str(line).map_err(|source| VerifyError::NotARecord { seq, source })?;
        self.record(&record)?;
        // JSON can say the same in many ways; there is one in which it was written.
        match serde_json::to_string(&record) {
            Ok(original) if original == line => Ok(record),
            _ => Err(VerifyError::Rewritten { seq }),
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// When it is not the next record, or not as it was sealed.
    pub fn record(&mut self, record: &Record) -> Result<(), VerifyError> {
        if self.first.is_none() && self.end == ChainHead::GENESIS && record.seq > 1 {
            // Whether it may begin here, a later record must say.
            self.start = ChainHead { seq: record.seq - 1, hash: record.previous };
            self.end = self.start;
        }
        let (seq, expected) = (record.seq, self.next_seq());
        if seq > expected {
            return Err(VerifyError::Missing { expected, found: seq });
        }
        if seq < expected {
            return Err(match self.first {
                None => VerifyError::Beginning { seq },
                Some(_) => VerifyError::OutOfPlace { seq, expected },
            });
        }
        if record.digest() != record.hash {
            return Err(VerifyError::Edited { seq });
        }
        if record.previous != self.end.hash {
            return Err(VerifyError::Unlinked { seq });
        }
        if self.expected.is_some_and(|head| head.seq == seq && head.hash != record.hash) {
            return Err(VerifyError::Replaced { seq });
        }
        self.advance(Link { seq, hash: record.hash, at: record.at });
        self.is_continued |= self.tells_of_the_start(record)?;
        Ok(())
    }

    /// Whether a record says that what is missing at the beginning was archived.
    fn tells_of_the_start(&self, record: &Record) -> Result<bool, VerifyError> {
        if self.start.seq == 0 || record.action != ARCHIVED {
            return Ok(false);
        }
        let through = record.details.get(THROUGH).and_then(|through| through.parse::<ChainHead>().ok());
        match through {
            Some(head) if head.seq == self.start.seq && head.hash != self.start.hash => {
                Err(VerifyError::Replaced { seq: head.seq })
            }
            // Records that are archived may still be there.
            Some(head) => Ok(head.seq >= self.start.seq),
            None => Ok(false),
        }
    }

    /// The number of the last record that was taken; 0 when none was.
    pub fn last_seq(&self) -> u64 {
        self.end.seq
    }

    /// The last record that was taken, or what the first is to follow.
    pub fn end(&self) -> ChainHead {
        self.end
    }

    /// Takes every line of a file. Rotated files may be taken one after the other, the oldest first.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn lines(&mut self, from: impl BufRead) -> Result<(), VerifyError> {
        self.lines_with(from, &mut |_| {})
    }

    /// Likewise, and shows every record.
    pub(super) fn lines_with(
        &mut self,
        mut from: impl BufRead,
        see: &mut dyn FnMut(&Record),
    ) -> Result<(), VerifyError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = (&mut from).take(LONGEST_LINE);
            bounded.read_until(b'\n', &mut line).map_err(|error| self.unreadable(error))?;
            match line.strip_suffix(b"\n") {
                Some(whole) => {
                    let text =
                        str::from_utf8(whole).map_err(|error| self.unreadable(io::Error::other(error)))?;
                    see(&self.line(text)?);
                }
                None if line.is_empty() => return Ok(()),
                None => return Err(VerifyError::Torn { seq: self.next_seq() }),
            }
        }
    }

    /// What was verified.
    ///
    /// # Errors
    /// When the chain ends before the head it must have, or begins late and does not say why.
    pub fn finish(self) -> Result<Verified, VerifyError> {
        if self.start.seq > 0 && !self.is_continued {
            return Err(VerifyError::Beginning { seq: self.start.seq.saturating_add(1) });
        }
        match self.expected {
            Some(head) if head.seq < self.start.seq => Err(VerifyError::Archived { seq: head.seq }),
            Some(head) if head.seq == self.start.seq && head != self.start => {
                Err(VerifyError::Replaced { seq: head.seq })
            }
            Some(head) if head.seq > self.end.seq => {
                Err(VerifyError::CutOff { last: self.end.seq, expected: head.seq })
            }
            _ => Ok(Verified {
                records: self.end.seq.saturating_sub(self.start.seq),
                after: self.start,
                first: self.first,
                last: self.last,
            }),
        }
    }

    /// A failure to read what comes next.
    pub fn unreadable(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> VerifyError {
        VerifyError::Read { after: self.end.seq, source: error.into() }
    }

    fn next_seq(&self) -> u64 {
        self.end.seq.saturating_add(1)
    }

    fn advance(&mut self, link: Link) {
        self.end = ChainHead { seq: link.seq, hash: link.hash };
        self.first = self.first.or(Some(link));
        self.last = Some(link);
    }
}

/// Verifies a file of JSON lines that holds a chain from its beginning.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_lines(from: impl BufRead, expected: Option<ChainHead>) -> Result<Verified, VerifyError> {
    let mut verifier = Verifier::new(expected);
    verifier.lines(from)?;
    verifier.finish()
}

/// Verifies a chain of records from its beginning.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_records<'r>(
    records: impl IntoIterator<Item = &'r Record>,
    expected: Option<ChainHead>,
) -> Result<Verified, VerifyError> {
    let mut verifier = Verifier::new(expected);
    records.into_iter().try_for_each(|record| verifier.record(record))?;
    verifier.finish()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
