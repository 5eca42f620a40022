//! Where the session of a sign-in is kept: one private file a server, below the state directory.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::CliError;

/// `$XDG_STATE_HOME/mayfly/sessions/SERVER` or `~/.local/state/mayfly/sessions/SERVER`; `None`: there is no home.
pub(super) fn path(address: &str, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(home.join("mayfly").join("sessions").join(file_name(address)))
}

/// A file name of a server's address: what is not fit for one is an underscore.
fn file_name(address: &str) -> String {
    let address = address.trim_end_matches('/').to_ascii_lowercase();
    address.chars().map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' }).collect()
}

/// The process's own place for a server.
///
/// # Errors
/// When there is no home directory.
pub(super) fn own_path(address: &str) -> Result<PathBuf, CliError> {
    path(address, |name| std::env::var(name).ok()).ok_or_else(|| {
        CliError::usage("there is no place to keep the session: neither HOME nor XDG_STATE_HOME is set")
            .hint("--print writes the session's token to standard output instead")
    })
}

/// Keeps a session's token where only its owner can read it. The file is there whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(path: &Path, token: &str) -> Result<(), CliError> {
    let written = || -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let draft = path.with_extension(format!("new-{}", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let kept = file.write_all(format!("{token}\n").as_bytes()).and_then(|()| fs::rename(&draft, path));
        kept.inspect_err(|_| drop(fs::remove_file(&draft)))
    };
    written()
        .map_err(|error| CliError::local(format!("cannot keep the session in {}", path.display()), &error))
}

/// Forgets a session; none to forget is no error.
///
/// # Errors
/// When it cannot be removed.
pub(super) fn remove(path: &Path) -> Result<(), CliError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CliError::local(format!("cannot remove {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_server_has_its_own_file_below_the_state_directory() {
        let home = |name: &str| (name == "HOME").then(|| "/home/alice".to_owned());
        assert_eq!(
            path("https://mayfly.example.com:7440/", home).unwrap(),
            Path::new("/home/alice/.local/state/mayfly/sessions/https___mayfly.example.com_7440")
        );
        let state = |name: &str| (name == "XDG_STATE_HOME").then(|| "/state".to_owned());
        assert_eq!(
            path("http://[::1]:7440", state).unwrap(),
            Path::new("/state/mayfly/sessions/http______1__7440")
        );
        assert_eq!(
            path("http://../../etc", state).unwrap(),
            Path::new("/state/mayfly/sessions/http___.._.._etc")
        );
        assert_eq!(path("http://x", |_| None), None);
    }

    #[test]
    fn it_is_for_its_owner_alone_replaced_whole_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/mayfly/sessions/one");
        for token in ["mfs_first", "mfs_second"] {
            write(&file, token).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{token}\n"));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        remove(&file).unwrap();
        remove(&file).unwrap();
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 0);
    }
}
