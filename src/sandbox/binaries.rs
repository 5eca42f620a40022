//! Finding the servers that are installed here.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use super::guard::CommandLine;
use crate::domain::Engine;

/// A server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion {
    /// 15 in PostgreSQL 15.18, 10 in MariaDB 10.11.19.
    pub major: u32,
    /// 18 in PostgreSQL 15.18, 11 in MariaDB 10.11.19.
    pub minor: u32,
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Where to look for servers. What is named explicitly is used or refused, never silently replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    /// The directory that holds `postgres` and `initdb`.
    pub postgres_bin: Option<PathBuf>,
    /// MariaDB's server program.
    pub mariadbd: Option<PathBuf>,
    /// MySQL's server program.
    pub mysqld: Option<PathBuf>,
    /// Where `scripts/servers.sh` puts what the system's packages do not offer.
    pub cache: Option<PathBuf>,
    /// The directories of `PATH`.
    pub path: Vec<PathBuf>,
}

impl Locations {
    /// As the environment says: `MAYFLY_POSTGRES_BIN`, `MAYFLY_MARIADBD`, `MAYFLY_MYSQLD`, `MAYFLY_CACHE`, `PATH`.
    pub fn from_environment() -> Self {
        let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            postgres_bin: given("MAYFLY_POSTGRES_BIN"),
            mariadbd: given("MAYFLY_MARIADBD"),
            mysqld: given("MAYFLY_MYSQLD"),
            cache: given("MAYFLY_CACHE").or_else(default_cache),
            path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
        }
    }
}

/// `/var/cache/mayfly` for root, because the servers run as somebody else then; `~/.cache/mayfly` for everybody else.
fn default_cache() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/cache/mayfly"));
    }
    env::var_os("HOME").map(|home| Path::new(&home).join(".cache/mayfly"))
}

/// The programs of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    engine: Engine,
    version: ServerVersion,
    server: PathBuf,
    /// The program that makes a data directory, where that is not the server itself.
    initialise: Option<PathBuf>,
    cache: Option<PathBuf>,
}

/// Why no server was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no {} server found; looked at {}. To get one, run `scripts/servers.sh {engine}`, or install {} and say \
     where it is with {}",
    engine.title(), list(looked), package(*engine), variable(*engine)
)]
pub struct BinariesNotFound {
    /// The engine looked for.
    pub engine: Engine,
    /// Every program that was tried.
    pub looked: Vec<PathBuf>,
}

fn list(paths: &[PathBuf]) -> String {
    let texts: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if texts.is_empty() { "nothing: PATH is empty".to_owned() } else { texts.join(", ") }
}

fn package(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "postgresql (Debian, Ubuntu) or postgresql@17 (Homebrew)",
        Engine::Mariadb => "mariadb-server (Debian, Ubuntu) or mariadb (Homebrew)",
        Engine::Mysql => "mysql-server (Ubuntu) or mysql (Homebrew)",
    }
}

fn variable(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "MAYFLY_POSTGRES_BIN=<directory of initdb and postgres>",
        Engine::Mariadb => "MAYFLY_MARIADBD=<mariadbd>",
        Engine::Mysql => "MAYFLY_MYSQLD=<mysqld>",
    }
}

impl Binaries {
    /// Finds the first usable server of an engine; of several PostgreSQL versions in one place, the newest.
    ///
    /// # Errors
    /// When there is none, naming every place that was looked at.
    pub fn find(engine: Engine, locations: &Locations) -> Result<Self, BinariesNotFound> {
        let candidates = candidates(engine, locations);
        let found = candidates.iter().find_map(|server| Self::probe(engine, server, locations));
        found.ok_or(BinariesNotFound { engine, looked: candidates })
    }

    /// The engine these programs belong to.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The server's version.
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    /// The server program.
    pub fn server(&self) -> &Path {
        &self.server
    }

    pub(super) fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// The directory the server was installed under: two levels above the program.
    pub(super) fn base(&self) -> &Path {
        self.server.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }

    /// Starts the server.
    pub(super) fn serve(&self) -> CommandLine {
        command(&self.server)
    }

    /// Starts the program that makes a data directory.
    pub(super) fn initialise(&self) -> CommandLine {
        command(self.initialise.as_deref().unwrap_or(&self.server))
    }

    fn probe(engine: Engine, server: &Path, locations: &Locations) -> Option<Self> {
        if !server.is_file() {
            return None;
        }
        let said = command(server).arg("--version").output().ok()?;
        let version = version_of(engine, &said)?;
        let initialise = match engine {
            Engine::Postgres => Some(server.with_file_name("initdb")),
            Engine::Mariadb => Some(installer_beside(server)?),
            Engine::Mysql => None,
        };
        if initialise.as_ref().is_some_and(|program| !program.is_file()) {
            return None;
        }
        let cache = locations.cache.clone();
        Some(Self { engine, version, server: server.to_owned(), initialise, cache })
    }
}

/// How to start a program: as it is, or, when it lies in a tree unpacked from somewhere else, with that tree's own
/// libraries.
fn command(program: &Path) -> CommandLine {
    let base = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    if base.join("pg-symlinks.json").is_file() {
        return CommandLine::new("/usr/bin/env").option("LD_LIBRARY_PATH", base.join("lib")).arg(program);
    }
    match base.parent().filter(|root| base.ends_with("usr") && *root != Path::new("/")) {
        Some(root) => in_foreign_tree(root, program).unwrap_or_else(|| CommandLine::new(program)),
        None => CommandLine::new(program),
    }
}

/// A program of another system's tree, started by that tree's own loader: no chroot, hence no root, needed.
fn in_foreign_tree(root: &Path, program: &Path) -> Option<CommandLine> {
    const LOADERS: [(&str, &str); 2] = [
        ("lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"),
        ("lib/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu"),
    ];
    let (loader, libraries) = LOADERS.iter().find(|(loader, _)| root.join(loader).exists())?;
    Some(CommandLine::new(root.join(loader)).arg("--library-path").arg(root.join(libraries)).arg(program))
}

fn candidates(engine: Engine, locations: &Locations) -> Vec<PathBuf> {
    let explicit = match engine {
        Engine::Postgres => locations.postgres_bin.as_ref().map(|bin| bin.join("postgres")),
        Engine::Mariadb => locations.mariadbd.clone(),
        Engine::Mysql => locations.mysqld.clone(),
    };
    if let Some(program) = explicit {
        return vec![program];
    }
    let mut found: Vec<PathBuf> = match engine {
        Engine::Postgres => in_directories(&locations.path, &["postgres"]),
        Engine::Mariadb => in_directories(&locations.path, &["mariadbd", "mysqld"]),
        Engine::Mysql => in_directories(&locations.path, &["mysqld"]),
    };
    match engine {
        Engine::Postgres => {
            found.extend(versions_in(Path::new("/usr/lib/postgresql"), "bin/postgres"));
            found.extend(versions_in(Path::new("/opt/homebrew/opt"), "bin/postgres"));
            found.extend(
                locations
                    .cache
                    .iter()
                    .flat_map(|cache| versions_in(&cache.join("pg"), "native/bin/postgres")),
            );
        }
        Engine::Mariadb => {
            let places = ["/usr/sbin", "/usr/libexec", "/opt/homebrew/opt/mariadb/bin"].map(PathBuf::from);
            found.extend(in_directories(&places, &["mariadbd"]));
        }
        Engine::Mysql => {
            let places = ["/usr/sbin", "/usr/libexec", "/opt/homebrew/opt/mysql/bin"].map(PathBuf::from);
            found.extend(in_directories(&places, &["mysqld"]));
            found.extend(locations.cache.iter().map(|cache| cache.join("mysql-sid/usr/sbin/mysqld")));
        }
    }
    let mut seen = Vec::new();
    found.retain(|path| {
        !seen.contains(path) && {
            seen.push(path.clone());
            true
        }
    });
    found
}

fn in_directories(directories: &[PathBuf], programs: &[&str]) -> Vec<PathBuf> {
    let joined = |program: &&str| directories.iter().map(|dir| dir.join(program)).collect::<Vec<_>>();
    programs.iter().flat_map(joined).collect()
}

/// `parent/<version>/<tail>`, newest first; names without a number are passed over.
fn versions_in(parent: &Path, tail: &str) -> Vec<PathBuf> {
    let number = |path: &Path| -> Option<u32> {
        path.file_name()?.to_str()?.trim_start_matches("postgresql@").parse().ok()
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut versions: Vec<(u32, PathBuf)> =
        entries.filter_map(|path| Some((number(&path)?, path.join(tail)))).collect();
    versions.sort_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn installer_beside(server: &Path) -> Option<PathBuf> {
    let base = server.parent()?.parent()?;
    ["bin/mariadb-install-db", "scripts/mariadb-install-db", "bin/mysql_install_db"]
        .iter()
        .map(|program| base.join(program))
        .find(|program| program.is_file())
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, `mariadbd  Ver 10.11.19-MariaDB-… for …` and
/// `mysqld  Ver 9.7.4-2 for …`; `None` when that is another engine's.
fn version_of(engine: Engine, said: &str) -> Option<ServerVersion> {
    let (mark, is_maria) = match engine {
        Engine::Postgres => ("(PostgreSQL) ", false),
        Engine::Mariadb => ("Ver ", true),
        Engine::Mysql => ("Ver ", false),
    };
    if said.contains("MariaDB") != is_maria {
        return None;
    }
    let (_, after) = said.split_once(mark)?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    Some(ServerVersion { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(engine: Engine, said: &str) -> Option<String> {
        version_of(engine, said).map(|version| version.to_string())
    }

    #[test]
    fn versions_are_read_from_what_servers_say() {
        let postgres = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        let mariadb = "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)\n";
        let mysql = "/x/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))\n";
        assert_eq!(version(Engine::Postgres, postgres).as_deref(), Some("15.18"));
        assert_eq!(version(Engine::Postgres, "postgres (PostgreSQL) 18beta1\n").as_deref(), Some("18.0"));
        assert_eq!(version(Engine::Mariadb, mariadb).as_deref(), Some("10.11"));
        assert_eq!(version(Engine::Mysql, mysql).as_deref(), Some("9.7"));
    }

    #[test]
    fn a_server_of_the_other_family_is_not_taken() {
        assert_eq!(version(Engine::Mysql, "mysqld  Ver 10.11.19-MariaDB for x"), None);
        assert_eq!(version(Engine::Mariadb, "mysqld  Ver 9.7.4 for x"), None);
    }

    #[test]
    fn a_missing_server_is_reported_with_places_and_remedy() {
        let locations = Locations { mysqld: Some("/nowhere/mysqld".into()), ..Locations::default() };
        let error = Binaries::find(Engine::Mysql, &locations).unwrap_err().to_string();
        for word in ["MySQL", "/nowhere/mysqld", "scripts/servers.sh mysql", "MAYFLY_MYSQLD"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
