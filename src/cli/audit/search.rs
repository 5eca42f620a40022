//! `mayfly audit search`.

use clap::Args;

use super::{
    super::{CliError, Context, Exit},
    filter::{FilterArgs, Pages},
    tail,
};

const EXAMPLES: &str = "Examples:
  mayfly audit search --principal ada --since 7d
  mayfly audit search --role orders-read --action lease.issued --since 2026-11-01 --until 2026-12-01
  mayfly audit search --outcome refused -n 0
  mayfly audit search --lease 06dp4f2h9c8x1k3m7q0r -o json      the records exactly as they are sealed

Searches the chains of all replicas. The log has no index but that of time: without --since a search for something rare
looks through all of it.";

/// Arguments of `mayfly audit search`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SearchArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most this many; 0: all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
    /// The oldest first instead of the newest
    #[arg(long)]
    pub oldest_first: bool,
}

pub(super) async fn run(args: SearchArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let spinner = context.output.spinner("searching");
    let mut pages = Pages::of(&args.filter, &connection, !args.oldest_first, context.clock.now());
    let mut found = 0;
    while !pages.is_over() && found < limit {
        let records = pages.next(limit - found).await?;
        found += records.len();
        for record in records {
            let line = if context.output.is_json() {
                record.json
            } else {
                tail::line(&record, context.output.colour())
            };
            context.output.data(&line)?;
        }
    }
    drop(spinner);
    if found == 0 {
        context.output.note("no such records");
    } else if !pages.is_over() {
        context.output.note("there may be more: --limit 0 shows all");
    }
    Ok(Exit::Ok)
}
