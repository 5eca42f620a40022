//! The guard: a small shell that outlives us by a moment, so that nothing of a server does.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Write},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::identity::Identity;

/// Ends the server and removes the directory as soon as its standard input closes, which the kernel does for us
/// however we die.
const SCRIPT: &str = include_str!("guard.sh");

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine(Vec<OsString>);

impl CommandLine {
    pub(super) fn new(program: impl Into<OsString>) -> Self {
        Self(vec![program.into()])
    }

    pub(super) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.0.push(argument.into());
        self
    }

    pub(super) fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.0.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// `--name=value`, where the value may be any path.
    pub(super) fn option(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut argument = OsString::from(name);
        argument.push("=");
        argument.push(value);
        self.arg(argument)
    }

    /// Runs it here and now, as ourselves, and returns what it prints.
    pub(super) fn output(&self) -> io::Result<String> {
        let (program, arguments) =
            self.0.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// As one line of shell words.
    fn quoted(&self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        for word in &self.0 {
            if word.as_bytes().iter().any(|byte| matches!(byte, b'\n' | 0)) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line break in a path"));
            }
            line.extend_from_slice(b" '");
            for byte in word.as_bytes() {
                match byte {
                    b'\'' => line.extend_from_slice(b"'\\''"),
                    byte => line.push(*byte),
                }
            }
            line.push(b'\'');
        }
        Ok(line)
    }
}

/// The signals a server is ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Interrupt,
    Terminate,
    Quit,
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Quit => "QUIT",
            Signal::Kill => "KILL",
        }
    }
}

/// Our end of the guard. Dropping it ends the server and removes its directory, in the background.
#[derive(Debug)]
pub(super) struct Guard {
    directory: PathBuf,
    child: Option<Child>,
    commands: Option<ChildStdin>,
    replies: Arc<Mutex<BufReader<ChildStdout>>>,
}

impl Guard {
    /// Starts a guard over a directory that does not exist yet; `farewell` ends the server when its data is of no
    /// further use.
    pub(super) async fn start(directory: PathBuf, farewell: Signal, identity: Identity) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(SCRIPT).arg("mayfly-sandbox").arg(&directory).arg(farewell.name());
        // Nothing of our environment (PGDATA, MYSQL_HOME, a locale) decides how a server runs.
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Its own process group: Ctrl-C in a terminal reaches us, and the server only through us.
        command.current_dir("/").process_group(0);
        identity.apply(&mut command);
        let mut child = command.spawn()?;
        let (Some(commands), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        };
        let replies = Arc::new(Mutex::new(BufReader::new(replies)));
        let guard = Self { directory, child: Some(child), commands: Some(commands), replies };
        match guard.reply().await {
            Ok(0) => Ok(guard),
            Ok(_) | Err(_) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} cannot be created by {identity}", guard.directory.display()),
            )),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a program to its end and returns its exit status.
    pub(super) async fn run(&mut self, command: &CommandLine) -> io::Result<i32> {
        self.tell(b"run", &command.quoted()?).await
    }

    /// Starts the server.
    pub(super) async fn serve(&mut self, command: &CommandLine) -> io::Result<()> {
        self.tell(b"serve", &command.quoted()?).await.map(drop)
    }

    /// Ends the server and returns when it is gone; its directory stays.
    pub(super) async fn end(&mut self, signal: Signal) -> io::Result<()> {
        self.tell(b"end", format!(" {}", signal.name()).as_bytes()).await.map(drop)
    }

    /// Ends the server, removes the directory, and returns when both are gone.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        drop(self.commands.take());
        if let Some(mut child) = self.child.take() {
            tokio::task::spawn_blocking(move || child.wait()).await??;
        }
        Ok(())
    }

    /// Whether the server that was started last has ended.
    pub(super) fn has_exited(&self) -> bool {
        self.directory.join("exited").exists()
    }

    /// What the programs run here have printed.
    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whoever gives up on the reply ends the guard: the next one would read the wrong reply.
    async fn tell(&mut self, verb: &[u8], words: &[u8]) -> io::Result<i32> {
        let mut pipe = self.commands.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        // A line is far smaller than the pipe's buffer and the guard reads: this does not block.
        pipe.write_all(&[verb, words, b"\n"].concat())?;
        let reply = self.reply().await?;
        self.commands = Some(pipe);
        Ok(reply)
    }

    /// Waits on a thread of its own, so that a guard is tied to no runtime and may be shared by many.
    async fn reply(&self) -> io::Result<i32> {
        let replies = Arc::clone(&self.replies);
        tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            replies.lock().unwrap_or_else(PoisonError::into_inner).read_line(&mut line)?;
            line.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))
        })
        .await?
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(mut child) = self.child.take() {
            thread::spawn(move || child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        let line =
            CommandLine::new("a b").arg("it's").arg("$x;`y`").option("--d", "/t m/p").quoted().unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), r" 'a b' 'it'\''s' '$x;`y`' '--d=/t m/p'");
        assert!(CommandLine::new("a\nb").quoted().is_err());
    }
}
