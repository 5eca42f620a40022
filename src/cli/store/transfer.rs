//! `mayfly store export` and `mayfly store import`: everything a store holds, from one kind of store to another.

use std::io::{self, BufRead, Read as _};

use clap::Args;
use serde::Serialize;

use super::{
    super::{CliError, Context, Exit},
    place::{Place, StoreArgs},
};
use crate::store::{
    StoreError, StoreErrorKind, postgres, sqlite,
    transfer::{Counts, Item},
};

/// The longest line that is taken for an item: far more than any has.
const LONGEST_LINE: u64 = 4 << 20;

const EXPORT: &str = "Examples:
  mayfly store export > store.jsonl                      the store that mayfly.toml names
  mayfly store export --store /var/lib/mayfly/mayfly.db > store.jsonl

Stop the server first: what it writes later is not in the export. The lines hold no password and no usable token, but sealed
passwords of administration accounts, where Mayfly rotates them, and who had access to what: keep them private.";

const IMPORT: &str = "Examples:
  mayfly store import --config shared.toml < store.jsonl
  mayfly store export --config old.toml | mayfly store import --config new.toml

Takes all of it or nothing, into a store that holds nothing yet: before the server is started on it for the first time.";

/// Arguments of `mayfly store export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub struct ExportArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `mayfly store import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT)]
pub struct ImportArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Writes everything to standard output.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn export(args: ExportArgs, context: &mut Context) -> Result<Exit, CliError> {
    let place = args.store.place().await?;
    let mut closed = None;
    let output = &mut context.output;
    let mut out = |item: Item| {
        let line = serde_json::to_string(&item).map_err(|error| {
            StoreError::new(StoreErrorKind::Other, "an item has no JSON form").caused_by(error)
        })?;
        output.data(&line).map_err(|error| {
            closed = Some(error);
            StoreError::new(StoreErrorKind::Other, "the export cannot be written")
        })
    };
    let exported = match &place {
        Place::File(path) => sqlite::export(path, &mut out),
        Place::Shared(settings) => postgres::export(settings, &mut out).await,
    };
    match (exported, closed) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(explain(&error)),
        (Ok(counts), None) => {
            context.output.note(&format!("exported {}", told(&counts)));
            Ok(Exit::Ok)
        }
    }
}

/// Fills a store from standard input.
///
/// # Errors
/// When the store is not empty, cannot be written, or what comes is not whole.
pub(super) async fn import(args: ImportArgs, context: &mut Context) -> Result<Exit, CliError> {
    let place = args.store.place().await?;
    let mut items = Lines { input: io::BufReader::new(io::stdin()), number: 0 };
    let counts = fill(&place, &mut items).await.map_err(|error| explain(&error))?;
    if context.output.is_json() {
        context.output.json(&Report { imported: counts })?;
    } else {
        context.output.note(&format!("imported and verified {}", told(&counts)));
    }
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Report {
    imported: Counts,
}

async fn fill<R: BufRead + Send>(place: &Place, items: &mut Lines<R>) -> Result<Counts, StoreError> {
    match place {
        Place::File(path) => sqlite::import(path, items),
        Place::Shared(settings) => postgres::import(settings, items).await,
    }
}

struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Item, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        self.number += 1;
        match (&mut self.input).take(LONGEST_LINE).read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).map_err(|error| {
                StoreError::new(
                    StoreErrorKind::Corrupt,
                    format!("line {} is no item of an export", self.number),
                )
                .caused_by(error)
            })),
            Err(error) => Some(Err(
                StoreError::new(StoreErrorKind::Other, "the export cannot be read").caused_by(error)
            )),
        }
    }
}

fn told(counts: &Counts) -> String {
    let Counts { leases, tokens, known_servers, administration_secrets, entries, records } = counts;
    format!(
        "{leases} leases, {tokens} tokens, {known_servers} known servers, {administration_secrets} sealed passwords, \
         {entries} requests, grants, users and the like, {records} audit records"
    )
}

fn explain(error: &StoreError) -> CliError {
    match error.kind {
        StoreErrorKind::Corrupt => CliError::caused(Exit::Unverified, error),
        _ => CliError::caused(Exit::Failure, error),
    }
}
