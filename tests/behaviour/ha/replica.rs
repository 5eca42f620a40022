//! One replica: a directory, wires to the store and to every target, and a process.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use mayfly::{crash, domain::Engine};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::fleet::{Plan, StorePlace};
use crate::{
    crash::caller::Caller,
    support::{eventually, proxy::Proxy},
};

/// Nothing these processes do takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a log that a failure shows.
const LOG_TAIL: usize = 6_000;

/// A process that serves.
struct Process {
    child: Child,
    /// Bytes of the log that others wrote before.
    seen: u64,
}

/// A replica.
pub(super) struct Replica {
    pub(super) name: String,
    directory: TempDir,
    token: String,
    /// Its wire to the store.
    pub(super) store: Proxy,
    /// Its wires to the targets, by engine.
    pub(super) targets: BTreeMap<&'static str, Proxy>,
    process: Option<Process>,
}

impl Replica {
    /// Makes one that is not running yet.
    pub(super) async fn new(name: &str, plan: &Plan) -> Self {
        let mut targets = BTreeMap::new();
        for database in &plan.databases {
            targets.insert(database.engine.as_str(), Proxy::to(database.port).await);
        }
        let replica = Self {
            name: name.to_owned(),
            directory: tempfile::tempdir().unwrap(),
            token: plan.token.clone(),
            store: Proxy::to(plan.store.port).await,
            targets,
            process: None,
        };
        replica.write("administrator.token", &plan.token);
        replica.write("store.password", plan.store.password.expose());
        for database in &plan.databases {
            let file = format!("{}.password", database.engine);
            replica.write(&file, database.sample.administrator.password.expose());
        }
        replica.write("mayfly.toml", &replica.configuration(plan));
        replica
    }

    fn configuration(&self, plan: &Plan) -> String {
        let StorePlace { user, database, .. } = &plan.store;
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"20s\"\ncalls_per_second_per_principal = 100000\n\
             call_burst_per_principal = 100000\n\n[store]\npostgres = \"postgres://{user}@127.0.0.1:{}/{database}\"\n\
             password_file = \"store.password\"\nreplica = \"{}\"\n\n[audit]\nfile = \"audit.jsonl\"\n\n\
             [bootstrap]\nadministrator_token_file = \"administrator.token\"\n\n[log]\nlevel = \"info\"\nformat = \"json\"\n",
            self.store.port(),
            self.name,
        );
        for target in &plan.databases {
            let (engine, names) = (target.engine, &target.sample.names);
            let scram = if engine == Engine::Postgres { "scram_iterations = 64\n" } else { "" };
            let _ = write!(
                text,
                "\n[targets.{engine}]\nengine = \"{engine}\"\nhosts = [\"127.0.0.1:{}\"]\ndatabase = \"{}\"\nuser = \"{}\"\n\
                 password_file = \"{engine}.password\"\npool.issuing = 4\npool.ending = 4\npool.wait = \"500ms\"\n\
                 pool.connect = \"1500ms\"\npool.statement = \"1500ms\"\n\n[roles.{}]\ntarget = \"{engine}\"\n\
                 member_of = [\"{}\"]\ndefault_ttl = \"5m\"\nmax_ttl = \"1h\"\nowned_objects = \"drop\"\n\
                 leases_per_principal = 10000\nleases_total = 10000\n{scram}allow = [\"group:administrators\"]\n\n[roles.{}]\nkind = \"checkout\"\n\
                 target = \"{engine}\"\naccount = \"{}\"\nallow = [\"group:administrators\"]\n",
                self.targets[engine.as_str()].port(),
                names.database,
                names.administrator,
                plan.role(engine),
                names.write,
                plan.handing(engine),
                plan.handed(target),
            );
        }
        text + &plan.more
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A file of it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self) -> Command {
        // Whatever becomes of the test, nothing it started is left running.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_mayfly")]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.directory.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts it, armed to crash or stop if so told.
    pub(super) fn launch(&mut self, charge: Option<&str>) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let seen = log.metadata().unwrap().len();
        let mut command = self.program();
        command.args(["serve", "--config"]).arg(self.path("mayfly.toml"));
        command.envs(charge.map(|charge| (crash::VARIABLE, charge)));
        command.stdout(Stdio::null()).stderr(log);
        self.process = Some(Process { child: command.spawn().unwrap(), seen });
    }

    /// Likewise, and waits until it listens; one that is not armed, until it serves: a process whose store goes away while it starts
    /// ends, and is for whoever started it to start again.
    pub(super) async fn start(&mut self, charge: Option<&str>) -> Caller {
        self.launch(charge);
        let caller = self.listening().await;
        if charge.is_none() {
            self.logged("\"message\":\"serving\"").await;
        }
        caller
    }

    /// Waits until it listens.
    pub(super) async fn listening(&mut self) -> Caller {
        let line = self.logged("\"message\":\"listening\"").await;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        Caller::new(&format!("http://{}", line["address"].as_str().unwrap()), &self.token)
    }

    /// What the process that runs, or ran last, has logged so far.
    fn log(&self) -> String {
        let seen = self.process.as_ref().map_or(0, |process| process.seen);
        let mut text = Vec::new();
        if let Ok(mut log) = fs::File::open(self.path("log")) {
            log.seek(SeekFrom::Start(seen)).unwrap();
            log.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Whether all its processes together have logged something.
    pub(super) fn has_ever_logged(&self, text: &str) -> bool {
        fs::read(self.path("log")).is_ok_and(|log| String::from_utf8_lossy(&log).contains(text))
    }

    /// Waits for a line of its log, and returns it.
    pub(super) async fn logged(&mut self, text: &str) -> String {
        eventually(&format!("{} logs {text}", self.name), async || {
            let log = self.log();
            let found = log.split_inclusive('\n').find(|line| line.ends_with('\n') && line.contains(text));
            assert!(found.is_some() || !self.has_ended(), "{} ended without {text:?}: {log}", self.name);
            found.map(str::to_owned)
        })
        .await
    }

    /// The end of its log, for a failure.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }

    /// Whether it is not running.
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.child.try_wait().unwrap().is_some())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.process.as_ref().and_then(|process| process.child.id()) {
            let _ = kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal);
        }
    }

    /// Waits until it has been stopped, by SIGSTOP or at a crash point.
    pub(super) async fn is_stopped(&self) {
        let id = self.process.as_ref().and_then(|process| process.child.id()).unwrap();
        eventually(&format!("{} has stopped", self.name), async || {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
            stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T').then_some(())
        })
        .await;
    }

    /// Stops it as SIGSTOP does, and waits until it stands.
    pub(super) async fn freeze(&self) {
        self.signal(Signal::STOP);
        self.is_stopped().await;
    }

    /// Has it go on.
    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.process.as_mut().unwrap().child;
        tokio::time::timeout(PATIENCE, child.wait())
            .await
            .unwrap_or_else(|_| panic!("it does not end"))
            .unwrap()
    }

    /// Returns once it has ended, however long that takes.
    pub(super) async fn ended_by_itself(&mut self) {
        self.process.as_mut().unwrap().child.wait().await.unwrap();
    }

    /// Kills it, if it runs.
    pub(super) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Stops it in good order.
    pub(super) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{} did not stop in good order: {}", self.name, self.last_words());
    }

    /// Runs another command of the program against it, as the administrator or with a token, and returns its exit code and output.
    pub(super) async fn command(
        &self,
        at: &Caller,
        token: Option<&str>,
        arguments: &[&str],
    ) -> (i32, String) {
        let mut command = self.program();
        command.args(arguments).env("MAYFLY_ADDRESS", &at.address);
        command.env("MAYFLY_TOKEN", token.unwrap_or(&self.token));
        let ran = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        (ran.status.code().unwrap_or(-1), String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    }
}
