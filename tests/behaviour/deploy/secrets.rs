//! `deploy/secrets.sh`.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use mayfly::identity::ApiToken;

use super::path;

/// Runs the script and returns what it made.
pub(super) fn made_in(directory: &Path) -> BTreeMap<String, String> {
    let run = Command::new(path("deploy/secrets.sh")).arg(directory).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|file| {
            (file.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(file).unwrap())
        })
        .collect()
}

#[test]
fn the_first_administrators_token_is_one_the_server_takes() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = made_in(directory.path());
    assert!(secrets["administrator-token"].parse::<ApiToken>().is_ok());
    for (name, secret) in secrets {
        assert!(secret.len() >= 32, "{name} is short");
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name} needs quoting");
    }
}

#[test]
fn secrets_that_exist_are_kept_and_others_are_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("secrets");
    let first = made_in(&secrets);
    assert_eq!(made_in(&secrets), first);
    assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o700);
}
