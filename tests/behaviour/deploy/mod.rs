//! What stands around the program agrees with it: image, compose file, unit, scripts and the commands the documents name.
#![expect(clippy::indexing_slicing, reason = "clippy's exception for tests does not reach their helpers")]

mod compose;
mod documents;
mod image;
mod secrets;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A path in the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A file of the repository.
fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands between two marks in a line of a file; the first such line counts.
fn between(text: &str, before: &str, after: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(before));
    let line = line.unwrap_or_else(|| panic!("no line begins with {before}"));
    line.split_once(after).map_or(line, |(inner, _)| inner).to_owned()
}
