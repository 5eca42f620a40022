//! Targets compared with the store, both ways, on every engine.

mod drift;
mod leases;
mod rounds;
mod servers;

use std::sync::Arc;

use mayfly::{
    audit::Record,
    clock::{Clock as _, SystemClock},
    domain::{
        Account, AccountName, Engine, InstanceId, LeaseId, PrincipalKind, PrincipalRef, Role, TargetName,
    },
    issuer::{Mode, ReconcileReport},
    random::{Random as _, SystemRandom},
    target::{NewAccount, OnDrift, Target},
};

use crate::support::{
    meddler::Meddler,
    world::{Database, World, databases},
};

/// Where accounts can be looked at.
async fn places() -> Vec<Database> {
    databases().await
}

fn shop() -> TargetName {
    "shop".parse().unwrap()
}

impl World {
    /// Compares the shop with the store.
    async fn reconcile(&self) -> ReconcileReport {
        self.issuer.reconciler().run(&shop(), Mode::Act).await.unwrap()
    }

    /// What would differ.
    async fn dry_run(&self) -> ReconcileReport {
        self.issuer.reconciler().run(&shop(), Mode::DryRun).await.unwrap()
    }

    /// Asserts that the shop and the store agree.
    async fn agrees(&self) {
        let report = self.reconcile().await;
        assert!(report.counts.agree(), "{report:?}");
    }

    /// The audit records of an action.
    async fn audited(&self, action: &str) -> Vec<Record> {
        let mut records = self.audit().await;
        records.retain(|record| record.action == action);
        records
    }
}

/// With the shop and one role, and what is done about drift.
async fn world(database: &Database, on_drift: OnDrift) -> World {
    let mut settings = database.settings("shop");
    settings.reconcile.on_drift = on_drift;
    let target = World::target(settings, Arc::new(SystemClock));
    World::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await
}

/// Likewise, with a target that can be meddled with.
async fn meddled(database: &Database) -> (World, Arc<Meddler>) {
    let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    let world = World::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await;
    (world, meddler)
}

/// Creates an account as an installation would, without a lease.
pub(crate) async fn stray(database: &Database, role: &Role, instance: InstanceId) -> (LeaseId, Account) {
    let target = World::target(database.settings("shop"), Arc::new(SystemClock));
    let lease = LeaseId::new(SystemClock.now(), SystemRandom.bits());
    let principal = PrincipalRef { kind: PrincipalKind::Workload, name: "app".parse().unwrap() };
    let account = Account {
        name: AccountName::compose(database.engine, &role.name, &principal.name, lease),
        hosts: role.hosts.clone(),
    };
    let new = NewAccount {
        instance,
        account: &account,
        role,
        lease,
        principal: &principal,
        expires_at: SystemClock.now() + jiff::SignedDuration::from_secs(600),
    };
    let secret = target.prepare(role).await.unwrap();
    target.create(new, &secret).await.unwrap();
    (lease, account)
}

/// What a superuser does to an account behind Mayfly's back.
#[derive(Debug, Clone, Copy)]
enum Deed<'a> {
    Drop,
    Unmark,
    NeverExpire,
    Disable,
    Enable,
    Join(&'a str),
    Leave(&'a str),
    GivePower,
    GiveSuperuser,
}

impl Database {
    async fn behind_our_back(&self, account: &AccountName, deed: Deed<'_>) {
        let name = account.as_str();
        let postgres = self.engine == Engine::Postgres;
        let statement = match deed {
            Deed::Drop if postgres => format!("DROP ROLE {name}"),
            Deed::Unmark if postgres => format!("COMMENT ON ROLE {name} IS NULL"),
            Deed::NeverExpire if postgres => format!("ALTER ROLE {name} VALID UNTIL 'infinity'"),
            Deed::Disable if postgres => format!("ALTER ROLE {name} NOLOGIN"),
            Deed::Enable if postgres => format!("ALTER ROLE {name} LOGIN"),
            // By somebody whose grants the administration account may take back: from release 16 on, not everybody's.
            Deed::Join(group) if postgres => {
                format!("SET ROLE {}; GRANT {group} TO {name}; RESET ROLE", self.sample.administrator.user)
            }
            Deed::Leave(group) if postgres => format!("REVOKE {group} FROM {name}"),
            Deed::GivePower if postgres => format!("ALTER ROLE {name} CREATEDB CREATEROLE"),
            Deed::GiveSuperuser if postgres => format!("ALTER ROLE {name} SUPERUSER"),
            Deed::Drop => format!("DROP USER '{name}'@'%'"),
            Deed::Unmark => format!("UPDATE mayfly.accounts SET mark = NULL WHERE user = '{name}'"),
            Deed::NeverExpire => {
                format!("UPDATE mayfly.accounts SET expires_at = '9999-01-01' WHERE user = '{name}'")
            }
            Deed::Disable => format!("ALTER USER '{name}'@'%' ACCOUNT LOCK"),
            Deed::Enable => format!("ALTER USER '{name}'@'%' ACCOUNT UNLOCK"),
            Deed::Join(group) => format!("GRANT {group} TO '{name}'@'%'"),
            Deed::Leave(group) => format!("REVOKE {group} FROM '{name}'@'%'"),
            Deed::GivePower => format!("GRANT CREATE USER ON *.* TO '{name}'@'%'"),
            Deed::GiveSuperuser => format!("GRANT ALL ON *.* TO '{name}'@'%' WITH GRANT OPTION"),
        };
        self.ask_superuser(self.server.unwrap(), &statement).await;
        if matches!(deed, Deed::Unmark) && self.engine == Engine::Mysql {
            // It is beside the expiry, and on the account as well.
            let unmark = format!("ALTER USER '{name}'@'%' ATTRIBUTE '{{\"mayfly\": null}}'");
            self.ask_superuser(self.server.unwrap(), &unmark).await;
        }
    }

    async fn exists(&self, account: &AccountName) -> bool {
        self.has_account(self.server.unwrap(), account.as_str()).await
    }
}
