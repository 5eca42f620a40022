//! What the configuration needs of the machine, so that tests can stand in for it.

use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// No file the configuration names is longer; a longer one is a mistake, such as a device.
const LONGEST_FILE: u64 = 4 * 1024 * 1024;

/// Environment variables and files. Reading may block: not for async threads.
pub trait Environment {
    /// An environment variable.
    ///
    /// # Errors
    /// When it is not set or not Unicode.
    fn variable(&self, name: &str) -> Result<String, env::VarError>;

    /// A file's text, wiped when dropped.
    ///
    /// # Errors
    /// When it cannot be read, is longer than 4 MiB or is not UTF-8.
    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>>;

    /// What there is to know of a file without reading it.
    ///
    /// # Errors
    /// When there is none, or it cannot be looked at.
    fn facts(&self, path: &Path) -> io::Result<FileFacts>;

    /// The paths of what is in a directory.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn entries(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let _ = directory;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether secrets are not to be had here, so that the configuration is read without them: to look at its rules only.
    fn withholds_secrets(&self) -> bool {
        false
    }
}

/// What there is to know of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Permission bits (`0o600`), links followed.
    pub mode: u32,
    /// The path itself is a symbolic link.
    pub is_link: bool,
}

impl FileFacts {
    /// Whether others than the owner can read it. A link does not count, nor does what is below `/run/secrets`: there an
    /// orchestrator put it, on a file system of this container alone and with permissions nobody here chose.
    pub fn is_exposed(self, path: &Path) -> bool {
        let provided = ["/run/secrets", "/var/run/secrets"].iter().any(|place| path.starts_with(place));
        self.mode & 0o044 != 0 && !self.is_link && !provided
    }
}

/// The machine itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn variable(&self, name: &str) -> Result<String, env::VarError> {
        env::var(name)
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        let read = fs::File::open(path)?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
        if u64::try_from(read).is_ok_and(|read| read > LONGEST_FILE) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 MiB"));
        }
        Ok(text)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let is_link = fs::symlink_metadata(path)?.is_symlink();
        Ok(FileFacts { mode: mode(&fs::metadata(path)?), is_link })
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    }
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

/// Elsewhere permissions are not bits; nothing is said about them.
#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o600
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn sees_who_can_read_a_file_and_leaves_provided_ones_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("secret"), directory.path().join("link"));
        fs::write(&file, "hunter2\n").unwrap();
        symlink(&file, &link).unwrap();
        for (mode, exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(SystemEnvironment.facts(&file).unwrap().is_exposed(&file), exposed, "{mode:o}");
            assert!(!SystemEnvironment.facts(&link).unwrap().is_exposed(&link));
        }
        let provided = FileFacts { mode: 0o444, is_link: false };
        assert!(!provided.is_exposed(Path::new("/run/secrets/orders")));
        assert_eq!(SystemEnvironment.read(&file).unwrap().as_str(), "hunter2\n");
    }

    #[test]
    fn refuses_to_read_without_end() {
        let error = SystemEnvironment.read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
