//! The engines' real clients, logged in with a credential: one statement, or a session that stays open.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::transcript::Setback;
use crate::{
    cli::{CliError, Credential, child, run},
    domain::Engine,
    sandbox::Installation,
};

/// How long a client may take for anything.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client program with a credential, in a private file of the trial's directory.
pub(super) struct Client {
    credential: Credential,
    program: PathBuf,
    file: PathBuf,
}

/// The client of an engine.
pub(super) fn program_of(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "psql",
        Engine::Mysql => "mysql",
        Engine::Mariadb => "mariadb",
    }
}

impl Client {
    pub(super) fn new(credential: Credential, installation: &Installation) -> Result<Self, CliError> {
        let program = child::find_program(program_of(credential.engine))?;
        let contents = match credential.engine {
            Engine::Postgres => credential.pgpass()?,
            Engine::Mysql | Engine::Mariadb => credential.my_cnf(None)?,
        };
        let file = installation
            .write_private(&format!("{}.login", credential.username), &contents)
            .map_err(|error| CliError::local("a login cannot be prepared", &error))?;
        Ok(Self { credential, program, file })
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The program's name.
    pub(super) fn name(&self) -> &'static str {
        program_of(self.credential.engine)
    }

    /// Logs in, runs one statement, and returns what it printed, or what the server said against it.
    pub(super) async fn ask(&self, statement: &str) -> Result<Result<String, String>, CliError> {
        let mut command = self.command();
        command.arg(if self.credential.engine == Engine::Postgres { "-c" } else { "-e" }).arg(statement);
        command.stdin(Stdio::null());
        let output = within(command.output()).await?;
        if output.status.success() {
            return Ok(Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
        }
        Ok(Err(self.complaint(&output)))
    }

    /// Logs in and stays.
    pub(super) async fn stay(&self) -> Result<Session, Setback> {
        let mut command = self.command();
        if self.credential.engine != Engine::Postgres {
            command.args(["--unbuffered", "--skip-reconnect"]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| CliError::local("a client cannot be started", &error))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Setback::unexpected("a session", "a client without pipes"));
        };
        let mut session = Session { child, input, output: BufReader::new(output).lines() };
        match session.ask("SELECT 'here';").await? {
            Some(line) if line == "here" => Ok(session),
            answer => {
                let seen = answer.unwrap_or(self.complaint_of(session).await?);
                Err(Setback::unexpected("an open session", seen))
            }
        }
    }

    /// What a session that is no more says for itself when something is asked of it.
    pub(super) async fn last_words(&self, mut session: Session) -> Result<String, Setback> {
        if let Some(line) = session.ask("SELECT 'still here';").await? {
            return Err(Setback::unexpected("a session that has ended", format!("an answer in it: {line}")));
        }
        Ok(self.complaint_of(session).await?)
    }

    async fn complaint_of(&self, mut session: Session) -> Result<String, CliError> {
        drop(session.input);
        let mut stderr = Vec::new();
        if let Some(mut pipe) = session.child.stderr.take() {
            within(pipe.read_to_end(&mut stderr)).await?;
        }
        let status = within(session.child.wait()).await?;
        Ok(self.complaint(&Output { status, stdout: Vec::new(), stderr }))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        run::clean(&mut command, &self.credential);
        // Messages in English, whatever is spoken here.
        command.env("LC_ALL", "C").kill_on_drop(true);
        if self.credential.engine == Engine::Postgres {
            let variables = self.credential.variables();
            command.envs(variables.into_iter().filter(|(name, _)| *name != "PGPASSWORD"));
            command.env("PGPASSFILE", &self.file).args(["-X", "-q", "-A", "-t", "-w"]);
        } else {
            let mut option = std::ffi::OsString::from("--defaults-file=");
            option.push(&self.file);
            command.arg(option).args(["--batch", "--skip-column-names"]);
        }
        command
    }

    fn complaint(&self, output: &Output) -> String {
        complaint(&String::from_utf8_lossy(&output.stderr), &self.credential.username)
            .unwrap_or_else(|| format!("nothing, ending with {}", output.status))
    }
}

/// The server's own words in what a client says, with the account's name cut if it is one of the long ones that Mayfly makes.
fn complaint(stderr: &str, account: &str) -> Option<String> {
    let first = stderr.lines().find(|line| ["FATAL", "ERROR"].iter().any(|word| line.contains(word)))?;
    let from = first.find("FATAL:").or_else(|| first.find("ERROR")).unwrap_or(0);
    let words = first.get(from..).unwrap_or(first);
    let words = if account.starts_with("mf_") { words.replace(account, "mf_…") } else { words.to_owned() };
    // Of a statement of one line this tells nothing.
    let words = [" at line 1", " at line 2", " (using password: YES)"]
        .iter()
        .fold(words, |words, noise| words.replace(noise, ""));
    Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A session of a client that stays open.
pub(super) struct Session {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Session {
    /// The first line of the answer; `None` when there is none any more.
    pub(super) async fn ask(&mut self, statement: &str) -> Result<Option<String>, CliError> {
        // A client that has ended cannot be written to; then it has nothing to say either.
        let _ = self.input.write_all(format!("{statement}\n").as_bytes()).await;
        let _ = self.input.flush().await;
        within(self.output.next_line()).await
    }
}

async fn within<T>(work: impl Future<Output = std::io::Result<T>>) -> Result<T, CliError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| CliError::local("a database client cannot be used", &error)),
        Err(elapsed) => Err(CliError::local("a database client does not answer", &elapsed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_said_is_found_in_what_the_client_says() {
        let psql = "psql: error: connection to server at \"127.0.0.1\", port 1 failed: FATAL:  password authentication \
                    failed for user \"mf_a_b_c\"\n";
        assert_eq!(
            complaint(psql, "mf_a_b_c").unwrap(),
            "FATAL: password authentication failed for user \"mf_…\""
        );
        let mariadb = "ERROR 1142 (42000) at line 1: INSERT command denied to user 'mf_x'@'127.0.0.1'\n";
        assert_eq!(
            complaint(mariadb, "mf_x").unwrap(),
            "ERROR 1142 (42000): INSERT command denied to user 'mf_…'@'127.0.0.1'"
        );
        let ended =
            "FATAL:  terminating connection due to administrator command\nserver closed the connection\n";
        assert_eq!(
            complaint(ended, "x").unwrap(),
            "FATAL: terminating connection due to administrator command"
        );
        assert_eq!(complaint("", "x"), None);
    }
}
