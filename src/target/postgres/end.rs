//! Ending an account: no new login, no session, no account.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_postgres::{SimpleQueryRow, error::SqlState};

use super::{
    connect::{ADMIN_OPTION_SINCE, Connection, number, role_is_missing, text, truth},
    errors::Failure,
    privileges, quote,
};
use crate::target::{Session, SessionsEnded, Survey, TargetError};

/// Waits between looks whether sessions told to end have ended: a second in all. A session that ends needs milliseconds.
pub(super) const LOOKS: [Duration; 7] = [
    Duration::from_millis(5),
    Duration::from_millis(15),
    Duration::from_millis(40),
    Duration::from_millis(90),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(400),
];

/// Sessions by the oid they signed in with: `SET ROLE` does not change it, and it stays when the role is dropped. Their
/// parallel workers have it, too, and end with them.
pub(super) const SESSIONS: &str = "pg_stat_get_activity(NULL) a WHERE a.usesysid";

/// The same, with the name of the database each is in.
const SESSIONS_WITH_DATABASE: &str =
    "pg_stat_get_activity(NULL) a LEFT JOIN pg_database d ON d.oid = a.datid WHERE a.usesysid";

/// Takes the right to log in and the password away, commits, and then looks what is left: one round trip.
pub(super) async fn disable(connection: &mut Connection, account: &str) -> Result<Survey, TargetError> {
    let (name, value) = (quote::identifier(account)?, quote::literal(account)?);
    // The look comes after the commit: a login that was let in before it is seen, or is about to be when sessions are
    // looked for again; none is let in after it.
    let hindrance = hindrance(connection);
    let message = format!(
        "BEGIN; ALTER ROLE {name} NOLOGIN PASSWORD NULL; COMMIT; \
         SELECT (SELECT count(*) FROM {SESSIONS} = r.oid), \
         {hindrance} OR EXISTS (SELECT FROM pg_prepared_xacts p WHERE p.owner = {value}) \
         FROM pg_roles r WHERE r.rolname = {value}"
    );
    match connection.run_with_control(&message).await {
        Ok(rows) => {
            Ok(rows.first().map_or(Survey { present: false, sessions: 0, has_objects: false }, |row| {
                Survey { present: true, sessions: count(number(row, 0)), has_objects: truth(row, 1) }
            }))
        }
        Err(failure) if role_is_missing(&failure) => {
            Ok(Survey { present: false, sessions: 0, has_objects: false })
        }
        Err(failure) => {
            let error = failure.while_doing("disabling an account");
            Err(privileges::explain_on_account(connection, account, error).await)
        }
    }
}

/// Whether something depends on a role `r`, so that it cannot be dropped. A membership is no hindrance, but one that the account
/// itself has granted is.
pub(super) fn hindrance(connection: &Connection) -> String {
    let granted = if connection.release().number >= ADMIN_OPTION_SINCE {
        "OR EXISTS (SELECT FROM pg_auth_members m WHERE m.oid = d.objid AND m.grantor = r.oid)"
    } else {
        ""
    };
    format!(
        "EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid \
           AND (d.classid <> 'pg_auth_members'::regclass {granted}))"
    )
}

pub(super) fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// The account's oid; `None` when there is no such account.
pub(super) async fn oid(connection: &mut Connection, account: &str) -> Result<Option<u32>, Failure> {
    let name = quote::literal(account)?;
    let rows = connection.run(&format!("SELECT oid FROM pg_roles WHERE rolname = {name}")).await?;
    Ok(rows.first().and_then(|row| u32::try_from(number(row, 0)).ok()))
}

/// Tells the account's sessions to end and looks, for a second at most, until they have.
pub(super) async fn end_sessions(
    connection: &mut Connection,
    account: &str,
) -> Result<SessionsEnded, TargetError> {
    let doing = "ending sessions";
    let oid = oid(connection, account).await.map_err(|failure| failure.while_doing(doing))?;
    let Some(oid) = oid else { return Ok(SessionsEnded::default()) };
    let ended = match terminate(connection, account, oid).await {
        Ok(ended) => ended,
        Err(failure) => {
            let error = failure.while_doing(doing);
            return Err(privileges::explain_on_account(connection, account, error).await);
        }
    };
    let mut remaining = remaining(connection, oid).await.map_err(|failure| failure.while_doing(doing))?;
    for wait in LOOKS {
        if remaining == 0 {
            break;
        }
        sleep(wait).await;
        remaining = self::remaining(connection, oid).await.map_err(|failure| failure.while_doing(doing))?;
    }
    Ok(SessionsEnded { ended, remaining })
}

async fn remaining(connection: &mut Connection, oid: u32) -> Result<u32, Failure> {
    let rows = connection.run(&format!("SELECT count(*) FROM {SESSIONS} = {oid}")).await?;
    Ok(rows.first().map_or(0, |row| count(number(row, 0))))
}

/// Signalling needs the account's privileges. They are granted to ourselves in a transaction that is rolled back: the
/// signals are sent, and nothing of the grant remains.
async fn terminate(connection: &mut Connection, account: &str, oid: u32) -> Result<u32, Failure> {
    let membership = membership(connection, account)?;
    let signal =
        format!("SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) FROM {SESSIONS} = {oid}");
    let rows = connection.run_with_control(&format!("BEGIN; {membership}; {signal}; ROLLBACK")).await?;
    Ok(rows.first().map_or(0, |row| count(number(row, 0))))
}

/// The statement by which we become a member of the account. From 16 on, one that inherits must say so: creating the
/// account gave ADMIN OPTION only.
pub(super) fn membership(connection: &Connection, account: &str) -> Result<String, Failure> {
    membership_of_all(connection, &[account])
}

/// The same for several accounts.
pub(super) fn membership_of_all(connection: &Connection, accounts: &[&str]) -> Result<String, Failure> {
    let names = quote::identifiers(accounts.iter().copied())?;
    let options =
        if connection.release().number >= ADMIN_OPTION_SINCE { " WITH INHERIT TRUE, SET TRUE" } else { "" };
    Ok(format!("GRANT {names} TO CURRENT_USER{options}"))
}

/// Drops the account unless it has a session, and verifies: one round trip when all is well. A session that is found
/// is ended, once; if it stays, the answer is `false`.
///
/// While the account exists, its sessions can be found and signalled by its oid; afterwards nothing but the right to
/// signal everybody would do. So the drop itself insists that there is none.
///
/// What remains is a login that was let in just before the account was disabled and is still starting (the server shows
/// it a moment later): it would have to take longer for that than all steps of ending take.
pub(super) async fn remove(connection: &mut Connection, account: &str) -> Result<bool, TargetError> {
    for attempt in 0..2 {
        match drop_unless_in_use(connection, account).await {
            Ok(gone) => return Ok(gone),
            Err(failure) if failure.is(&SqlState::DIVISION_BY_ZERO) => {
                if attempt > 0 || end_sessions(connection, account).await?.remaining > 0 {
                    return Ok(false);
                }
            }
            Err(failure) => {
                let in_the_way = failure.is(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
                let mut error = failure.while_doing("dropping an account");
                if in_the_way {
                    error.message = format!("the account {account} still owns or was granted something");
                }
                return Err(privileges::explain_on_account(connection, account, error).await);
            }
        }
    }
    Ok(false)
}

async fn drop_unless_in_use(connection: &mut Connection, account: &str) -> Result<bool, Failure> {
    let (name, value) = (quote::identifier(account)?, quote::literal(account)?);
    let rows = connection
        .run(&format!(
            "SELECT 1 / (count(*) = 0)::int FROM {SESSIONS} = (SELECT oid FROM pg_roles WHERE rolname = {value}); \
             DROP ROLE IF EXISTS {name}; \
             SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {value})"
        ))
        .await?;
    Ok(rows.last().is_some_and(|row| truth(row, 0)))
}

/// The account's sessions. Their client, age and state are NULL to those who may not read them (`pg_read_all_stats`).
pub(super) async fn sessions(
    connection: &mut Connection,
    account: &str,
) -> Result<Vec<Session>, TargetError> {
    let name = quote::literal(account)?;
    let rows = connection
        .run(&format!(
            "SELECT a.pid, host(a.client_addr), d.datname, \
             (extract(epoch FROM a.backend_start) * 1000000)::bigint, a.state \
             FROM {SESSIONS_WITH_DATABASE} = (SELECT oid FROM pg_roles WHERE rolname = {name}) \
             AND a.backend_type IS DISTINCT FROM 'parallel worker' ORDER BY a.pid"
        ))
        .await
        .map_err(|failure| failure.while_doing("looking for sessions"))?;
    Ok(rows.iter().map(session).collect())
}

fn session(row: &SimpleQueryRow) -> Session {
    let started = text(row, 3).and_then(|text| text.parse().ok());
    Session {
        id: u64::try_from(number(row, 0)).unwrap_or(0),
        client: text(row, 1).and_then(|address| address.parse::<IpAddr>().ok()),
        database: text(row, 2),
        started_at: started.and_then(|at| Timestamp::from_microsecond(at).ok()),
        activity: text(row, 4),
    }
}
