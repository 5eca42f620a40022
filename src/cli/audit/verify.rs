//! `mayfly audit verify`: offline, without a server and without trust in one.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::super::{
    CliError, Context, Exit,
    store::{Place, StoreArgs},
};
use crate::{
    audit::{
        Archives, ChainHead, ChainHeadError, ChainVerifier, ChainsError, ChainsVerifier, Verified,
        VerifiedChain, VerifiedChains, VerifyError,
    },
    store::{postgres, sqlite},
};

const EXAMPLES: &str = "Examples:
  mayfly audit verify audit.jsonl
  mayfly audit verify audit.jsonl.1 audit.jsonl           rotated files, the oldest first
  mayfly audit verify a/audit.jsonl b/audit.jsonl         the files of several replicas, against each other
  mayfly audit verify --store /var/lib/mayfly/mayfly.db
  mayfly audit verify --config mayfly.toml                all chains of the store that it names
  mayfly audit verify archive/*.jsonl --config mayfly.toml      and what was archived of them, from the first record on
  mayfly audit verify audit.jsonl --head 4711:9f86d0…     also: nothing was cut off or written anew

Ends with 0 when every record follows from the one before it, and with 12 at the first that does not.
Prints the log's last record as SEQ:HASH, of several chains as NAME=SEQ:HASH: kept elsewhere and given to
--head next time, it proves that nothing was cut off the end since.";

/// Arguments of `mayfly audit verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("log").required(true).multiple(true).args(["files", "store", "config"]))]
pub struct VerifyArgs {
    /// JSON lines, as the server writes them to its audit file; with a store: the files of its archive, the oldest first
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The server's store: an SQLite file, or postgres://USER@HOST:PORT/DATABASE with its password in `MAYFLY_STORE_PASSWORD`;
    /// it may be in service
    #[arg(long, value_name = "PLACE", conflicts_with = "config")]
    pub store: Option<String>,
    /// The configuration that names the store
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A record known from elsewhere that the log must contain: its number and hash, of several chains with the name
    #[arg(long, value_name = "[NAME=]SEQ:HASH", value_parser = known)]
    pub head: Vec<Known>,
}

/// A record that is known to have existed.
type Known = (Option<String>, ChainHead);

fn known(text: &str) -> Result<Known, ChainHeadError> {
    match text.split_once('=') {
        Some((name, head)) => Ok((Some(name.to_owned()), head.parse()?)),
        None => Ok((None, text.parse()?)),
    }
}

#[derive(Serialize)]
struct Report {
    verified: bool,
    records: u64,
    head: Option<String>,
    last_time: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chains: Vec<ChainReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    absent: Vec<String>,
}

#[derive(Serialize)]
struct ChainReport {
    name: String,
    records: u64,
    head: Option<String>,
    last_time: Option<jiff::Timestamp>,
}

pub(super) async fn run(args: VerifyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let spinner = context.output.spinner("verifying");
    let chains = read_files(&args.files)?;
    let verified = if args.store.is_none() && args.config.is_none() {
        verify_files(chains, &args.head)
    } else {
        let config = args.config.clone().unwrap_or_default();
        match (StoreArgs { store: args.store, config }).place().await? {
            Place::File(path) => sqlite::verify_chains(&path, &args.head, Archives::of(chains)),
            Place::Shared(settings) => {
                postgres::verify_chains(&settings, &args.head, Archives::of(chains)).await
            }
        }
    };
    let verified = verified.map_err(|error| explain(&error))?;
    drop(spinner);
    tell(&verified, context)?;
    Ok(Exit::Ok)
}

/// The chains in files, each read to its end.
fn read_files(files: &[PathBuf]) -> Result<Vec<ChainVerifier>, CliError> {
    let mut chains: Vec<ChainVerifier> = Vec::new();
    for file in files {
        let mut lines = open(file)?;
        // A first record begins another chain; anything else goes on with the one before it.
        if chains.is_empty() || begins(&mut lines) {
            chains.push(ChainVerifier::new(None));
        }
        if let Some(chain) = chains.last_mut() {
            let taken = chain.lines(lines);
            taken.map_err(|error| explain(&error).hint(format!("in {}", file.display())))?;
        }
    }
    Ok(chains)
}

fn verify_files(chains: Vec<ChainVerifier>, heads: &[Known]) -> Result<VerifiedChains, ChainsError> {
    let mut all = ChainsVerifier::knowing(heads);
    for chain in chains {
        all.add(chain)?;
    }
    all.finish(false)
}

/// Whether a file begins with the first record of a chain.
fn begins(lines: &mut BufReader<File>) -> bool {
    lines.fill_buf().is_ok_and(|bytes| bytes.starts_with(b"{\"seq\":1,"))
}

fn open(file: &Path) -> Result<BufReader<File>, CliError> {
    let opened = File::open(file);
    opened
        .map(BufReader::new)
        .map_err(|error| CliError::local(format!("cannot read {}", file.display()), &error))
}

/// That it cannot be read says nothing about the log.
fn explain(error: &ChainsError) -> CliError {
    match error {
        ChainsError::Chain { source: VerifyError::Read { .. }, .. } => CliError::caused(Exit::Failure, error),
        ChainsError::Ambiguous | ChainsError::Archived { .. } => CliError::usage(error.to_string()),
        broken => CliError::caused(Exit::Unverified, broken),
    }
}

fn head(verified: &Verified) -> Option<String> {
    verified.last.map(|last| ChainHead { seq: last.seq, hash: last.hash }.to_string())
}

fn tell(verified: &VerifiedChains, context: &mut Context) -> Result<(), CliError> {
    let VerifiedChains { chains, absent } = verified;
    let records: u64 = chains.iter().map(|chain| chain.verified.records).sum();
    let last_time = chains.iter().filter_map(|chain| chain.verified.last).map(|last| last.at).max();
    let several = chains.len() > 1;
    if context.output.is_json() {
        let report = |chain: &VerifiedChain| ChainReport {
            name: chain.name.clone().unwrap_or_default(),
            records: chain.verified.records,
            head: head(&chain.verified),
            last_time: chain.verified.last.map(|last| last.at),
        };
        return context.output.json(&Report {
            verified: true,
            records,
            head: chains.first().filter(|_| !several).and_then(|chain| head(&chain.verified)),
            last_time,
            chains: if several { chains.iter().map(report).collect() } else { Vec::new() },
            absent: absent.clone(),
        });
    }
    for chain in chains {
        match (head(&chain.verified), &chain.name) {
            (Some(head), Some(name)) if several => context.output.data(&format!("{name}={head}"))?,
            (Some(head), _) => context.output.data(&head)?,
            (None, _) => {}
        }
    }
    match last_time {
        Some(last) => context.output.note(&format!("{records} records verified, the last of {last:.0}")),
        None => context.output.note("the log is empty"),
    }
    for chain in chains {
        if chain.verified.after.seq > 0 {
            let of = chain.name.as_ref().map(|name| format!(" of the chain {name}")).unwrap_or_default();
            let last = chain.verified.after;
            context.output.note(&format!("not verified, as they are archived: the records{of} up to {last}"));
        }
    }
    if !absent.is_empty() {
        context
            .output
            .note(&format!("not verified, as they were not given: the chains {}", absent.join(", ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser as _;
    use jiff::Timestamp;

    use super::{
        super::{
            super::{Cli, Command, output::capture},
            AuditCommand,
        },
        *,
    };
    use crate::{
        audit::{Actor, Digest, Draft, Record},
        clock::SystemClock,
    };

    fn chain(length: u64) -> Vec<String> {
        let mut previous = Digest::GENESIS;
        (1..=length)
            .map(|seq| {
                let draft = Draft::new(Timestamp::UNIX_EPOCH, Actor::System, "lease.expired", "leases/x");
                let record = Record::seal(draft, seq, previous);
                previous = record.hash;
                serde_json::to_string(&record).unwrap()
            })
            .collect()
    }

    async fn verify(lines: &[String], options: &[&str]) -> (u8, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n") + "\n").unwrap();
        let words = ["mayfly", "audit", "verify", file.path().to_str().unwrap()];
        let cli = Cli::try_parse_from(words.iter().chain(options)).unwrap();
        let Command::Audit(AuditCommand::Verify(args)) = cli.command else { panic!("audit verify") };
        let (output, out, _) = capture::output(cli.global.output);
        let mut context = Context { global: cli.global, output, clock: Arc::new(SystemClock) };
        let ended = run(args, &mut context).await;
        (ended.map_or_else(|error| error.exit().code(), Exit::code), out.text())
    }

    #[tokio::test]
    async fn a_whole_log_gives_its_head_and_a_changed_one_another_exit_code() {
        let lines = chain(3);
        let (code, head) = verify(&lines, &[]).await;
        assert_eq!(code, 0);
        assert!(head.starts_with("3:"), "{head}");
        assert_eq!(verify(&lines, &["--head", head.trim()]).await.0, 0);
        let edited = vec![lines[0].clone(), lines[1].replace("leases/x", "leases/y"), lines[2].clone()];
        assert_eq!(verify(&edited, &[]).await, (12, String::new()));
        assert_eq!(verify(&[lines[0].clone(), lines[2].clone()], &[]).await.0, 12);
        assert_eq!(verify(&lines[..2], &["--head", head.trim()]).await.0, 12);
        assert_eq!(verify(&lines[..2], &[]).await.0, 0);
    }

    #[test]
    fn a_file_that_cannot_be_read_says_nothing_about_the_log() {
        let error = read_files(&[PathBuf::from("/nonexistent")]).unwrap_err();
        assert_eq!(error.exit().code(), 1);
    }
}
