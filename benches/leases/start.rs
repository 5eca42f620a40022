//! The program itself, started on a store: how long until it serves, and how much memory it holds then.

use std::{fs, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::frame::{Outcome, moment, write_private};

/// How long a start may take at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it is left alone before its memory is looked at: what a start leaves to be done is done by then.
const SETTLE: Duration = Duration::from_secs(2);

/// A server of its own.
pub(super) struct Program {
    /// From its start until it serves.
    pub(super) took: Duration,
    child: Child,
    _directory: TempDir,
}

impl Program {
    /// Starts one on a store, before a target that is down.
    pub(super) async fn start(store: &str) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        write_private(&directory.path().join("password"), "none")?;
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[store]\n{store}\n\
             [targets.past-0]\nengine = \"postgres\"\nhosts = [\"127.0.0.1:1\"]\nuser = \"mayfly\"\npassword_file = \"password\"\n\
             [targets.past-0.tls]\nmode = \"disable\"\n"
        );
        let path = directory.path().join("mayfly.toml");
        fs::write(&path, text)?;
        let began = moment();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mayfly"))
            .args(["serve", "--config"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let mut told = Vec::new();
        loop {
            let line = timeout(PATIENCE, lines.next_line()).await??;
            let Some(line) = line else {
                return Err(format!("the program did not serve: {}", told.join("\n")).into());
            };
            if line.contains("\"serving\"") {
                break;
            }
            told.push(line);
        }
        let took = began.elapsed();
        // Whoever writes must not find the pipe full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { took, child, _directory: directory })
    }

    /// Ends it; how many megabytes it held.
    pub(super) async fn stop(mut self) -> Outcome<f64> {
        tokio::time::sleep(SETTLE).await;
        let id = self.child.id().ok_or("it has ended by itself")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: f64 = resident.ok_or("no size")?.trim().trim_end_matches(" kB").parse()?;
        let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw).ok_or("no process")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        timeout(PATIENCE, self.child.wait()).await??;
        Ok(kilobytes / 1e3)
    }
}
