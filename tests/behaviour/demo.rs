//! `mayfly demo` and `mayfly dev`: they do what they say, and nothing is left of them.

mod readme;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use mayfly::domain::Engine;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child as Process, ChildStdout, Command as ProcessCommand},
};

use crate::support::{eventually, is_wanted};

/// A temporary directory of one's own; root's servers, which run as `nobody`, get through.
fn scratch() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    directory
}

fn mayfly(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mayfly"));
    command.args(arguments).env("TMPDIR", directory).env("HOME", directory).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("MAYFLY_") && !["MAYFLY_POSTGRES_BIN", "MAYFLY_CACHE"].contains(&&*name) {
            command.env_remove(name);
        }
    }
    command
}

/// Processes that were told of a directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let name = directory.to_string_lossy().into_owned();
    let commands = fs::read_dir("/proc").into_iter().flatten().flatten();
    let command = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let texts = commands.filter_map(command).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    texts.filter(|text| text.contains(&name)).collect()
}

fn is_bare(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none() && processes_of(directory).is_empty()
}

fn signal(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

struct Running {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts a command and reads what it prints up to a line that contains `until`.
    async fn start(command: Command, until: &str) -> (Self, Vec<String>) {
        let mut process = ProcessCommand::from(command)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut running = Self { process, lines };
        let mut read = Vec::new();
        while let Some(line) = running.lines.next_line().await.unwrap() {
            read.push(line);
            if read.last().is_some_and(|line| line.contains(until)) {
                return (running, read);
            }
        }
        let said = running.process.wait_with_output().await.unwrap().stderr;
        panic!("no {until:?} in {read:#?}: {}", String::from_utf8_lossy(&said))
    }
}

fn all_are_wanted() -> bool {
    is_wanted(Engine::Postgres) && is_wanted(Engine::Mariadb)
}

#[tokio::test]
async fn the_demo_plays_to_its_end_and_leaves_nothing() {
    if !all_are_wanted() {
        return;
    }
    let directory = scratch();
    let output = ProcessCommand::from(mayfly(directory.path(), &["demo"])).output().await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.ends_with("\ndemo: ok\n"), "{told}{said}");
    assert_eq!(said, "");
    assert!(told.contains("PostgreSQL refuses by itself") && !told.contains('✗'), "{told}");
    readme::assert_shown("demo", &told);
    assert!(is_bare(directory.path()), "{:?}", processes_of(directory.path()));
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing() {
    if !all_are_wanted() {
        return;
    }
    let directory = scratch();
    let command = mayfly(directory.path(), &["demo", "--output", "json"]);
    let (mut demo, lines) = Running::start(command, "mayfly lease sessions").await;
    assert!(lines.iter().all(|line| line.contains("\"outcome\":\"ok\"")), "{lines:?}");
    signal(&demo.process, Signal::INT);
    assert_eq!(demo.process.wait().await.unwrap().code(), Some(130));
    assert!(is_bare(directory.path()), "{:?}", processes_of(directory.path()));
}

#[tokio::test]
async fn what_dev_says_can_be_typed_and_an_interrupt_removes_everything() {
    if !all_are_wanted() {
        return;
    }
    let directory = scratch();
    let (mut dev, lines) = Running::start(mayfly(directory.path(), &["dev"]), "Ctrl-C").await;
    let typed: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("export ") || line.starts_with("mayfly "))
        .collect();
    assert!(typed.len() >= 8, "{lines:#?}");
    let script = format!(
        "set -eu\n{}\npsql \"$(MAYFLY_TOKEN_FILE=${{MAYFLY_TOKEN_FILE%/*}}/app.token mayfly creds orders-read --format url)\" \
         -X -A -t -c \"SELECT 'orders: ' || count(*) FROM orders\"\n",
        typed.join("\n")
    );
    let mut shell = ProcessCommand::new("/bin/sh");
    shell.arg("-c").arg(&script).env("HOME", directory.path()).stdin(Stdio::null());
    let output = shell.output().await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{script}{told}{said}");
    for part in ["orders-write", "stock-read", "password", "active", "all is well", "orders: 4"] {
        assert!(told.contains(part), "{part}: {told}{said}");
    }
    signal(&dev.process, Signal::INT);
    assert!(dev.process.wait().await.unwrap().success());
    assert!(is_bare(directory.path()), "{:?}", processes_of(directory.path()));
}

#[tokio::test]
async fn nothing_is_left_of_a_dev_that_is_killed() {
    if !is_wanted(Engine::Postgres) {
        return;
    }
    let directory = scratch();
    let command = mayfly(directory.path(), &["dev", "--no-mysql"]);
    let (mut dev, _) = Running::start(command, "Ctrl-C").await;
    assert!(processes_of(directory.path()).iter().any(|process| process.contains("postgres")));
    signal(&dev.process, Signal::KILL);
    dev.process.wait().await.unwrap();
    eventually("nothing is left", async || is_bare(directory.path()).then_some(())).await;
}

#[tokio::test]
async fn a_server_that_is_named_but_not_there_is_not_replaced() {
    let directory = scratch();
    let output = ProcessCommand::from(mayfly(directory.path(), &["dev", "--postgres-bin", "/nowhere"]))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere/postgres") && said.contains("scripts/servers.sh"), "{said}");
    assert!(is_bare(directory.path()));
}
