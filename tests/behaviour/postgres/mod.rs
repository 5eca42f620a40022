//! The PostgreSQL engine, against a real server, administered by an account that is no superuser.

mod altered;
mod belongings;
mod deputies;
mod ending;
mod expiry;
mod found;
mod handing_out;
mod hostile;
mod identity;
mod issuing;
mod objects;
mod reaching;

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::{Clock, SystemClock},
    domain::{
        Account, AccountName, Drift, EndPlan, Engine, Expected, FoundAccount, LeaseId, LeaseLimits,
        OwnedObjects, PrincipalKind, PrincipalRef, Role, Statements, Template, Ttl, TtlBounds, drift,
    },
    random::{Random, SystemRandom},
    sandbox::Server,
    target::{
        AuthPlugin, Expiry, LeasedAccount, NewAccount, PoolSettings, ReconcileSettings, Secret, Surroundings,
        Target, TargetError, TargetSettings, TlsMode, TlsSettings, Which, postgres::Postgres,
    },
};
use tokio_postgres::{Client, error::SqlState};

use crate::support::{self, PgFixture};

fn surroundings() -> Surroundings {
    Surroundings::new(Arc::new(SystemClock), Arc::new(SystemRandom))
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn settings<S: Borrow<Server>>(pg: &PgFixture<S>) -> TargetSettings {
    TargetSettings {
        name: "shop".parse().unwrap(),
        engine: Engine::Postgres,
        hosts: vec![("127.0.0.1".to_owned(), pg.port())],
        client_hosts: Vec::new(),
        database: None,
        user: pg.sample.administrator.user.clone(),
        password: Some(pg.sample.administrator.password.clone()),
        tls: TlsSettings { mode: TlsMode::Disable, ca_file: None, client_certificate: None },
        pool: PoolSettings { issuing: 4, ending: 2, ..PoolSettings::default() },
        auth_plugin: AuthPlugin::NativePassword,
        expiry: Expiry::Server,
        reconcile: ReconcileSettings::default(),
    }
}

/// A role on the sample that joins one group.
fn role(group: &str) -> Role {
    let ttl = |seconds: u64| Ttl::try_from(seconds).unwrap();
    Role {
        name: "orders".parse().unwrap(),
        target: "shop".parse().unwrap(),
        description: String::new(),
        member_of: vec![group.to_owned()],
        ttl: TtlBounds::new(ttl(60), ttl(3600)).unwrap(),
        database: None,
        connection_limit: None,
        hosts: Vec::new(),
        settings: BTreeMap::new(),
        owned_objects: OwnedObjects::Drop,
        scram_iterations: 64,
        limits: LeaseLimits { per_principal: 10, total: 100 },
        statements: Statements::default(),
        allow: Vec::new(),
        access: mayfly::domain::Access::default(),
        approval: Vec::new(),
    }
}

fn templates(texts: &[&str]) -> Vec<Template> {
    texts.iter().map(|text| Template::parse(text).unwrap()).collect()
}

/// A lease's worth of arguments.
struct Lease {
    id: LeaseId,
    account: Account,
    principal: PrincipalRef,
    plan: EndPlan,
}

impl Lease {
    fn under(role: &Role) -> Self {
        let id = LeaseId::new(now(), SystemRandom.bits());
        let principal =
            PrincipalRef { name: "alice@example.com".parse().unwrap(), kind: PrincipalKind::Human };
        let name = AccountName::compose(Engine::Postgres, &role.name, &principal.name, id);
        Self { id, account: Account { name, hosts: Vec::new() }, principal, plan: EndPlan::of(role) }
    }

    fn name(&self) -> &str {
        self.account.name.as_str()
    }

    fn leased(&self) -> LeasedAccount<'_> {
        LeasedAccount {
            account: &self.account,
            lease: self.id,
            role: "orders",
            principal: &self.principal,
            plan: &self.plan,
        }
    }
}

/// A sample and a target on it.
struct House<S = &'static Server> {
    pg: PgFixture<S>,
    target: Postgres,
}

async fn house() -> Option<House> {
    Some(House::on(support::postgres().await?))
}

impl<S: Borrow<Server>> House<S> {
    fn on(pg: PgFixture<S>) -> Self {
        let target = Postgres::new(settings(&pg), surroundings()).unwrap();
        Self { pg, target }
    }

    fn reader(&self) -> Role {
        role(&self.pg.sample.names.read)
    }

    fn writer(&self) -> Role {
        role(&self.pg.sample.names.write)
    }

    async fn create(&self, role: &Role, lease: &Lease) -> Result<Secret, TargetError> {
        self.create_until(role, lease, now() + SignedDuration::from_mins(10)).await
    }

    async fn create_until(
        &self,
        role: &Role,
        lease: &Lease,
        expires_at: Timestamp,
    ) -> Result<Secret, TargetError> {
        let secret = self.target.prepare(role).await?;
        let new = NewAccount {
            instance: crate::support::instance(),
            account: &lease.account,
            role,
            lease: lease.id,
            principal: &lease.principal,
            expires_at,
        };
        self.target.create(new, &secret).await?;
        Ok(secret)
    }

    async fn issue(&self, role: &Role) -> (Lease, Secret) {
        let lease = Lease::under(role);
        let secret = self.create(role, &lease).await.unwrap_or_else(|error| panic!("{error:?}"));
        (lease, secret)
    }

    async fn login(&self, lease: &Lease, secret: &Secret) -> Result<Client, tokio_postgres::Error> {
        self.pg.login(lease.name(), secret.password.expose()).await
    }

    async fn exists(&self, name: &str) -> bool {
        let rows = self.pg.superuser().await.query("SELECT FROM pg_roles WHERE rolname = $1", &[&name]).await;
        !rows.unwrap().is_empty()
    }

    /// The account as the target shows it.
    async fn found(&self, lease: &Lease) -> FoundAccount {
        let found = self.target.accounts(Which::Named(&[&lease.account.name])).await;
        found.unwrap_or_else(|error| panic!("{error:?}")).pop().unwrap()
    }

    /// What differs from an account that is in these groups and expires then.
    async fn drift(&self, lease: &Lease, groups: &[String], expires_at: Timestamp) -> Vec<Drift> {
        let expected = Expected { account: &lease.account, expires_at: Some(expires_at), member_of: groups };
        drift(&expected, &self.found(lease).await, self.target.keeps_expiry())
    }

    /// Every step of ending, each twice; then nothing is there.
    async fn end(&self, lease: &Lease) {
        for _ in 0..2 {
            self.target.disable(lease.leased()).await.unwrap();
            self.target.disable(lease.leased()).await.unwrap();
            self.target.end_sessions(lease.leased()).await.unwrap();
            assert_eq!(self.target.end_sessions(lease.leased()).await.unwrap().remaining, 0);
            self.target.settle_objects(lease.leased()).await.unwrap();
            self.target.settle_objects(lease.leased()).await.unwrap();
            assert!(self.target.remove(lease.leased()).await.unwrap());
            assert!(self.target.remove(lease.leased()).await.unwrap());
            assert!(!self.exists(lease.name()).await);
        }
    }
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("none", SqlState::code)
}
