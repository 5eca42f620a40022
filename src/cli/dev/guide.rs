//! What to type next.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    cli::{child, trial},
    sandbox::Installation,
};

/// What is there, and what can be done with it.
#[derive(Debug, Serialize)]
pub(super) struct Guide {
    address: String,
    directory: PathBuf,
    configuration: PathBuf,
    application_token_file: PathBuf,
    administrator_token_file: PathBuf,
    targets: Vec<TargetView>,
    /// The directory of this program, unless `mayfly` means this program anyway.
    #[serde(skip)]
    program_directory: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct TargetView {
    name: &'static str,
    server: String,
    address: String,
}

impl Guide {
    pub(super) fn new(installation: &Installation, listen: SocketAddr, application_token: PathBuf) -> Self {
        let targets = installation.targets().iter().map(|installed| TargetView {
            name: installed.target.name(),
            server: trial::title(installed),
            address: format!("127.0.0.1:{}", installed.target.port),
        });
        Self {
            address: trial::address(listen),
            directory: installation.directory().to_owned(),
            configuration: installation.configuration(),
            application_token_file: application_token,
            administrator_token_file: installation.administrator_token(),
            targets: targets.collect(),
            program_directory: program_directory(),
        }
    }

    /// For people. Every indented line that begins with `export` or `mayfly` can be typed as it stands.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("Mayfly serves at {} with throwaway databases:\n", self.address)];
        let width = |part: fn(&TargetView) -> &str| {
            self.targets.iter().map(|target| part(target).len()).max().unwrap_or(0)
        };
        let (names, servers) = (width(|target| target.name), width(|target| &target.server));
        for TargetView { name, server, address } in &self.targets {
            lines.push(format!("  {name:names$}   {server:servers$}   {address}"));
        }
        lines.push(
            "\nType next, in another terminal, as an application that may use every role:\n".to_owned(),
        );
        if let Some(directory) = &self.program_directory {
            lines.push(format!("  export PATH={}:\"$PATH\"", word(directory)));
        }
        let token = word(&self.application_token_file);
        lines.push(format!("  export MAYFLY_ADDRESS={} MAYFLY_TOKEN_FILE={token}", self.address));
        let target = self.targets.first().map_or("orders", |target| target.name);
        lines.push("  mayfly roles ls".to_owned());
        lines.push(format!("  mayfly creds {target}-read"));
        lines.push(format!("  mayfly connect {target}-read"));
        lines.push("  mayfly lease ls".to_owned());
        lines.push("\nand as the administrator:\n".to_owned());
        lines.push(format!("  export MAYFLY_TOKEN_FILE={}", word(&self.administrator_token_file)));
        lines.push(format!("  mayfly doctor {target}"));
        lines.push("  mayfly audit tail".to_owned());
        lines.push(format!("\nThe configuration is {}.", self.configuration.display()));
        lines.push("Ctrl-C ends and removes everything.".to_owned());
        lines.join("\n")
    }
}

/// Where this program is, unless the shell finds it by itself.
fn program_directory() -> Option<PathBuf> {
    let this = env::current_exe().ok()?;
    let found = child::find_program("mayfly").ok().and_then(|program| fs::canonicalize(program).ok());
    if found.as_deref() == Some(&*fs::canonicalize(&this).ok()?) {
        return None;
    }
    this.parent().filter(|_| this.file_name().is_some_and(|name| name == "mayfly")).map(Path::to_owned)
}

/// A path as one word of a POSIX shell, quoted only where it must be.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guide() -> Guide {
        Guide {
            address: "http://127.0.0.1:21234".to_owned(),
            directory: "/tmp/m y".into(),
            configuration: "/tmp/m y/mayfly.toml".into(),
            application_token_file: "/tmp/m y/app.token".into(),
            administrator_token_file: "/tmp/m y/administrator.token".into(),
            targets: vec![
                TargetView {
                    name: "orders",
                    server: "PostgreSQL 15.18".to_owned(),
                    address: "127.0.0.1:20001".to_owned(),
                },
                TargetView {
                    name: "stock",
                    server: "MariaDB 10.11".to_owned(),
                    address: "127.0.0.1:20002".to_owned(),
                },
            ],
            program_directory: None,
        }
    }

    #[test]
    fn paths_are_quoted_for_the_shell_where_they_must_be() {
        assert_eq!(word(Path::new("/tmp/mayfly-1/app.token")), "/tmp/mayfly-1/app.token");
        assert_eq!(word(Path::new("/tmp/m y's")), r"'/tmp/m y'\''s'");
        let text = guide().text();
        assert!(text.contains(
            "  export MAYFLY_ADDRESS=http://127.0.0.1:21234 MAYFLY_TOKEN_FILE='/tmp/m y/app.token'\n"
        ));
    }

    #[test]
    fn targets_are_aligned() {
        assert!(guide().text().contains(
            "  orders   PostgreSQL 15.18   127.0.0.1:20001\n  stock    MariaDB 10.11      127.0.0.1:20002\n"
        ));
    }
}
