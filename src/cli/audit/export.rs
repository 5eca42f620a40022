//! `mayfly audit export`.

use clap::{Args, ValueEnum};

use super::{
    super::{CliError, Context, Exit},
    filter::{FilterArgs, Pages},
};
use crate::{
    api::proto,
    audit::{OcsfEvent, Record},
};

/// Records asked for at once.
const PAGE: usize = 500;

const EXAMPLES: &str = "Examples:
  mayfly audit export --since 2026-11-01 --until 2026-12-01 > november.jsonl
  mayfly audit export --format ocsf --since 1d | vector --config siem.toml
  mayfly audit export --principal ci/deploy --action lease --format ocsf

Writes one document a line, the oldest first, of the chains of all replicas by time. As jsonl, each line is a record exactly
as it is sealed; to prove that none is missing, verify the log itself (`mayfly audit verify`). As ocsf, each line is an
event of the Open Cybersecurity Schema Framework 1.3, with everything that it has no field for in `unmapped`.";

/// Arguments of `mayfly audit export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// As what
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Jsonl)]
    pub format: Format,
}

/// As what records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Records as they are sealed
    Jsonl,
    /// Events for a SIEM
    Ocsf,
}

pub(super) async fn run(args: ExportArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let mut pages = Pages::of(&args.filter, &connection, false, context.clock.now());
    let mut written = 0_u64;
    while !pages.is_over() {
        for record in pages.next(PAGE).await? {
            let line = match args.format {
                Format::Jsonl => record.json,
                Format::Ocsf => event(&record)?,
            };
            context.output.data(&line)?;
            written += 1;
        }
    }
    context.output.note(&format!("{written} records"));
    Ok(Exit::Ok)
}

fn event(record: &proto::AuditRecord) -> Result<String, CliError> {
    let unreadable = |error: serde_json::Error| {
        CliError::local(format!("record {} cannot be understood: the server is newer", record.seq), &error)
    };
    let sealed: Record = serde_json::from_str(&record.json).map_err(unreadable)?;
    serde_json::to_string(&OcsfEvent::of(&sealed, &record.chain)).map_err(unreadable)
}
