//! Secrets from outside the file, and files that must be there.

use std::{env::VarError, io, path::PathBuf};

use super::{
    Environment,
    reader::{Located, Reader, quoted},
    remark::{Place, Shown},
    section::Section,
};
use crate::domain::Password;

const INSTEAD: &str = "a password is not written into this file: put it into a file that only Mayfly can read and name that with \
                       password_file = \"…\", or into an environment variable and write password = \"env:NAME\"";

/// In place of secrets that are not to be had: also a sealing key, of zeros.
pub(super) const WITHHELD: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Why a file with a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// Nothing but line ends.
    #[error("is empty")]
    Empty,
    /// More than a line, or a NUL byte.
    #[error("holds more than one line of text")]
    NotOneLine,
}

/// The password of a section that has `password` and `password_file`; `None` also when neither is written.
pub(super) fn password(section: &Section<'_>) -> Option<Password> {
    let (reader, inline, file) = (section.reader, section.text("password"), section.path("password_file"));
    match (inline, file) {
        (Some(_), Some(file)) => {
            reader.complain(&file.at, "password is written as well; keep one of the two");
            None
        }
        (Some(inline), None) => from_variable(reader, &inline, INSTEAD),
        (None, Some(file)) => from_file(reader, &file),
        (None, None) => None,
    }
}

/// The secret in the environment variable that `inline` names; `instead` says where secrets go when it is none itself.
pub(super) fn from_variable(
    reader: &Reader<'_>,
    inline: &Located<String>,
    instead: &str,
) -> Option<Password> {
    let place = Place { shown: Shown::Keys, ..inline.at.clone() };
    let is_word = |name: &&str| {
        !name.is_empty()
            && name.len() <= 200
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let Some(name) = inline.value.strip_prefix("env:").filter(is_word) else {
        reader.complain(&place, instead);
        return None;
    };
    if reader.environment.withholds_secrets() {
        return Some(withheld());
    }
    let message = match reader.environment.variable(name) {
        Ok(text) if text.is_empty() => format!("the environment variable {name} is empty"),
        Ok(text) if text.contains('\0') => format!("the environment variable {name} has a NUL byte"),
        Ok(text) => return Some(Password::new(text)),
        Err(VarError::NotPresent) => format!("the environment variable {name} is not set"),
        Err(VarError::NotUnicode(_)) => format!("the environment variable {name} is not Unicode"),
    };
    reader.complain(&place, message);
    None
}

/// A secret of a section that has `word` and `file_word`, one of which may be written; `instead` says where it goes.
pub(super) fn either(
    section: &Section<'_>,
    (word, file_word): (&'static str, &'static str),
    instead: &str,
) -> Option<Located<Password>> {
    let (reader, inline, file) = (section.reader, section.text(word), section.path(file_word));
    match (inline, file) {
        (Some(_), Some(file)) => {
            reader.complain(&file.at, format!("{word} is written as well; keep one of the two"));
            None
        }
        (Some(inline), None) => {
            let value = from_variable(reader, &inline, instead)?;
            Some(Located { value, at: Place { shown: Shown::Keys, ..inline.at } })
        }
        (None, Some(file)) => from_file(reader, &file).map(|value| Located { value, at: file.at }),
        (None, None) => None,
    }
}

/// Stands in for a secret where there is none to be had.
fn withheld() -> Password {
    Password::new(WITHHELD.to_owned())
}

fn from_file(reader: &Reader<'_>, file: &Located<PathBuf>) -> Option<Password> {
    if reader.environment.withholds_secrets() {
        return Some(withheld());
    }
    warn_if_exposed(reader, file);
    read_secret(reader.environment, &file.value)
        .map_err(|error| reader.complain(&file.at, about(file, &error)))
        .ok()
}

/// What is the matter with a secret's file, in a line.
pub(super) fn about(file: &Located<PathBuf>, error: &SecretFileError) -> String {
    match error {
        SecretFileError::Unreadable(why) => cannot_read(file, why),
        other => format!("{} {other}", quoted(&file.value.to_string_lossy())),
    }
}

fn cannot_read(file: &Located<PathBuf>, why: &io::Error) -> String {
    format!("cannot read {}: {why}", quoted(&file.value.to_string_lossy()))
}

/// A one-line secret from a file; line ends after it do not belong to it.
pub(super) fn read_secret(
    environment: &dyn Environment,
    path: &std::path::Path,
) -> Result<Password, SecretFileError> {
    let text = environment.read(path).map_err(SecretFileError::Unreadable)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(SecretFileError::Empty),
        secret if secret.contains(['\n', '\0']) => Err(SecretFileError::NotOneLine),
        secret => Ok(Password::new(secret.to_owned())),
    }
}

/// Warns of a secret's file that others than its owner can read.
pub(super) fn warn_if_exposed(reader: &Reader<'_>, file: &Located<PathBuf>) {
    if let Ok(facts) = reader.environment.facts(&file.value)
        && facts.is_exposed(&file.value)
    {
        let path = quoted(&file.value.to_string_lossy());
        reader
            .warn(&file.at, format!("{path} can be read by others (mode {:04o}): chmod 600 it", facts.mode));
    }
}

/// What a PEM file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pem {
    Certificates,
    PrivateKey,
}

/// The path of a PEM file, when it can be read and looks like one.
pub(super) fn pem(section: &Section<'_>, word: &'static str, expected: Pem) -> Option<PathBuf> {
    let (reader, file) = (section.reader, section.path(word)?);
    if reader.environment.withholds_secrets() {
        return Some(file.value);
    }
    if expected == Pem::PrivateKey {
        warn_if_exposed(reader, &file);
    }
    let message = match reader.environment.read(&file.value) {
        Err(error) => cannot_read(&file, &error),
        Ok(text) if holds(&text, expected) => return Some(file.value),
        Ok(_) => {
            let what = if expected == Pem::PrivateKey { "private key" } else { "certificate" };
            format!("{} holds no PEM {what}", quoted(&file.value.to_string_lossy()))
        }
    };
    reader.complain(&file.at, message);
    None
}

fn holds(text: &str, expected: Pem) -> bool {
    text.lines().any(|line| match expected {
        Pem::Certificates => line.starts_with("-----BEGIN CERTIFICATE-----"),
        Pem::PrivateKey => line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----"),
    })
}
