//! Processes of the program: the server, and the commands that call it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    task::JoinHandle,
};

use super::home::Home;
use crate::support::eventually;

/// No command of these tests takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with nothing of our own environment but where programs are; its home is `home`.
pub(super) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mayfly"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home);
    command
}

/// A running process whose output is collected; it is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    out: Collected,
    err: Collected,
}

/// What a stream has said so far.
struct Collected {
    text: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Collected {
    fn from(mut stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                kept.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { text, reading }
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    /// All that was said until the stream closed.
    async fn whole(&mut self) -> String {
        (&mut self.reading).await.unwrap();
        self.text()
    }
}

impl Process {
    pub(super) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let out = Collected::from(child.stdout.take().unwrap());
        let err = Collected::from(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// Its standard output so far.
    pub(super) fn out(&self) -> String {
        self.out.text()
    }

    /// Its standard error so far.
    pub(super) fn err(&self) -> String {
        self.err.text()
    }

    /// Waits for a line of standard error with `text` in it, and returns it.
    pub(super) async fn logged(&self, text: &str) -> String {
        self.logged_after(0, text).await
    }

    /// Likewise, passing over the first `seen` bytes.
    pub(super) async fn logged_after(&self, seen: usize, text: &str) -> String {
        let search = async || {
            let logs = self.err();
            let mut lines = logs.get(seen..).unwrap_or_default().split_inclusive('\n');
            let found = lines.find(|line| line.ends_with('\n') && line.contains(text)).map(str::to_owned);
            assert!(found.is_some() || !self.err.reading.is_finished(), "ended without {text:?}: {logs}");
            found
        };
        eventually(text, search).await
    }

    /// Waits for `text` on standard output.
    pub(super) async fn said(&self, text: &str) -> String {
        eventually(text, async || Some(self.out()).filter(|out| out.contains(text))).await
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Writes to its standard input.
    pub(super) async fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// Writes to its standard input, and closes it.
    pub(super) async fn feed(&mut self, text: &str) {
        self.child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits for its end.
    pub(super) async fn ended(mut self) -> Ran {
        drop(self.child.stdin.take());
        let whole = async {
            let status = self.child.wait().await.unwrap();
            Ran { status, out: self.out.whole().await, err: self.err.whole().await }
        };
        tokio::time::timeout(PATIENCE, whole).await.unwrap()
    }

    /// Sends it a signal and waits for its end.
    pub(super) async fn end(self, signal: Signal) -> Ran {
        self.signal(signal);
        self.ended().await
    }
}

/// How a command ended and what it said.
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) out: String,
    pub(super) err: String,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nout: {}\nerr: {}", self.status, self.out, self.err)
    }
}

impl Ran {
    /// Its exit code; a signal is none.
    pub(super) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// Its standard output, trimmed; it must have ended well.
    #[track_caller]
    pub(super) fn ok(&self) -> &str {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        self.out.trim()
    }

    /// Its standard output as one JSON document on one line; it must have ended well, without a word.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        assert_eq!((self.ok().lines().count(), &*self.err), (1, ""), "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }

    /// Its words; it must have refused with `code`, in one line and hints, and without anything on standard output.
    #[track_caller]
    pub(super) fn refused(&self, code: i32) -> &str {
        assert_eq!((self.status.code(), &*self.out), (Some(code), ""), "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        self.err.trim()
    }
}

/// Commands of one caller: where the server is, and with which token.
#[derive(Clone)]
pub(super) struct Shell {
    home: PathBuf,
    address: String,
    token: String,
    more: Vec<(String, String)>,
}

impl Shell {
    pub(super) fn new(home: &Path, address: &str, token: &str) -> Self {
        Self { home: home.to_owned(), address: address.to_owned(), token: token.to_owned(), more: Vec::new() }
    }

    /// With a variable more.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut shell = self.clone();
        shell.more.push((name.to_owned(), value.to_owned()));
        shell
    }

    /// Towards another address.
    pub(super) fn towards(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// Starts a command.
    pub(super) fn start(&self, arguments: &[&str]) -> Process {
        let mut command = program(&self.home);
        command.args(arguments).env("MAYFLY_ADDRESS", &self.address);
        if !self.token.is_empty() {
            command.env("MAYFLY_TOKEN", &self.token);
        }
        command.envs(self.more.iter().map(|(name, value)| (name, value)));
        Process::spawn(command)
    }

    /// Runs a command to its end.
    pub(super) async fn mayfly(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).ended().await
    }

    /// Issues under a role: the lease's name, the account, the password.
    pub(super) async fn issue(&self, role: &str, more: &[&str]) -> Issued {
        let document = self.mayfly(&[&["creds", role, "-o", "json"], more].concat()).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Issued {
            lease: text(&document["lease"]["name"]),
            account: text(&document["credential"]["username"]),
            password: text(&document["credential"]["password"]),
        }
    }

    /// A lease, as `lease show` tells it.
    pub(super) async fn lease(&self, name: &str) -> Value {
        self.mayfly(&["lease", "show", name, "-o", "json"]).await.json()["lease"].clone()
    }

    /// Waits until a lease is in a state.
    pub(super) async fn reaches(&self, name: &str, state: &str) -> Value {
        eventually(&format!("{name} is {state}"), async || {
            Some(self.lease(name).await).filter(|lease| lease["state"] == state)
        })
        .await
    }

    /// All leases the caller sees in some states (none: in any), as `lease ls` tells them.
    pub(super) async fn leases(&self, states: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["lease", "ls", "--limit", "0", "-o", "json"];
        for state in states {
            arguments.extend(["--state", state]);
        }
        self.mayfly(&arguments).await.json()["leases"].as_array().unwrap().clone()
    }
}

/// What was issued.
pub(super) struct Issued {
    pub(super) lease: String,
    pub(super) account: String,
    pub(super) password: String,
}

/// A server that listens.
pub(super) struct Mayfly<'h> {
    pub(super) home: &'h Home,
    pub(super) process: Process,
    pub(super) address: String,
}

impl Mayfly<'_> {
    /// Commands of the first administrator.
    pub(super) fn administrator(&self) -> Shell {
        self.of(&self.home.administrator)
    }

    /// Commands with a token; none when it is empty.
    pub(super) fn of(&self, token: &str) -> Shell {
        Shell::new(&self.home.path(""), &self.address, token)
    }

    /// Commands of a fresh principal in these groups.
    pub(super) async fn member(&self, name: &str, groups: &[&str]) -> Shell {
        let mut arguments = vec!["token", "create", "--principal", name, "--kind", "workload"];
        for group in groups {
            arguments.extend(["--group", group]);
        }
        let made = self.administrator().mayfly(&arguments).await;
        self.of(made.ok())
    }

    /// Commands of an application that may use every role.
    pub(super) async fn app(&self) -> Shell {
        self.member("app", &["readers", "writers"]).await
    }

    /// Has it read its configuration again, and waits for it to say `answer`.
    pub(super) async fn reload(&self, answer: &str) -> String {
        let seen = self.process.err().len();
        self.process.signal(Signal::HUP);
        self.process.logged_after(seen, answer).await
    }

    /// Stops it in good order.
    pub(super) async fn stop(self) -> Ran {
        let ran = self.process.end(Signal::TERM).await;
        assert_eq!(ran.code(), 0, "{ran:?}");
        ran
    }
}
