//! Where the figures come from.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path, process::Command};

use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::Engine,
};
use serde::Serialize;

use super::{Options, Outcome, Section, World, median, moment};

/// Synchronised writes that are timed to know the disk.
const SYNCS: usize = 200;

/// The machine, the servers and the settings.
#[derive(Debug, Serialize)]
pub(crate) struct Environment {
    mayfly: &'static str,
    cpu: Option<String>,
    cores: usize,
    kernel: Option<String>,
    /// Median of writing 4 KiB and waiting for the disk, in milliseconds.
    disk_sync_ms: Option<f64>,
    servers: BTreeMap<&'static str, String>,
    not_measured: Vec<&'static str>,
    /// When, on what build and beside what load each section began.
    sections: BTreeMap<&'static str, Begun>,
    quick: bool,
    rounds: usize,
    settings: &'static str,
}

/// How a section began.
#[derive(Debug, Serialize)]
struct Begun {
    at: String,
    revision: Option<String>,
    load_average: Option<String>,
}

const SETTINGS: &str = "Mayfly, its callers, the raw loop and the servers share these cores. Servers: defaults, fsync on. \
    Mayfly: gRPC over TLS 1.3 on a connection per caller, a token and principal per caller, policy, audit in the store, \
    SQLite in WAL mode with synchronous = FULL; issuing pool 16, rate and lease limits raised, logs at info. Raw: the same \
    statements, verifiers made ahead, one connection per caller.";

impl Environment {
    pub(crate) fn of_this_machine(options: &Options) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        Self {
            mayfly: env!("CARGO_PKG_VERSION"),
            cpu,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            disk_sync_ms: None,
            servers: BTreeMap::new(),
            not_measured: Vec::new(),
            sections: BTreeMap::new(),
            quick: options.quick,
            rounds: options.rounds,
            settings: SETTINGS,
        }
    }

    /// A section begins.
    pub(crate) fn begin(&mut self, section: Section) {
        let at = SystemClock.now().strftime("%Y-%m-%d %H:%M UTC").to_string();
        let begun = Begun { at, revision: revision(), load_average: first_line("/proc/loadavg") };
        self.sections.insert(section.as_str(), begun);
    }

    pub(crate) fn server(&mut self, engine: Engine, world: &World) {
        self.servers.insert(engine.as_str(), world.server().version().to_string());
    }

    pub(crate) fn leave_out(&mut self, engine: Engine) {
        if !self.not_measured.contains(&engine.as_str()) {
            self.not_measured.push(engine.as_str());
        }
    }

    /// How long the disk takes to have a page.
    pub(crate) fn disk(&mut self, directory: &Path) -> Outcome<()> {
        let mut file = fs::File::create(directory.join("sync"))?;
        let mut taken = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let began = moment();
            file.write_all(&[7; 4096])?;
            file.sync_data()?;
            taken.push(began.elapsed().as_secs_f64() * 1e3);
        }
        self.disk_sync_ms = Some(median(&taken));
        Ok(())
    }
}

fn first_line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn revision() -> Option<String> {
    let said = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
