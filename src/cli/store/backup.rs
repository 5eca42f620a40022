//! `mayfly store backup`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    super::{CliError, Context, Exit, error::printable},
    ConfigArgs, ContentsView, blocking, embedded,
};
use crate::store::sqlite::back_up;

const EXAMPLES: &str = "Examples:
  mayfly store backup --config /etc/mayfly/mayfly.toml /var/backups/mayfly-$(date +%F).db
  mayfly store backup --store /var/lib/mayfly/mayfly.db backup.db

The server may run meanwhile. The file is made with mode 0600 and replaces nothing. It holds no password and no usable token; what
it says of who had access to what is confidential.";

/// Arguments of `mayfly store backup`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BackupArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The store, instead of the one that the configuration names
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Serialize)]
struct Reply {
    file: String,
    contents: ContentsView,
}

pub(super) async fn run(args: BackupArgs, context: &mut Context) -> Result<Exit, CliError> {
    let store = match args.store {
        Some(store) => store,
        None => embedded(&args.config.load().await?)?,
    };
    let spinner = context.output.spinner("copying");
    let file = args.file.clone();
    let contents = blocking(move || back_up(&store, &file)).await?;
    drop(spinner);
    let reply = Reply { file: args.file.display().to_string(), contents: ContentsView::from(&contents) };
    if context.output.is_json() {
        context.output.json(&reply)?;
    } else {
        context.output.data(&reply.contents.text())?;
        context.output.note(&format!(
            "{} is whole; it holds no password and no usable token (administration passwords, if Mayfly changes them, only sealed)",
            printable(&reply.file)
        ));
    }
    Ok(Exit::Ok)
}
