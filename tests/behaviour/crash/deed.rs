//! What somebody does to a target behind Mayfly's back, for reconciliation to find.

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::{Account, AccountName, Engine, HostPattern, InstanceId, LeaseId, PrincipalKind, PrincipalRef},
    random::{Random as _, SystemRandom},
    target::NewAccount,
};

use super::place::Place;
use crate::support::world::World;

/// A deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// The account of a live lease is dropped.
    Drop,
    /// There is an account of ours without a lease.
    Stray,
    /// The account of a lease that had ended is there.
    Revive,
    /// The account of a live lease is altered.
    Alter,
    /// Likewise, where the lease is then ended.
    AlterForGood,
}

impl Deed {
    /// What the target's configuration says of it.
    pub(super) fn settings(self) -> &'static str {
        if self == Deed::AlterForGood { "on_drift = \"end\"\n" } else { "" }
    }
}

impl Place {
    /// Drops an account.
    pub(super) async fn drop_behind_our_back(&self, account: &str) {
        let statement = match self.database.engine {
            Engine::Postgres => format!("DROP ROLE {account}"),
            _ => format!("DROP USER '{account}'@'%'"),
        };
        self.database.ask_superuser(self.database.server.unwrap(), &statement).await;
    }

    /// Alters an account: it never expires, or is locked.
    pub(super) async fn alter_behind_our_back(&self, account: &str) {
        let statement = match self.database.engine {
            Engine::Postgres => format!("ALTER ROLE {account} VALID UNTIL 'infinity'"),
            _ => format!("ALTER USER '{account}'@'%' ACCOUNT LOCK"),
        };
        self.database.ask_superuser(self.database.server.unwrap(), &statement).await;
    }

    /// Creates an account as this installation does: that of a lease (`leases/…`), or of one nobody knows.
    pub(super) async fn create_behind_our_back(&self, lease: Option<&str>) {
        let database = &self.database;
        let id = lease.map_or_else(
            || LeaseId::new(SystemClock.now(), SystemRandom.bits()),
            |name| name.strip_prefix("leases/").unwrap().parse().unwrap(),
        );
        let mut role = database.reading_role(&self.role, "target");
        role.member_of = vec![database.sample.names.write.clone()];
        let principal = PrincipalRef { kind: PrincipalKind::Human, name: "administrator".parse().unwrap() };
        let account = Account {
            name: AccountName::compose(database.engine, &role.name, &principal.name, id),
            hosts: if database.engine == Engine::Postgres { Vec::new() } else { vec![HostPattern::any()] },
        };
        let target = World::target(database.settings("target"), std::sync::Arc::new(SystemClock));
        let secret = target.prepare(&role).await.unwrap();
        let expires_at = SystemClock.now() + SignedDuration::from_secs(600);
        let new = NewAccount {
            instance: self.instance(),
            account: &account,
            role: &role,
            lease: id,
            principal: &principal,
            expires_at,
        };
        target.create(new, &secret).await.unwrap();
    }

    /// Which installation this is, by its store.
    fn instance(&self) -> InstanceId {
        let store = rusqlite::Connection::open(self.path("mayfly.db")).unwrap();
        let text: String =
            store.query_row("SELECT instance FROM installation", [], |row| row.get(0)).unwrap();
        text.parse().unwrap()
    }
}
