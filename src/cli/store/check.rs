//! `mayfly store check`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    super::{CliError, Context, Exit},
    ContentsView, blocking,
};
use crate::store::sqlite::check;

/// Arguments of `mayfly store check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The store's file, which may be in service, or a backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Serialize)]
struct Reply {
    whole: bool,
    contents: ContentsView,
}

pub(super) async fn run(args: CheckArgs, context: &mut Context) -> Result<Exit, CliError> {
    let spinner = context.output.spinner("checking");
    let contents = blocking(move || check(&args.file)).await?;
    drop(spinner);
    let contents = ContentsView::from(&contents);
    if context.output.is_json() {
        context.output.json(&Reply { whole: true, contents })?;
    } else {
        context.output.data(&contents.text())?;
        context.output.note("it is whole");
    }
    Ok(Exit::Ok)
}
