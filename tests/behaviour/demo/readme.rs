//! The README's transcripts are what the program prints.
//!
//! A transcript stands between `<!-- transcript:NAME -->` and `<!-- end -->`. What differs from run to run (numbers,
//! identifiers, passwords, moments), how wide a column is and where a line breaks does not count.

use std::process::Stdio;

use rustix::process::Signal;
use tokio::process::Command as ProcessCommand;

use super::{Running, all_are_wanted, mayfly, scratch, signal};

/// The lines of a transcript.
fn transcript(name: &str) -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once(&format!("<!-- transcript:{name} -->\n")).unwrap();
    let (block, _) = rest.split_once("<!-- end -->").unwrap();
    block.lines().filter(|line| !line.starts_with("```")).map(str::to_owned).collect()
}

/// What of a text is the same in every run.
fn shape(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let varies = word.chars().any(|c| c.is_ascii_digit()) || word.len() >= 20;
        if varies { "#".to_owned() } else { word.to_owned() }
    };
    text.split_whitespace().map(word).collect()
}

/// Fails unless the README shows a text under a name.
pub(super) fn assert_shown(name: &str, text: &str) {
    let shown = shape(&transcript(name).join("\n"));
    assert_eq!(shown, shape(text), "the README's transcript {name:?} is not what is printed:\n{text}");
}

/// Types a transcript's commands and returns all that a terminal would show.
async fn typed(name: &str, environment: &[(String, String)], directory: &std::path::Path) -> String {
    let mut seen = String::new();
    for line in transcript(name) {
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let mut shell = ProcessCommand::new("/bin/sh");
        shell.args(["-c", &format!("{command} 2>&1")]).envs(environment.iter().cloned());
        shell.env("HOME", directory).stdin(Stdio::null());
        let output = shell.output().await.unwrap();
        seen.extend(["$ ", command, "\n", &String::from_utf8(output.stdout).unwrap()]);
    }
    seen
}

#[tokio::test]
async fn the_readme_shows_what_is_printed() {
    if !all_are_wanted() {
        return;
    }
    let directory = scratch();
    let (mut dev, lines) = Running::start(mayfly(directory.path(), &["dev"]), "Ctrl-C").await;
    let exports = lines.iter().filter_map(|line| line.trim().strip_prefix("export MAYFLY_"));
    let exports: Vec<&str> = exports.collect();
    let value = |line: &str, name: &str| {
        let (_, rest) = line.split_once(name)?;
        Some(rest.split_whitespace().next()?.to_owned())
    };
    let address = exports.iter().find_map(|line| value(line, "ADDRESS=")).unwrap();
    let tokens: Vec<String> = exports.iter().filter_map(|line| value(line, "TOKEN_FILE=")).collect();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_mayfly")).parent().unwrap().display();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    for (name, token) in
        [("creds", &tokens[0]), ("run", &tokens[0]), ("lease", &tokens[0]), ("audit", &tokens[1])]
    {
        let environment = [
            ("PATH".to_owned(), path.clone()),
            ("MAYFLY_ADDRESS".to_owned(), address.clone()),
            ("MAYFLY_TOKEN_FILE".to_owned(), token.clone()),
            ("MAYFLY_DEV".to_owned(), std::path::Path::new(token).parent().unwrap().display().to_string()),
        ];
        let seen = typed(name, &environment, directory.path()).await;
        assert_shown(name, &seen);
    }
    signal(&dev.process, Signal::INT);
    assert!(dev.process.wait().await.unwrap().success());
}
