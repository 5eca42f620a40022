//! What was recorded: whole, and without a secret in it.

use std::{fs, future::ready, io, path::Path};

use super::{
    stage::Stage,
    transcript::{Setback, Told, Transcript},
};
use crate::{
    audit::verify_lines,
    cli::{CliError, trial},
};

pub(super) async fn act(stage: &mut Stage<'_>, transcript: &mut Transcript<'_>) -> Result<(), CliError> {
    transcript.act("What is on record")?;
    transcript.step("Mayfly stops", stopped(stage)).await?;
    let log = transcript.step("mayfly audit verify audit.jsonl", ready(verified(stage))).await?;
    transcript.step("one record is edited: found out", ready(tampering_is_found(&log))).await?;
    transcript.step("no password is in what it wrote", ready(searched(stage))).await
}

async fn stopped(stage: &mut Stage<'_>) -> Told<()> {
    stage.installation.halt().await.map_err(|error| trial::failed(&error))?;
    Ok(((), "what follows needs no server".to_owned()))
}

fn verified(stage: &Stage<'_>) -> Told<String> {
    let file = stage.installation.audit_log();
    let log = fs::read_to_string(&file).map_err(|error| CliError::local("the audit log", &error))?;
    match verify_lines(log.as_bytes(), None) {
        Ok(verified) if verified.records > 0 => {
            let seen = format!("{} records, each follows from the one before it", verified.records);
            Ok((log, seen))
        }
        Ok(_) => Err(Setback::unexpected("records", "none")),
        Err(error) => Err(Setback::unexpected("a chain that is whole", error.to_string())),
    }
}

/// A copy in which a lease is somebody else's.
fn tampering_is_found(log: &str) -> Told<()> {
    let forged = log.replacen("\"app\"", "\"eve\"", 1);
    if forged == log {
        return Err(Setback::unexpected("a record of the principal app", "none"));
    }
    match verify_lines(forged.as_bytes(), None) {
        Err(error) => Ok(((), error.to_string())),
        Ok(_) => Err(Setback::unexpected("a broken chain", "one that verifies")),
    }
}

/// Everything Mayfly has written; what the demo itself wrote for its logins does not count.
fn searched(stage: &Stage<'_>) -> Told<()> {
    let passwords: Vec<&[u8]> = stage.passwords.iter().map(|password| password.expose().as_bytes()).collect();
    let directory = stage.installation.directory();
    let (files, bytes) = match search(directory, &passwords) {
        Ok(Searched::Clean { files, bytes }) => (files, bytes),
        Ok(Searched::Found(file)) => {
            return Err(Setback::unexpected("no password", format!("one in {file}")));
        }
        Err(error) => return Err(CliError::local("what was written cannot be read", &error).into()),
    };
    let kibibytes = bytes / 1024;
    let count = passwords.len();
    Ok(((), format!("{count} searched for in store, audit log and log: {files} files, {kibibytes} KiB")))
}

enum Searched {
    Clean { files: usize, bytes: usize },
    Found(String),
}

fn search(directory: &Path, passwords: &[&[u8]]) -> io::Result<Searched> {
    let (mut files, mut size) = (0, 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_file() || !is_mayflys(&name) {
            continue;
        }
        let bytes = fs::read(entry.path())?;
        if passwords.iter().any(|password| contains(&bytes, password)) {
            return Ok(Searched::Found(name));
        }
        files += 1;
        size += bytes.len();
    }
    Ok(Searched::Clean { files, bytes: size })
}

/// The store with its companions, the audit log, the log.
fn is_mayflys(name: &str) -> bool {
    name.starts_with("mayfly.db") || name == "audit.jsonl" || name == "log"
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_store_is_found_and_one_in_a_login_file_is_not_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mf_x.login"), "s3cret").unwrap();
        fs::write(directory.path().join("mayfly.db-wal"), "…").unwrap();
        let search = || search(directory.path(), &[b"s3cret"]).unwrap();
        assert!(matches!(search(), Searched::Clean { files: 1, .. }));
        fs::write(directory.path().join("mayfly.db"), "…s3cret…").unwrap();
        assert!(matches!(search(), Searched::Found(file) if file == "mayfly.db"));
    }
}
