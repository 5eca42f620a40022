//! The file as a whole.

mod approvals;
mod difference;
mod documents;
mod general;
mod hostile;
mod identity;
mod notifications;
mod policies;
mod retention;
mod roles;
mod sealing;
mod store;
mod targets;

use std::{
    collections::BTreeMap,
    env::VarError,
    io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{Config, ConfigError, Environment, FileFacts, Loaded};

/// A machine with just these variables and files.
#[derive(Default)]
struct Machine {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<PathBuf, (&'static str, FileFacts)>,
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

impl Machine {
    fn usual() -> Self {
        let variables =
            [("ORDERS_PASSWORD", "hunter2"), ("BILLING_PASSWORD", "hunter3"), ("STOCK_PASSWORD", "hunter4")];
        Machine { variables: variables.into(), ..Machine::default() }
            .file("/etc/mayfly/secret", "hunter5\r\n", 0o600)
            .file("/etc/mayfly/tls/cert.pem", CERTIFICATE, 0o644)
            .file("/etc/mayfly/tls/key.pem", KEY, 0o600)
    }

    fn file(mut self, path: &str, text: &'static str, mode: u32) -> Self {
        self.files.insert(path.into(), (text, FileFacts { mode, is_link: false }));
        self
    }
}

impl Environment for Machine {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        self.variables.get(name).map(ToString::to_string).ok_or(VarError::NotPresent)
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        let (text, _) = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Zeroizing::new((*text).to_owned()))
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        Ok(self.files.keys().filter(inside).cloned().collect())
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        self.files.get(path).map(|(_, facts)| *facts).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// Sections that are right, one a piece, so that a test can put a wrong one beside them.
const STORE: &str = "[store]\npath = \"mayfly.db\"\n";
const ORDERS: &str = "[targets.orders]\nengine = \"postgres\"\nhosts = [\"db1\"]\nuser = \"mayfly\"\npassword = \"env:ORDERS_PASSWORD\"\n";
const STOCK: &str = "[targets.stock]\nengine = \"mariadb\"\nhosts = [\"localhost\"]\nuser = \"mayfly\"\npassword = \"env:STOCK_PASSWORD\"\n";
const BILLING: &str = "[targets.billing]\nengine = \"mysql\"\nhosts = [\"localhost\"]\nuser = \"mayfly\"\npassword = \"env:BILLING_PASSWORD\"\n";

fn load_on(machine: &Machine, text: &str) -> Result<Loaded, ConfigError> {
    Config::parse(text, Path::new("/etc/mayfly/mayfly.toml"), machine)
}

fn load(text: &str) -> Result<Loaded, ConfigError> {
    load_on(&Machine::usual(), text)
}

/// Loads what must be right.
fn sound(text: &str) -> Loaded {
    load(text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

/// `key: message` of every problem, in order.
fn problems(text: &str) -> Vec<String> {
    problems_on(&Machine::usual(), text)
}

fn problems_on(machine: &Machine, text: &str) -> Vec<String> {
    match load_on(machine, text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => {
            assert!(!error.to_string().contains("hunter"), "{error}");
            error.problems().iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
        }
    }
}

/// `key: message` of every warning, in order.
fn warnings(text: &str) -> Vec<String> {
    let loaded = sound(text);
    loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

#[track_caller]
fn assert_refused(text: &str, expected: &str) {
    let problems = problems(text);
    assert!(
        problems.len() == 1 && problems[0].starts_with(expected),
        "{problems:#?}\nexpected {expected}\nin\n{text}"
    );
}

#[track_caller]
fn assert_warned(text: &str, expected: &str) {
    let warnings = warnings(text);
    assert!(
        warnings.iter().any(|warning| warning.starts_with(expected)),
        "{warnings:#?}\nexpected {expected}\nin\n{text}"
    );
}
