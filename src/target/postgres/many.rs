//! Ending many accounts together: what [`end`](super::end) does for one, in as many round trips for a batch.
//!
//! Each step is one transaction for the batch, so a single account that refuses undoes it for all: the caller then ends them one by one.
//! What waits for somebody else's lock gives up soon, because the whole batch would wait with it.
//!
//! Within the transaction each account is ended as the deputy that holds it. When that is refused, the batch is tried once more as the
//! administration account, which may do whatever its deputies may.

use std::collections::{HashMap, HashSet};

use tokio::time::sleep;

use super::{
    connect::{Connection, number, role_is_missing, text, truth},
    deputies::{Part, may_have_refused},
    end::{LOOKS, count, hindrance, membership_of_all},
    errors::Failure,
    quote,
};
use crate::target::{Glance, SessionsEnded, TargetError};

/// How a transaction begins that waits for nobody.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '200ms'";

/// Sessions with the role that each signed in as.
const SESSIONS: &str = "pg_stat_get_activity(NULL) a JOIN pg_roles r ON r.oid = a.usesysid";

/// One statement or more for each part, as whoever holds it. The administration account, as which the session began, comes last if
/// at all; with the transaction's end all act as it again.
fn for_each<'a>(
    parts: &[Part<'a>],
    statements: impl Fn(&[&'a str]) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let mut message = String::new();
    for part in parts {
        let act_as = match &part.deputy {
            Some(deputy) => format!("SET LOCAL ROLE {}; ", quote::identifier(deputy)?),
            None if message.is_empty() => String::new(),
            None => "SET LOCAL ROLE NONE; ".to_owned(),
        };
        message.push_str(&act_as);
        message.push_str(&statements(&part.accounts)?);
        message.push_str("; ");
    }
    Ok(message)
}

/// Takes the right to log in and the password away from all of them, commits, and then looks what is left: one round trip,
/// unless some are gone already.
pub(super) async fn disable(
    connection: &mut Connection,
    accounts: &[&str],
    parts: &[Part<'_>],
) -> Result<Vec<Glance>, TargetError> {
    let seen = match disable_some(connection, parts).await {
        Err(failure) if may_have_refused(parts, &failure) => {
            disable_some(connection, &[Part::ours(accounts)]).await
        }
        outcome => outcome,
    };
    let seen = seen.map_err(|failure| failure.while_doing("disabling accounts"))?;
    Ok(accounts.iter().map(|account| seen.get(*account).copied().unwrap_or(Glance::Absent)).collect())
}

/// All, or, as `ALTER ROLE` knows no `IF EXISTS`, those that there are.
async fn disable_some(
    connection: &mut Connection,
    parts: &[Part<'_>],
) -> Result<HashMap<String, Glance>, Failure> {
    match disable_all(connection, parts).await {
        Err(failure) if role_is_missing(&failure) => {
            let there = existing(connection, parts).await?;
            if there.is_empty() { Ok(HashMap::new()) } else { disable_all(connection, &there).await }
        }
        outcome => outcome,
    }
}

async fn disable_all(
    connection: &mut Connection,
    parts: &[Part<'_>],
) -> Result<HashMap<String, Glance>, Failure> {
    let disabling = for_each(parts, |accounts| {
        let disabling = |account: &&str| {
            Ok::<_, Failure>(format!("ALTER ROLE {} NOLOGIN PASSWORD NULL", quote::identifier(account)?))
        };
        Ok(accounts.iter().map(disabling).collect::<Result<Vec<_>, _>>()?.join("; "))
    })?;
    let (values, hindrance) = (values(parts)?, hindrance(connection));
    let message = format!(
        "{BEGIN}; {disabling}COMMIT; \
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

/// The names of all accounts.
fn values(parts: &[Part<'_>]) -> Result<String, quote::QuoteError> {
    quote::literals(parts.iter().flat_map(|part| part.accounts.iter().copied()))
}

/// The parts without accounts that do not exist.
async fn existing<'a>(connection: &mut Connection, parts: &[Part<'a>]) -> Result<Vec<Part<'a>>, Failure> {
    let question = format!("SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ({})", values(parts)?);
    let there: HashSet<String> =
        connection.run(&question).await?.iter().filter_map(|row| text(row, 0)).collect();
    let left = parts.iter().map(|part| Part {
        deputy: part.deputy.clone(),
        accounts: part.accounts.iter().copied().filter(|account| there.contains(*account)).collect(),
    });
    Ok(left.filter(|part| !part.accounts.is_empty()).collect())
}

/// Tells the accounts' sessions to end and looks, for a second at most, until all have.
pub(super) async fn end_sessions(
    connection: &mut Connection,
    accounts: &[&str],
    parts: &[Part<'_>],
) -> Result<Vec<SessionsEnded>, TargetError> {
    let doing = "ending sessions of several accounts";
    let ended = match terminate(connection, parts).await {
        Err(failure) if may_have_refused(parts, &failure) => {
            terminate(connection, &[Part::ours(accounts)]).await
        }
        outcome => outcome,
    };
    let ended = ended.map_err(|failure| failure.while_doing(doing))?;
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

/// Signalling needs the accounts' privileges, which whoever holds them is granted in a transaction that is rolled back.
async fn terminate(connection: &mut Connection, parts: &[Part<'_>]) -> Result<HashMap<String, u32>, Failure> {
    let there = existing(connection, parts).await?;
    if there.is_empty() {
        return Ok(HashMap::new());
    }
    let signalling = for_each(&there, |accounts| {
        let membership = membership_of_all(connection, accounts)?;
        let values = quote::literals(accounts.iter().copied())?;
        Ok(format!(
            "{membership}; SELECT r.rolname, count(*) FILTER (WHERE pg_terminate_backend(a.pid)) \
             FROM {SESSIONS} WHERE r.rolname IN ({values}) GROUP BY 1"
        ))
    })?;
    Ok(counts(&connection.run_with_control(&format!("{BEGIN}; {signalling}ROLLBACK")).await?))
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
pub(super) async fn remove(
    connection: &mut Connection,
    accounts: &[&str],
    parts: &[Part<'_>],
) -> Result<Vec<bool>, TargetError> {
    let left = match drop_all(connection, parts).await {
        Err(failure) if may_have_refused(parts, &failure) => {
            drop_all(connection, &[Part::ours(accounts)]).await
        }
        outcome => outcome,
    };
    let left = left.map_err(|failure| failure.while_doing("dropping accounts"))?;
    Ok(accounts.iter().map(|account| !left.iter().any(|name| name == account)).collect())
}

/// Returns the names of those that are still there.
async fn drop_all(connection: &mut Connection, parts: &[Part<'_>]) -> Result<Vec<String>, Failure> {
    let dropping = for_each(parts, |accounts| {
        Ok(format!("DROP ROLE IF EXISTS {}", quote::identifiers(accounts.iter().copied())?))
    })?;
    let values = values(parts)?;
    let message = format!(
        "{BEGIN}; SELECT 1 / (count(*) = 0)::int FROM {SESSIONS} WHERE r.rolname IN ({values}); \
         {dropping}COMMIT; SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ({values})"
    );
    // The first row is the quotient, which is no account's name.
    let rows = connection.run_with_control(&message).await?;
    Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_ended_as_who_holds_it_and_ours_as_the_session_began() {
        let part = |deputy: &str| Part { deputy: Some(deputy.to_owned()), accounts: vec!["a", "b"] };
        let joined = |parts: &[Part<'_>]| for_each(parts, |accounts| Ok(accounts.join("+"))).unwrap();
        assert_eq!(joined(&[Part::ours(&["c"])]), "c; ");
        assert_eq!(
            joined(&[part("d1"), part("d2"), Part::ours(&["c"])]),
            "SET LOCAL ROLE \"d1\"; a+b; SET LOCAL ROLE \"d2\"; a+b; SET LOCAL ROLE NONE; c; "
        );
    }
}
