//! Where policies come from: a configuration, read without its secrets, or a directory of policy files.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::super::CliError;
use crate::{
    config::{Config, Environment, FileFacts, Loaded, SystemEnvironment},
    policy::{Policies, Rules, Source},
};

/// The machine without its secrets: what is not there is not missed, what is there is not looked at.
struct WithoutSecrets;

impl Environment for WithoutSecrets {
    fn variable(&self, _: &str) -> Result<String, env::VarError> {
        Err(env::VarError::NotPresent)
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        SystemEnvironment.read(path)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        SystemEnvironment.facts(path)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        SystemEnvironment.entries(directory)
    }

    fn withholds_secrets(&self) -> bool {
        true
    }
}

/// Reads a configuration without its secrets.
pub(super) async fn configuration(path: &Path) -> Result<Loaded, CliError> {
    let path = path.to_owned();
    blocking(move || Config::load(&path, &WithoutSecrets).map_err(|error| CliError::usage(error.to_string())))
        .await
}

/// Reads the policy files of a directory, or one file.
pub(super) async fn policies(path: &Path) -> Result<Policies, CliError> {
    let path = path.to_owned();
    blocking(move || {
        let mut paths = if path.is_dir() {
            SystemEnvironment.entries(&path).map_err(|error| cannot_read(&path, &error))?
        } else {
            vec![path.clone()]
        };
        if path.is_dir() {
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "cedar"));
            paths.sort();
        }
        if paths.is_empty() {
            return Err(CliError::usage(format!("there is no file *.cedar in {}", path.display())));
        }
        let source = |path: &PathBuf| {
            let text = SystemEnvironment.read(path).map_err(|error| cannot_read(path, &error))?;
            Ok(Source { name: path.display().to_string(), text: text.as_str().to_owned() })
        };
        let sources = paths.iter().map(source).collect::<Result<Vec<_>, CliError>>()?;
        Policies::new(Rules { sources, ..Rules::default() }).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            CliError::usage(lines.join("\n"))
        })
    })
    .await
}

fn cannot_read(path: &Path, error: &io::Error) -> CliError {
    let why = if error.kind() == io::ErrorKind::InvalidData {
        "it is not UTF-8".to_owned()
    } else {
        error.to_string()
    };
    CliError::usage(format!("cannot read {}: {why}", path.display()))
}

/// Files are read, and policies compiled, off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::local("the policies cannot be read", &error))?
}
