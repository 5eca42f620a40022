//! What an account is the definer of: views, routines, triggers, events. Tables have no owner here.
//!
//! A definer's object outlives the account and then fails, or blocks its drop; so it is settled by the role's rule first.

use std::fmt;

use super::{
    end,
    errors::{self, Step},
    flavour::Flavour,
    link::Link,
    quote, redefine,
    template::Values,
};
use crate::{
    domain::{Account, ObjectCounts, OwnedObjects},
    target::{LeasedAccount, TargetError, TargetErrorKind},
};

/// What is asked of the catalogue.
pub(super) const OBJECTS: &str = "what the account is the definer of";
/// Objects an error names; the rest is counted.
const NAMED: usize = 5;

/// What can have a definer. MariaDB's packages are left to their administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    View,
    Procedure,
    Function,
    Trigger,
    Event,
}

impl Kind {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "VIEW" => Kind::View,
            "PROCEDURE" => Kind::Procedure,
            "FUNCTION" => Kind::Function,
            "TRIGGER" => Kind::Trigger,
            "EVENT" => Kind::Event,
            _ => return None,
        })
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::View => "VIEW",
            Kind::Procedure => "PROCEDURE",
            Kind::Function => "FUNCTION",
            Kind::Trigger => "TRIGGER",
            Kind::Event => "EVENT",
        }
    }
}

/// An object and its definer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) database: String,
    pub(super) name: String,
    /// `user@host`.
    pub(super) definer: String,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.kind.word().to_lowercase(), self.database, self.name)
    }
}

impl Object {
    /// Database and name, quoted.
    pub(super) fn quoted(&self) -> Result<String, TargetError> {
        Ok(format!("{}.{}", quote::identifier(&self.database)?, quote::identifier(&self.name)?))
    }
}

/// Asks for the objects of an account, whatever its host. Account names have no `@`.
pub(super) fn question(account: &Account) -> Result<String, TargetError> {
    let mine = format!("SUBSTRING_INDEX(DEFINER, '@', 1) = {}", quote::literal(account.name.as_str())?);
    let part = |kind: &str, prefix: &str, name: &str, table: &str| {
        format!(
            "SELECT {kind}, {prefix}_SCHEMA, {name}_NAME, DEFINER FROM information_schema.{table} WHERE {mine}"
        )
    };
    let parts = [
        part("'VIEW'", "TABLE", "TABLE", "VIEWS"),
        part("ROUTINE_TYPE", "ROUTINE", "ROUTINE", "ROUTINES"),
        part("'TRIGGER'", "TRIGGER", "TRIGGER", "TRIGGERS"),
        part("'EVENT'", "EVENT", "EVENT", "EVENTS"),
    ];
    Ok(parts.join(" UNION ALL "))
}

/// Asks for the names of all definers there are.
pub(super) fn every_definer() -> String {
    let names =
        |table: &str| format!("SELECT SUBSTRING_INDEX(DEFINER, '@', 1) FROM information_schema.{table}");
    ["VIEWS", "ROUTINES", "TRIGGERS", "EVENTS"].map(names).join(" UNION ")
}

async fn defined_by(link: &mut Link<'_>, account: &Account) -> Result<Vec<Object>, TargetError> {
    let rows: Vec<(String, String, String, String)> = link.ask(OBJECTS, &question(account)?).await?;
    rows.into_iter()
        .map(|(kind, database, name, definer)| match Kind::read(&kind) {
            Some(kind) => Ok(Object { kind, database, name, definer }),
            None => Err(TargetError::new(
                TargetErrorKind::Refused,
                format!(
                    "the account is the definer of {kind} {database}.{name}, which Mayfly does not settle"
                ),
            )),
        })
        .collect()
}

/// Runs the role's `end` statements, then deals with what the account defines.
pub(super) async fn settle(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
) -> Result<ObjectCounts, TargetError> {
    Values::of_leased(&leased, None).run(link, &leased.plan.end).await?;
    let objects = defined_by(link, leased.account).await?;
    let count = u32::try_from(objects.len()).unwrap_or(u32::MAX);
    let none = ObjectCounts::default();
    if objects.is_empty() {
        return Ok(none);
    }
    match &leased.plan.owned_objects {
        OwnedObjects::Drop => drop_all(link, &objects).await?,
        OwnedObjects::Reassign(role) => {
            redefine::all(link, &objects, role).await?;
            return Ok(ObjectCounts { reassigned: count, ..none });
        }
        OwnedObjects::Keep => {
            strip(link, leased.account).await?;
            return Ok(ObjectCounts { kept: count, ..none });
        }
    }
    Ok(ObjectCounts { dropped: count, ..none })
}

async fn drop_all(link: &mut Link<'_>, objects: &[Object]) -> Result<(), TargetError> {
    for object in objects {
        let statement = format!("DROP {} IF EXISTS {}", object.kind.word(), object.quoted()?);
        if let Err(failure) = link.run(&statement).await {
            return Err(errors::explain(failure.during(Step::Object(object.to_string())), link.server()));
        }
    }
    Ok(())
}

/// Takes everything from an account that stays, locked, for the sake of what it defines.
async fn strip(link: &mut Link<'_>, account: &Account) -> Result<(), TargetError> {
    let flavour = link.server().flavour;
    for host in end::hosts(link, account).await? {
        let quoted = quote::account(account.name.as_str(), &host)?;
        for role in memberships(link, account, &host).await? {
            let outcome = link.run(&format!("REVOKE {role} FROM {quoted}")).await;
            match outcome {
                // Another attempt of ours may have come first.
                Err(failure) if failure.code() == Some(errors::MARIADB_CANNOT_REVOKE_ROLE) => {}
                Err(failure) => {
                    return Err(errors::explain(failure.during(Step::Join(role)), link.server()));
                }
                Ok(()) => {}
            }
        }
        let mut statements = vec![format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {quoted}")];
        if flavour == Flavour::Mariadb {
            statements.push(format!("SET DEFAULT ROLE NONE FOR {quoted}"));
        }
        for statement in statements {
            link.run(&statement).await.map_err(|failure| errors::explain(failure, link.server()))?;
        }
    }
    Ok(())
}

/// The roles an account is a member of, quoted.
async fn memberships(link: &mut Link<'_>, account: &Account, host: &str) -> Result<Vec<String>, TargetError> {
    let (name, host) = (quote::literal(account.name.as_str())?, quote::literal(host)?);
    match link.server().flavour {
        Flavour::Mysql => {
            let question = format!(
                "SELECT FROM_USER, FROM_HOST FROM mysql.role_edges WHERE TO_USER = {name} AND TO_HOST = {host}"
            );
            let roles: Vec<(String, String)> = link.ask(end::MEMBERSHIPS, &question).await?;
            roles.iter().map(|(user, host)| quote::account(user, host)).collect()
        }
        Flavour::Mariadb => {
            let question =
                format!("SELECT Role FROM mysql.roles_mapping WHERE User = {name} AND Host = {host}");
            let roles: Vec<String> = link.ask(end::MEMBERSHIPS, &question).await?;
            roles.iter().map(|role| quote::identifier(role)).collect()
        }
    }
}

/// Names a few objects, for an error.
pub(super) fn named(objects: &[&Object]) -> String {
    let names: Vec<String> = objects.iter().take(NAMED).map(ToString::to_string).collect();
    let more = objects.len().saturating_sub(NAMED);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    names.join(", ") + &rest
}
