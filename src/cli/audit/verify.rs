//! `mayfly audit verify`: offline, without a server and without trust in one.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::super::{CliError, Context, Exit};

const EXAMPLES: &str = "Examples:
  mayfly audit verify audit.jsonl
  mayfly audit verify --store /var/lib/mayfly/mayfly.db
  mayfly audit verify audit.jsonl --head 4711:9f86d0…     also: nothing was cut off since then

Ends with 0 when every record follows from the one before it, and with 12 at the first that does not.";

/// Arguments of `mayfly audit verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("log").required(true).args(["file", "store"]))]
pub struct VerifyArgs {
    /// JSON lines, as the server writes them and as `audit tail -o json` shows them
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The server's embedded store, opened read-only
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// A record known from elsewhere that the log must contain: its number and hash
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    pub head: Option<Head>,
}

/// A record known from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: crate::audit::Digest,
}

fn head(text: &str) -> Result<Head, String> {
    let wrong = || "expected a record's number and hash, as in 4711:9f86d0…".to_owned();
    let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
    let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or_else(wrong)?;
    let hash = hash.to_lowercase().try_into().map_err(|_| wrong())?;
    Ok(Head { seq, hash })
}

/// SEAM: hand the records of `args.file` or `args.store`, and `args.head`, to the audit room's verifier; a broken chain ends
/// with [`Exit::Unverified`].
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub(super) async fn run(_args: VerifyArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::not_built("audit verify"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_number_and_a_hash() {
        let hash = "9F".repeat(32);
        let read = head(&format!("4711:{hash}")).unwrap();
        assert_eq!((read.seq, String::from(read.hash)), (4711, hash.to_lowercase()));
        for text in ["", "4711", "0:", &format!("0:{hash}"), &format!("x:{hash}"), "1:abc"] {
            assert!(head(text).is_err(), "{text}");
        }
    }
}
