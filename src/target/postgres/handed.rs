//! Existing accounts that are handed to a holder and taken back: each one message, in one transaction.
//!
//! What an account must not be to be handed out is asked in the same transaction, by a division that fails: the account may have
//! become that since it was last looked at.

use jiff::Timestamp;
use tokio_postgres::error::SqlState;

use super::{
    connect::{Connection, role_is_missing},
    end,
    errors::Failure,
    existing::{self, OURSELVES},
    privileges, quote,
};
use crate::target::{Secret, TargetError, TargetErrorKind};

/// Makes a secret the only way to log in by password, until then. `expires_at` is by the target's clock.
pub(super) async fn check_out(
    connection: &mut Connection,
    account: &str,
    secret: &Secret,
    expires_at: Timestamp,
) -> Result<(), TargetError> {
    let verifier = secret.verifier.as_str();
    let message = format!(
        "{}; ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL {}",
        unless(account, &existing::barring())?,
        quote::identifier(account)?,
        quote::literal(verifier)?,
        quote::timestamp(expires_at)
    );
    let Err(failure) = connection.run(&message).await else { return Ok(()) };
    let failure = failure.without(&[secret.password.expose(), verifier]);
    Err(explain(connection, account, "handing out an existing account", failure).await)
}

/// Moves the expiry, which is by the target's clock.
pub(super) async fn prolong(
    connection: &mut Connection,
    account: &str,
    expires_at: Timestamp,
) -> Result<(), TargetError> {
    let message = format!(
        "{}; ALTER ROLE {} VALID UNTIL {}",
        unless(account, &existing::barring())?,
        quote::identifier(account)?,
        quote::timestamp(expires_at)
    );
    let Err(failure) = connection.run(&message).await else { return Ok(()) };
    Err(explain(connection, account, "moving the expiry of an existing account", failure).await)
}

/// Takes it back. Whether it exists. Without a password at all none works, whoever enables the account again, and there is nothing to
/// guess; a password given to it by hand works no sooner than `VALID UNTIL` is moved as well.
pub(super) async fn check_in(connection: &mut Connection, account: &str) -> Result<bool, TargetError> {
    let message = format!(
        "{}; ALTER ROLE {} NOLOGIN PASSWORD NULL VALID UNTIL '-infinity'",
        unless(account, OURSELVES)?,
        quote::identifier(account)?
    );
    let Err(failure) = connection.run(&message).await else { return Ok(true) };
    match explain(connection, account, "taking back an existing account", failure).await {
        error if error.kind == TargetErrorKind::Missing => Ok(false),
        error => Err(error),
    }
}

/// A statement that fails, dividing by zero, if the condition holds of the account `r`.
fn unless(account: &str, condition: &str) -> Result<String, TargetError> {
    let name = quote::literal(account)?;
    Ok(format!("SELECT 1 / (count(*) = 0)::int FROM pg_roles r WHERE r.rolname = {name} AND ({condition})"))
}

async fn explain(connection: &mut Connection, account: &str, doing: &str, failure: Failure) -> TargetError {
    if failure.is(&SqlState::DIVISION_BY_ZERO) {
        let state = existing::state(connection, account).await.ok().flatten();
        let why = state.and_then(|state| state.barred).unwrap_or("it may do too much".to_owned());
        let message = format!("the account {account} is left alone: {why}");
        return TargetError::new(TargetErrorKind::Refused, message).caused_by(failure);
    }
    if role_is_missing(&failure) && matches!(end::oid(connection, account).await, Ok(None)) {
        let message = format!("the account {account} does not exist");
        return TargetError::new(TargetErrorKind::Missing, message).caused_by(failure);
    }
    let error = failure.while_doing(doing);
    privileges::explain_on_account(connection, account, error).await
}
