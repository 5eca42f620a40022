//! Creating an account, changing its password, moving its expiry: each one message.

use jiff::Timestamp;
use tokio_postgres::error::SqlState;

use super::{
    connect::{ADMIN_OPTION_SINCE, Connection, role_is_missing},
    deputies,
    errors::Failure,
    privileges::{self, Needs},
    quote::{self, QuoteError},
    templates::{self, Values},
};
use crate::{
    domain::{Role, Template},
    target::{LeasedAccount, NewAccount, Secret, TargetError, TargetErrorKind},
};

/// Creates the account. `expires_at` is by the target's clock. All or nothing.
pub(super) async fn create(
    connection: &mut Connection,
    new: NewAccount<'_>,
    secret: &Secret,
    expires_at: Timestamp,
) -> Result<(), TargetError> {
    let values = Values::of_new(&new, (secret.verifier.as_str(), &secret.password), expires_at);
    let own = templates::render(&new.role.statements.create, &values)?;
    let built_in = creation(&new, secret, expires_at, connection.release().number)?;
    let Err(mut failure) = templates::run(connection, &built_in, &own, new.lease).await else {
        return Ok(());
    };
    if deputies::may_be_refused(connection, &failure) {
        if deputies::equip(connection, new.role, &failure).await
            && templates::run(connection, &built_in, &own, new.lease).await.is_ok()
        {
            return Ok(());
        }
        // As ourselves: it may succeed, and if it does not, that says what is wrong.
        deputies::leave_post(connection);
        let Err(plain) = templates::run(connection, &built_in, &own, new.lease).await else { return Ok(()) };
        failure = plain;
    }
    connection.act_as(None);
    let failure = failure.without(&[secret.password.expose(), secret.verifier.as_str()]);
    explain_creation(connection, &new, !own.is_empty(), failure).await
}

/// The built-in statements. Every attribute is named: a default that a later release changes must not change an account.
///
/// From 16 on the group comes last. To grant it and to comment, the server walks through all that we are a member of, at length
/// after each change of a membership: the account's creation is one, the grant another. In this order it is once, not twice.
fn creation(
    new: &NewAccount<'_>,
    secret: &Secret,
    expires_at: Timestamp,
    release: u32,
) -> Result<Vec<String>, QuoteError> {
    let (name, role) = (quote::identifier(new.account.name.as_str())?, new.role);
    let limit = role.connection_limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX));
    let limit = limit.map_or(String::new(), |limit| format!(" CONNECTION LIMIT {limit}"));
    let groups = quote::identifiers(role.member_of.iter().map(String::as_str))?;
    let (at_once, at_last) = match groups.as_str() {
        "" => (String::new(), None),
        _ if release >= ADMIN_OPTION_SINCE => (String::new(), Some(format!("GRANT {groups} TO {name}"))),
        _ => (format!(" IN ROLE {groups}"), None),
    };
    let mut statements = vec![format!(
        "CREATE ROLE {name} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         PASSWORD {} VALID UNTIL {}{limit}{at_once}",
        quote::literal(secret.verifier.as_str())?,
        quote::timestamp(expires_at)
    )];
    for (setting, value) in &role.settings {
        let value = quote::setting_value(setting, value)?;
        statements.push(format!("ALTER ROLE {name} SET {} TO {value}", quote::setting_name(setting)?));
    }
    statements.push(format!("COMMENT ON ROLE {name} IS {}", quote::literal(&new.mark().to_string())?));
    statements.extend(at_last);
    Ok(statements)
}

/// Finds out what a failure to create means, and takes back what a role's own statements may have committed.
async fn explain_creation(
    connection: &mut Connection,
    new: &NewAccount<'_>,
    had_own: bool,
    failure: Failure,
) -> Result<(), TargetError> {
    let name = new.account.name.as_str();
    let duplicate = failure.is(&SqlState::DUPLICATE_OBJECT) || failure.is(&SqlState::UNIQUE_VIOLATION);
    if duplicate && exists(connection, name).await.unwrap_or(false) {
        let error = TargetError::new(TargetErrorKind::Exists, format!("the account {name} exists already"));
        return Err(error.caused_by(failure));
    }
    let missing = role_is_missing(&failure);
    let mut error = failure.while_doing("creating an account");
    if had_own && !error.outcome_is_unknown() {
        take_back(name, connection).await;
    }
    if missing || error.kind == TargetErrorKind::Denied {
        error.remedy = creation_remedy(connection, new.role, error.kind).await;
    }
    Err(error)
}

async fn exists(connection: &mut Connection, name: &str) -> Result<bool, Failure> {
    let name = quote::literal(name)?;
    let rows = connection.run(&format!("SELECT 1 FROM pg_roles WHERE rolname = {name}")).await?;
    Ok(!rows.is_empty())
}

async fn take_back(name: &str, connection: &mut Connection) {
    let Ok(quoted) = quote::identifier(name) else { return };
    if let Err(error) = connection.run(&format!("DROP ROLE IF EXISTS {quoted}")).await {
        tracing::warn!(account = name, %error, "what a role's own statements committed could not be taken back");
    }
}

async fn creation_remedy(connection: &mut Connection, role: &Role, kind: TargetErrorKind) -> Option<String> {
    let groups: Vec<&str> = role.member_of.iter().map(String::as_str).collect();
    let lacking = privileges::remedy(connection, Needs { groups: &groups, owners: &[] }).await;
    if lacking.is_some() || kind != TargetErrorKind::Denied || role.settings.is_empty() {
        return lacking;
    }
    // Of the built-in statements, what can still be refused is a setting that is not for everybody to set.
    let user = privileges::user(connection).await?;
    let settings = quote_settings(role)?;
    (!settings.is_empty())
        .then(|| format!("GRANT SET ON PARAMETER {settings} TO {user}; -- from release 15 on"))
}

fn quote_settings(role: &Role) -> Option<String> {
    let names: Result<Vec<_>, _> = role.settings.keys().map(|name| quote::setting_name(name)).collect();
    names.ok().map(|names| names.join(", "))
}

/// Sets a fresh verifier.
pub(super) async fn replace_secret(
    connection: &mut Connection,
    account: LeasedAccount<'_>,
    secret: &Secret,
) -> Result<(), TargetError> {
    let name = quote::identifier(account.account.name.as_str())?;
    let verifier = quote::literal(secret.verifier.as_str())?;
    let outcome = connection.run(&format!("ALTER ROLE {name} PASSWORD {verifier}")).await;
    let outcome = outcome.map(drop).map_err(|failure| failure.without(&[secret.verifier.as_str()]));
    explain_change(connection, account, "changing a password", outcome).await
}

/// Moves the expiry, which is by the target's clock; then the role's own statements.
pub(super) async fn renew(
    connection: &mut Connection,
    account: LeasedAccount<'_>,
    expires_at: Timestamp,
) -> Result<(), TargetError> {
    let name = quote::identifier(account.account.name.as_str())?;
    let own: &[Template] = &account.plan.renew;
    let own = templates::render(own, &Values::of_leased(&account, Some(expires_at)))?;
    let built_in = [format!("ALTER ROLE {name} VALID UNTIL {}", quote::timestamp(expires_at))];
    let outcome = templates::run(connection, &built_in, &own, account.lease).await;
    explain_change(connection, account, "moving an expiry", outcome).await
}

async fn explain_change(
    connection: &mut Connection,
    account: LeasedAccount<'_>,
    doing: &str,
    outcome: Result<(), Failure>,
) -> Result<(), TargetError> {
    let Err(failure) = outcome else { return Ok(()) };
    let name = account.account.name.as_str();
    if role_is_missing(&failure) && !exists(connection, name).await.unwrap_or(true) {
        let error = TargetError::new(TargetErrorKind::Missing, format!("the account {name} does not exist"));
        return Err(error.caused_by(failure));
    }
    let error = failure.while_doing(doing);
    Err(privileges::explain_on_account(connection, name, error).await)
}
