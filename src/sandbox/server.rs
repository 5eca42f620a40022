//! The life of a throwaway server, whatever its engine.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    binaries::{Binaries, ServerVersion},
    guard::{CommandLine, Guard, Signal},
    identity::Identity,
    layout::{Layout, ServerTls},
    mysql, port, postgres,
};
use crate::{
    domain::{Engine, Password},
    random::Random,
};

/// How long a server may take until it lets its administrator in. MySQL on a busy machine takes several seconds.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Between two knocks at a starting server.
const KNOCK_INTERVAL: Duration = Duration::from_millis(20);
/// Ports tried when somebody else is quicker to take one.
const PORT_ATTEMPTS: usize = 5;
/// Lines of a failed server's log that an error repeats.
const LOG_LINES: usize = 12;

/// What the server does for its data to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What the engine does by default: for benchmarks, which must not flatter.
    Full,
    /// Nothing: for tests and demonstrations.
    #[default]
    Throwaway,
}

/// What kind of server to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// The programs.
    pub binaries: Binaries,
    /// Where its directory is made; the system's temporary directory when `None`. Root's servers run as `nobody`, who
    /// must be able to make directories here.
    pub parent: Option<PathBuf>,
    /// What its directory is called; a name nobody else has when `None`.
    pub name: Option<String>,
    /// Whether its data may be lost.
    pub durability: Durability,
    /// Encrypted connections; MySQL makes itself a certificate when `None`, the others offer none.
    pub tls: Option<ServerTls>,
    /// Further `name=value` settings of the server, overriding ours.
    pub settings: Vec<(String, String)>,
}

impl ServerSpec {
    /// A throwaway server in the system's temporary directory.
    pub fn new(binaries: Binaries) -> Self {
        let durability = Durability::Throwaway;
        Self { binaries, parent: None, name: None, durability, tls: None, settings: Vec::new() }
    }
}

/// Why a server could not be started, stopped or started again.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Its directory could not be made or written.
    #[error("the sandbox directory {} cannot be set up", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The shell that looks after the server is gone or was never there.
    #[error("the {} server's guard (a process of /bin/sh) does not answer", .0.title())]
    Guard(Engine, #[source] io::Error),
    /// The data directory could not be made.
    #[error("{} could not make its data directory; its last words:\n{log}", engine.title())]
    Initialise {
        /// The engine.
        engine: Engine,
        /// The end of its log.
        log: String,
    },
    /// It ended while starting.
    #[error("the {} server ended while starting; its last words:\n{log}", engine.title())]
    Ended {
        /// The engine.
        engine: Engine,
        /// The end of its log.
        log: String,
    },
    /// It runs, but does not let its administrator in.
    #[error("the {} server is not ready after {} s; its last words:\n{log}", engine.title(), START_LIMIT.as_secs())]
    Unready {
        /// The engine.
        engine: Engine,
        /// The end of its log.
        log: String,
    },
    /// Every port tried was taken.
    #[error("no free port on 127.0.0.1 for the {} server", .0.title())]
    NoPort(Engine),
}

/// The superuser or root account of a throwaway server, for setting things up and looking behind Mayfly's back.
#[derive(Debug, Clone)]
pub struct Administrator {
    /// Its name; its host part is `127.0.0.1` on MySQL and MariaDB.
    pub user: String,
    /// Its password.
    pub password: Password,
}

/// How an engine's servers are addressed and ended.
#[derive(Debug)]
pub(super) struct Habits {
    /// The name of the account that may do everything.
    pub(super) administrator: &'static str,
    /// Ends a server in good order.
    pub(super) gracefully: Signal,
    /// Ends a server as a crash would.
    pub(super) abruptly: Signal,
}

fn habits(engine: Engine) -> &'static Habits {
    match engine {
        Engine::Postgres => &postgres::HABITS,
        Engine::Mysql | Engine::Mariadb => &mysql::HABITS,
    }
}

/// A running throwaway server. Dropping it ends the server and removes its directory, in the background;
/// [`Server::stop`] waits for that. It belongs to no runtime and may be used from several.
#[derive(Debug)]
pub struct Server {
    spec: ServerSpec,
    guard: Guard,
    layout: Layout,
    administrator: Administrator,
}

impl Server {
    /// Makes a data directory, starts a server on it and waits until its administrator can log in.
    ///
    /// # Errors
    /// As [`SandboxError`] says; nothing is left behind.
    pub async fn start(spec: ServerSpec, random: &dyn Random) -> Result<Self, SandboxError> {
        let engine = spec.binaries.engine();
        let parent = spec.parent.clone().unwrap_or_else(env::temp_dir);
        let name = spec.name.clone().unwrap_or_else(|| format!("mayfly-{engine}-{:016x}", random.bits()));
        let directory = parent.join(name);
        let failed = |source| SandboxError::Directory { directory: directory.clone(), source };
        let identity = Identity::choose().map_err(failed)?;
        let habits = habits(engine);
        let guard = Guard::start(directory.clone(), habits.abruptly, identity).await.map_err(failed)?;
        let layout = Layout { directory: directory.clone(), port: 0, identity };
        let administrator =
            Administrator { user: habits.administrator.to_owned(), password: password(random) };
        let mut server = Self { spec, guard, layout, administrator };
        server.initialise().await?;
        server.start_on_a_free_port(random).await?;
        Ok(server)
    }

    /// The engine.
    pub fn engine(&self) -> Engine {
        self.spec.binaries.engine()
    }

    /// The version, as the server program states it.
    pub fn version(&self) -> ServerVersion {
        self.spec.binaries.version()
    }

    /// The programs it runs.
    pub fn binaries(&self) -> &Binaries {
        &self.spec.binaries
    }

    /// The port on 127.0.0.1 it listens on.
    pub fn port(&self) -> u16 {
        self.layout.port
    }

    /// Its directory: data, log, Unix socket.
    pub fn directory(&self) -> &Path {
        self.guard.directory()
    }

    /// The account that may do everything.
    pub fn administrator(&self) -> &Administrator {
        &self.administrator
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// Shuts it down in good order; its data stays, for [`Server::start_again`].
    ///
    /// # Errors
    /// When the guard is gone, and the server with it.
    pub async fn halt(&mut self) -> Result<(), SandboxError> {
        self.end(habits(self.engine()).gracefully).await
    }

    /// Takes it down as a crash would; its data stays, for [`Server::start_again`].
    ///
    /// # Errors
    /// When the guard is gone, and the server with it.
    pub async fn crash(&mut self) -> Result<(), SandboxError> {
        self.end(habits(self.engine()).abruptly).await
    }

    /// Starts it again after [`Server::halt`] or [`Server::crash`], on the same data and port.
    ///
    /// # Errors
    /// When it does not start, also because somebody took its port meanwhile.
    pub async fn start_again(&mut self) -> Result<(), SandboxError> {
        self.serve(false).await
    }

    /// Shuts it down in good order and starts it again, on the same data and port.
    ///
    /// # Errors
    /// As [`Server::start_again`].
    pub async fn restart(&mut self) -> Result<(), SandboxError> {
        self.halt().await?;
        self.start_again().await
    }

    /// Ends it, removes everything, and returns when nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub async fn stop(self) -> Result<(), SandboxError> {
        let (engine, directory) = (self.engine(), self.guard.directory().to_owned());
        self.guard.finish().await.map_err(|source| SandboxError::Guard(engine, source))?;
        match fs::remove_dir_all(&directory) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(SandboxError::Directory { directory, source }),
        }
    }

    async fn end(&mut self, signal: Signal) -> Result<(), SandboxError> {
        let engine = self.engine();
        self.guard.end(signal).await.map_err(|source| SandboxError::Guard(engine, source))
    }

    async fn initialise(&mut self) -> Result<(), SandboxError> {
        let engine = self.engine();
        self.prepare().map_err(|source| self.directory_error(source))?;
        let command = match engine {
            Engine::Postgres => postgres::initialise(&self.spec.binaries, &self.layout),
            Engine::Mysql | Engine::Mariadb => mysql::initialise(&self.spec.binaries, &self.layout),
        };
        let status = match tokio::time::timeout(START_LIMIT, self.guard.run(&command)).await {
            Ok(status) => status.map_err(|source| SandboxError::Guard(engine, source))?,
            Err(_) => return Err(SandboxError::Unready { engine, log: self.last_words() }),
        };
        if status != 0 {
            return Err(SandboxError::Initialise { engine, log: self.last_words() });
        }
        if engine == Engine::Postgres {
            postgres::configure(&self.layout, self.spec.tls.as_ref())
                .map_err(|source| self.directory_error(source))?;
        }
        Ok(())
    }

    fn prepare(&self) -> io::Result<()> {
        self.layout.install_tls(self.spec.tls.as_ref())?;
        match self.engine() {
            Engine::Postgres => postgres::prepare(&self.layout, &self.administrator),
            Engine::Mysql | Engine::Mariadb => {
                mysql::prepare(self.engine(), &self.layout, &self.administrator)
            }
        }
    }

    fn directory_error(&self, source: io::Error) -> SandboxError {
        SandboxError::Directory { directory: self.layout.directory.clone(), source }
    }

    async fn start_on_a_free_port(&mut self, random: &dyn Random) -> Result<(), SandboxError> {
        let engine = self.engine();
        for _ in 0..PORT_ATTEMPTS {
            self.layout.port = port::free(random).ok_or(SandboxError::NoPort(engine))?;
            match self.serve(true).await {
                Err(SandboxError::Ended { log, .. }) if log.contains("ddress already in use") => {
                    self.end(Signal::Kill).await?;
                }
                other => return other,
            }
        }
        Err(SandboxError::NoPort(engine))
    }

    async fn serve(&mut self, first: bool) -> Result<(), SandboxError> {
        let engine = self.engine();
        let command = self.server_command(first);
        self.guard.serve(&command).await.map_err(|source| SandboxError::Guard(engine, source))?;
        match tokio::time::timeout(START_LIMIT, self.ready()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SandboxError::Unready { engine, log: self.last_words() }),
        }
    }

    fn server_command(&self, first: bool) -> CommandLine {
        match self.engine() {
            Engine::Postgres => postgres::serve(&self.spec, &self.layout),
            Engine::Mysql | Engine::Mariadb => mysql::serve(&self.spec, &self.layout, first),
        }
    }

    async fn ready(&self) -> Result<(), SandboxError> {
        loop {
            let answers = match self.engine() {
                Engine::Postgres => postgres::answers(self.layout.port, &self.administrator).await,
                Engine::Mysql | Engine::Mariadb => {
                    mysql::answers(self.layout.port, &self.administrator).await
                }
            };
            // Asked after the knock: on a clash of ports it is the other server that is alive, and ours that has ended.
            if self.guard.has_exited() {
                return Err(SandboxError::Ended { engine: self.engine(), log: self.last_words() });
            }
            if answers {
                return Ok(());
            }
            tokio::time::sleep(KNOCK_INTERVAL).await;
        }
    }

    fn last_words(&self) -> String {
        let log = self.guard.log();
        let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Letters and digits, at 5.95 bits each.
const PASSWORD_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const PASSWORD_LENGTH: usize = 24;

/// A password for an account of a sandbox.
pub(super) fn password(random: &dyn Random) -> Password {
    let character = |_| {
        let at = usize::try_from(random.below(62)).unwrap_or(0);
        PASSWORD_ALPHABET.get(at).copied().map_or('A', char::from)
    };
    Password::new((0..PASSWORD_LENGTH).map(character).collect())
}
