//! A trial installation: database servers with the sample, and what a Mayfly needs to serve them, in one directory that is
//! gone with all of them.

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use futures_util::future::try_join_all;

use super::{
    binaries::Binaries,
    configuration::{
        ADMINISTRATOR_TOKEN, AUDIT_LOG, CONFIGURATION, POLICIES, PROVIDER, PROVIDER_KEYS, SEALING_KEY,
        STARTER, TrialTarget, trial_configuration,
    },
    guard::{CommandLine, Guard, Signal},
    identity::Identity,
    issuer::{LocalIssuer, SigningError},
    port,
    sample::{Sample, SampleError, SampleNames},
    server::{SandboxError, Server, ServerSpec},
};
use crate::{domain::Engine, identity::ApiToken, random::Random, sealing::SealingKey};

/// The directory in which the servers have theirs; the guard knows it by this name.
const SERVERS: &str = "servers";

/// What to install.
#[derive(Debug, Clone)]
pub struct InstallationSpec {
    /// The servers: at most one PostgreSQL and one MySQL or MariaDB.
    pub servers: Vec<Binaries>,
    /// Where Mayfly is to listen; a free port on loopback when `None`.
    pub listen: Option<SocketAddr>,
}

/// Why there is no installation.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// The directory or a file in it.
    #[error("{} cannot be set up", path.display())]
    Files {
        /// What could not be made or written.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A server.
    #[error(transparent)]
    Server(#[from] SandboxError),
    /// The sample on a server.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// Every port tried was taken.
    #[error("no free port on 127.0.0.1 for Mayfly")]
    NoPort,
    /// The identity provider of its CI jobs.
    #[error(transparent)]
    Provider(#[from] SigningError),
    /// The shell that looks after the directory is gone or was never there.
    #[error("the guard of the directory (a process of /bin/sh) does not answer")]
    Guard(#[source] io::Error),
}

/// A target of an installation and the server behind it.
#[derive(Debug)]
pub struct InstalledTarget {
    /// The target.
    pub target: TrialTarget,
    /// Its server.
    pub server: Server,
}

/// A trial installation. Dropping it ends everything and removes the directory, in the background, as does the death of
/// this process; [`Installation::stop`] waits for that.
#[derive(Debug)]
pub struct Installation {
    home: Guard,
    listen: SocketAddr,
    targets: Vec<InstalledTarget>,
    provider: LocalIssuer,
}

impl Installation {
    /// Starts the servers, writes the sample to them, and configuration and secrets into files. Nothing serves yet.
    ///
    /// # Errors
    /// As [`InstallationError`] says; nothing is left behind.
    pub async fn create(spec: InstallationSpec, random: &dyn Random) -> Result<Self, InstallationError> {
        let home = make_home(random).await?;
        let servers = home.directory().join(SERVERS);
        let started = spec.servers.into_iter().map(|binaries| start(binaries, &servers, random));
        let started = try_join_all(started).await?;
        let listen = match spec.listen {
            Some(listen) => listen,
            None => {
                SocketAddr::from((Ipv4Addr::LOCALHOST, port::free(random).ok_or(InstallationError::NoPort)?))
            }
        };
        let provider = LocalIssuer::generate(PROVIDER, "trial")?;
        let mut installation = Self { home, listen, targets: Vec::new(), provider };
        installation.write_private(PROVIDER_KEYS, &installation.provider.key_set())?;
        installation.write_private(SEALING_KEY, &SealingKey::draw(random))?;
        for (target, server, sample) in started {
            installation.write_private(&target.password_file(), sample.administrator.password.expose())?;
            installation.targets.push(InstalledTarget { target, server });
        }
        let token = ApiToken::generate(random);
        installation.write_private(ADMINISTRATOR_TOKEN, token.expose())?;
        let targets: Vec<TrialTarget> =
            installation.targets.iter().map(|installed| installed.target.clone()).collect();
        let policies = installation.directory().join(POLICIES);
        fs::create_dir(&policies).map_err(|source| InstallationError::Files { path: policies, source })?;
        for (name, text) in STARTER {
            installation.write_private(&format!("{POLICIES}/{name}"), text)?;
        }
        installation.write_private(CONFIGURATION, &trial_configuration(listen, &targets))?;
        Ok(installation)
    }

    /// The directory everything is in.
    pub fn directory(&self) -> &Path {
        self.home.directory()
    }

    /// Where Mayfly is to listen, as its configuration says.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The identity provider whose word its Mayfly takes for CI jobs.
    pub fn provider(&self) -> &LocalIssuer {
        &self.provider
    }

    /// The targets, in the order of the specification.
    pub fn targets(&self) -> &[InstalledTarget] {
        &self.targets
    }

    /// Mayfly's configuration.
    pub fn configuration(&self) -> PathBuf {
        self.directory().join(CONFIGURATION)
    }

    /// The file with the first administrator's token.
    pub fn administrator_token(&self) -> PathBuf {
        self.directory().join(ADMINISTRATOR_TOKEN)
    }

    /// The audit log as JSON lines, once Mayfly has served.
    pub fn audit_log(&self) -> PathBuf {
        self.directory().join(AUDIT_LOG)
    }

    /// Writes a file that only its owner can read, ending it with a line break.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_private(&self, name: &str, contents: &str) -> Result<PathBuf, InstallationError> {
        let path = self.directory().join(name);
        match write_private(&path, contents) {
            Ok(()) => Ok(path),
            Err(source) => Err(InstallationError::Files { path, source }),
        }
    }

    /// Starts `program serve` on the configuration, as a process of its own that ends when this one does.
    ///
    /// # Errors
    /// When the guard is gone.
    pub async fn serve(&mut self, program: &Path) -> Result<(), InstallationError> {
        let command =
            CommandLine::new(program).arg("serve").arg("--config").arg(self.directory().join(CONFIGURATION));
        self.home.serve(&command).await.map_err(InstallationError::Guard)
    }

    /// Ends the process of [`Installation::serve`] in good order and returns when it is gone.
    ///
    /// # Errors
    /// When the guard is gone.
    pub async fn halt(&mut self) -> Result<(), InstallationError> {
        self.home.end(Signal::Terminate).await.map_err(InstallationError::Guard)
    }

    /// Kills the process of [`Installation::serve`], as a crash would, and returns when it is gone.
    ///
    /// # Errors
    /// When the guard is gone.
    pub async fn kill(&mut self) -> Result<(), InstallationError> {
        self.home.end(Signal::Kill).await.map_err(InstallationError::Guard)
    }

    /// Whether the process of [`Installation::serve`] has ended.
    pub fn has_ended(&self) -> bool {
        self.home.has_exited()
    }

    /// What the process of [`Installation::serve`] has printed.
    pub fn log(&self) -> String {
        self.home.log()
    }

    /// Ends everything, removes the directory, and returns when nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub async fn stop(self) -> Result<(), InstallationError> {
        let path = self.directory().to_owned();
        for installed in self.targets {
            installed.server.stop().await?;
        }
        self.home.finish().await.map_err(InstallationError::Guard)?;
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(InstallationError::Files { path, source }),
            Ok(_) => {
                let source = io::Error::from(io::ErrorKind::DirectoryNotEmpty);
                Err(InstallationError::Files { path, source })
            }
        }
    }
}

/// The directory with its guard, and the place for the servers in it.
async fn make_home(random: &dyn Random) -> Result<Guard, InstallationError> {
    let path = env::temp_dir().join(format!("mayfly-{:08x}", random.bits() >> 32));
    let failed = |source| InstallationError::Files { path: path.clone(), source };
    let home = Guard::start(path.clone(), Signal::Kill, Identity::Ourselves).await.map_err(failed)?;
    let identity = Identity::choose().map_err(failed)?;
    let prepare = || {
        let servers = path.join(SERVERS);
        fs::create_dir(&servers)?;
        fs::set_permissions(&servers, fs::Permissions::from_mode(0o700))?;
        identity.own(&servers)?;
        if identity == Identity::Ourselves {
            return Ok(());
        }
        // Somebody else's servers must get through to their place, but see nothing on the way.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))
    };
    prepare().map_err(failed)?;
    Ok(home)
}

async fn start(
    binaries: Binaries,
    servers: &Path,
    random: &dyn Random,
) -> Result<(TrialTarget, Server, Sample), InstallationError> {
    let engine = binaries.engine();
    let mut spec = ServerSpec::new(binaries);
    spec.parent = Some(servers.to_owned());
    // Short: the path of a Unix socket may have no more than about a hundred bytes.
    spec.name = Some(engine.as_str().to_owned());
    if engine == Engine::Mariadb {
        spec.settings.push(("event-scheduler".to_owned(), "ON".to_owned()));
    }
    let server = Server::start(spec, random).await?;
    let sample = Sample::install(&server, SampleNames::default(), random).await?;
    sample.add_comfort(&server).await?;
    sample.add_batch_account(&server).await?;
    Ok((TrialTarget { engine, port: server.port() }, server, sample))
}

fn write_private(path: &Path, contents: &str) -> io::Result<()> {
    use io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(contents.as_bytes())?;
    if contents.ends_with('\n') { Ok(()) } else { file.write_all(b"\n") }
}
