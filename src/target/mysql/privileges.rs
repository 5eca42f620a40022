//! What the administration account needs, as statements to paste. Never root.

use super::{
    connect::Server,
    flavour::Flavour,
    grants::{Granted, Grants},
    quote,
};
use crate::domain::OwnedObjects;

/// A privilege of the administration account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Privilege {
    /// Create, lock, alter and drop accounts.
    CreateUser,
    /// See sessions of others.
    SeeSessions,
    /// End sessions of others.
    EndSessions,
    /// See which accounts there are.
    SeeAccounts,
    /// MySQL: see whether an account can log in, for the role objects are handed to.
    SeeLocks,
    /// Install the dead-man's switch, see it, and write expiries to it; also what it runs with.
    Expiries,
    /// See who is a member of what: for accounts that are kept.
    SeeMemberships,
    /// See how accounts stand: locks, memberships, and privileges they were given behind Mayfly's back.
    SeeStanding,
    /// MariaDB: set the default role of another account.
    DefaultRoles,
    /// Hand a group role on.
    Hand(String),
    /// MySQL: act on accounts that have `SYSTEM_USER` through their groups.
    SystemUser,
    /// Something on everything in a database (`None`: everywhere).
    On { privilege: &'static str, database: Option<String> },
}

impl Privilege {
    /// What every target of a flavour needs, whatever its roles.
    pub(super) fn basic(flavour: Flavour) -> Vec<Privilege> {
        let mut all = vec![
            Privilege::CreateUser,
            Privilege::SeeSessions,
            Privilege::EndSessions,
            Privilege::SeeAccounts,
        ];
        all.push(match flavour {
            Flavour::Mysql => Privilege::SeeStanding,
            Flavour::Mariadb => Privilege::DefaultRoles,
        });
        all
    }

    /// A privilege on the schema of the dead-man's switch.
    pub(super) fn watching(privilege: &'static str) -> Self {
        Privilege::On { privilege, database: Some(super::switch::SCHEMA.to_owned()) }
    }

    /// In words: what it is for.
    pub(super) fn purpose(&self) -> String {
        match self {
            Privilege::CreateUser => "create, lock and drop accounts".to_owned(),
            Privilege::SeeSessions => "see the sessions of accounts".to_owned(),
            Privilege::EndSessions => "end the sessions of accounts".to_owned(),
            Privilege::SeeAccounts => "verify that accounts are gone".to_owned(),
            Privilege::SeeLocks => "see that the role objects are handed to cannot log in".to_owned(),
            Privilege::Expiries => "install the dead-man's switch and write expiries to it".to_owned(),
            Privilege::SeeStanding => "see whether accounts are as Mayfly left them".to_owned(),
            Privilege::SeeMemberships => "take memberships away from accounts that are kept".to_owned(),
            Privilege::DefaultRoles => "make a group the default role of an account".to_owned(),
            Privilege::Hand(group) => format!("make accounts members of {group}"),
            Privilege::SystemUser => "act on accounts whose groups have SYSTEM_USER".to_owned(),
            Privilege::On { privilege, database: Some(database) } => {
                format!("deal with objects in {database} that accounts define ({privilege})")
            }
            Privilege::On { privilege, database: None } => {
                format!("deal with objects that accounts define ({privilege})")
            }
        }
    }

    /// The statement that gives it to the administration account.
    pub(super) fn grant(&self, server: &Server) -> String {
        let what = match (self, server.flavour) {
            (Privilege::CreateUser, _) => "CREATE USER ON *.*".to_owned(),
            (Privilege::SeeSessions, _) => "PROCESS ON *.*".to_owned(),
            (Privilege::EndSessions, Flavour::Mysql) => "CONNECTION_ADMIN ON *.*".to_owned(),
            (Privilege::EndSessions, Flavour::Mariadb) => "CONNECTION ADMIN ON *.*".to_owned(),
            (Privilege::SeeAccounts, Flavour::Mysql) => "SELECT (User, Host) ON mysql.user".to_owned(),
            (Privilege::SeeLocks, Flavour::Mysql) => "SELECT (account_locked) ON mysql.user".to_owned(),
            (Privilege::SeeMemberships, Flavour::Mysql) => "SELECT ON mysql.role_edges".to_owned(),
            (Privilege::SeeStanding, Flavour::Mysql) => {
                let tables = STANDING_TABLES.iter().map(|table| format!("SELECT ON mysql.{table}"));
                let columns = format!("SELECT ({}) ON mysql.user", standing_columns().join(", "));
                let to = |what| format!("GRANT {what} TO {};", server.administrator);
                return std::iter::once(columns).chain(tables).map(to).collect::<Vec<_>>().join("\n");
            }
            (
                Privilege::SeeAccounts
                | Privilege::SeeLocks
                | Privilege::SeeMemberships
                | Privilege::SeeStanding,
                Flavour::Mariadb,
            ) => "SELECT ON mysql.*".to_owned(),
            (Privilege::Expiries, _) => format!("{} ON mayfly.*", EXPIRIES.join(", ")),
            (Privilege::DefaultRoles, _) => "UPDATE ON mysql.*".to_owned(),
            (Privilege::SystemUser, _) => "SYSTEM_USER ON *.*".to_owned(),
            (Privilege::Hand(group), _) => {
                let group = quote::identifier(group).unwrap_or_default();
                return format!("GRANT {group} TO {} WITH ADMIN OPTION;", server.administrator);
            }
            (Privilege::On { privilege, database: Some(database) }, _) => {
                format!("{privilege} ON {}.*", quote::identifier(database).unwrap_or_default())
            }
            (Privilege::On { privilege, database: None }, _) => format!("{privilege} ON *.*"),
        };
        format!("GRANT {what} TO {};", server.administrator)
    }

    /// Whether it is among what the account was granted.
    pub(super) fn is_held(&self, grants: &Grants, flavour: Flavour) -> bool {
        match (self, flavour) {
            (Privilege::CreateUser, _) => grants.has("CREATE USER", None),
            (Privilege::SeeSessions, _) => grants.has("PROCESS", None),
            (Privilege::EndSessions, Flavour::Mysql) => {
                grants.has("CONNECTION_ADMIN", None) || grants.has("SUPER", None)
            }
            (Privilege::EndSessions, Flavour::Mariadb) => grants.has("CONNECTION ADMIN", None),
            (Privilege::SeeAccounts, Flavour::Mysql) => {
                grants.has_on_columns("SELECT", "mysql", "user", &["User", "Host"])
            }
            (Privilege::SeeLocks, Flavour::Mysql) => {
                grants.has_on_columns("SELECT", "mysql", "user", &["account_locked"])
            }
            (Privilege::SeeMemberships, Flavour::Mysql) => {
                let columns = ["FROM_USER", "FROM_HOST", "TO_USER", "TO_HOST"];
                grants.has_on_columns("SELECT", "mysql", "role_edges", &columns)
            }
            (Privilege::SeeStanding, Flavour::Mysql) => {
                grants.has_on_columns("SELECT", "mysql", "user", &standing_columns())
                    && STANDING_TABLES
                        .iter()
                        .all(|table| grants.has_on_columns("SELECT", "mysql", table, &[""]))
            }
            (
                Privilege::SeeAccounts
                | Privilege::SeeLocks
                | Privilege::SeeMemberships
                | Privilege::SeeStanding,
                Flavour::Mariadb,
            ) => grants.has("SELECT", Some("mysql")),
            (Privilege::Expiries, _) => {
                EXPIRIES.iter().all(|privilege| grants.has(privilege, Some(super::switch::SCHEMA)))
            }
            (Privilege::DefaultRoles, _) => grants.has("UPDATE", Some("mysql")),
            (Privilege::SystemUser, _) => grants.has("SYSTEM_USER", None),
            (Privilege::Hand(group), _) => {
                grants.hands(group) || grants.has("ROLE_ADMIN", None) && flavour == Flavour::Mysql
            }
            (Privilege::On { privilege, database }, _) => grants.has(privilege, database.as_deref()),
        }
    }
}

/// What [`Privilege::SeeStanding`] reads besides `mysql.user`; no verifier is in any of it.
const STANDING_TABLES: [&str; 3] = ["role_edges", "global_grants", "db"];

/// The columns of `mysql.user` that tell how accounts stand: all but verifiers and what only ways of logging in need.
fn standing_columns() -> Vec<&'static str> {
    let powers = super::found::GLOBAL_POWERS.iter().map(|(column, _)| *column);
    ["User", "Host", "account_locked"].into_iter().chain(powers).collect()
}

/// All of [`Privilege::Expiries`], on the switch's schema alone.
const EXPIRIES: [&str; 7] = ["CREATE", "ALTER", "EVENT", "SELECT", "INSERT", "UPDATE", "DELETE"];

/// What a rule for objects needs wherever accounts with these grants can define any.
pub(super) fn for_objects(grants: &Grants, rule: &OwnedObjects, server: &Server) -> Vec<Privilege> {
    let mut needed = Vec::new();
    let mut defines = false;
    // MySQL tells a group's privileges together with one's own, among them those on the switch's schema.
    let others = |granted: &&Granted| granted.database != super::switch::SCHEMA;
    for granted in grants.privileges().iter().filter(others) {
        let database = Some(granted.database.clone()).filter(|database| database != "*");
        for allowed in ["CREATE VIEW", "CREATE ROUTINE", "TRIGGER", "EVENT"] {
            if granted.names(allowed) {
                defines = true;
                let on = |&privilege: &&'static str| scoped(privilege, database.clone());
                needed.extend(to_settle(allowed, rule, server.flavour).iter().map(on));
            }
        }
    }
    if defines && matches!(rule, OwnedObjects::Reassign(_)) {
        needed.push(scoped(any_definer(server), None));
    }
    if defines && *rule == OwnedObjects::Keep {
        needed.push(Privilege::SeeMemberships);
    }
    needed
}

/// `SHOW_ROUTINE` is only granted everywhere.
fn scoped(privilege: &'static str, database: Option<String>) -> Privilege {
    let everywhere = privilege.contains('_');
    Privilege::On { privilege, database: database.filter(|_| !everywhere) }
}

/// To see objects an account may define by a privilege, and to deal with them.
fn to_settle(allowed: &str, rule: &OwnedObjects, flavour: Flavour) -> &'static [&'static str] {
    match (allowed, rule, flavour) {
        ("CREATE VIEW", OwnedObjects::Keep, _) => &["SHOW VIEW"],
        ("CREATE VIEW", OwnedObjects::Drop, _) => &["SHOW VIEW", "DROP"],
        ("CREATE VIEW", OwnedObjects::Reassign(_), _) => &["SHOW VIEW", "SELECT", "CREATE VIEW", "DROP"],
        ("CREATE ROUTINE", OwnedObjects::Drop, Flavour::Mysql) => &["SHOW_ROUTINE", "ALTER ROUTINE"],
        ("CREATE ROUTINE", _, Flavour::Mysql) => &["SHOW_ROUTINE"],
        ("CREATE ROUTINE", OwnedObjects::Drop, Flavour::Mariadb) => &["ALTER ROUTINE"],
        ("CREATE ROUTINE", OwnedObjects::Reassign(_), Flavour::Mariadb) => {
            &["CREATE ROUTINE", "ALTER ROUTINE"]
        }
        ("TRIGGER", ..) => &["TRIGGER"],
        ("EVENT", ..) => &["EVENT"],
        _ => &[],
    }
}

/// The privilege to name others as definer has had three names.
fn any_definer(server: &Server) -> &'static str {
    match server.flavour {
        Flavour::Mysql if server.number >= (8, 2, 0) => "SET_ANY_DEFINER",
        Flavour::Mysql => "SET_USER_ID",
        Flavour::Mariadb => "SET USER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_documented_and_installed_is_enough_to_see_how_accounts_stand() {
        let columns = format!("SELECT ({}) ON mysql.user", standing_columns().join(", "));
        for text in [
            include_str!("../../../docs/operating.md"),
            include_str!("../../../deploy/init/mysql.sh"),
            include_str!("../../sandbox/statements.rs"),
        ] {
            let text = text.replace('\\', " ").split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&columns), "{columns}");
            for table in STANDING_TABLES {
                assert!(text.contains(&format!("GRANT SELECT ON mysql.{table} TO ")), "{table}");
            }
            assert!(!text.contains("ROLE_ADMIN ON"), "groups are handed on by name");
        }
    }
}
