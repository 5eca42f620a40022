//! Commands and tags the documents name.

use std::{collections::BTreeSet, fs, path::Path};

use super::{between, path, read};

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/operating.md",
    "docs/security.md",
    "docs/failures.md",
    "docs/crash-safety.md",
    "docs/architecture.md",
];

fn make_targets() -> BTreeSet<String> {
    let makefile = read("Makefile");
    let phony = between(&makefile, ".PHONY: ", "\n");
    phony.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_make_target_is_explained_by_make_help() {
    let makefile = read("Makefile");
    for target in make_targets() {
        let explained =
            makefile.lines().any(|line| line.starts_with(&format!("{target}:")) && line.contains("## "));
        assert!(explained, "make help does not explain {target}");
    }
}

#[test]
fn every_make_target_the_documents_name_exists() {
    let targets = make_targets();
    for document in DOCUMENTS {
        let text = read(document);
        for named in text.split("`make ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next()) {
            assert!(targets.contains(named), "{document}: there is no make {named}");
        }
    }
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    for document in DOCUMENTS {
        let (text, at) = (read(document), path(document));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let is_local = !file.is_empty() && !file.contains("://");
            assert!(!is_local || at.parent().unwrap().join(file).exists(), "{document} links to {link}");
        }
    }
}

#[test]
fn the_documents_name_the_images_that_are_run() {
    let compose = read("docker-compose.yml");
    let operating = read("docs/operating.md");
    let images = compose.lines().filter_map(|line| line.trim().strip_prefix("image: "));
    for image in images.filter(|image| !image.starts_with("mayfly")) {
        assert!(operating.contains(&format!("`{image}`")), "docs/operating.md does not name {image}");
    }
}

#[test]
fn the_unit_starts_what_the_guide_installs() {
    let (unit, guide) = (read("deploy/mayfly.service"), read("docs/operating.md"));
    assert_eq!(
        between(&unit, "ExecStart=", "\n"),
        "/usr/local/bin/mayfly serve --config /etc/mayfly/mayfly.toml"
    );
    for word in
        ["/usr/local/bin/mayfly", "/etc/mayfly/mayfly.toml", "deploy/mayfly.service", "/var/lib/mayfly"]
    {
        assert!(guide.contains(word), "docs/operating.md does not say {word}");
    }
    assert_eq!(between(&unit, "StateDirectory=", "\n"), "mayfly");
    assert_eq!(between(&unit, "ExecReload=", "\n"), "/bin/kill -HUP $MAINPID");
}

fn rust_sources(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|entry| match entry.extension() {
            _ if entry.is_dir() => rust_sources(&entry),
            Some(extension) if extension == "rs" => fs::read_to_string(entry).unwrap(),
            _ => String::new(),
        })
        .collect()
}

/// The names of tests in the last column of tables.
fn tests_named(tables: &str) -> impl Iterator<Item = &str> {
    let shown_by = tables.lines().filter_map(|line| line.trim_end_matches(" |").rsplit(" | ").next());
    shown_by.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| name.contains('_'))
}

#[test]
fn every_test_the_threat_table_names_exists() {
    let sources = rust_sources(&path("src")) + &rust_sources(&path("tests"));
    let security = read("docs/security.md");
    let (_, table) = security.split_once("## Threats").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    for name in tests_named(table) {
        assert!(sources.contains(&format!("fn {name}")), "docs/security.md: there is no test {name}");
    }
}

#[test]
fn every_crash_point_is_in_the_page_about_crashes() {
    let page = read("docs/crash-safety.md");
    for point in mayfly::crash::Point::ALL {
        assert!(page.contains(&format!("`{}`", point.as_str())), "docs/crash-safety.md: {}", point.as_str());
    }
}

#[test]
fn every_row_of_what_can_die_names_a_test_that_exists() {
    let sources = rust_sources(&path("src")) + &rust_sources(&path("tests"));
    let failures = read("docs/failures.md");
    let rows = failures
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| what ") && !line.starts_with("|---"));
    for row in rows {
        let mut names = tests_named(row).peekable();
        assert!(names.peek().is_some(), "docs/failures.md names no test: {row}");
        for name in names {
            let exists = sources.contains(&format!("fn {name}(")) || sources.contains(&format!("{name},"));
            assert!(exists, "docs/failures.md: there is no test {name}");
        }
    }
}
