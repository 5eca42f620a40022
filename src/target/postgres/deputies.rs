//! Deputies: roles through which the administration account creates and ends accounts where it has made many.
//!
//! From release 16 on, whoever creates a role becomes a member of it with ADMIN OPTION, and each time the server asks whether he
//! may create, comment on, alter or drop one, it walks through everything he is a member of, afresh after every change of any
//! membership. An administration account that is no superuser so pays for each account that lives, several times for each that
//! comes or goes. A deputy holds some of the accounts; acting as it, the walk is as long as what it holds. Up to 15, and for a
//! superuser, there is no such walk, and no deputy.
//!
//! A deputy cannot log in, nobody but the administration account is a member of it, and it can do nothing that the administration account
//! cannot. That account inherits it: whatever a deputy made, the administration account can alter and drop by itself, only more slowly.
//! So a deputy is never needed, and whenever acting as one fails, the same is done without. None is ever dropped (one that is
//! dropped while it makes an account would leave that to nobody); emptied ones are used again.
//!
//! Accounts are the same whoever made them: members of their groups, with the same options; only the grantor differs.

use std::collections::BTreeSet;

use tokio_postgres::error::SqlState;

use super::{
    connect::{ADMIN_OPTION_SINCE, Connection, number, text, truth},
    errors::Failure,
    found::BY_INDEX,
    quote,
};
use crate::{domain::Role, target::Finding};

/// Names that begin as a deputy's does, as a range of the index on names.
const NAMED: &str = "r.rolname >= 'mf_deputy_' AND r.rolname < 'mf_deputy`'";

/// That there is any, of whichever administration account.
pub(super) const ANY: &str =
    "EXISTS (SELECT FROM pg_roles r WHERE r.rolname >= 'mf_deputy_' AND r.rolname < 'mf_deputy`')";

/// That a deputy `r` is as it was made; one that is not is not used for new accounts.
const SOUND: &str = "r.rolcreaterole AND NOT (r.rolcanlogin OR r.rolsuper OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls)";

/// That the administration account may act as a role `r`, and inherits it. Asked so, not by `EXISTS`, it is looked up by index for
/// each role, whatever the statistics say.
const OURS: &str = "(SELECT coalesce(bool_or(o.set_option AND o.inherit_option), false) FROM pg_auth_members o \
     WHERE o.roleid = r.oid AND o.member = (SELECT oid FROM pg_roles WHERE rolname = session_user))";

/// That a membership `m` is the server's own grant to whoever created a role.
const MADE: &str = "m.admin_option AND m.grantor = 10";

/// Accounts that one connection creates as somebody before it looks again who has room. Connections do not tell each other: so
/// many times this a deputy may hold too many.
const PORTION: u32 = 32;

/// Deputies looked at, by chance, for one that has room.
const SAMPLE: u32 = 4;

/// Deputies that are made at most.
const MOST: i64 = 1000;

/// Times to try for a name that nobody else takes at the same moment.
const ATTEMPTS: u32 = 3;

/// As whom a connection creates accounts, and how many more.
#[derive(Debug, Clone, Default)]
pub(super) struct Post {
    /// `None`: as the administration account itself.
    deputy: Option<String>,
    room: u32,
}

/// Lets what follows on the connection act as somebody who holds few accounts. `capacity`: accounts for each; 0: never.
///
/// A role's own statements are written for the administration account, and run as it.
pub(super) async fn take_post(connection: &mut Connection, role: &Role, capacity: u32) {
    if capacity == 0 || !are_of_use(connection) || !role.statements.create.is_empty() {
        return;
    }
    if connection.post.room == 0 {
        connection.post = match find(connection, role, capacity).await {
            Ok(post) => post,
            Err(failure) => {
                let error = failure.while_doing("looking for a deputy");
                tracing::warn!(error = %error, "accounts are created without a deputy, which takes the server longer");
                Post { deputy: None, room: PORTION }
            }
        };
    }
    connection.post.room = connection.post.room.saturating_sub(1);
    let deputy = connection.post.deputy.clone();
    connection.act_as(deputy);
}

/// Whether the walk is spared by a deputy.
pub(super) fn are_of_use(connection: &Connection) -> bool {
    connection.release().number >= ADMIN_OPTION_SINCE && !connection.is_superuser()
}

/// Whether a failure may be due to acting as a deputy: to what it may not, or to its being gone. Nothing was done then.
pub(super) fn may_be_refused(connection: &Connection, failure: &Failure) -> bool {
    connection.deputy().is_some() && connection.is_usable() && is_refusal(failure)
}

/// After a refusal: gives the deputy the right to grant the role's groups, which others may have been made for. Whether it is worth
/// trying again. The connection acts as the administration account afterwards unless it is.
pub(super) async fn equip(connection: &mut Connection, role: &Role, failure: &Failure) -> bool {
    let Some(deputy) = connection.deputy().map(str::to_owned) else { return false };
    connection.act_as(None);
    let refused = failure.is(&SqlState::INSUFFICIENT_PRIVILEGE);
    if refused && let Ok(Some(statement)) = equipment(&deputy, role) {
        match connection.run(&statement).await {
            Ok(_) => {
                connection.act_as(Some(deputy));
                return true;
            }
            Err(error) => tracing::debug!(deputy, %error, "a deputy is not given the right to grant groups"),
        }
    }
    false
}

/// Whether a failure may be due to deputies that a batch was to be ended through. Nothing was done then.
pub(super) fn may_have_refused(parts: &[Part<'_>], failure: &Failure) -> bool {
    parts.iter().any(|part| part.deputy.is_some()) && is_refusal(failure)
}

/// Not allowed, or no such role to act as.
fn is_refusal(failure: &Failure) -> bool {
    failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) || failure.is(&SqlState::INVALID_PARAMETER_VALUE)
}

/// Another is looked for with the next account.
pub(super) fn leave_post(connection: &mut Connection) {
    connection.post = Post::default();
    connection.act_as(None);
}

/// Accounts that one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// `None`: the administration account.
    pub(super) deputy: Option<String>,
    pub(super) accounts: Vec<&'a str>,
}

impl<'a> Part<'a> {
    /// Those that the administration account holds, or is to do without a deputy.
    pub(super) fn ours(accounts: &[&'a str]) -> Self {
        Self { deputy: None, accounts: accounts.to_vec() }
    }
}

/// Divides accounts among who holds them: the deputies; what is left is the administration account's own, and comes last. Nobody is
/// found when the server cannot be asked: everything is then done as the administration account.
pub(super) async fn holders<'a>(connection: &mut Connection, accounts: &[&'a str]) -> Vec<Part<'a>> {
    let all = || vec![Part::ours(accounts)];
    if !are_of_use(connection) {
        return all();
    }
    let Ok(names) = quote::literals(accounts.iter().copied()) else { return all() };
    // From the accounts to who holds them, never from the deputies to all that they hold.
    let question = format!(
        "{BY_INDEX}; WITH a AS MATERIALIZED (SELECT oid, rolname FROM pg_roles WHERE rolname IN ({names})) \
         SELECT a.rolname, d.rolname FROM a \
         CROSS JOIN LATERAL (SELECT member FROM pg_auth_members WHERE roleid = a.oid AND admin_option OFFSET 0) m \
         CROSS JOIN LATERAL (SELECT r.rolname FROM pg_roles r WHERE r.oid = m.member AND {NAMED} AND {OURS} OFFSET 0) d \
         ORDER BY 2; COMMIT"
    );
    let Ok(rows) = connection.run_with_control(&question).await else { return all() };
    let held: Vec<(String, String)> =
        rows.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?))).collect();
    divide(accounts, &held)
}

/// Divides accounts among those who hold them; `held` is sorted by deputy.
fn divide<'a>(accounts: &[&'a str], held: &[(String, String)]) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    let mut left: BTreeSet<&'a str> = accounts.iter().copied().collect();
    for (account, deputy) in held {
        let Some(account) = left.take(account.as_str()) else { continue };
        match parts.last_mut() {
            Some(part) if part.deputy.as_ref() == Some(deputy) => part.accounts.push(account),
            _ => parts.push(Part { deputy: Some(deputy.clone()), accounts: vec![account] }),
        }
    }
    if !left.is_empty() {
        parts.push(Part { deputy: None, accounts: left.into_iter().collect() });
    }
    parts
}

/// Who has room: the administration account itself as long as it has made few, then a deputy, then a new one.
async fn find(connection: &mut Connection, role: &Role, capacity: u32) -> Result<Post, Failure> {
    for attempt in 1..=ATTEMPTS {
        let rows = connection.run_with_control(&question(capacity)).await?;
        let room = i64::from(capacity.saturating_sub(PORTION.min(capacity / 2)));
        if let Some(row) = rows.iter().find(|row| number(row, 1) < room) {
            return Ok(Post { deputy: text(row, 0), room: PORTION.min(capacity) });
        }
        let Some(row) = rows.first().filter(|row| number(row, 2) < MOST) else { break };
        // Who was beaten to a number takes one a few further on, each another.
        let ahead = if attempt > 1 { number(row, 5) } else { 0 };
        let deputy = format!("mf_deputy_{}_{:04}", number(row, 3), number(row, 4) + 1 + ahead);
        match connection.run(&foundation(&deputy, role)?).await {
            Ok(_) => {
                tracing::info!(deputy, "a role was made through which accounts are created and ended");
                return Ok(Post { deputy: Some(deputy), room: PORTION.min(capacity) });
            }
            Err(failure) if is_taken(&failure) && attempt < ATTEMPTS => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(Post { deputy: None, room: PORTION })
}

fn is_taken(failure: &Failure) -> bool {
    failure.is(&SqlState::DUPLICATE_OBJECT) || failure.is(&SqlState::UNIQUE_VIOLATION)
}

/// The administration account itself first, then some deputies: name, what each has made (counted no further than `capacity`), how many there are,
/// our own oid, the highest number given, and how many to leave out for others who look for one.
fn question(capacity: u32) -> String {
    format!(
        "{BY_INDEX}; WITH us AS (SELECT oid FROM pg_roles WHERE rolname = session_user), \
         deputies AS MATERIALIZED (SELECT r.oid, r.rolname FROM pg_roles r WHERE {NAMED} AND {SOUND} AND {OURS}) \
         SELECT c.rolname, h.held, (SELECT count(*) FROM deputies), us.oid, \
           (SELECT coalesce(max(substring(r.rolname FROM '_([0-9]{{1,8}})$')::int), 0) FROM pg_roles r \
             WHERE {NAMED} AND starts_with(r.rolname, 'mf_deputy_' || us.oid || '_')), floor(random() * 32)::int \
         FROM us CROSS JOIN LATERAL (SELECT us.oid, NULL::name AS rolname, 0 AS turn \
           UNION ALL (SELECT oid, rolname, 1 FROM deputies ORDER BY random() LIMIT {SAMPLE})) c \
         CROSS JOIN LATERAL (SELECT count(*) AS held FROM (SELECT FROM pg_auth_members m \
           WHERE m.member = c.oid AND {MADE} LIMIT {capacity}) m) h \
         ORDER BY c.turn; COMMIT"
    )
}

/// Makes a deputy: all or nothing. That we inherit it is what lets us do without it.
fn foundation(deputy: &str, role: &Role) -> Result<String, quote::QuoteError> {
    let name = quote::identifier(deputy)?;
    let mut statements = vec![
        format!(
            "CREATE ROLE {name} NOLOGIN INHERIT NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD NULL"
        ),
        format!(
            "COMMENT ON ROLE {name} IS {}",
            quote::literal("mayfly deputy: the administration account creates and ends accounts through it")?
        ),
        format!("GRANT {name} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE"),
    ];
    statements.extend(equipment(deputy, role)?);
    Ok(statements.join(";\n"))
}

/// The statement by which a deputy may grant the groups of a role, and nothing else with them; `None`: it has none.
fn equipment(deputy: &str, role: &Role) -> Result<Option<String>, quote::QuoteError> {
    if role.member_of.is_empty() {
        return Ok(None);
    }
    let groups = quote::identifiers(role.member_of.iter().map(String::as_str))?;
    let deputy = quote::identifier(deputy)?;
    Ok(Some(format!("GRANT {groups} TO {deputy} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")))
}

/// Deputies that are not as they were made, and how many there are.
pub(super) async fn findings(connection: &mut Connection) -> Result<Vec<Finding>, Failure> {
    if !are_of_use(connection) {
        return Ok(Vec::new());
    }
    let rows = connection
        .run(&format!(
            "SELECT r.rolname, {SOUND} AND NOT EXISTS (SELECT FROM pg_auth_members o WHERE o.roleid = r.oid \
               AND o.member <> (SELECT oid FROM pg_roles WHERE rolname = session_user)) \
             FROM pg_roles r WHERE {NAMED} AND {OURS} ORDER BY 1"
        ))
        .await?;
    let mut findings = Vec::new();
    for row in rows.iter().filter(|row| !truth(row, 1)) {
        let name = quote::identifier(&text(row, 0).unwrap_or_default())?;
        let words = format!(
            "the deputy {name} of the administration account can log in, has other attributes than it was made with, or other members"
        );
        findings.push(Finding::warning(words).mended_by(format!(
            "-- and revoke it from everybody but the administration account\n\
             ALTER ROLE {name} NOLOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS;"
        )));
    }
    if !rows.is_empty() {
        findings
            .push(Finding::fine(format!("there are {} deputies of the administration account", rows.len())));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_divided_among_those_who_hold_them() {
        let held = [("b", "d1"), ("d", "d1"), ("c", "d2"), ("x", "d2")];
        let held = held.map(|(account, deputy)| (account.to_owned(), deputy.to_owned()));
        let part = |deputy: Option<&str>, accounts| Part { deputy: deputy.map(str::to_owned), accounts };
        let parts = divide(&["a", "b", "c", "d"], &held);
        assert_eq!(
            parts,
            [part(Some("d1"), vec!["b", "d"]), part(Some("d2"), vec!["c"]), part(None, vec!["a"])]
        );
        assert_eq!(divide(&["a", "b"], &[]), [part(None, vec!["a", "b"])]);
    }
}
