//! `mayfly audit verify`: offline, without a server and without trust in one.

use std::{fmt::Write as _, fs::File, io::BufReader, path::PathBuf};

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::super::{CliError, Context, Exit};
use crate::{
    audit::{ChainHead, Verified, VerifyError, verify_lines},
    store::sqlite::verify_audit,
};

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

pub(super) async fn run(args: VerifyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let verifying = tokio::task::spawn_blocking(move || verify(&args)).await;
    match verifying.map_err(|error| CliError::local("the log cannot be verified", &error))?? {
        Ok(verified) => {
            show(&verified, context)?;
            Ok(Exit::Ok)
        }
        Err(error @ VerifyError::Read { .. }) => Err(CliError::local("the log cannot be verified", &error)),
        Err(error) => Err(CliError::new(Exit::Unverified, error.to_string())),
    }
}

/// The outer error: the log cannot be read at all. The inner: it is not what was written.
fn verify(args: &VerifyArgs) -> Result<Result<Verified, VerifyError>, CliError> {
    let head = args.head.as_ref().map(|head| ChainHead { seq: head.seq, hash: head.hash });
    match (&args.file, &args.store) {
        (Some(file), _) => {
            let unreadable = |error| CliError::local(format!("cannot read {}", file.display()), &error);
            let lines = BufReader::new(File::open(file).map_err(unreadable)?);
            Ok(verify_lines(lines, head))
        }
        (None, Some(store)) => Ok(verify_audit(store, head)),
        (None, None) => Err(CliError::usage("name a file, or --store")),
    }
}

/// What was verified.
#[derive(Debug, Serialize)]
struct Shown {
    records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_at: Option<String>,
    /// `SEQ:HASH` of the last record: keep it elsewhere, and `--head` proves later that nothing was cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
}

fn show(verified: &Verified, context: &mut Context) -> Result<(), CliError> {
    let shown = Shown {
        records: verified.records,
        first_at: verified.first.map(|link| link.at.to_string()),
        last_at: verified.last.map(|link| link.at.to_string()),
        head: verified.last.map(|link| ChainHead { seq: link.seq, hash: link.hash }.to_string()),
    };
    if context.output.is_json() {
        return context.output.json(&shown);
    }
    let mut text = format!("verified: {} records, each follows from the one before it", shown.records);
    for (label, value) in [("first", &shown.first_at), ("last", &shown.last_at), ("head", &shown.head)] {
        if let Some(value) = value {
            let _ = write!(text, "\n{label:<6} {value}");
        }
    }
    context.output.data(&text)
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
