//! A child process in our place: same terminal, same process group, our signals, its exit code.
//!
//! Ctrl-C at a terminal reaches the whole foreground process group, the child included: passing such a signal on would
//! deliver it twice, and to many programs the second one means "stop at once". So signals that terminals send are passed on
//! only when we are not in the foreground of one; everything else always is.

use std::{
    env, fs, io,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::ExitStatus,
    task::Poll,
};

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{CliError, Exit};

/// Signals that are passed on, and whether a terminal sends them to its foreground process group.
const PASSED_ON: [(Signal, bool); 7] = [
    (Signal::INT, true),
    (Signal::QUIT, true),
    (Signal::WINCH, true),
    (Signal::TERM, false),
    (Signal::HUP, false),
    (Signal::USR1, false),
    (Signal::USR2, false),
];

/// The exit code of shells for a command that is not found.
const NOT_FOUND: u8 = 127;

/// The exit code of shells for a command that cannot be run.
const NOT_EXECUTABLE: u8 = 126;

/// Signals sent to us, instead of what they would do to us.
pub struct Signals(Source);

enum Source {
    Process(Vec<(Signal, tokio::signal::unix::Signal)>),
    Channel(mpsc::Receiver<Signal>),
}

impl Signals {
    /// From now on signals come here. Those that our parent had us ignore (`nohup`, background jobs of plain shells) stay
    /// ignored.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn of_process() -> Result<Self, CliError> {
        let ignored = ignored_signals(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let mut streams = Vec::new();
        for (kind, _) in PASSED_ON {
            if ignored & signal_bit(kind) == 0 {
                let stream = signal(SignalKind::from_raw(kind.as_raw()))
                    .map_err(|error| CliError::local("cannot listen for signals", &error))?;
                streams.push((kind, stream));
            }
        }
        Ok(Self(Source::Process(streams)))
    }

    /// Signals from a channel.
    pub fn of_channel(receiver: mpsc::Receiver<Signal>) -> Self {
        Self(Source::Channel(receiver))
    }

    /// The next signal. Waits for ever when none can come any more.
    pub async fn next(&mut self) -> Signal {
        match &mut self.0 {
            Source::Channel(receiver) => match receiver.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
            Source::Process(streams) => {
                std::future::poll_fn(|context| {
                    for (kind, stream) in streams.iter_mut() {
                        if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                            return Poll::Ready(*kind);
                        }
                    }
                    Poll::Pending
                })
                .await
            }
        }
    }

    /// The next signal that asks a program to end.
    pub async fn next_to_end(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal) {
                return signal;
            }
        }
    }
}

/// The `SigIgn` line of `/proc/PID/status`, one bit a signal.
fn ignored_signals(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn signal_bit(signal: Signal) -> u64 {
    u32::try_from(signal.as_raw() - 1).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(0)
}

/// Waits for a child and passes signals on to it.
///
/// # Errors
/// When the system cannot wait for it.
pub async fn wait(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => pass_on(child, signal, in_foreground()),
        }
    }
}

fn pass_on(child: &Child, signal: Signal, foreground: bool) {
    let of_terminal = PASSED_ON.iter().any(|(kind, of_terminal)| *kind == signal && *of_terminal);
    if of_terminal && foreground {
        return;
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now: then nobody is left to be told.
        let _ = kill_process(pid, signal);
    }
}

/// Whether we are in the foreground process group of our terminal.
fn in_foreground() -> bool {
    let terminal = fs::File::open("/dev/tty").ok();
    terminal.and_then(|tty| rustix::termios::tcgetpgrp(&tty).ok()).is_some_and(|group| group == getpgrp())
}

/// The exit code for how a child ended: its own, or 128 plus the signal's number.
pub fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Child(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Exit::of_signal(signal),
        (None, None) => Exit::Failure,
    }
}

/// Finds a program as a shell would, before anything is issued for it.
///
/// # Errors
/// With 127 when it is not found, with 126 when it cannot be executed.
pub fn find_program(name: &str) -> Result<PathBuf, CliError> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_in(name, &env::split_paths(&path).collect::<Vec<_>>())
}

fn find_in(name: &str, directories: &[PathBuf]) -> Result<PathBuf, CliError> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        directories.iter().map(|directory| directory.join(name)).collect()
    };
    if let Some(program) = candidates.iter().find(|candidate| is_executable(candidate)) {
        return Ok(program.clone());
    }
    if candidates.iter().any(|candidate| candidate.exists()) {
        return Err(CliError::new(Exit::Child(NOT_EXECUTABLE), format!("`{name}` cannot be executed")));
    }
    Err(CliError::new(Exit::Child(NOT_FOUND), format!("`{name}` is not found")))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::{
        io::{AsyncBufReadExt as _, BufReader},
        process::Command,
    };

    use super::*;

    /// A shell script that says `ready` once its traps are set.
    async fn shell(script: &str) -> (Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) {
        let mut child = Command::new("sh").arg("-c").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
        (child, lines)
    }

    async fn ended_by(script: &str, signal: Signal) -> Exit {
        let (sender, receiver) = mpsc::channel(1);
        let (mut child, _lines) = shell(script).await;
        sender.send(signal).await.unwrap();
        exit_of(wait(&mut child, &mut Signals::of_channel(receiver)).await.unwrap())
    }

    #[tokio::test]
    async fn signals_are_passed_on_and_the_childs_answer_is_ours() {
        for (name, signal) in
            [("TERM", Signal::TERM), ("HUP", Signal::HUP), ("USR1", Signal::USR1), ("USR2", Signal::USR2)]
        {
            let script = format!("trap 'exit 7' {name}; echo ready; while :; do sleep 0.01; done");
            assert_eq!(ended_by(&script, signal).await, Exit::Child(7), "{name}");
        }
    }

    #[tokio::test]
    async fn a_child_ended_by_a_signal_ends_us_with_128_and_its_number() {
        assert_eq!(ended_by("echo ready; exec sleep 60", Signal::TERM).await, Exit::Child(143));
        let (mut child, _lines) = shell("echo ready; kill -KILL $$").await;
        let (_sender, receiver) = mpsc::channel(1);
        let status = wait(&mut child, &mut Signals::of_channel(receiver)).await.unwrap();
        assert_eq!(exit_of(status), Exit::Child(137));
    }

    #[tokio::test]
    async fn an_interrupt_from_the_terminal_is_not_delivered_twice() {
        let script =
            "trap 'echo interrupted' INT; trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        let (mut child, mut lines) = shell(script).await;
        pass_on(&child, Signal::INT, true);
        pass_on(&child, Signal::TERM, true);
        assert!(child.wait().await.unwrap().success());
        assert_eq!(lines.next_line().await.unwrap(), None);
        let (child, mut lines) = shell(script).await;
        pass_on(&child, Signal::INT, false);
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("interrupted"));
        pass_on(&child, Signal::TERM, false);
    }

    #[tokio::test]
    async fn the_exit_code_is_the_childs() {
        for code in [0u8, 1, 3, 126, 255] {
            let (mut child, _lines) = shell(&format!("echo ready; exit {code}")).await;
            assert_eq!(exit_of(child.wait().await.unwrap()), Exit::Child(code));
        }
    }

    #[test]
    fn programs_are_found_as_shells_find_them() {
        let directory = tempfile::tempdir().unwrap();
        let (tool, plain) = (directory.path().join("tool"), directory.path().join("plain"));
        fs::write(&tool, "").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&plain, "").unwrap();
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
        let directories = [PathBuf::from("/nonexistent"), directory.path().to_owned()];
        assert_eq!(find_in("tool", &directories).unwrap(), tool);
        assert_eq!(find_in(tool.to_str().unwrap(), &[]).unwrap(), tool);
        assert_eq!(find_in("plain", &directories).unwrap_err().exit().code(), 126);
        assert_eq!(find_in("none", &directories).unwrap_err().exit().code(), 127);
    }

    #[test]
    fn ignored_signals_are_read_from_the_kernel() {
        let status = "Name:\tmayfly\nSigBlk:\t0\nSigIgn:\t0000000000000007\nSigCgt:\t0\n";
        let ignored = ignored_signals(status);
        assert_ne!(ignored & signal_bit(Signal::HUP), 0);
        assert_ne!(ignored & signal_bit(Signal::INT), 0);
        assert_eq!(ignored & signal_bit(Signal::TERM), 0);
        assert_eq!(ignored_signals(""), 0);
    }
}
