//! Existing accounts: what they are members of, and giving and taking that.
//!
//! Up to release 15 a membership is one grant, whoever made it; later there is one a grantor, and each is revoked as it was made.

use tokio::time::sleep;
use tokio_postgres::SimpleQueryRow;

use super::{
    connect::{ADMIN_OPTION_SINCE, Connection, number, text, truth},
    end::{self, LOOKS, SESSIONS},
    errors::Failure,
    found::{EXPIRY, expiry},
    privileges::{self, Needs},
    put_right::Membership,
    quote,
};
use crate::target::{
    ExistingState, Finding, SessionsEnded, TargetError, TargetErrorKind, existing::standing_password,
};

/// That an account `r` is our own.
pub(super) const OURSELVES: &str = "r.rolname IN (current_user, session_user)";

/// What an account `r` must not be, and how that is told.
const BARS: [(&str, &str); 4] = [
    ("r.rolsuper", "it is a superuser, which has every privilege already"),
    (OURSELVES, "it is the account by which Mayfly administers the server"),
    ("r.rolreplication", "it may replicate, and so read everything already"),
    ("r.rolcreaterole", "it may administer other accounts"),
];

/// That an account `r` is one that Mayfly must not touch.
pub(super) fn barring() -> String {
    BARS.map(|(condition, _)| condition).join(" OR ")
}

/// The account as it stands, its expiry by the target's clock, which is the caller's to convert; `None`: there is none.
pub(super) async fn state(
    connection: &mut Connection,
    account: &str,
) -> Result<Option<ExistingState>, TargetError> {
    let name = quote::literal(account)?;
    let rows = connection
        .run(&format!(
            "SELECT g.rolname, r.rolcanlogin, {EXPIRY}, {} \
             FROM pg_roles r LEFT JOIN pg_auth_members m ON m.member = r.oid LEFT JOIN pg_roles g ON g.oid = m.roleid \
             WHERE r.rolname = {name}",
            BARS.map(|(condition, _)| condition).join(", ")
        ))
        .await
        .map_err(|failure| failure.while_doing("looking at an existing account"))?;
    let Some(first) = rows.first() else { return Ok(None) };
    let barred = BARS.iter().enumerate().find(|(at, _)| truth(first, 3 + at));
    Ok(Some(ExistingState {
        member_of: rows.iter().filter_map(|row| text(row, 0)).collect(),
        barred: barred.map(|(_, (_, why))| (*why).to_owned()),
        may_log_in: truth(first, 1),
        expires_at: expiry(first, 2),
    }))
}

/// Makes the account a member of groups; of what it is a member by our grant already it stays one.
pub(super) async fn elevate(
    connection: &mut Connection,
    account: &str,
    groups: &[String],
) -> Result<(), TargetError> {
    if groups.is_empty() {
        return Ok(());
    }
    let names = quote::identifiers(groups.iter().map(String::as_str))?;
    let statement = format!("GRANT {names} TO {}", quote::identifier(account)?);
    let Err(failure) = connection.run(&statement).await else { return Ok(()) };
    let mut error = failure.while_doing("giving groups to an existing account");
    if error.outcome_is_unknown() {
        return Err(error);
    }
    if state(connection, account).await?.is_none() {
        let message = format!("the account {account} does not exist");
        return Err(TargetError::new(TargetErrorKind::Missing, message).caused_by(error));
    }
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    if let Some(remedy) = privileges::remedy(connection, Needs { groups: &groups, owners: &[] }).await {
        error = error.mended_by(remedy);
    }
    Err(error)
}

/// A membership, and whether it is ours to take away.
struct Grant {
    membership: Membership,
    revocable: bool,
}

/// Takes groups away from the account, and verifies that. Whether the account exists. What somebody granted by hand, in a way that
/// the administration account cannot undo, stays.
pub(super) async fn strip(
    connection: &mut Connection,
    account: &str,
    groups: &[String],
) -> Result<bool, TargetError> {
    let doing = "taking groups from an existing account";
    if state(connection, account).await?.is_none() {
        return Ok(false);
    }
    for _ in 0..2 {
        let grants =
            grants(connection, account, groups).await.map_err(|failure| failure.while_doing(doing))?;
        let (ours, others): (Vec<Grant>, Vec<Grant>) = grants.into_iter().partition(|grant| grant.revocable);
        for other in others {
            tracing::warn!(
                account,
                group = other.membership.group,
                grantor = other.membership.grantor,
                "an account was given a group by somebody else while it was elevated, and keeps that"
            );
        }
        if ours.is_empty() {
            return Ok(true);
        }
        let (name, release) = (quote::identifier(account)?, connection.release().number);
        let statements: Result<Vec<String>, _> =
            ours.iter().map(|grant| grant.membership.revocation("", &name, release)).collect();
        if let Err(failure) = connection.run(&statements?.join(";\n")).await {
            let error = failure.while_doing(doing);
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            let remedy = privileges::remedy(connection, Needs { groups: &groups, owners: &[] }).await;
            return Err(match remedy {
                Some(remedy) => error.mended_by(remedy),
                None => error,
            });
        }
    }
    let message = format!("the account {account} is still a member of a group that was taken from it");
    Err(TargetError::new(TargetErrorKind::Refused, message))
}

/// The grants by which an account is a member of some of these groups.
async fn grants(
    connection: &mut Connection,
    account: &str,
    groups: &[String],
) -> Result<Vec<Grant>, Failure> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Result<Vec<String>, _> = groups.iter().map(|group| quote::literal(group)).collect();
    let revocable = if connection.release().number >= ADMIN_OPTION_SINCE {
        "pg_has_role(m.grantor, 'USAGE')"
    } else {
        "true"
    };
    let rows = connection
        .run(&format!(
            "SELECT g.rolname, pg_get_userbyid(m.grantor), {revocable} FROM pg_auth_members m \
             JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member \
             WHERE r.rolname = {} AND g.rolname IN ({}) ORDER BY 1, 2",
            quote::literal(account)?,
            wanted?.join(", ")
        ))
        .await?;
    let read = |row: &SimpleQueryRow| {
        let membership = Membership { group: text(row, 0)?, grantor: text(row, 1)? };
        Some(Grant { membership, revocable: truth(row, 2) })
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Tells the account's sessions to end and looks, for a second at most, until those have: others may begin meanwhile.
pub(super) async fn end_sessions(
    connection: &mut Connection,
    account: &str,
) -> Result<SessionsEnded, TargetError> {
    let doing = "ending sessions of an existing account";
    let oid = end::oid(connection, account).await.map_err(|failure| failure.while_doing(doing))?;
    let Some(oid) = oid else { return Ok(SessionsEnded::default()) };
    let told = match terminate(connection, account, oid).await {
        Ok(told) => told,
        Err(failure) => {
            let error = failure.while_doing(doing);
            return Err(privileges::explain_on_account(connection, account, error).await);
        }
    };
    let ended = u32::try_from(told.len()).unwrap_or(u32::MAX);
    let mut remaining = 0;
    if !told.is_empty() {
        let told = told.join(", ");
        let question = format!("SELECT count(*) FROM {SESSIONS} = {oid} AND a.pid IN ({told})");
        for wait in LOOKS {
            let rows = connection.run(&question).await.map_err(|failure| failure.while_doing(doing))?;
            remaining = rows.first().map_or(0, |row| u32::try_from(number(row, 0)).unwrap_or(u32::MAX));
            if remaining == 0 {
                break;
            }
            sleep(wait).await;
        }
    }
    Ok(SessionsEnded { ended, remaining })
}

/// Signals every session of the account; the processes that were signalled.
async fn terminate(connection: &mut Connection, account: &str, oid: u32) -> Result<Vec<String>, Failure> {
    let membership = end::membership(connection, account)?;
    // Not among the conditions: the server chooses their order, and would signal everybody.
    let signal = format!("SELECT a.pid, pg_terminate_backend(a.pid) FROM {SESSIONS} = {oid}");
    let rows = connection.run_with_control(&format!("BEGIN; {membership}; {signal}; ROLLBACK")).await?;
    Ok(rows.iter().map(|row| number(row, 0).to_string()).collect())
}

/// An existing account that a role names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named<'r> {
    pub(super) account: &'r str,
    /// It is handed out whole, not only given groups.
    pub(super) handed_out: bool,
    pub(super) role: &'r str,
}

/// What is wrong with existing accounts that roles name: missing, not to be touched, or out of the administration account's reach.
pub(super) async fn findings(
    connection: &mut Connection,
    accounts: &[Named<'_>],
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for &Named { role, account, handed_out } in accounts {
        let quoted = quote::identifier(account)?;
        let state = match state(connection, account).await? {
            Some(ExistingState { barred: Some(why), .. }) => {
                let words = format!("the role {role} names the account {quoted}, which is left alone: {why}");
                findings.push(Finding::problem(words));
                continue;
            }
            None => {
                let words = format!("the role {role} names the account {quoted}, which does not exist");
                findings.push(Finding::problem(words));
                continue;
            }
            Some(state) => state,
        };
        if let Some(remedy) = reach(connection, account).await? {
            let what = if handed_out { "change" } else { "end sessions of" };
            let words = format!("the administration account may not {what} {quoted}");
            findings
                .push(Finding::problem(format!("{words}, which the role {role} names")).mended_by(remedy));
        }
        if handed_out && state.may_log_in && state.expires_at.is_none() {
            findings.push(Finding::warning(standing_password(role, &quoted)));
        }
    }
    Ok(findings)
}

/// What the administration account lacks to change an account and end its sessions; `None`: nothing.
async fn reach(connection: &mut Connection, account: &str) -> Result<Option<String>, Failure> {
    if connection.release().number < ADMIN_OPTION_SINCE {
        return Ok(None);
    }
    let question =
        format!("SELECT pg_has_role({}, 'MEMBER WITH ADMIN OPTION'), current_user", quote::literal(account)?);
    let rows = connection.run(&question).await?;
    let Some(row) = rows.first().filter(|row| !truth(row, 0)) else { return Ok(None) };
    let user = quote::identifier(&text(row, 1).unwrap_or_default())?;
    let account = quote::identifier(account)?;
    Ok(Some(format!("GRANT {account} TO {user} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE;")))
}
