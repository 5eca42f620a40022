//! Several chains that vouch for each other: those of processes that share a store.
//!
//! Each process keeps a chain of its own. The record of its start names the ends of all the others at that moment, so that a
//! chain cannot be cut off before that, written anew or left out without another one telling.

use std::{collections::BTreeMap, io::BufRead};

use super::{ARCHIVED, ChainHead, Digest, Record, Verified, Verifier, VerifyError};

/// The fact of a record of a start, and of what was archived, that names the chain it is in.
pub const REPLICA: &str = "replica";

/// The fact of a record of a start that names the ends of the other chains: `NAME=SEQ:HASH`, separated by blanks.
pub const OTHER_CHAINS: &str = "chains";

/// What of a hash is remembered of every record: enough that no other record has the same.
type Print = [u8; 16];

/// What is wrong with chains that should vouch for each other.
#[derive(Debug, thiserror::Error)]
pub enum ChainsError {
    /// One of them by itself.
    #[error("{}{source}", .chain.as_ref().map(|chain| format!("chain {chain}: ")).unwrap_or_default())]
    Chain {
        /// Its name, where it has one.
        chain: Option<String>,
        /// What.
        source: VerifyError,
    },
    /// A chain that says it is another.
    #[error("chain {chain}: record {seq} says that it belongs to the chain {says}")]
    Misplaced {
        /// Whose place it is in.
        chain: String,
        /// The record.
        seq: u64,
        /// What it says.
        says: String,
    },
    /// Two chains of one name.
    #[error("the chain {0} is there twice")]
    Twice(String),
    /// Several chains, and one of them does not say which it is.
    #[error("one of several chains names no replica: verify it by itself")]
    Nameless,
    /// A chain that another knows of is not there.
    #[error("chain {by}: record {seq} knows of a chain {chain}, which is not there")]
    Absent {
        /// The chain that is not there.
        chain: String,
        /// Who knows of it.
        by: String,
        /// By which record.
        seq: u64,
    },
    /// A chain does not have a record that is known to have existed.
    #[error("{chain} {what} record {known}, which {by} knows of: it was cut off or written anew")]
    Contradicted {
        /// The chain.
        chain: String,
        /// How.
        what: &'static str,
        /// The record it must have.
        known: u64,
        /// Who knows of it.
        by: String,
    },
    /// A record known from elsewhere is in an archive by now.
    #[error(
        "record {seq} of {chain}, which must be in it, was archived: verify the archive's files together with the log"
    )]
    Archived {
        /// The chain.
        chain: String,
        /// The record.
        seq: u64,
    },
    /// A record known from elsewhere does not say which of several chains it is in.
    #[error("there are several chains: say of which a record is known, as NAME=SEQ:HASH")]
    Ambiguous,
}

/// That a record of one chain says where another one stood.
#[derive(Debug, Clone)]
struct Mention {
    seq: u64,
    chain: String,
    head: ChainHead,
}

/// Verifies one of several chains.
#[derive(Debug)]
pub struct ChainVerifier {
    verifier: Verifier,
    learnt: Learnt,
}

/// What the records of a chain tell beside what they are sealed for.
#[derive(Debug, Default)]
struct Learnt {
    name: Option<String>,
    prints: Vec<Print>,
    mentions: Vec<Mention>,
    misplaced: Option<(u64, String)>,
}

impl ChainVerifier {
    /// A verifier for a chain of a name, or of the name it gives itself.
    pub fn new(name: Option<String>) -> Self {
        Self { verifier: Verifier::new(None), learnt: Learnt { name, ..Learnt::default() } }
    }

    /// Takes the next record as written, and returns it.
    ///
    /// # Errors
    /// When it is not the next record, or not as it was sealed.
    pub fn line(&mut self, line: &str) -> Result<Record, ChainsError> {
        let record = self.verifier.line(line).map_err(|source| self.broken(source))?;
        self.learnt.take(&record);
        Ok(record)
    }

    /// Takes the next record as a store keeps it: beside its number and hash, which must not contradict it.
    ///
    /// # Errors
    /// When it is not the next record, or not as it was sealed.
    pub fn stored(&mut self, line: &str, seq: u64, hash: Digest) -> Result<(), ChainsError> {
        let record = self.line(line)?;
        if (record.seq, record.hash) == (seq, hash) {
            return Ok(());
        }
        Err(self.broken(VerifyError::Edited { seq: record.seq }))
    }

    /// Takes every line of a file. Rotated files may be taken one after the other, the oldest first.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn lines(&mut self, from: impl BufRead) -> Result<(), ChainsError> {
        let Self { verifier, learnt } = self;
        let taken = verifier.lines_with(from, &mut |record| learnt.take(record));
        taken.map_err(|source| self.broken(source))
    }

    /// A failure to read what comes next.
    pub fn unreadable(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ChainsError {
        self.broken(self.verifier.unreadable(error))
    }

    /// The number of the last record that was taken; 0 when none was.
    pub fn last_seq(&self) -> u64 {
        self.verifier.last_seq()
    }

    /// The chain's name, as far as it is known yet.
    pub fn name(&self) -> Option<&str> {
        self.learnt.name.as_deref()
    }

    /// Gives a chain its name, unless its records gave it one.
    #[must_use]
    pub fn named(mut self, name: Option<&str>) -> Self {
        self.learnt.name = self.learnt.name.or_else(|| name.map(str::to_owned));
        self
    }

    fn broken(&self, source: VerifyError) -> ChainsError {
        ChainsError::Chain { chain: self.learnt.name.clone(), source }
    }
}

impl Learnt {
    fn take(&mut self, record: &Record) {
        self.prints.push(record.hash.0.first_chunk().copied().unwrap_or_default());
        if !["server.started", ARCHIVED].contains(&record.action.as_str()) {
            return;
        }
        if let Some(says) = record.details.get(REPLICA) {
            let is = self.name.get_or_insert_with(|| says.clone());
            if is != says && self.misplaced.is_none() {
                self.misplaced = Some((record.seq, says.clone()));
            }
        }
        let others = record.details.get(OTHER_CHAINS).map(String::as_str).unwrap_or_default();
        for (chain, head) in others.split(' ').filter_map(|other| other.split_once('=')) {
            if let Ok(head) = head.parse() {
                self.mentions.push(Mention { seq: record.seq, chain: chain.to_owned(), head });
            }
        }
    }
}

/// A chain that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedChain {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// What was verified.
    pub verified: Verified,
}

/// Chains that are whole, verified against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedChains {
    /// By name.
    pub chains: Vec<VerifiedChain>,
    /// Chains that these know of and that were not there to be verified.
    pub absent: Vec<String>,
}

/// Verifies chains against each other.
#[derive(Debug, Default)]
pub struct ChainsVerifier {
    named: BTreeMap<String, (Verified, Vec<Print>, Vec<Mention>)>,
    nameless: Option<(Verified, Vec<Print>)>,
    known: Vec<(Option<String>, ChainHead)>,
}

impl ChainsVerifier {
    /// A verifier for chains that must contain these records, known from elsewhere: with the name of the chain where there are
    /// several.
    pub fn knowing(known: &[(Option<String>, ChainHead)]) -> Self {
        Self { known: known.to_vec(), ..Self::default() }
    }

    /// Takes a chain that has been read to its end.
    ///
    /// # Errors
    /// When something is wrong with it.
    pub fn add(&mut self, chain: ChainVerifier) -> Result<(), ChainsError> {
        let ChainVerifier { verifier, learnt: Learnt { name, prints, mentions, misplaced } } = chain;
        let verified =
            verifier.finish().map_err(|source| ChainsError::Chain { chain: name.clone(), source })?;
        let Some(name) = name else {
            let is_alone = self.nameless.is_none() && self.named.is_empty();
            self.nameless = Some((verified, prints));
            return if is_alone { Ok(()) } else { Err(ChainsError::Nameless) };
        };
        if let Some((seq, says)) = misplaced {
            return Err(ChainsError::Misplaced { chain: name, seq, says });
        }
        if self.nameless.is_some() {
            return Err(ChainsError::Nameless);
        }
        match self.named.insert(name.clone(), (verified, prints, mentions)) {
            None => Ok(()),
            Some(_) => Err(ChainsError::Twice(name)),
        }
    }

    /// What was verified. `complete`: no chain may be absent.
    ///
    /// # Errors
    /// When one chain contradicts another.
    pub fn finish(self, complete: bool) -> Result<VerifiedChains, ChainsError> {
        self.check_known()?;
        let mut absent = Vec::new();
        for (by, (_, _, mentions)) in &self.named {
            for mention in mentions {
                match self.named.get(&mention.chain) {
                    // What was archived is not here to be looked at.
                    Some((verified, ..)) if mention.head.seq < verified.after.seq => {}
                    Some((verified, prints, _)) => {
                        let by = format!("record {} of chain {by}", mention.seq);
                        check(
                            &format!("chain {}", mention.chain),
                            by,
                            mention.head,
                            (verified.after, prints),
                        )?;
                    }
                    None if complete => {
                        let (chain, by, seq) = (mention.chain.clone(), by.clone(), mention.seq);
                        return Err(ChainsError::Absent { chain, by, seq });
                    }
                    None if absent.contains(&mention.chain) => {}
                    None => absent.push(mention.chain.clone()),
                }
            }
        }
        let nameless = self.nameless.map(|(verified, _)| VerifiedChain { name: None, verified });
        let named = self
            .named
            .into_iter()
            .map(|(name, (verified, _, _))| VerifiedChain { name: Some(name), verified });
        Ok(VerifiedChains { chains: nameless.into_iter().chain(named).collect(), absent })
    }

    fn check_known(&self) -> Result<(), ChainsError> {
        let by = || "whoever kept it".to_owned();
        for (name, head) in &self.known {
            let found = match name {
                Some(name) => self.named.get(name).map(|(verified, prints, _)| (verified.after, prints)),
                None if self.named.len() > 1 => return Err(ChainsError::Ambiguous),
                None => {
                    let only = self.named.values().next();
                    let only = only.map(|(verified, prints, _)| (verified.after, prints));
                    self.nameless.as_ref().map(|(verified, prints)| (verified.after, prints)).or(only)
                }
            };
            let chain = name.as_ref().map_or_else(|| "the log".to_owned(), |name| format!("chain {name}"));
            let (after, prints) = found
                .map_or((ChainHead::GENESIS, [].as_slice()), |(after, prints)| (after, prints.as_slice()));
            if head.seq < after.seq && *head != ChainHead::GENESIS {
                return Err(ChainsError::Archived { chain, seq: head.seq });
            }
            check(&chain, by(), *head, (after, prints))?;
        }
        Ok(())
    }
}

fn check(
    chain: &str,
    by: String,
    head: ChainHead,
    (after, prints): (ChainHead, &[Print]),
) -> Result<(), ChainsError> {
    // A process that died before its first record has a name and nothing to tell yet.
    if head == ChainHead::GENESIS {
        return Ok(());
    }
    if head == after {
        return Ok(());
    }
    let position = head.seq.saturating_sub(1).checked_sub(after.seq);
    let position = position.and_then(|position| usize::try_from(position).ok());
    let what = match position.and_then(|position| prints.get(position)) {
        None if head.seq == after.seq => "has another",
        None => "ends before",
        Some(print) if head.hash.0.starts_with(print) => return Ok(()),
        Some(_) => "has another",
    };
    Err(ChainsError::Contradicted { chain: chain.to_owned(), what, known: head.seq, by })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::audit::{Actor, Draft};

    /// A chain that starts by naming the ends of others, and goes on for a while.
    fn chain(name: &str, others: &[(&str, ChainHead)], length: u64, note: &str) -> Vec<String> {
        let others: Vec<String> = others.iter().map(|(name, head)| format!("{name}={head}")).collect();
        let mut head = ChainHead::GENESIS;
        (1..=length)
            .map(|seq| {
                let action = if seq == 1 { "server.started" } else { "lease.expired" };
                let mut draft = Draft::new(Timestamp::UNIX_EPOCH, Actor::System, action, "server/-");
                if seq == 1 {
                    draft = draft.with(REPLICA, name).with(OTHER_CHAINS, others.join(" "));
                }
                let record = Record::seal(draft.with("note", note), seq, head.hash);
                head = ChainHead { seq, hash: record.hash };
                serde_json::to_string(&record).unwrap()
            })
            .collect()
    }

    fn head(lines: &[String]) -> ChainHead {
        let last: Record = serde_json::from_str(lines.last().unwrap()).unwrap();
        ChainHead { seq: last.seq, hash: last.hash }
    }

    fn verify(chains: &[&[String]], complete: bool) -> Result<VerifiedChains, ChainsError> {
        let mut all = ChainsVerifier::default();
        for lines in chains {
            let mut chain = ChainVerifier::new(None);
            chain.lines((lines.join("\n") + "\n").as_bytes())?;
            all.add(chain)?;
        }
        all.finish(complete)
    }

    #[test]
    fn chains_that_know_of_each_other_are_verified_together() {
        let a = chain("a", &[], 3, "");
        let b = chain("b", &[("a", head(&a))], 2, "");
        let verified = verify(&[&b, &a], true).unwrap();
        let names: Vec<_> = verified.chains.iter().map(|chain| chain.name.as_deref().unwrap()).collect();
        assert_eq!((names, verified.absent), (vec!["a", "b"], vec![]));
        assert_eq!(verify(&[&b], false).unwrap().absent, ["a"]);
        assert!(matches!(verify(&[&b], true), Err(ChainsError::Absent { chain, .. }) if chain == "a"));
    }

    #[test]
    fn a_chain_that_was_cut_off_or_written_anew_is_told_by_the_others() {
        let a = chain("a", &[], 3, "");
        let b = chain("b", &[("a", head(&a))], 2, "");
        let cut = verify(&[&a[..2], &b], true).unwrap_err();
        assert!(cut.to_string().starts_with("chain a ends before record 3"), "{cut}");
        let other = chain("a", &[], 4, "another story");
        let anew = verify(&[&other, &b], true).unwrap_err();
        assert!(anew.to_string().starts_with("chain a has another record 3"), "{anew}");
        let longer = chain("a", &[], 5, "");
        verify(&[&longer, &b], true).unwrap();
    }

    #[test]
    fn a_chain_without_a_record_yet_contradicts_nothing() {
        let known = [(Some("b".to_owned()), ChainHead::GENESIS)];
        let mut all = ChainsVerifier::knowing(&known);
        all.add(ChainVerifier::new(Some("b".to_owned()))).unwrap();
        all.finish(true).unwrap();
    }

    #[test]
    fn chains_are_told_apart_by_the_names_they_give_themselves() {
        let a = chain("a", &[], 2, "");
        assert!(matches!(verify(&[&a, &a], true), Err(ChainsError::Twice(name)) if name == "a"));
        let mut nameless = ChainVerifier::new(None);
        let record = Record::seal(
            Draft::new(Timestamp::UNIX_EPOCH, Actor::System, "lease.expired", "leases/x"),
            1,
            ChainHead::GENESIS.hash,
        );
        nameless.line(&serde_json::to_string(&record).unwrap()).unwrap();
        let mut all = ChainsVerifier::default();
        all.add(nameless).unwrap();
        let mut named = ChainVerifier::new(Some("a".to_owned()));
        named.line(&a[0]).unwrap();
        assert!(matches!(all.add(named), Err(ChainsError::Nameless)));
        let mut misplaced = ChainVerifier::new(Some("b".to_owned()));
        misplaced.line(&a[0]).unwrap();
        assert!(matches!(ChainsVerifier::default().add(misplaced), Err(ChainsError::Misplaced { .. })));
    }
}
