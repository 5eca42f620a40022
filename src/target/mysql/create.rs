//! Creating an account, in one round trip.

use super::{
    errors::{self, Failure, Step},
    expiry,
    flavour::Flavour,
    link::Link,
    quote,
    switch::Registry,
    template::Values,
};
use crate::{
    domain::{Account, Role},
    target::{AuthPlugin, LeasedAccount, NewAccount, Secret, TargetError, TargetErrorKind},
};

/// A statement and what it is for.
#[derive(Debug)]
struct Planned {
    step: Step,
    /// The account that exists once it has run.
    creates: Option<String>,
    statement: String,
}

/// Everything a creation will send, composed before a connection is taken.
pub(super) struct Plan<'a> {
    statements: Vec<Planned>,
    new: NewAccount<'a>,
    secret: &'a Secret,
}

impl<'a> Plan<'a> {
    /// Composes the statements.
    ///
    /// # Errors
    /// When a name cannot be quoted, or MariaDB is to give an account more than one group.
    pub(super) fn new(
        flavour: Flavour,
        plugin: AuthPlugin,
        new: NewAccount<'a>,
        secret: &'a Secret,
    ) -> Result<Self, TargetError> {
        let statements = match flavour {
            Flavour::Mysql => vec![on_mysql(new, secret)?],
            Flavour::Mariadb => on_mariadb(new, secret, plugin)?,
        };
        Ok(Self { statements, new, secret })
    }

    /// Creates the account; when it cannot be finished, what was created is dropped again. After an error whose outcome
    /// is unknown nothing is dropped: the server may still be working. Its expiry and its mark are written first, so that
    /// it never exists without.
    pub(super) async fn run(mut self, link: &mut Link<'_>, registry: Registry) -> Result<(), TargetError> {
        if registry != Registry::Absent {
            let statement = expiry::write(&self.new, link.clock().now(), registry)?;
            self.statements.insert(0, Planned { step: Step::Expiry, creates: None, statement });
        }
        let batch: Vec<String> = self.statements.iter().map(|planned| planned.statement.clone()).collect();
        let (done, failed) = match link.batch(&batch).await {
            Ok(_) => (self.statements.len(), self.values().run(link, &self.new.role.statements.create).await),
            Err(stopped) => (stopped.done, Err(self.explain(stopped.done, stopped.failure, link))),
        };
        let Err(error) = failed else { return Ok(()) };
        if !error.outcome_is_unknown() {
            self.compensate(link, done).await;
            link.forget_switch();
        }
        Err(error)
    }

    fn explain(&self, done: usize, failure: Failure, link: &Link<'_>) -> TargetError {
        let step = self.statements.get(done).map_or(Step::Account, |planned| planned.step.clone());
        let error = errors::explain(failure.during(step), link.server());
        // MySQL does both in one statement: its words tell which of the two was denied.
        match (&error.remedy, self.new.role.member_of.first()) {
            (Some(_), Some(group)) if error.message.contains("WITH ADMIN") => {
                let remedy = super::privileges::Privilege::Hand(group.clone()).grant(link.server());
                error.mended_by(remedy)
            }
            _ => error,
        }
    }

    async fn compensate(&self, link: &mut Link<'_>, done: usize) {
        let created: Vec<&str> =
            self.statements.iter().take(done).filter_map(|planned| planned.creates.as_deref()).collect();
        let mut undo = Vec::new();
        if !created.is_empty() {
            undo.push(format!("DROP USER IF EXISTS {}", created.join(", ")));
        }
        if done > 0 && self.statements.first().is_some_and(|first| first.step == Step::Expiry) {
            // Composed once already, so it can be quoted.
            undo.extend(expiry::forget(self.new.account));
        }
        if undo.is_empty() {
            return;
        }
        if let Err(stopped) = link.batch(&undo).await {
            let failure = stopped.failure;
            tracing::warn!(account = %self.new.account.name, error = %errors::explain(failure, link.server()), "an account that was created in part could not be dropped");
        }
    }

    fn values(&self) -> Values<'_> {
        Values {
            account: self.new.account,
            groups: &self.new.role.member_of,
            lease: self.new.lease,
            role: self.new.role.name.as_str(),
            principal: self.new.principal.name.as_str(),
            secret: Some(self.secret),
            expires_at: Some(self.new.expires_at),
        }
    }
}

/// MySQL says it all in one statement, which is atomic: accounts, verifier, groups, limit and mark.
fn on_mysql(new: NewAccount<'_>, secret: &Secret) -> Result<Planned, TargetError> {
    let identified = identification(Flavour::Mysql, AuthPlugin::NativePassword, secret)?;
    let accounts = quote::accounts(new.account)?;
    let each: Vec<String> = accounts.iter().map(|account| format!("{account} {identified}")).collect();
    let groups = groups(new)?;
    let default_role =
        if groups.is_empty() { String::new() } else { format!(" DEFAULT ROLE {}", groups.join(", ")) };
    let statement = format!(
        "CREATE USER {}{default_role}{} ATTRIBUTE {}",
        each.join(", "),
        limit(new),
        quote::literal(&attribute(new))?
    );
    Ok(Planned { step: Step::Account, creates: Some(accounts.join(", ")), statement })
}

/// MariaDB needs a statement each for account, membership and default role; per host, so that it is known how far a
/// batch came. It has no place for a mark: that is in the switch's table, and the name carries the lease.
fn on_mariadb(new: NewAccount<'_>, secret: &Secret, plugin: AuthPlugin) -> Result<Vec<Planned>, TargetError> {
    let identified = identification(Flavour::Mariadb, plugin, secret)?;
    let groups = groups(new)?;
    if groups.len() > 1 {
        return Err(several_groups(&new.role.member_of));
    }
    let mut statements = Vec::new();
    for account in quote::accounts(new.account)? {
        let statement = format!("CREATE USER {account} {identified}{}", limit(new));
        statements.push(Planned { step: Step::Account, creates: Some(account.clone()), statement });
        for (group, name) in groups.iter().zip(&new.role.member_of) {
            let join = format!("GRANT {group} TO {account}");
            statements.push(Planned { step: Step::Join(name.clone()), creates: None, statement: join });
            let default = format!("SET DEFAULT ROLE {group} FOR {account}");
            statements.push(Planned { step: Step::DefaultRole, creates: None, statement: default });
        }
    }
    Ok(statements)
}

/// MariaDB activates one role at login; others would have to be activated by the client.
pub(super) fn several_groups(groups: &[String]) -> TargetError {
    let message =
        "MariaDB activates only one role at login: make one group role of the several, and name that one";
    let nested =
        |group: &String| format!("GRANT {} TO `one_for_all`;", quote::identifier(group).unwrap_or_default());
    let grants: Vec<String> = groups.iter().map(nested).collect();
    TargetError::new(TargetErrorKind::Refused, message)
        .mended_by(format!("CREATE ROLE `one_for_all`; {}", grants.join(" ")))
}

fn groups(new: NewAccount<'_>) -> Result<Vec<String>, TargetError> {
    new.role.member_of.iter().map(|group| quote::identifier(group)).collect()
}

/// By what an account logs in from now on.
pub(super) fn identification(
    flavour: Flavour,
    plugin: AuthPlugin,
    secret: &Secret,
) -> Result<String, TargetError> {
    let verifier = secret.verifier.as_str();
    Ok(match (flavour, plugin) {
        (Flavour::Mysql, _) => format!("IDENTIFIED WITH caching_sha2_password AS {}", quote::hex(verifier)),
        (Flavour::Mariadb, AuthPlugin::NativePassword) => {
            format!("IDENTIFIED VIA mysql_native_password USING {}", quote::literal(verifier)?)
        }
        (Flavour::Mariadb, AuthPlugin::Ed25519) => {
            format!("IDENTIFIED VIA ed25519 USING {}", quote::literal(verifier)?)
        }
    })
}

fn limit(new: NewAccount<'_>) -> String {
    new.role.connection_limit.map_or_else(String::new, |limit| format!(" WITH MAX_USER_CONNECTIONS {limit}"))
}

/// Whether statements of the role's own may give its accounts privileges, which then are no sign of drift.
pub(super) fn has_own_statements(role: &Role) -> bool {
    !role.statements.create.is_empty() || !role.statements.renew.is_empty()
}

/// What `information_schema.user_attributes` shows of an account: its mark, for servers without a registry, and the pieces
/// of it for people.
fn attribute(new: NewAccount<'_>) -> String {
    serde_json::json!({
        "mayfly": {
            "mark": new.mark().to_string(),
            "own_statements": has_own_statements(new.role),
            "lease": new.lease.to_string(),
            "role": new.role.name.as_str(),
            "principal": new.principal.name.as_str(),
        }
    })
    .to_string()
}

/// Sets a fresh password on every host of an account.
pub(super) async fn replace_secret(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    secret: &Secret,
    plugin: AuthPlugin,
) -> Result<(), TargetError> {
    let identified = identification(link.server().flavour, plugin, secret)?;
    let Account { name, hosts } = leased.account;
    tracing::debug!(account = %name, hosts = hosts.len(), "replacing the password");
    let accounts = quote::accounts(leased.account)?;
    let each: Vec<String> = accounts.iter().map(|account| format!("{account} {identified}")).collect();
    match link.run(&format!("ALTER USER {}", each.join(", "))).await {
        Ok(()) => Ok(()),
        Err(failure) if failure.code() == Some(errors::CANNOT_USER) => {
            Err(TargetError::new(TargetErrorKind::Missing, "the account does not exist"))
        }
        Err(failure) => Err(errors::explain(failure, link.server())),
    }
}
