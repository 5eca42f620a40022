//! A Mayfly that keeps sealed passwords, over one real database; it can be stopped and started again.

use std::sync::Arc;

use jiff::SignedDuration;
use mayfly::{
    audit::Actor,
    clock::{Clock, ManualClock, SystemClock},
    domain::{Engine, Lease, LeaseId, LeaseState, Password},
    issuer::{
        Catalogue, CatalogueHandle, Issuer, IssuerParts, KeptCredentials, KnownServers, Refusal, Rotated,
        Rotator, RotatorParts,
    },
    random::SystemRandom,
    reaper::{Reaper, ReaperParts},
    sandbox::Server,
    sealing::{Keyring, KeyringHandle, Place, SealingKey},
    store::{KeptSecret, LeaseStore as _, SecretStore as _, Store, sqlite::SqliteStore},
    target::{HealthBoard, Surroundings, Target, TargetError, connect},
};
use tempfile::TempDir;

use crate::support::{
    eventually,
    meddler::Meddler,
    world::{Database, open_when_free, target_name},
};

/// What outlives a Mayfly: the database, the store's file, the clock, the keys.
pub(super) struct Rig {
    pub(super) database: Database,
    pub(super) clock: Arc<ManualClock>,
    pub(super) keys: String,
    /// The configured password of the administration account.
    pub(super) configured: Password,
    directory: TempDir,
}

impl Rig {
    pub(super) fn new(database: Database) -> Self {
        let configured = database.sample.administrator.password.clone();
        Self {
            database,
            clock: Arc::new(ManualClock::new(SystemClock.now())),
            keys: SealingKey::draw(&SystemRandom).to_string(),
            configured,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn server(&self) -> &'static Server {
        self.database.server.unwrap()
    }

    /// Starts a Mayfly on the target `shop`.
    pub(super) async fn start(&self) -> Running {
        let path = self.directory.path().join("mayfly.db");
        let store = Arc::new(open_when_free(&path).await);
        self.on(store).await
    }

    /// Another replica: it shares the store, and nothing else.
    pub(super) async fn replica(&self, of: &Running) -> Running {
        self.on(Arc::clone(&of.store)).await
    }

    async fn on(&self, store: Arc<SqliteStore>) -> Running {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let keyring =
            if self.keys.is_empty() { Keyring::default() } else { Keyring::parse(&self.keys).unwrap() };
        let keyring = Arc::new(KeyringHandle::new(keyring));
        let credentials =
            Arc::new(KeptCredentials { store: Arc::clone(&shared), keyring, clock: Arc::clone(&clock) });
        let meddler = Meddler::new(self.target(&credentials));
        let mut catalogue = Catalogue::default();
        catalogue.targets.insert(target_name("shop"), Arc::clone(&meddler) as Arc<dyn Target>);
        let role = self.database.reading_role("shop-read", "shop");
        catalogue.roles.insert(role.name.clone(), Arc::new(role));
        let catalogue = Arc::new(CatalogueHandle::new(catalogue));
        let health = Arc::new(HealthBoard::default());
        let turns = Arc::<mayfly::issuer::AccountTurns>::default();
        let reaper = Arc::new(Reaper::new(ReaperParts {
            turns: Arc::clone(&turns),
            clock: Arc::clone(&clock),
            random: Arc::new(SystemRandom),
            store: Arc::clone(&shared),
            catalogue: Arc::clone(&catalogue),
            health: Arc::clone(&health),
            metrics: Arc::default(),
        }));
        let rotator = Arc::new(Rotator::new(RotatorParts {
            random: Arc::new(SystemRandom),
            catalogue: Arc::clone(&catalogue),
            credentials: Arc::clone(&credentials),
        }));
        let issuer = Issuer::new(IssuerParts {
            turns,
            policies: Arc::default(),
            clock: Arc::clone(&clock),
            random: Arc::new(SystemRandom),
            store: Arc::clone(&shared),
            catalogue: Arc::clone(&catalogue),
            servers: Arc::new(KnownServers::new(clock, shared, Arc::clone(&health))),
            health: Arc::clone(&health),
            metrics: Arc::default(),
            reaper: Arc::clone(&reaper) as Arc<_>,
        });
        let issuer = Arc::new(issuer.with_rotator(Arc::clone(&rotator)));
        reaper.open_lanes().await.unwrap();
        Running {
            store,
            issuer,
            reaper,
            rotator,
            catalogue,
            credentials,
            health,
            meddler,
            clock: Arc::clone(&self.clock),
        }
    }

    /// The target, with what is configured now.
    pub(super) fn target(&self, credentials: &Arc<KeptCredentials>) -> Arc<dyn Target> {
        let mut settings = self.database.settings("shop");
        settings.password = Some(self.configured.clone());
        let surroundings = Surroundings::new(Arc::new(SystemClock), Arc::new(SystemRandom));
        let credentials = Arc::clone(credentials) as Arc<_>;
        connect(settings, Surroundings { credentials, ..surroundings }).unwrap()
    }

    /// The superuser gives the administration account another password, and ends its sessions.
    pub(super) async fn reset(&self, password: &str) {
        assert!(password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let user = &self.database.sample.administrator.user;
        let server = self.server();
        let statement = match self.database.engine {
            Engine::Postgres => format!("ALTER ROLE \"{user}\" PASSWORD '{password}'"),
            _ => format!("ALTER USER '{user}'@'%' IDENTIFIED BY '{password}'"),
        };
        self.database.ask_superuser(server, &statement).await;
        if self.database.engine == Engine::Postgres {
            let end = format!(
                "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE usename = '{user}'"
            );
            self.database.ask_superuser(server, &end).await;
            return;
        }
        let list =
            format!("SELECT CAST(ID AS CHAR) FROM information_schema.PROCESSLIST WHERE USER = '{user}'");
        let account = server.administrator();
        let mut login = self.database.login(&account.user, &account.password).await.unwrap();
        for id in login.ask(&list).await.unwrap() {
            // One that has ended meanwhile is no matter.
            let _ = login.ask(&format!("KILL {id}")).await;
        }
    }

    /// Whether the server lets the administration account in with a password.
    pub(super) async fn accepts(&self, password: &Password) -> bool {
        let user = &self.database.sample.administrator.user;
        if self.database.engine == Engine::Postgres {
            return self.database.login(user, password).await.is_ok();
        }
        // It has no rights in the sample's database.
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.database.port)
            .prefer_socket(false)
            .user(Some(user))
            .pass(Some(password.expose()));
        mysql_async::Conn::new(options).await.is_ok()
    }
}

/// A Mayfly that runs.
pub(super) struct Running {
    pub(super) store: Arc<SqliteStore>,
    pub(super) issuer: Arc<Issuer>,
    pub(super) reaper: Arc<Reaper>,
    pub(super) rotator: Arc<Rotator>,
    pub(super) catalogue: Arc<CatalogueHandle>,
    pub(super) credentials: Arc<KeptCredentials>,
    pub(super) health: Arc<HealthBoard>,
    pub(super) meddler: Arc<Meddler>,
    clock: Arc<ManualClock>,
}

impl Running {
    pub(super) async fn rotate(&self) -> Result<Rotated, Refusal> {
        self.rotator.rotate(&target_name("shop"), Actor::System).await
    }

    /// Asks the target for a sign of life.
    pub(super) async fn ping(&self) -> Result<(), TargetError> {
        self.meddler.ping().await.map(drop)
    }

    /// Waits until the target answers: connections that were ended are found out one by one.
    pub(super) async fn answers(&self) {
        eventually("the target answers", async || self.ping().await.ok()).await;
    }

    pub(super) async fn kept(&self) -> KeptSecret {
        self.store.secret(&target_name("shop")).await.unwrap().unwrap()
    }

    /// The password of the last rotation.
    pub(super) async fn current(&self) -> Password {
        let kept = self.kept().await;
        let (target, instance) = (target_name("shop"), self.store.instance());
        let place = Place { instance, target: &target, account: &kept.account };
        self.credentials.keyring.current().open(place, &kept.current.unwrap()).unwrap()
    }

    /// Rotations as the audit log tells of them.
    pub(super) async fn told(&self) -> Vec<String> {
        use mayfly::audit::AuditLog as _;
        let records = self.store.read_after(0, 10_000).await.unwrap();
        mayfly::audit::verify_records(&records, None).unwrap();
        records
            .into_iter()
            .map(|record| record.action)
            .filter(|action| action.starts_with("target."))
            .collect()
    }

    pub(super) async fn lease(&self, id: LeaseId) -> Lease {
        self.store.lease(id).await.unwrap().unwrap()
    }

    /// Moves the clock to a lease's next attempt to end, when one failed.
    pub(super) fn pass_to_next_attempt(&self, lease: &Lease) {
        if let LeaseState::Ending { next_attempt_at, attempts: 1.., .. } = lease.state {
            let wait = next_attempt_at.duration_since(self.clock.now());
            self.clock.advance(wait.max(SignedDuration::ZERO));
        }
    }

    /// Stops it, as the system does when it shuts down.
    pub(super) async fn stop(self) {
        self.issuer.drain().await;
        self.reaper.stop().await;
        self.store.close().await;
    }
}
