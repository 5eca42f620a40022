//! Replicas on one store, with the same targets.

use std::sync::atomic::{AtomicU32, Ordering};

use mayfly::{
    domain::{Engine, Password},
    identity::ApiToken,
    random::{Random as _, SystemRandom},
    sandbox::Server,
};

use super::{balancer::Balancer, books, replica::Replica};
use crate::{
    crash::{caller::Caller, place::allow_settling},
    support::world::{Database, databases},
    support::{own_server, shared_server},
};

/// Tells the roles of this process's fleets apart, and so their accounts on servers they share.
static FLEETS: AtomicU32 = AtomicU32::new(0);

/// Where the store is.
#[derive(Clone)]
pub(super) struct StorePlace {
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Password,
    pub(super) database: String,
}

impl StorePlace {
    /// A database of its own on a server.
    pub(super) async fn on(server: &Server) -> Self {
        let account = server.administrator();
        let place = Self {
            port: server.port(),
            user: account.user.clone(),
            password: account.password.clone(),
            database: "postgres".to_owned(),
        };
        let database = format!("ha_{:016x}", SystemRandom.bits());
        place.ask(&format!("CREATE DATABASE {database}")).await.unwrap();
        Self { database, ..place }
    }

    /// Asks the store's database as its owner, past the replicas' wires.
    pub(super) async fn ask(&self, statement: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname(&self.database).user(&self.user);
        config.password(self.password.expose()).options("-c search_path=mayfly");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let messages = client.simple_query(statement).await?;
        let row = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }
}

/// What all replicas have in common.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) number: u32,
    pub(super) token: String,
    pub(super) store: StorePlace,
    pub(super) databases: Vec<Database>,
    /// Further lines of everybody's configuration.
    pub(super) more: String,
}

impl Plan {
    /// The role on a target: whoever has it may write and own things.
    pub(super) fn role(&self, engine: Engine) -> String {
        // Four characters are what MySQL's account names have room for beside a principal and a lease.
        let engine = match engine {
            Engine::Postgres => 'p',
            Engine::Mysql => 'm',
            Engine::Mariadb => 'a',
        };
        format!("{engine}{:03x}", self.number)
    }
}

impl Plan {
    /// The role on a target that hands an account out.
    pub(super) fn handing(&self, engine: Engine) -> String {
        format!("h{}", self.role(engine))
    }

    /// That account.
    pub(super) fn handed(&self, database: &Database) -> String {
        let suffix = database.sample.names.database.trim_start_matches("shop");
        format!("{}{suffix}", self.handing(database.engine))
    }
}

/// Replicas, some of which run.
pub(super) struct Fleet {
    pub(super) plan: Plan,
    pub(super) replicas: Vec<Replica>,
    pub(super) balancer: Balancer,
}

impl Fleet {
    /// So many replicas that do not run yet, on the servers that all tests share; with PostgreSQL as the only target unless all are
    /// asked for. `None` when PostgreSQL is not to be tested.
    pub(super) async fn new(count: usize, all_engines: bool) -> Option<Self> {
        let server = shared_server(Engine::Postgres).await?;
        let store = StorePlace::on(server).await;
        Some(Self::with(count, store, all_engines).await)
    }

    /// Likewise, with a server of its own for the store, which is returned.
    pub(super) async fn with_own_store(count: usize) -> Option<(Self, Server)> {
        let server = own_server(Engine::Postgres, |_| {}).await?;
        let store = StorePlace::on(&server).await;
        Some((Self::with(count, store, true).await, server))
    }

    /// So many, with PostgreSQL as the only target and further lines in their configuration.
    pub(super) async fn with_more(count: usize, more: impl FnOnce(&Plan) -> String) -> Option<Self> {
        let server = shared_server(Engine::Postgres).await?;
        let mut plan = Self::plan(StorePlace::on(server).await, false).await;
        plan.more = more(&plan);
        Some(Self::of(count, plan).await)
    }

    async fn with(count: usize, store: StorePlace, all_engines: bool) -> Self {
        Self::of(count, Self::plan(store, all_engines).await).await
    }

    async fn plan(store: StorePlace, all_engines: bool) -> Plan {
        let mut databases = databases().await;
        databases.retain(|database| all_engines || database.engine == Engine::Postgres);
        for database in &databases {
            allow_settling(database).await;
        }
        Plan {
            number: FLEETS.fetch_add(1, Ordering::SeqCst),
            token: ApiToken::generate(&SystemRandom).expose().to_owned(),
            store,
            databases,
            more: String::new(),
        }
    }

    async fn of(count: usize, plan: Plan) -> Self {
        let mut replicas = Vec::new();
        for number in 0..count {
            replicas.push(Replica::new(&format!("r{number}"), &plan).await);
        }
        let balancer = Balancer::new(count);
        Self { plan, replicas, balancer }
    }

    /// Starts one, armed if so told.
    pub(super) async fn start(&mut self, at: usize, charge: Option<&str>) -> Caller {
        let caller = self.replicas[at].start(charge).await;
        self.balancer.set(at, caller.clone());
        caller
    }

    /// Starts all.
    pub(super) async fn start_all(&mut self) -> Vec<Caller> {
        let mut callers = Vec::new();
        for at in 0..self.replicas.len() {
            callers.push(self.start(at, None).await);
        }
        callers
    }

    /// The target and role of an engine.
    pub(super) fn target(&self, engine: Engine) -> (&Database, String) {
        let database = self.plan.databases.iter().find(|database| database.engine == engine).unwrap();
        (database, self.plan.role(engine))
    }

    /// The only target, of PostgreSQL.
    pub(super) fn postgres(&self) -> (&Database, String) {
        self.target(Engine::Postgres)
    }

    /// Ends everything, stops all, and asserts that nothing is left and the books are in order.
    pub(super) async fn assert_clean(mut self) -> books::Totals {
        let (mut totals, mut stopped) = (None, Vec::new());
        for at in 0..self.replicas.len() {
            if self.replicas[at].has_ended() {
                continue;
            }
            if totals.is_none() {
                let caller = self.balancer.caller(at).unwrap();
                totals = Some(books::end_everything(&self.plan, &caller).await);
            }
            self.replicas[at].stop().await;
            stopped.push(at);
        }
        let stopped: Vec<&Replica> = stopped.into_iter().map(|at| &self.replicas[at]).collect();
        books::assert_in_order(&self.plan, &stopped).await;
        totals.unwrap_or_else(|| panic!("no replica was left to end things"))
    }

    /// What every replica logged last, for a failure.
    pub(super) fn last_words(&self) -> String {
        let words = |replica: &Replica| format!("--- {}:\n{}\n", replica.name, replica.last_words());
        self.replicas.iter().map(words).collect::<Vec<_>>().concat()
    }
}
