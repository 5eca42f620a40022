//! A whole Mayfly without its network face: store, issuer and reaper over real targets, on a clock that the test moves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;
use mayfly::{
    clerk::{Clerk, ClerkParts},
    clock::{Clock, ManualClock, SystemClock},
    domain::{
        Engine, HostPattern, Lease, LeaseId, LeaseLimits, LeaseState, OwnedObjects, Password, Principal,
        PrincipalKind, Role, RoleName, StateName, Statements, TargetName, TokenId, Ttl, TtlBounds,
    },
    identity::{Caller, IdentitiesHandle, people::SessionSettings},
    issuer::{Catalogue, CatalogueHandle, IssueRequest, Issued, Issuer, IssuerParts, KnownServers, Refusal},
    metrics::Metrics,
    policy::PoliciesHandle,
    random::SystemRandom,
    reaper::{Reaper, ReaperParts},
    sandbox::{Sample, Server},
    sealing::{Keyring, KeyringHandle},
    store::{
        Store, StoreErrorKind,
        sqlite::{SqliteOptions, SqliteStore},
    },
    target::{
        AuthPlugin, Expiry, HealthBoard, PoolSettings, ReconcileSettings, Surroundings, Target,
        TargetSettings, TlsMode, TlsSettings, connect,
    },
};
use tempfile::TempDir;

use super::{eventually, mariadb, mysql, postgres};

/// A database server with a sample, whatever its engine.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) engine: Engine,
    pub(crate) port: u16,
    pub(crate) sample: Sample,
    pub(crate) server: Option<&'static Server>,
}

/// A fresh sample on the shared server of every engine that is to be tested.
pub(crate) async fn databases() -> Vec<Database> {
    let mut databases = Vec::new();
    if let Some(fixture) = postgres().await {
        let port = fixture.port();
        databases.push(Database {
            engine: Engine::Postgres,
            port,
            sample: fixture.sample,
            server: Some(fixture.server),
        });
    }
    for fixture in [mariadb().await, mysql().await].into_iter().flatten() {
        let (engine, port) = (fixture.server().engine(), fixture.port());
        databases.push(Database { engine, port, sample: fixture.sample, server: Some(fixture.server) });
    }
    databases
}

impl Database {
    /// A sample of one's own on a server of one's own.
    pub(crate) fn on(server: &Server, sample: Sample) -> Self {
        Self { engine: server.engine(), port: server.port(), sample, server: None }
    }

    /// How Mayfly reaches it.
    pub(crate) fn settings(&self, name: &str) -> TargetSettings {
        TargetSettings {
            name: name.parse().unwrap(),
            engine: self.engine,
            hosts: vec![("127.0.0.1".to_owned(), self.port)],
            client_hosts: Vec::new(),
            database: Some(match self.engine {
                Engine::Postgres => "postgres".to_owned(),
                _ => self.sample.names.database.clone(),
            }),
            user: self.sample.administrator.user.clone(),
            password: Some(self.sample.administrator.password.clone()),
            tls: TlsSettings { mode: TlsMode::Disable, ca_file: None, client_certificate: None },
            pool: PoolSettings {
                issuing: 8,
                ending: 4,
                wait: Duration::from_secs(5),
                connect: Duration::from_secs(5),
                statement: Duration::from_secs(10),
                // However busy the machine is that tests run on.
                turn: Duration::from_secs(60),
                ..PoolSettings::default()
            },
            auth_plugin: AuthPlugin::NativePassword,
            expiry: Expiry::Server,
            reconcile: ReconcileSettings::default(),
        }
    }

    /// A role that reads the sample: default five minutes, at most an hour.
    pub(crate) fn reading_role(&self, name: &str, target: &str) -> Role {
        Role {
            name: name.parse().unwrap(),
            target: target.parse().unwrap(),
            description: "reads the shop".to_owned(),
            member_of: vec![self.sample.names.read.clone()],
            ttl: TtlBounds::new(ttl(300), ttl(3600)).unwrap(),
            database: Some(self.sample.names.database.clone()),
            connection_limit: Some(5),
            hosts: if self.engine == Engine::Postgres { Vec::new() } else { vec![HostPattern::any()] },
            settings: BTreeMap::new(),
            owned_objects: OwnedObjects::Drop,
            scram_iterations: 4096,
            limits: LeaseLimits { per_principal: 10, total: 100 },
            statements: Statements::default(),
            allow: vec!["group:readers".parse().unwrap()],
            access: mayfly::domain::Access::default(),
            approval: Vec::new(),
        }
    }
}

/// The sealing key of every world.
pub(crate) fn keyring() -> Keyring {
    Keyring::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

/// Another issuer over the same store, as another process would be.
pub(crate) fn issuer_over(world: &World) -> Issuer {
    Issuer::new(IssuerParts {
        turns: Arc::default(),
        policies: Arc::default(),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        random: Arc::new(SystemRandom),
        store: Arc::clone(&world.store) as Arc<dyn Store>,
        catalogue: Arc::clone(&world.catalogue),
        servers: Arc::new(KnownServers::new(
            Arc::clone(&world.clock) as Arc<dyn Clock>,
            Arc::clone(&world.store) as Arc<dyn Store>,
            Arc::clone(&world.health),
        )),
        health: Arc::clone(&world.health),
        metrics: Arc::clone(&world.metrics),
        reaper: Arc::clone(&world.reaper) as Arc<_>,
    })
}

/// Seconds as a TTL.
pub(crate) fn ttl(seconds: u64) -> Ttl {
    Ttl::try_from(seconds).unwrap()
}

/// A caller of a name in some groups.
pub(crate) fn caller(name: &str, groups: &[&str]) -> Caller {
    let groups: BTreeSet<_> = groups.iter().map(|group| group.parse().unwrap()).collect();
    let principal = Principal {
        name: name.parse().unwrap(),
        kind: PrincipalKind::Workload,
        groups,
        attributes: [].into(),
    };
    Caller {
        principal,
        credential: mayfly::identity::Credential::Token(TokenId::new(SystemClock.now(), 1)),
        address: None,
        second_factor_at: None,
    }
}

/// What to ask for.
pub(crate) fn request(role: &str) -> IssueRequest {
    IssueRequest { role: role.parse().unwrap(), ttl: None, purpose: String::new(), idempotency_key: None }
}

/// A whole Mayfly.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) reaper: Arc<Reaper>,
    pub(crate) clerk: Clerk,
    pub(crate) policies: Arc<PoliciesHandle>,
    pub(crate) catalogue: Arc<CatalogueHandle>,
    pub(crate) health: Arc<HealthBoard>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) identities: Arc<IdentitiesHandle>,
    pub(crate) directory: Arc<TempDir>,
}

/// Opens a store as soon as nobody has it: a process that another test is about to start shares our lock until it runs its program.
pub(crate) async fn open_when_free(path: &Path) -> SqliteStore {
    for _ in 0..500 {
        match SqliteStore::open(path, SqliteOptions::default()) {
            Err(error) if error.kind == StoreErrorKind::Held => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("{} is in use", path.display());
}

impl World {
    /// With one target `shop` and one role `shop-read`.
    pub(crate) async fn reading(database: &Database) -> Self {
        let target = Self::target(database.settings("shop"), Arc::new(SystemClock));
        Self::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await
    }

    /// A target by its settings.
    pub(crate) fn target(settings: TargetSettings, clock: Arc<dyn Clock>) -> Arc<dyn Target> {
        connect(settings, Surroundings::new(clock, Arc::new(SystemRandom))).unwrap()
    }

    /// With these targets and roles.
    pub(crate) async fn with(targets: Vec<Arc<dyn Target>>, roles: Vec<Role>) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self::at(directory, clock, targets, roles).await
    }

    /// On a store that may have been used before, as after a restart.
    pub(crate) async fn at(
        directory: Arc<TempDir>,
        clock: Arc<ManualClock>,
        targets: Vec<Arc<dyn Target>>,
        roles: Vec<Role>,
    ) -> Self {
        let path = directory.path().join("mayfly.db");
        let store = Arc::new(open_when_free(&path).await);
        let mut catalogue = Catalogue::default();
        for target in targets {
            catalogue.targets.insert(target.name().clone(), target);
        }
        for role in roles {
            catalogue.roles.insert(role.name.clone(), Arc::new(role));
        }
        let catalogue = Arc::new(CatalogueHandle::new(catalogue));
        let (health, metrics) = (Arc::new(HealthBoard::default()), Arc::new(Metrics::default()));
        let turns = Arc::<mayfly::issuer::AccountTurns>::default();
        let reaper = Arc::new(Reaper::new(ReaperParts {
            turns: Arc::clone(&turns),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::new(SystemRandom),
            store: Arc::clone(&store) as Arc<dyn Store>,
            catalogue: Arc::clone(&catalogue),
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
        }));
        let policies = Arc::new(PoliciesHandle::default());
        let issuer = Issuer::new(IssuerParts {
            turns,
            policies: Arc::clone(&policies),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::new(SystemRandom),
            store: Arc::clone(&store) as Arc<dyn Store>,
            catalogue: Arc::clone(&catalogue),
            servers: Arc::new(KnownServers::new(
                Arc::clone(&clock) as Arc<dyn Clock>,
                Arc::clone(&store) as Arc<dyn Store>,
                Arc::clone(&health),
            )),
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
            reaper: Arc::clone(&reaper) as Arc<_>,
        });
        let keyring = Arc::new(KeyringHandle::new(keyring()));
        let identities = Arc::<IdentitiesHandle>::default();
        let issuer = issuer.with_people(keyring, SessionSettings::default());
        let issuer = Arc::new(issuer.with_identities(Arc::clone(&identities)));
        reaper.open_lanes().await.unwrap();
        let clerk = Clerk::new(ClerkParts {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::new(SystemRandom),
            store: Arc::clone(&store) as Arc<dyn Store>,
            issuer: Arc::clone(&issuer),
        });
        clerk.start();
        Self {
            clock,
            store,
            issuer,
            reaper,
            clerk,
            policies,
            catalogue,
            health,
            metrics,
            identities,
            directory,
        }
    }

    /// Stops everything and closes the store, as a restart does.
    pub(crate) async fn stop(self) -> (Arc<TempDir>, Arc<ManualClock>) {
        self.clerk.stop().await;
        self.issuer.drain().await;
        self.reaper.stop().await;
        self.store.close().await;
        (self.directory, self.clock)
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// Issues under `shop-read` for `app`, a reader.
    pub(crate) async fn issue(&self) -> Result<Issued, Refusal> {
        self.issuer.issue(&caller("app", &["readers"]), request("shop-read")).await
    }

    /// The lease as it is.
    pub(crate) async fn lease(&self, id: LeaseId) -> Lease {
        use mayfly::store::LeaseStore as _;
        self.store.lease(id).await.unwrap().unwrap()
    }

    /// Waits for the lease to reach a state. On its way to an end the clock moves to the next attempt whenever one failed: how
    /// many it takes on a server that others use as well is not for a test to know.
    pub(crate) async fn reaches(&self, id: LeaseId, state: StateName) -> Lease {
        let helping = !state.is_live();
        eventually(&format!("lease {id} is {}", state.as_str()), async || {
            let lease = self.lease(id).await;
            if helping {
                self.pass_to_next_attempt(&lease);
            }
            (lease.state.name() == state).then_some(lease)
        })
        .await
    }

    /// Waits for the lease to end, one way or another, as a caller does.
    pub(crate) async fn ended(&self, id: LeaseId) -> Lease {
        eventually(&format!("lease {id} has ended"), async || {
            let lease = self.lease(id).await;
            self.pass_to_next_attempt(&lease);
            (!lease.state.name().is_live()).then_some(())
        })
        .await;
        self.issuer.ended(id).await.unwrap()
    }

    /// Moves the clock to the next attempt at an end that failed.
    pub(crate) fn pass_to_next_attempt(&self, lease: &Lease) {
        if let LeaseState::Ending { next_attempt_at, attempts: 1.., .. } = lease.state
            && next_attempt_at > self.clock.now()
        {
            self.clock.advance(next_attempt_at.duration_since(self.clock.now()));
        }
    }

    /// All leases there are.
    pub(crate) async fn leases(&self) -> Vec<Lease> {
        use mayfly::store::{LeaseFilter, LeaseStore as _, PageRequest};
        let page = PageRequest { size: 500, before: None };
        self.store.list(&LeaseFilter::default(), page).await.unwrap().items
    }

    /// The audit log as lines of `action outcome`.
    pub(crate) async fn audit(&self) -> Vec<mayfly::audit::Record> {
        use mayfly::audit::AuditLog as _;
        self.store.read_after(0, 10_000).await.unwrap()
    }
}

/// When an active lease expires.
pub(crate) fn expiry(lease: &Lease) -> jiff::Timestamp {
    match lease.state {
        LeaseState::Active { expires_at } => expires_at,
        _ => panic!("{:?} is not active", lease.state),
    }
}

/// A session of a leased account, whatever its engine.
pub(crate) enum Login {
    Postgres(tokio_postgres::Client),
    Mysql(Box<mysql_async::Conn>),
}

impl Database {
    /// Logs in to the sample's database, or says why not.
    pub(crate) async fn login(&self, user: &str, password: &Password) -> Result<Login, String> {
        match self.engine {
            Engine::Postgres => {
                let mut config = tokio_postgres::Config::new();
                config.host("127.0.0.1").port(self.port).dbname(&self.sample.names.database);
                config.user(user).password(password.expose());
                let (client, connection) =
                    config.connect(tokio_postgres::NoTls).await.map_err(|error| format!("{error:?}"))?;
                tokio::spawn(connection);
                Ok(Login::Postgres(client))
            }
            Engine::Mysql | Engine::Mariadb => {
                let options = mysql_async::OptsBuilder::default()
                    .ip_or_hostname("127.0.0.1")
                    .tcp_port(self.port)
                    .prefer_socket(false)
                    .user(Some(user))
                    .pass(Some(password.expose()))
                    .db_name(Some(&self.sample.names.database));
                mysql_async::Conn::new(options)
                    .await
                    .map(|connection| Login::Mysql(Box::new(connection)))
                    .map_err(|error| format!("{error:?}"))
            }
        }
    }

    /// Runs a statement as the server's superuser and returns the first column of each row as text.
    pub(crate) async fn ask_superuser(&self, server: &Server, statement: &str) -> Vec<String> {
        let account = server.administrator();
        let mut login = self.login(&account.user, &account.password).await.unwrap();
        login.ask(statement).await.unwrap()
    }

    /// Whether an account exists.
    pub(crate) async fn has_account(&self, server: &Server, name: &str) -> bool {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let statement = match self.engine {
            Engine::Postgres => format!("SELECT rolname FROM pg_roles WHERE rolname = '{name}'"),
            _ => format!("SELECT User FROM mysql.user WHERE User = '{name}'"),
        };
        !self.ask_superuser(server, &statement).await.is_empty()
    }
}

impl Login {
    /// Runs a statement and returns the first column of each row as text.
    pub(crate) async fn ask(&mut self, statement: &str) -> Result<Vec<String>, String> {
        match self {
            Login::Postgres(client) => {
                let messages = client.simple_query(statement).await.map_err(|error| format!("{error:?}"))?;
                let text = |message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                };
                Ok(messages.into_iter().filter_map(text).collect())
            }
            Login::Mysql(connection) => {
                use mysql_async::prelude::Queryable as _;
                let rows: Vec<mysql_async::Row> =
                    connection.query(statement).await.map_err(|error| format!("{error:?}"))?;
                Ok(rows.into_iter().filter_map(|row| row.get_opt::<String, _>(0)?.ok()).collect())
            }
        }
    }
}

/// Names of roles and targets, for filters.
pub(crate) fn role_name(name: &str) -> RoleName {
    name.parse().unwrap()
}

/// Likewise.
pub(crate) fn target_name(name: &str) -> TargetName {
    name.parse().unwrap()
}
