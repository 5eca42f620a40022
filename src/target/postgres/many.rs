//! Ending many accounts together: what [`end`](super::end) does for one, in as many round trips for a batch.
//!
//! Each step is one transaction for the batch, so a single account that refuses undoes it for all: the caller then ends them one by one.
//! What waits for somebody else's lock gives up soon, because the whole batch would wait with it.

use std::collections::HashMap;

use tokio::time::sleep;

use super::{
    connect::{Connection, number, role_is_missing, text, truth},
    end::{LOOKS, count, hindrance, membership_of_all},
    errors::Failure,
    quote,
};
use crate::target::{Glance, SessionsEnded, TargetError};

/// How a transaction begins that waits for nobody.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '200ms'";

/// Sessions with the role that each signed in as.
const SESSIONS: &str = "pg_stat_get_activity(NULL) a JOIN pg_roles r ON r.oid = a.usesysid";

/// Takes the right to log in and the password away from all of them, commits, and then looks what is left: one round trip,
/// unless some are gone already.
pub(super) async fn disable(
    connection: &mut Connection,
    accounts: &[&str],
) -> Result<Vec<Glance>, TargetError> {
    let seen = match disable_all(connection, accounts).await {
        Err(failure) if role_is_missing(&failure) => disable_those_left(connection, accounts).await,
        outcome => outcome,
    };
    let seen = seen.map_err(|failure| failure.while_doing("disabling accounts"))?;
    Ok(accounts.iter().map(|account| seen.get(*account).copied().unwrap_or(Glance::Absent)).collect())
}

/// `ALTER ROLE` knows no `IF EXISTS`.
async fn disable_those_left(
    connection: &mut Connection,
    accounts: &[&str],
) -> Result<HashMap<String, Glance>, Failure> {
    let there = existing(connection, accounts).await?;
    if there.is_empty() {
        return Ok(HashMap::new());
    }
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    disable_all(connection, &there).await
}

async fn disable_all(
    connection: &mut Connection,
    accounts: &[&str],
) -> Result<HashMap<String, Glance>, Failure> {
    let disabling = |account: &&str| {
        Ok::<_, Failure>(format!("ALTER ROLE {} NOLOGIN PASSWORD NULL", quote::identifier(account)?))
    };
    let disabling: Vec<String> = accounts.iter().map(disabling).collect::<Result<_, _>>()?;
    let (disabling, hindrance) = (disabling.join("; "), hindrance(connection));
    let values = quote::literals(accounts.iter().copied())?;
    let message = format!(
        "{BEGIN}; {disabling}; COMMIT; \
         WITH busy AS MATERIALIZED (SELECT DISTINCT a.usesysid FROM pg_stat_get_activity(NULL) a), \
           prepared AS MATERIALIZED (SELECT p.owner FROM pg_prepared_xacts p) \
         SELECT r.rolname, EXISTS (SELECT FROM busy WHERE busy.usesysid = r.oid), \
           {hindrance} OR EXISTS (SELECT FROM prepared WHERE prepared.owner = r.rolname) \
         FROM pg_roles r WHERE r.rolname IN ({values})"
    );
    let rows = connection.run_with_control(&message).await?;
    let glance = |busy, laden| match (busy, laden) {
        (true, _) => Glance::InUse,
        (false, true) => Glance::Laden,
        (false, false) => Glance::Bare,
    };
    Ok(rows.iter().filter_map(|row| Some((text(row, 0)?, glance(truth(row, 1), truth(row, 2))))).collect())
}

/// Those of the accounts that exist.
async fn existing(connection: &mut Connection, accounts: &[&str]) -> Result<Vec<String>, Failure> {
    let values = quote::literals(accounts.iter().copied())?;
    let question = format!("SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ({values})");
    Ok(connection.run(&question).await?.iter().filter_map(|row| text(row, 0)).collect())
}

/// Tells the accounts' sessions to end and looks, for a second at most, until all have.
pub(super) async fn end_sessions(
    connection: &mut Connection,
    accounts: &[&str],
) -> Result<Vec<SessionsEnded>, TargetError> {
    let doing = "ending sessions of several accounts";
    let ended = terminate(connection, accounts).await.map_err(|failure| failure.while_doing(doing))?;
    let mut remaining =
        remaining(connection, accounts).await.map_err(|failure| failure.while_doing(doing))?;
    for wait in LOOKS {
        if remaining.is_empty() {
            break;
        }
        sleep(wait).await;
        remaining =
            self::remaining(connection, accounts).await.map_err(|failure| failure.while_doing(doing))?;
    }
    let of = |counts: &HashMap<String, u32>, account: &str| counts.get(account).copied().unwrap_or(0);
    let report =
        |account: &&str| SessionsEnded { ended: of(&ended, account), remaining: of(&remaining, account) };
    Ok(accounts.iter().map(report).collect())
}

/// Signalling needs the accounts' privileges, which are granted to ourselves in a transaction that is rolled back.
async fn terminate(connection: &mut Connection, accounts: &[&str]) -> Result<HashMap<String, u32>, Failure> {
    let there = existing(connection, accounts).await?;
    if there.is_empty() {
        return Ok(HashMap::new());
    }
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let membership = membership_of_all(connection, &there)?;
    let values = quote::literals(there)?;
    let message = format!(
        "{BEGIN}; {membership}; \
         SELECT r.rolname, count(*) FILTER (WHERE pg_terminate_backend(a.pid)) \
         FROM {SESSIONS} WHERE r.rolname IN ({values}) GROUP BY 1; ROLLBACK"
    );
    Ok(counts(&connection.run_with_control(&message).await?))
}

async fn remaining(connection: &mut Connection, accounts: &[&str]) -> Result<HashMap<String, u32>, Failure> {
    let values = quote::literals(accounts.iter().copied())?;
    let question =
        format!("SELECT r.rolname, count(*) FROM {SESSIONS} WHERE r.rolname IN ({values}) GROUP BY 1");
    Ok(counts(&connection.run(&question).await?))
}

fn counts(rows: &[tokio_postgres::SimpleQueryRow]) -> HashMap<String, u32> {
    rows.iter().filter_map(|row| Some((text(row, 0)?, count(number(row, 1))))).collect()
}

/// Drops the accounts unless one of them has a session, and verifies: one round trip. As for one, the drop itself insists
/// that there is no session, because afterwards none could be found.
pub(super) async fn remove(connection: &mut Connection, accounts: &[&str]) -> Result<Vec<bool>, TargetError> {
    let left =
        drop_all(connection, accounts).await.map_err(|failure| failure.while_doing("dropping accounts"))?;
    Ok(accounts.iter().map(|account| !left.iter().any(|name| name == account)).collect())
}

/// Returns the names of those that are still there.
async fn drop_all(connection: &mut Connection, accounts: &[&str]) -> Result<Vec<String>, Failure> {
    let (names, values) =
        (quote::identifiers(accounts.iter().copied())?, quote::literals(accounts.iter().copied())?);
    let message = format!(
        "{BEGIN}; SELECT 1 / (count(*) = 0)::int FROM {SESSIONS} WHERE r.rolname IN ({values}); \
         DROP ROLE IF EXISTS {names}; COMMIT; \
         SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ({values})"
    );
    // The first row is the quotient, which is no account's name.
    let rows = connection.run_with_control(&message).await?;
    Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
}
