//! `mayfly store sealing-key`: a key to seal administration passwords with.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{CliError, Context, Exit};
use crate::{
    random::SystemRandom,
    sealing::{Keyring, SealingKey},
};

const EXAMPLES: &str = "Examples:
  mayfly store sealing-key /etc/mayfly/sealing.key     a file that only its owner can read
  mayfly store sealing-key                             on standard output

Then name it in the configuration: [sealing] key_file = \"/etc/mayfly/sealing.key\".";

/// Arguments of `mayfly store sealing-key`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SealingKeyArgs {
    /// Where to write it; there must be no such file yet. Without it: standard output
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Draws a key.
///
/// # Errors
/// When the file is there already or cannot be written.
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub(super) async fn run(args: SealingKeyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let key = SealingKey::draw(&SystemRandom);
    let id = Keyring::parse(&key).ok().and_then(|keys| keys.first().map(|key| key.id().to_string()));
    match &args.file {
        Some(file) => write(file, &key)
            .map_err(|error| CliError::local(format!("cannot write {}", file.display()), &error))?,
        None => context.output.data(&key)?,
    }
    context.output.note(&format!("key {}", id.unwrap_or_default()));
    Ok(Exit::Ok)
}

fn write(file: &Path, key: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    file.sync_all()
}
