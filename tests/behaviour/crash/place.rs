//! One installation to be killed: a directory with configuration, store and audit file, and one target on a real server.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use mayfly::{
    audit::{ChainHead, Verifier},
    clock::SystemClock,
    crash,
    domain::{Engine, ExistingAccount, HostPattern},
    identity::ApiToken,
    random::{Random as _, SystemRandom},
    sandbox::{Sample, SampleNames},
    sealing::SealingKey,
    store::sqlite::verify_audit,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::caller::Caller;
use crate::support::world::{Database, World};

/// Nothing these processes do takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes of a log that a failure shows.
const LOG_TAIL: usize = 4_000;

/// The name of the first administrator.
const ADMINISTRATOR: &str = "administrator";

/// Those on call may break the glass.
const GLASS: &str = "@id(\"test.glass\")\npermit (principal in Group::\"on-call\", action == Action::\"break_glass\", resource);\n";

/// Tells the roles of this process's installations apart, and so their accounts on a server they share.
static PLACES: AtomicU32 = AtomicU32::new(0);

/// An installation.
pub(super) struct Place {
    directory: TempDir,
    token: String,
    /// Its only target.
    pub(super) database: Database,
    /// A role whose accounts may write and own things.
    pub(super) role: String,
    /// A role whose accounts the target refuses to create.
    pub(super) refused: String,
    /// A role that takes a review.
    pub(super) reviewed: String,
    /// A role that elevates an account of the administrator's.
    pub(super) elevating: String,
    /// A role that hands an account out.
    pub(super) handing: String,
}

impl Place {
    /// On a database, with a fresh store. Bounds are short, so that a lease whose creation was interrupted is given up after
    /// some 20 s: the longest a request may wait for its turn, and a creation on this target. `settings` are further lines of the
    /// target's configuration.
    pub(super) fn on(database: Database, settings: &str) -> Self {
        let number = PLACES.fetch_add(1, Ordering::SeqCst);
        // Four characters are what MySQL's account names have room for beside a principal and a lease.
        let [role, refused, reviewed, elevating, handing] =
            ["c", "f", "v", "e", "h"].map(|letter| format!("{letter}{number:03x}"));
        let directory = tempfile::tempdir().unwrap();
        let token = ApiToken::generate(&SystemRandom).expose().to_owned();
        let place = Self { directory, token, database, role, refused, reviewed, elevating, handing };
        place.write("administrator.token", &place.token);
        place.write("target.password", place.database.sample.administrator.password.expose());
        place.write("sealing.key", &SealingKey::draw(&SystemRandom));
        place.write("glass.cedar", GLASS);
        place.write("mayfly.toml", &place.configuration(settings));
        place
    }

    fn configuration(&self, settings: &str) -> String {
        let names = &self.database.sample.names;
        let is_postgres = self.database.engine == Engine::Postgres;
        let scram = if is_postgres { "scram_iterations = 64\n" } else { "" };
        let role = |name: &str, group: &str| {
            format!(
                "\n[roles.{name}]\ntarget = \"target\"\nmember_of = [\"{group}\"]\ndefault_ttl = \"5m\"\nmax_ttl = \"1h\"\n\
                 owned_objects = \"drop\"\nleases_per_principal = 10000\nleases_total = 10000\n{scram}\
                 allow = [\"group:administrators\"]\n"
            )
        };
        let elevating = format!(
            "\n[roles.{}]\nkind = \"elevation\"\ntarget = \"target\"\nmember_of = [\"{}\"]\nexpiry = \"issuer\"\n\
             accounts = {{ {} = \"{}\" }}\nallow = [\"group:administrators\"]\n",
            self.elevating,
            names.read,
            ADMINISTRATOR,
            self.elevated()
        );
        let handing = format!(
            "\n[roles.{}]\nkind = \"checkout\"\ntarget = \"target\"\naccount = \"{}\"\nallow = [\"group:administrators\"]\n",
            self.handing,
            self.handed()
        );
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"20s\"\ncalls_per_second_per_principal = 100000\n\
             call_burst_per_principal = 100000\n\n[store]\npath = \"mayfly.db\"\n\n[audit]\nfile = \"audit.jsonl\"\n\n\
             [bootstrap]\nadministrator_token_file = \"administrator.token\"\n\n[sealing]\nkey_file = \"sealing.key\"\n\n[log]\nlevel = \"info\"\nformat = \"json\"\n\n\
             [targets.target]\nengine = \"{}\"\nhosts = [\"127.0.0.1:{}\"]\ndatabase = \"{}\"\nuser = \"{}\"\n\
             password_file = \"target.password\"\npool.issuing = 4\npool.ending = 4\npool.wait = \"500ms\"\n\
             pool.connect = \"1500ms\"\npool.statement = \"1500ms\"\n{settings}{}{}{}approval = \"colleague\"\n{elevating}{handing}\n\
             [requests]\nrequest_ttl = \"4s\"\n\n[policy]\nfiles = [\"glass.cedar\"]\n\n\
             [[approvals.colleague.steps]]\nname = \"colleague\"\nreviewers = [\"principal:reviewer\"]\n",
            self.database.engine,
            self.database.port,
            names.database,
            names.administrator,
            role(&self.role, &names.write),
            role(&self.refused, "nobody_made_this_group"),
            role(&self.reviewed, &names.write),
        )
    }

    /// The account that is elevated.
    pub(super) fn elevated(&self) -> String {
        format!("{}{}", self.elevating, self.database.sample.names.database.trim_start_matches("shop"))
    }

    /// The account that is handed out.
    pub(super) fn handed(&self) -> String {
        format!("{}{}", self.handing, self.database.sample.names.database.trim_start_matches("shop"))
    }

    /// Whether that account is there and may log in.
    pub(super) async fn handed_may_log_in(&self) -> bool {
        let hosts = if self.database.engine == Engine::Postgres { vec![] } else { vec![HostPattern::any()] };
        let account = ExistingAccount::new(&self.handed(), hosts).unwrap();
        let target = World::target(self.database.settings("target"), std::sync::Arc::new(SystemClock));
        target.existing(&account).await.unwrap().is_some_and(|state| state.may_log_in)
    }

    /// Makes these accounts.
    pub(super) async fn settle_existing(&self) {
        let names = &self.database.sample.names;
        let mut statements = Vec::new();
        for account in [self.elevated(), self.handed()] {
            statements.extend(match self.database.engine {
                Engine::Postgres => vec![
                    format!("CREATE ROLE \"{account}\" LOGIN"),
                    format!("GRANT \"{account}\" TO \"{}\" WITH ADMIN OPTION", names.administrator),
                    // One after the other: granting on one database at the same time fails.
                    format!(
                        "SELECT pg_advisory_xact_lock(7440); GRANT CONNECT ON DATABASE \"{}\" TO \"{account}\"",
                        names.database
                    ),
                ],
                _ => vec![
                    format!("CREATE USER '{account}'@'%'"),
                    format!("GRANT SELECT ON {}.* TO '{account}'@'%'", names.database),
                ],
            });
        }
        for statement in statements {
            self.database.ask_superuser(self.database.server.unwrap(), &statement).await;
        }
    }

    /// What that account is a member of.
    pub(super) async fn groups_of_elevated(&self) -> Vec<String> {
        let account = self.elevated();
        let statement = match self.database.engine {
            Engine::Postgres => format!(
                "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
                 JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = '{account}'"
            ),
            Engine::Mysql => format!("SELECT FROM_USER FROM mysql.role_edges WHERE TO_USER = '{account}'"),
            Engine::Mariadb => format!("SELECT Role FROM mysql.roles_mapping WHERE User = '{account}'"),
        };
        self.database.ask_superuser(self.database.server.unwrap(), &statement).await
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What its servers have logged so far.
    pub(super) fn log(&self) -> String {
        fs::read(self.path("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The end of that, for a failure.
    pub(super) fn last_words(&self) -> String {
        let log = self.log();
        let from = log.len().saturating_sub(LOG_TAIL);
        let from = (from..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
        log[from..].to_owned()
    }

    /// Starts `mayfly serve`, armed to crash if so told.
    pub(super) fn start(&self, charge: Option<&str>) -> Served<'_> {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let seen = log.metadata().unwrap().len();
        let mut command = self.program();
        command.args(["serve", "--config"]).arg(self.path("mayfly.toml"));
        command.envs(charge.map(|charge| (crash::VARIABLE, charge)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        Served { place: self, child: command.spawn().unwrap(), seen }
    }

    fn program(&self) -> Command {
        // Whatever becomes of the test, nothing it started is left running.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_mayfly")]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.directory.path());
        command
    }

    /// Runs another command of the program as the administrator, whatever becomes of it.
    pub(super) async fn command(&self, address: &str, arguments: &[&str]) {
        let mut command = self.program();
        command.args(arguments).env("MAYFLY_ADDRESS", address).env("MAYFLY_TOKEN", &self.token);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let _ = tokio::time::timeout(PATIENCE, command.status()).await;
    }

    /// Asserts that the store as it lies there is sound and its audit log whole. It is looked at in a copy: whatever SQLite
    /// mends when it opens a file is left to the next start.
    pub(super) fn assert_store_sound(&self) -> Option<ChainHead> {
        let copy = tempfile::tempdir().unwrap();
        for name in ["mayfly.db", "mayfly.db-wal"] {
            if self.path(name).exists() {
                fs::copy(self.path(name), copy.path().join(name)).unwrap();
            }
        }
        let file = copy.path().join("mayfly.db");
        if !file.exists() {
            return None;
        }
        let connection = rusqlite::Connection::open(&file).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        let tables: u32 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        drop(connection);
        if tables == 0 {
            return None;
        }
        let verified = verify_audit(&file, None).unwrap_or_else(|error| panic!("{error}: {error:?}"));
        verified.last.map(|last| ChainHead { seq: last.seq, hash: last.hash })
    }

    /// Asserts that the audit file says the same as the store, as `mayfly audit verify` does.
    pub(super) fn assert_audit_file_complete(&self, head: ChainHead) {
        let file = std::io::BufReader::new(fs::File::open(self.path("audit.jsonl")).unwrap());
        let mut verifier = Verifier::new(Some(head));
        verifier.lines(file).unwrap_or_else(|error| panic!("audit file: {error}"));
        let last = verifier.finish().unwrap_or_else(|error| panic!("audit file: {error}")).last.unwrap();
        assert_eq!(
            (last.seq, last.hash),
            (head.seq, head.hash),
            "the audit file does not end where the store does"
        );
    }
}

/// A `mayfly serve`, running or dead. Dropped, it is killed.
pub(super) struct Served<'p> {
    place: &'p Place,
    child: Child,
    seen: u64,
}

impl Served<'_> {
    /// Waits until it listens and returns a caller of it; `None` when it ended before.
    pub(super) async fn caller(&mut self) -> Option<Caller> {
        let search = async {
            loop {
                let ended = self.has_ended();
                if let Some(address) = self.address() {
                    return Some(Caller::new(&address, &self.place.token));
                }
                if ended {
                    return None;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("it neither listens nor ends"))
    }

    /// Where it listens, once it has said so.
    fn address(&self) -> Option<String> {
        let mut log = fs::File::open(self.place.path("log")).ok()?;
        log.seek(SeekFrom::Start(self.seen)).ok()?;
        let mut text = String::new();
        log.read_to_string(&mut text).ok()?;
        let line = text.lines().find(|line| line.contains("\"message\":\"listening\""))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(format!("http://{}", line["address"].as_str()?))
    }

    /// Whether the process has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id() {
            let _ = kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal);
        }
    }

    /// Kills it at once.
    pub(super) async fn kill(mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ended().await.signal(), Some(9), "it had ended before it was killed");
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("it does not end"))
            .unwrap()
    }

    /// Stops it in good order.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().await.code(), Some(0), "it did not stop in good order");
    }
}

/// The same server with a sample of one's own.
pub(super) async fn apart(database: &Database) -> Database {
    let names = SampleNames::with_suffix(&format!("{:08x}", SystemRandom.bits() >> 32));
    let sample = Sample::install(database.server.unwrap(), names, &SystemRandom).await.unwrap();
    let database = Database { sample, ..database.clone() };
    allow_settling(&database).await;
    database
}

/// What the target's administrator has to grant where accounts may create routines.
pub(crate) async fn allow_settling(database: &Database) {
    if database.engine != Engine::Postgres {
        let (names, user) = (&database.sample.names, &database.sample.administrator.user);
        let grant = format!("GRANT ALTER ROUTINE ON {}.* TO {user}@'%'", names.database);
        database.ask_superuser(database.server.unwrap(), &grant).await;
    }
}
