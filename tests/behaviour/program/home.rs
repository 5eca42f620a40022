//! What a server is started from: a directory with a configuration, secrets beside it, and a sample on real servers.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use mayfly::{domain::Engine, identity::ApiToken, random::SystemRandom, sandbox::Server};
use tempfile::TempDir;

use super::process::{Mayfly, Process, Shell, program};
use crate::support::world::{Database, databases};

/// The head of an ordinary configuration. The address is written by the system, the rate is out of the tests' way, and
/// everything is logged that an operator can ask for.
const GENERAL: &str = "\
[server]
listen = \"127.0.0.1:0\"
shutdown_grace = \"20s\"
calls_per_second_per_principal = 1000
call_burst_per_principal = 1000

[store]
path = \"mayfly.db\"

[audit]
file = \"audit.jsonl\"

[bootstrap]
administrator_token_file = \"administrator.token\"

[log]
level = \"debug\"
format = \"json\"
";

/// A directory with `mayfly.toml` and everything it names.
pub(super) struct Home {
    directory: TempDir,
    /// The first administrator's token, unless the configuration says otherwise.
    pub(super) administrator: String,
    pub(super) databases: Vec<Database>,
}

impl Home {
    /// On every engine: the target `ENGINE`, the roles `ENGINE-read` for readers and `ENGINE-write` for writers.
    pub(super) async fn everywhere() -> Self {
        Self::on(databases().await)
    }

    /// On the first engine that is to be tested; `None` when there is none.
    pub(super) async fn somewhere() -> Option<Self> {
        let first = databases().await.into_iter().next()?;
        Some(Self::on(vec![first]))
    }

    /// Without any database.
    pub(super) fn bare() -> Self {
        Self::on(Vec::new())
    }

    /// On these.
    pub(super) fn on(databases: Vec<Database>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let administrator = ApiToken::generate(&SystemRandom).expose().to_owned();
        let home = Self { directory, administrator, databases };
        home.write_secret("administrator.token", &home.administrator);
        let mut configuration = GENERAL.to_owned();
        for database in &home.databases {
            configuration += &home.target(database.engine.as_str(), database);
            for (right, group) in [("read", "readers"), ("write", "writers")] {
                let role = format!("{}-{right}", database.engine);
                configuration += &role_section(&role, database, right, &format!("group:{group}"));
            }
        }
        home.write("mayfly.toml", &configuration);
        home
    }

    /// The configuration's section of a target; its password is written beside it.
    pub(super) fn target(&self, name: &str, database: &Database) -> String {
        self.write_secret(&format!("{name}.password"), database.sample.administrator.password.expose());
        let names = &database.sample.names;
        // MySQL's accounts log in over TLS, or with a key exchange that not every client knows.
        let tls = if database.engine == Engine::Mysql { "tls.mode = \"require\"\n" } else { "" };
        format!(
            "\n[targets.{name}]\nengine = \"{}\"\nhosts = [\"127.0.0.1:{}\"]\ndatabase = \"{}\"\n\
             user = \"{}\"\npassword_file = \"{name}.password\"\n{tls}",
            database.engine, database.port, names.database, names.administrator,
        )
    }

    /// A file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The text of a file in it.
    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file in it.
    pub(super) fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// Writes a file in it that only we can read.
    pub(super) fn write_secret(&self, name: &str, contents: &str) {
        self.write(name, contents);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Replaces something in the configuration; it must be there.
    pub(super) fn replace(&self, old: &str, new: &str) {
        let text = self.read("mayfly.toml");
        assert!(text.contains(old), "no {old:?} in {text}");
        self.write("mayfly.toml", &text.replace(old, new));
    }

    /// Adds to the configuration.
    pub(super) fn append(&self, text: &str) {
        let mut whole = self.read("mayfly.toml");
        let _ = write!(whole, "\n{text}");
        self.write("mayfly.toml", &whole);
    }

    /// Starts `mayfly serve` and waits until it listens.
    pub(super) async fn serve(&self) -> Mayfly<'_> {
        let process = self.start();
        let listening = process.logged("\"message\":\"listening\"").await;
        let line: serde_json::Value = serde_json::from_str(&listening).unwrap();
        let address = format!("http://{}", line["address"].as_str().unwrap());
        Mayfly { home: self, process, address }
    }

    /// Starts `mayfly serve`, whatever becomes of it.
    pub(super) fn start(&self) -> Process {
        let mut command = program(self.directory());
        command.args(["serve", "--config"]).arg(self.path("mayfly.toml"));
        Process::spawn(command)
    }

    /// For commands that need no server.
    pub(super) fn shell(&self) -> Shell {
        Shell::new(self.directory(), "http://127.0.0.1:1", &self.administrator)
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// The configuration's section of a role on the target named like the engine, with the sample's group that may `right`.
pub(super) fn role_section(name: &str, database: &Database, right: &str, allow: &str) -> String {
    let names = &database.sample.names;
    let group = if right == "read" { &names.read } else { &names.write };
    format!(
        "\n[roles.{name}]\ntarget = \"{}\"\nmember_of = [\"{group}\"]\ndefault_ttl = \"5m\"\nmax_ttl = \"1h\"\n\
         owned_objects = \"drop\"\nallow = [\"{allow}\"]\n",
        database.engine,
    )
}

/// The leased accounts that are in the sample's group of readers, whatever Mayfly's books say.
pub(super) async fn accounts(database: &Database, server: &Server) -> Vec<String> {
    let group = &database.sample.names.read;
    let members = match database.engine {
        Engine::Postgres => format!(
            "SELECT a.rolname FROM pg_auth_members m JOIN pg_roles a ON a.oid = m.member \
             JOIN pg_roles g ON g.oid = m.roleid WHERE g.rolname = '{group}' AND a.rolname LIKE 'mf\\_%'"
        ),
        Engine::Mysql => format!(
            "SELECT TO_USER FROM mysql.role_edges WHERE FROM_USER = '{group}' AND TO_USER LIKE 'mf\\_%'"
        ),
        Engine::Mariadb => {
            format!("SELECT User FROM mysql.roles_mapping WHERE Role = '{group}' AND User LIKE 'mf\\_%'")
        }
    };
    database.ask_superuser(server, &members).await
}
