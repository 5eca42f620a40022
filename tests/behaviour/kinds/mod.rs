//! Leases on accounts that were there before Mayfly: elevations and checkouts.

mod by_itself;
mod checkout;
mod elevation;
mod handed;
mod outages;
mod overlapping;
mod queue;
mod reconciled;
mod returned;

use std::{collections::BTreeSet, sync::Arc};

use mayfly::{
    clock::SystemClock,
    domain::{
        Access, EndReport, Engine, ExistingAccount, HostPattern, Lease, LeaseId, LeaseState, OwnedObjects,
        Password, ReviewStep, Role, StateName,
    },
    identity::Caller,
    issuer::{CheckedOut, Issued, Refusal},
};

use crate::support::world::{Database, Login, World, caller, databases, request};

/// A person with an account of her own on a database.
pub(super) struct Person {
    pub(super) database: Database,
    pub(super) account: String,
    pub(super) password: Password,
}

/// A database each, with an account on it.
pub(super) async fn people(name: &str) -> Vec<Person> {
    let mut people = Vec::new();
    for database in databases().await {
        people.push(Person::on(database, name).await);
    }
    people
}

impl Person {
    /// An account on a database, as its administrators make one for Mayfly to deal with.
    pub(super) async fn on(database: Database, name: &str) -> Self {
        let account = format!("{name}{}", database.sample.names.database.trim_start_matches("shop"));
        let person = Self { database, account, password: Password::new("own secret".to_owned()) };
        let (quoted, administrator) = (person.quoted(), &person.database.sample.names.administrator);
        for statement in match person.database.engine {
            Engine::Postgres => vec![
                format!("CREATE ROLE {quoted} LOGIN PASSWORD 'own secret'"),
                format!("GRANT {quoted} TO \"{administrator}\" WITH ADMIN OPTION"),
                format!(
                    "GRANT CONNECT ON DATABASE \"{}\" TO {quoted}",
                    person.database.sample.names.database
                ),
            ],
            _ => vec![
                format!("CREATE USER {quoted} IDENTIFIED BY 'own secret'"),
                format!("GRANT USAGE ON {}.* TO {quoted}", person.database.sample.names.database),
            ],
        } {
            person.superuser(&statement).await;
        }
        person
    }

    /// Of a name that only quoting by type makes a name, on a database.
    pub(super) async fn hostile(database: Database) -> Self {
        let name = "a'b\"c`d;--\\%";
        let mut person = Person::on(database, "eve").await;
        let hostile = format!("{name}{}", person.account.trim_start_matches("eve"));
        assert!(hostile.len() <= person.database.engine.account_name_limit(), "{hostile} is too long");
        let administrator = person.database.sample.names.administrator.clone();
        person.account = hostile;
        let quoted = match person.database.engine {
            Engine::Postgres => person.quoted(),
            _ => format!("'{}'@'%'", person.account.replace('\\', "\\\\").replace('\'', "''")),
        };
        if person.database.engine == Engine::Postgres {
            person.superuser(&format!("CREATE ROLE {quoted} LOGIN PASSWORD 'own secret'")).await;
            person.superuser(&format!("GRANT {quoted} TO \"{administrator}\" WITH ADMIN OPTION")).await;
            let shop = &person.database.sample.names.database;
            person.superuser(&format!("GRANT CONNECT ON DATABASE \"{shop}\" TO {quoted}")).await;
        } else {
            person.superuser(&format!("CREATE USER {quoted} IDENTIFIED BY 'own secret'")).await;
        }
        person
    }

    /// Nobody in particular.
    pub(super) fn nobody(database: Database) -> Self {
        Self { database, account: String::new(), password: Password::new(String::new()) }
    }

    /// The account as it stands in a statement.
    pub(super) fn quoted(&self) -> String {
        match self.database.engine {
            Engine::Postgres => format!("\"{}\"", self.account.replace('"', "\"\"")),
            _ => format!("'{}'@'%'", self.account.replace('\'', "''")),
        }
    }

    /// Drops the account behind Mayfly's back.
    pub(super) async fn drop_account(&self) {
        let quoted = self.quoted();
        if self.database.engine == Engine::Postgres {
            self.superuser(&format!("DROP OWNED BY {quoted}")).await;
            self.superuser(&format!("DROP ROLE {quoted}")).await;
        } else {
            self.superuser(&format!("DROP USER {quoted}")).await;
        }
    }

    /// A group as it stands in a statement.
    pub(super) fn group(&self, name: &str) -> String {
        match self.database.engine {
            Engine::Postgres => format!("\"{name}\""),
            _ => format!("`{name}`"),
        }
    }

    /// Runs a statement as the server's superuser.
    pub(super) async fn superuser(&self, statement: &str) -> Vec<String> {
        self.database.ask_superuser(self.database.server.unwrap(), statement).await
    }

    pub(super) async fn log_in(&self) -> Result<Login, String> {
        self.log_in_by(&self.password).await
    }

    /// Logs in by another password than the account had at first.
    pub(super) async fn log_in_by(&self, password: &Password) -> Result<Login, String> {
        match self.database.engine {
            Engine::Postgres => self.database.login(&self.account, password).await,
            // Without a privilege on the database, one cannot begin in it.
            _ => self.log_in_nowhere(password).await,
        }
    }

    async fn log_in_nowhere(&self, password: &Password) -> Result<Login, String> {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.database.port)
            .prefer_socket(false)
            .user(Some(&self.account))
            .pass(Some(password.expose()));
        let connection = mysql_async::Conn::new(options).await;
        connection.map(|connection| Login::Mysql(Box::new(connection))).map_err(|error| format!("{error:?}"))
    }

    /// Whether a session may read the shop: on MySQL and MariaDB as somebody who was told how to.
    pub(super) async fn reads(&self, session: &mut Login) -> bool {
        if self.database.engine != Engine::Postgres {
            let read = self.group(&self.database.sample.names.read);
            if session.ask(&format!("SET ROLE {read}")).await.is_err() {
                return false;
            }
        }
        session.ask(&format!("SELECT count(*) FROM {}", self.orders())).await.is_ok()
    }

    /// The table of orders, wherever the session is.
    pub(super) fn orders(&self) -> String {
        match self.database.engine {
            Engine::Postgres => "orders".to_owned(),
            _ => format!("{}.orders", self.database.sample.names.database),
        }
    }

    /// The groups the account is a member of, as the server has it.
    pub(super) async fn groups(&self) -> BTreeSet<String> {
        let account = self.account.replace('\'', "''");
        let statement = match self.database.engine {
            Engine::Postgres => format!(
                "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
                 JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = '{account}'"
            ),
            Engine::Mysql => format!("SELECT FROM_USER FROM mysql.role_edges WHERE TO_USER = '{account}'"),
            Engine::Mariadb => format!("SELECT Role FROM mysql.roles_mapping WHERE User = '{account}'"),
        };
        self.superuser(&statement).await.into_iter().collect()
    }

    /// A role `name` that elevates the account of `alice` to groups.
    pub(super) fn role(&self, name: &str, groups: &[&str]) -> Role {
        Role {
            member_of: groups.iter().map(|&group| group.to_owned()).collect(),
            connection_limit: None,
            owned_objects: OwnedObjects::Keep,
            access: Access::Elevation {
                accounts: [("alice".parse().unwrap(), self.account.clone())].into(),
                end_sessions: true,
                ends_by_itself: self.database.engine != Engine::Postgres,
            },
            ..self.database.reading_role(name, "shop")
        }
    }

    /// A role that hands the account out, for which so many may wait.
    pub(super) fn checkout_role(&self, name: &str, queue: u32) -> Role {
        Role { access: Access::Checkout { account: self.account.clone(), queue }, ..self.role(name, &[]) }
    }

    /// A Mayfly with a role `app` that hands the account out.
    pub(super) async fn handing_out(&self) -> World {
        self.world_with(vec![self.checkout_role("app", 20)]).await
    }

    /// Whether the account is there still, locked, with no session, and let in by none of these passwords.
    pub(super) async fn assert_locked(&self, passwords: &[&Password]) {
        let hosts = if self.database.engine == Engine::Postgres { vec![] } else { vec![HostPattern::any()] };
        let account = ExistingAccount::new(&self.account, hosts).unwrap();
        let target = World::target(self.database.settings("shop"), Arc::new(SystemClock));
        let state = target.existing(&account).await.unwrap().unwrap();
        assert!(!state.may_log_in, "{}: {state:?}", self.database.engine);
        assert_eq!(target.sessions(&account.account()).await.unwrap(), []);
        for password in passwords.iter().copied().chain([&self.password]) {
            assert!(self.log_in_by(password).await.is_err(), "{}", self.database.engine);
        }
    }

    pub(super) fn read(&self) -> &str {
        &self.database.sample.names.read
    }

    pub(super) fn write(&self) -> &str {
        &self.database.sample.names.write
    }

    /// A Mayfly with roles `reader` and `writer`, which reads as well.
    pub(super) async fn world(&self) -> World {
        let roles =
            vec![self.role("reader", &[self.read()]), self.role("writer", &[self.read(), self.write()])];
        self.world_with(roles).await
    }

    /// A Mayfly with these roles.
    pub(super) async fn world_with(&self, roles: Vec<Role>) -> World {
        let target = World::target(self.database.settings("shop"), Arc::new(SystemClock));
        World::with(vec![target], roles).await
    }

    /// Whether the account is there still, lets its owner in by her own password, and does no more than before.
    pub(super) async fn assert_as_before(&self, had: &[&str]) {
        let had: BTreeSet<String> = had.iter().map(|&group| group.to_owned()).collect();
        assert_eq!(self.groups().await, had);
        let mut session = self.log_in().await.unwrap();
        if had.is_empty() {
            assert!(!self.reads(&mut session).await);
        }
    }
}

/// How a lease ended.
pub(super) fn report(lease: &Lease) -> EndReport {
    match lease.state {
        LeaseState::Ended { report, .. } => report,
        _ => panic!("{lease:?}"),
    }
}

/// Whether a session was ended: it answers nothing any more.
pub(super) async fn is_over(session: &mut Login) -> bool {
    session.ask("SELECT 1").await.is_err()
}

/// A role that takes one review by the group `owners`.
pub(super) fn reviewed(role: Role) -> Role {
    let owners = ReviewStep {
        name: "owners".to_owned(),
        reviewers: vec!["group:owners".parse().unwrap()],
        quorum: 1,
        denials: 1,
        escalate_after: None,
        escalate_to: Vec::new(),
        from_risk: 0,
    };
    Role { approval: vec![owners], ..role }
}

/// The accounts that are, or were, handed out.
pub(super) async fn handed(world: &World) -> Vec<CheckedOut> {
    let root = caller("root", &["administrators"]);
    world.issuer.checkouts(&root, None, (None, 100)).await.unwrap().0
}

pub(super) fn alice() -> Caller {
    caller("alice", &["readers"])
}

impl World {
    /// Elevates alice's account.
    pub(super) async fn elevate(&self, role: &str) -> Result<Issued, Refusal> {
        self.issuer.issue(&alice(), request(role)).await
    }

    /// Gives an elevation back, and waits.
    pub(super) async fn give_back(&self, lease: LeaseId) -> mayfly::domain::Lease {
        self.issuer.release(&alice(), lease).await.unwrap();
        self.reaches(lease, StateName::Released).await
    }
}
