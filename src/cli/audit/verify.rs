//! `mayfly audit verify`: offline, without a server and without trust in one.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::super::{CliError, Context, Exit};
use crate::{
    audit::{ChainHead, Verified, Verifier, VerifyError},
    store::sqlite::verify_audit,
};

const EXAMPLES: &str = "Examples:
  mayfly audit verify audit.jsonl
  mayfly audit verify audit.jsonl.1 audit.jsonl           rotated files, the oldest first
  mayfly audit verify --store /var/lib/mayfly/mayfly.db
  mayfly audit verify audit.jsonl --head 4711:9f86d0…     also: nothing was cut off or written anew

Ends with 0 when every record follows from the one before it, and with 12 at the first that does not.
Prints the log's last record as SEQ:HASH: kept elsewhere and given to --head next time, it proves that
nothing was cut off the end since.";

/// Arguments of `mayfly audit verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("log").required(true).args(["files", "store"]))]
pub struct VerifyArgs {
    /// JSON lines, as the server writes them to its audit file
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The server's embedded store; it may be in service
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// A record known from elsewhere that the log must contain: its number and hash
    #[arg(long, value_name = "SEQ:HASH")]
    pub head: Option<ChainHead>,
}

#[derive(Serialize)]
struct Report {
    verified: bool,
    records: u64,
    head: Option<String>,
    last_time: Option<jiff::Timestamp>,
}

#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub(super) async fn run(args: VerifyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let spinner = context.output.spinner("verifying");
    let verified = match &args.store {
        Some(store) => verify_audit(store, args.head).map_err(|error| explain(&error))?,
        None => verify_files(&args.files, args.head)?,
    };
    drop(spinner);
    tell(&verified, context)?;
    Ok(Exit::Ok)
}

fn verify_files(files: &[PathBuf], head: Option<ChainHead>) -> Result<Verified, CliError> {
    let mut verifier = Verifier::new(head);
    for file in files {
        let lines = open(file)?;
        verifier.lines(lines).map_err(|error| explain(&error).hint(format!("in {}", file.display())))?;
    }
    verifier.finish().map_err(|error| explain(&error))
}

fn open(file: &Path) -> Result<BufReader<File>, CliError> {
    let opened = File::open(file);
    opened
        .map(BufReader::new)
        .map_err(|error| CliError::local(format!("cannot read {}", file.display()), &error))
}

/// That it cannot be read says nothing about the log.
fn explain(error: &VerifyError) -> CliError {
    match error {
        VerifyError::Read { .. } => CliError::caused(Exit::Failure, error),
        broken => CliError::caused(Exit::Unverified, broken),
    }
}

fn tell(verified: &Verified, context: &mut Context) -> Result<(), CliError> {
    let head = verified.last.map(|last| ChainHead { seq: last.seq, hash: last.hash }.to_string());
    if context.output.is_json() {
        let last_time = verified.last.map(|last| last.at);
        return context.output.json(&Report { verified: true, records: verified.records, head, last_time });
    }
    match (head, verified.last) {
        (Some(head), Some(last)) => {
            context.output.data(&head)?;
            context
                .output
                .note(&format!("{} records verified, the last of {:.0}", verified.records, last.at));
        }
        _ => context.output.note("the log is empty"),
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
        let error = verify_files(&[PathBuf::from("/nonexistent")], None).unwrap_err();
        assert_eq!(error.exit().code(), 1);
    }
}
