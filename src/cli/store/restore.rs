//! `mayfly store restore`: a backup in the store's place.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::{CliError, Context, Exit, error::printable},
    ConfigArgs, ContentsView, blocking, embedded, explain,
};
use crate::{
    audit::{Actor, ChainHead, Draft, Record},
    store::{
        Store as _, StoreError, StoreErrorKind,
        sqlite::{Contents, Partial, SqliteOptions, SqliteStore, Vacant, check},
    },
};

const EXAMPLES: &str = "Examples:
  systemctl stop mayfly
  mayfly store restore --config /etc/mayfly/mayfly.toml /var/backups/mayfly.db
  systemctl start mayfly

Nothing is deleted: the former store and, when it tells of more than the backup, the former audit file are kept beside the new
ones. Shortly after the start the server finds out what happened since the backup: accounts that were issued meanwhile are
ended, leases that ended meanwhile are closed. Tokens that were revoked since the backup work again: revoke them again.";

/// Arguments of `mayfly store restore`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Serialize)]
struct Reply {
    store: String,
    contents: ContentsView,
    former_store: Option<String>,
    former_audit_file: Option<String>,
    /// Whether the former audit file holds the record with which the backup's log ends, so that both share their beginning.
    joined: Option<bool>,
}

/// What was done.
struct Restored {
    contents: Contents,
    former_store: Option<PathBuf>,
    former_audit: Option<FormerAudit>,
}

/// The audit file that was moved away.
struct FormerAudit {
    path: PathBuf,
    joined: bool,
}

pub(super) async fn run(args: RestoreArgs, context: &mut Context) -> Result<Exit, CliError> {
    let config = args.config.load().await?;
    let (store, audit_file) = (embedded(&config)?, config.audit.file);
    let spinner = context.output.spinner("restoring");
    let restored = restore(args.file, store.clone(), audit_file, context.clock.now()).await?;
    drop(spinner);
    let shown = |path: &PathBuf| path.display().to_string();
    let reply = Reply {
        store: shown(&store),
        contents: ContentsView::from(&restored.contents),
        former_store: restored.former_store.as_ref().map(shown),
        former_audit_file: restored.former_audit.as_ref().map(|former| shown(&former.path)),
        joined: restored.former_audit.as_ref().map(|former| former.joined),
    };
    if context.output.is_json() {
        context.output.json(&reply)?;
    } else {
        context.output.data(&reply.contents.text())?;
        tell(&reply, context);
    }
    Ok(Exit::Ok)
}

fn tell(reply: &Reply, context: &mut Context) {
    context.output.note(&format!("{} is the backup now", printable(&reply.store)));
    if let Some(former) = &reply.former_store {
        context.output.note(&format!("the former store is kept as {}", printable(former)));
    }
    if let Some(former) = &reply.former_audit_file {
        let former = printable(former);
        context
            .output
            .note(&format!("the former audit file tells of more than the backup; it is kept as {former}"));
        let head = &reply.contents.audit_head;
        context.output.note(&if reply.joined == Some(true) {
            format!("both logs are the same up to {head}: mayfly audit verify {former} --head {head}")
        } else {
            format!("it does not hold the backup's last record, {head}: look for that in older audit files")
        });
    }
    context.output.note("shortly after the start, what happened since the backup is found out and seen to");
    context.output.note("tokens that were revoked since the backup work again: revoke them again");
}

async fn restore(
    backup: PathBuf,
    store: PathBuf,
    audit_file: Option<PathBuf>,
    now: Timestamp,
) -> Result<Restored, CliError> {
    let (vacant, copy, contents) = blocking(move || {
        let vacant = Vacant::take(&store)?;
        let contents = check(&backup)?;
        let copy = Partial::of(&backup, vacant.path())?;
        Ok((vacant, copy, contents))
    })
    .await?;
    record(&copy, &contents, vacant.head(), now).await.map_err(|error| explain(&error))?;
    blocking(move || {
        check(copy.path())?;
        let suffix = format!(".before-restore-{}", now.as_second());
        // Should what follows fail, the server writes the present store's log anew from its beginning.
        let former_audit = match audit_file {
            Some(file) => move_audit_aside(&file, contents.head, &suffix)?,
            None => None,
        };
        let former_store = vacant.fill(copy, &suffix)?;
        Ok(Restored { contents, former_store, former_audit })
    })
    .await
}

/// Has the copy tell in its own log that it was restored, and what it took the place of.
async fn record(
    copy: &Partial,
    contents: &Contents,
    former: Option<ChainHead>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let path = copy.path().to_owned();
    let opened =
        tokio::task::spawn_blocking(move || SqliteStore::open(&path, SqliteOptions::default())).await;
    let interrupted =
        |error| StoreError::new(StoreErrorKind::Other, "the work was interrupted").caused_by(error);
    let store = opened.map_err(interrupted)??;
    let draft = Draft::new(now, Actor::System, "store.restored", "store/-")
        .with("backup_head", contents.head.to_string())
        .with("former_head", former.map_or_else(|| "unknown".to_owned(), |head| head.to_string()));
    let recorded = store.record(draft).await;
    store.close().await;
    recorded
}

/// Moves the audit file away when it does not end with, or before, the record with which the backup's log ends: the log goes on
/// differently from there, and a file holds one log.
fn move_audit_aside(file: &Path, head: ChainHead, suffix: &str) -> Result<Option<FormerAudit>, StoreError> {
    let failed = |error| {
        StoreError::new(
            StoreErrorKind::NotWritable,
            format!("the audit file {} cannot be moved", file.display()),
        )
        .caused_by(error)
    };
    let opened = match File::open(file) {
        Ok(opened) => BufReader::new(opened),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let (mut joined, mut last) = (head == ChainHead::GENESIS, 0);
    for line in opened.split(b'\n') {
        let line = line.map_err(failed)?;
        let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
        joined |= (record.seq, record.hash) == (head.seq, head.hash);
        last = record.seq;
    }
    if last < head.seq || (last == head.seq && joined) {
        return Ok(None);
    }
    let mut aside = file.as_os_str().to_owned();
    aside.push(suffix);
    let aside = PathBuf::from(aside);
    fs::rename(file, &aside).map_err(failed)?;
    Ok(Some(FormerAudit { path: aside, joined }))
}
