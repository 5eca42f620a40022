//! A target on a sample of the test's own, administered by an account that has exactly what is documented.

use std::{sync::Arc, time::Duration};

use mayfly::{
    clock::{Clock, SystemClock},
    domain::{
        Account, AccountName, EndPlan, Engine, LeaseId, LeaseLimits, OwnedObjects, Password, PrincipalKind,
        PrincipalRef, Role, Statements, Ttl, TtlBounds,
    },
    random::{Random, SystemRandom},
    target::{
        AuthPlugin, Expiry, LeasedAccount, NewAccount, PoolSettings, ReconcileSettings, Secret, Surroundings,
        Target, TargetError, TargetSettings, TlsMode, TlsSettings, generate_password, mysql::Mysql,
    },
};
use mysql_async::{Conn, prelude::Queryable};

use crate::support::{self, MyFixture};

/// Everything a test of a target needs.
pub(crate) struct Rig {
    pub(crate) fixture: MyFixture,
    pub(crate) engine: Engine,
    pub(crate) settings: TargetSettings,
    pub(crate) target: Mysql,
}

/// On MySQL; `None` when it is not to be tested.
pub(crate) async fn mysql() -> Option<Rig> {
    Some(Rig::over(support::mysql().await?, Engine::Mysql).await)
}

/// On MariaDB; `None` when it is not to be tested.
pub(crate) async fn mariadb() -> Option<Rig> {
    Some(Rig::over(support::mariadb().await?, Engine::Mariadb).await)
}

/// Columns of `mysql.user` that tell how accounts stand.
const STANDING: &str = "User, Host, account_locked, Select_priv, Insert_priv, Update_priv, Delete_priv, Create_priv, \
    Drop_priv, References_priv, Index_priv, Alter_priv, Create_tmp_table_priv, Lock_tables_priv, \
    Create_view_priv, Show_view_priv, Create_routine_priv, Alter_routine_priv, Execute_priv, Event_priv, \
    Trigger_priv, Grant_priv, Reload_priv, Shutdown_priv, Process_priv, File_priv, Show_db_priv, \
    Super_priv, Repl_slave_priv, Repl_client_priv, Create_user_priv, Create_tablespace_priv, \
    Create_role_priv, Drop_role_priv";

/// What the administration account is documented to need, and nothing else.
fn minimal(engine: Engine, account: &str, groups: [&str; 2]) -> Vec<String> {
    let mut statements = match engine {
        Engine::Mysql => vec![
            format!("GRANT CREATE USER, PROCESS, CONNECTION_ADMIN ON *.* TO {account}"),
            format!("GRANT SELECT ({STANDING}) ON mysql.user TO {account}"),
            format!("GRANT SELECT ON mysql.role_edges TO {account}"),
            format!("GRANT SELECT ON mysql.global_grants TO {account}"),
            format!("GRANT SELECT ON mysql.db TO {account}"),
        ],
        _ => vec![
            format!("GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO {account}"),
            format!("GRANT SELECT, UPDATE ON mysql.* TO {account}"),
        ],
    };
    statements
        .push(format!("GRANT CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.* TO {account}"));
    statements.extend(groups.map(|group| format!("GRANT `{group}` TO {account} WITH ADMIN OPTION")));
    statements
}

pub(crate) fn surroundings() -> Surroundings {
    Surroundings::new(Arc::new(SystemClock), Arc::new(SystemRandom))
}

pub(crate) fn settings(engine: Engine, port: u16, user: &str, password: Password) -> TargetSettings {
    TargetSettings {
        name: "t".parse().unwrap(),
        engine,
        hosts: vec![("127.0.0.1".to_owned(), port)],
        client_hosts: Vec::new(),
        database: None,
        user: user.to_owned(),
        password: Some(password),
        tls: TlsSettings { mode: TlsMode::Disable, ca_file: None, client_certificate: None },
        pool: PoolSettings {
            connect: Duration::from_secs(20),
            wait: Duration::from_secs(20),
            ..Default::default()
        },
        auth_plugin: AuthPlugin::NativePassword,
        expiry: Expiry::Server,
        reconcile: ReconcileSettings::default(),
    }
}

impl Rig {
    async fn over(fixture: MyFixture, engine: Engine) -> Self {
        let user = format!("least_{:08x}", SystemRandom.bits() >> 32);
        let password = generate_password(&SystemRandom);
        let account = format!("'{user}'@'127.0.0.1'");
        let mut root = fixture.root().await;
        root.query_drop(format!("CREATE USER {account} IDENTIFIED BY '{}'", password.expose()))
            .await
            .unwrap();
        let names = &fixture.sample.names;
        for statement in minimal(engine, &account, [&names.read, &names.write]) {
            root.query_drop(statement).await.unwrap();
        }
        let settings = settings(engine, fixture.port(), &user, password);
        let target = Mysql::new(settings.clone(), surroundings()).unwrap();
        Self { fixture, engine, settings, target }
    }

    /// The administration account, quoted.
    pub(crate) fn administrator(&self) -> String {
        format!("'{}'@'127.0.0.1'", self.settings.user)
    }

    /// Another target on the same server.
    pub(crate) fn another(&self, adjust: impl FnOnce(&mut TargetSettings)) -> Result<Mysql, TargetError> {
        let mut settings = self.settings.clone();
        adjust(&mut settings);
        Mysql::new(settings, surroundings())
    }

    /// Runs a statement as root, in the sample's database.
    pub(crate) async fn as_root(&self, statement: impl AsRef<str>) {
        let mut root = self.fixture.root().await;
        root.query_drop(statement.as_ref()).await.unwrap();
        root.disconnect().await.unwrap();
    }

    /// Asks root for one value.
    pub(crate) async fn root_knows(&self, question: impl AsRef<str>) -> Option<String> {
        let mut root = self.fixture.root().await;
        root.query_first(question.as_ref()).await.unwrap()
    }

    /// A role whose accounts may read.
    pub(crate) fn role(&self) -> Role {
        role(&self.fixture.sample.names.read)
    }

    /// An account that is to be, with its secret.
    pub(crate) async fn plan(&self, role: &Role) -> Issued {
        Issued::planned(self.engine, role, &self.target).await
    }

    /// A created account.
    pub(crate) async fn issue(&self, role: &Role) -> Issued {
        let issued = self.plan(role).await;
        self.target.create(issued.new_account(), &issued.secret).await.unwrap();
        issued
    }

    /// Logs an issued account in.
    pub(crate) async fn login(&self, issued: &Issued) -> mysql_async::Result<Conn> {
        self.fixture.login(issued.name(), issued.secret.password.expose()).await
    }

    /// Whether the server has an account of the name, whatever its host.
    pub(crate) async fn has(&self, issued: &Issued) -> bool {
        let question = format!("SELECT Host FROM mysql.user WHERE User = '{}'", issued.name());
        self.root_knows(question).await.is_some()
    }

    /// Ends an account by all steps and says whether it is verified gone.
    pub(crate) async fn end(&self, issued: &Issued) -> bool {
        self.target.disable(issued.leased()).await.unwrap();
        self.target.end_sessions(issued.leased()).await.unwrap();
        self.target.settle_objects(issued.leased()).await.unwrap();
        self.target.remove(issued.leased()).await.unwrap()
    }
}

/// A role whose accounts are members of one group.
pub(crate) fn role(group: &str) -> Role {
    let hour = Ttl::new(Duration::from_secs(3600)).unwrap();
    Role {
        name: "orders-read".parse().unwrap(),
        target: "t".parse().unwrap(),
        description: String::new(),
        member_of: vec![group.to_owned()],
        ttl: TtlBounds::new(hour, hour).unwrap(),
        database: None,
        connection_limit: None,
        hosts: vec!["127.0.0.1".parse().unwrap()],
        settings: std::collections::BTreeMap::new(),
        owned_objects: OwnedObjects::Drop,
        scram_iterations: 4096,
        limits: LeaseLimits { per_principal: 10, total: 100 },
        statements: Statements::default(),
        allow: Vec::new(),
        access: mayfly::domain::Access::default(),
        approval: Vec::new(),
    }
}

/// An account and all that is known of it.
pub(crate) struct Issued {
    pub(crate) account: Account,
    pub(crate) lease: LeaseId,
    pub(crate) principal: PrincipalRef,
    pub(crate) role: Role,
    pub(crate) plan: EndPlan,
    pub(crate) secret: Secret,
}

impl Issued {
    /// An account that is to be, with its secret.
    pub(crate) async fn planned(engine: Engine, role: &Role, target: &Mysql) -> Self {
        let principal =
            PrincipalRef { name: "alice@example.com".parse().unwrap(), kind: PrincipalKind::Human };
        let lease = LeaseId::new(SystemClock.now(), SystemRandom.bits());
        let name = AccountName::compose(engine, &role.name, &principal.name, lease);
        let secret = target.prepare(role).await.unwrap();
        let account = Account { name, hosts: role.hosts.clone() };
        Self { account, lease, principal, role: role.clone(), plan: EndPlan::of(role), secret }
    }

    pub(crate) fn name(&self) -> &str {
        self.account.name.as_str()
    }

    pub(crate) fn new_account(&self) -> NewAccount<'_> {
        NewAccount {
            instance: crate::support::instance(),
            account: &self.account,
            role: &self.role,
            lease: self.lease,
            principal: &self.principal,
            expires_at: SystemClock.now() + Duration::from_secs(600),
        }
    }

    pub(crate) fn leased(&self) -> LeasedAccount<'_> {
        LeasedAccount {
            account: &self.account,
            lease: self.lease,
            role: self.role.name.as_str(),
            principal: &self.principal,
            plan: &self.plan,
        }
    }
}
