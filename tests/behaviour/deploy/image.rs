//! The Dockerfile.

use std::process::Command;

use super::{between, path, read};

/// One instruction: its word and its arguments, with continued lines joined.
pub(super) struct Instruction {
    pub(super) word: String,
    pub(super) arguments: String,
}

/// The instructions of the Dockerfile, in order.
pub(super) fn instructions() -> Vec<Instruction> {
    let joined = read("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (word, arguments) = line.split_once(' ').unwrap();
            Instruction { word: word.to_owned(), arguments: arguments.trim().to_owned() }
        })
        .collect()
}

/// The arguments of the last instruction of a kind.
pub(super) fn last(word: &str) -> String {
    let found = instructions().into_iter().rfind(|instruction| instruction.word == word);
    found.unwrap_or_else(|| panic!("no {word} in the Dockerfile")).arguments
}

/// The words of an exec form, such as `["a", "b"]`.
pub(super) fn exec_form(arguments: &str) -> Vec<String> {
    let start = arguments.find('[').unwrap_or_else(|| panic!("not in exec form: {arguments}"));
    serde_json::from_str(&arguments[start..]).unwrap()
}

#[test]
fn everything_copied_from_the_repository_is_there_and_in_the_build_context() {
    let ignored = read(".dockerignore");
    let context: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for copy in instructions().iter().filter(|instruction| instruction.word == "COPY") {
        let words: Vec<&str> = copy.arguments.split_whitespace().collect();
        if words.iter().any(|word| word.starts_with("--from=")) {
            continue;
        }
        for source in &words[..words.len() - 1] {
            assert!(path(source).exists(), "{source} does not exist");
            assert!(context.contains(source), ".dockerignore keeps {source} out");
        }
    }
    for entry in context {
        assert!(path(entry).exists(), ".dockerignore lets in {entry}, which does not exist");
    }
}

/// Cargo refuses a manifest that names a target whose source was not copied.
#[test]
fn every_source_the_manifest_names_is_copied() {
    let copied: Vec<String> = instructions()
        .iter()
        .filter(|instruction| instruction.word == "COPY" && !instruction.arguments.contains("--from="))
        .flat_map(|copy| copy.arguments.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for line in read("Cargo.toml").lines().filter_map(|line| line.strip_prefix("path = \"")) {
        let top = line.split(['/', '"']).next().unwrap();
        assert!(copied.iter().any(|source| source == top), "the Dockerfile does not copy {top}");
    }
    for (table, directory) in [("[[bench]]", "benches"), ("[[example]]", "examples")] {
        let is_named = read("Cargo.toml").contains(table);
        assert!(!is_named || copied.iter().any(|source| source == directory), "copy {directory}");
    }
}

#[test]
fn it_builds_and_starts_the_program_of_the_manifest_with_a_toolchain_new_enough() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("[[bin]]\nname = \"mayfly\""));
    let build = instructions().into_iter().find(|step| step.arguments.contains("cargo build")).unwrap();
    assert!(build.arguments.contains("--release --locked --bin mayfly"));
    assert!(build.arguments.contains("target/release/mayfly /image/usr/local/bin/mayfly"));
    assert_eq!(exec_form(&last("ENTRYPOINT")), ["/usr/local/bin/mayfly"]);

    let minor =
        |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok()).unwrap();
    let wanted = between(&manifest, "rust-version = \"", "\"");
    let image = between(&read("Dockerfile"), "FROM rust:", "-");
    assert!(minor(&image) >= minor(&wanted), "rust:{image} is older than {wanted}");
    assert_eq!(between(&read("scripts/prerequisites.sh"), "rust=", "\n"), wanted);
}

#[test]
fn it_runs_as_nobody_special_and_keeps_its_state_where_that_user_may_write() {
    let user = last("USER");
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id >= 10_000), "{user}");
    let volume = last("VOLUME");
    let owned = format!("--from=builder --chown={user} /state {volume}");
    assert!(instructions().iter().any(|step| step.word == "COPY" && step.arguments == owned));
    assert_eq!(last("FROM"), "scratch");
}

#[test]
fn the_commands_it_runs_exist() {
    let health = exec_form(&last("HEALTHCHECK"));
    assert_eq!(health.first().map(String::as_str), Some("/usr/local/bin/mayfly"));
    let serve = exec_form(&last("CMD"));
    for command in [&health[1..], &serve[..1]] {
        let run = Command::new(env!("CARGO_BIN_EXE_mayfly")).args(command).arg("--help").output().unwrap();
        let help = String::from_utf8(run.stdout).unwrap();
        assert!(run.status.success() && help.contains(&command[0]), "mayfly {command:?} --help: {help}");
    }
}
