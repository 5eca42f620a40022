//! Accounts as they stand, whoever created them.

use jiff::Timestamp;
use tokio_postgres::SimpleQueryRow;

use super::{
    connect::{Connection, text, truth},
    errors::Failure,
    quote,
};
use crate::{
    domain::{Account, AccountName, FoundAccount},
    target::{TargetError, Which},
};

/// Names that begin with our mark, as a range of the index on names: names are compared byte by byte.
pub(super) const MARKED: &str = "r.rolname >= 'mf_' AND r.rolname < 'mf`'";

/// Of those, the names that end in a lease ([`AccountName::lease_of`]), so that a page is full of them.
pub(super) const LEASED: &str = "r.rolname ~ '^mf_(.*_)?[0-9a-hjkmnp-tv-z]{20}$'";

/// Names looked up in one message.
const BATCH: usize = 1000;

/// Statistics of the catalogue lag behind thousands of new accounts; by them, reading whole tables for each account, or compiling
/// the question first, looks cheap.
pub(super) const BY_INDEX: &str = "BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off; SET LOCAL jit = off";

/// What a membership that can be handed on is called among the powers.
pub(super) const ADMIN_OPTION_ON: &str = "ADMIN OPTION ON ";

/// Attributes that no leased account has, in the order of the columns that tell of them.
pub(super) const ATTRIBUTES: [&str; 5] = ["SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS"];

/// An account and its expiry by the target's clock, which is the caller's to convert.
pub(super) struct Seen {
    pub(super) account: FoundAccount,
    pub(super) expires_at: Option<Timestamp>,
}

/// The accounts asked for, in the byte order of their names.
pub(super) async fn accounts(
    connection: &mut Connection,
    which: Which<'_>,
) -> Result<Vec<Seen>, TargetError> {
    let mut seen = Vec::new();
    for condition in conditions(which)? {
        let rows = connection
            .run_with_control(&format!("{BY_INDEX}; {}; COMMIT", question(&condition)))
            .await
            .map_err(|failure: Failure| failure.while_doing("looking at accounts"))?;
        seen.extend(rows.iter().filter_map(read));
    }
    if matches!(which, Which::Named(names) if names.len() > BATCH) {
        seen.sort_by(|a, b| a.account.account.name.cmp(&b.account.account.name));
        seen.dedup_by(|a, b| a.account.account.name == b.account.account.name);
    }
    Ok(seen)
}

/// What comes after `WHERE` in choosing the accounts; a message for each.
fn conditions(which: Which<'_>) -> Result<Vec<String>, TargetError> {
    match which {
        Which::After { name, limit } => {
            let after = match name {
                Some(name) => format!(" AND r.rolname > {}", quote::literal(name)?),
                None => String::new(),
            };
            Ok(vec![format!("{MARKED}{after} AND {LEASED} ORDER BY r.rolname LIMIT {limit}")])
        }
        Which::Named(names) => names
            .chunks(BATCH)
            .map(|names| {
                let names: Result<Vec<_>, _> =
                    names.iter().map(|name| quote::literal(name.as_str())).collect();
                Ok(format!("r.rolname IN ({}) ORDER BY r.rolname", names?.join(", ")))
            })
            .collect(),
    }
}

/// When an account `r` expires, in microseconds. An expiry beyond the year 9999 is none. One before all time is long past.
pub(super) const EXPIRY: &str = "CASE WHEN r.rolvaliduntil = '-infinity' THEN 0 WHEN r.rolvaliduntil < '9999-01-01' \
     THEN (extract(epoch FROM r.rolvaliduntil) * 1000000)::bigint END";

/// Reads what [`EXPIRY`] says.
pub(super) fn expiry(row: &SimpleQueryRow, column: usize) -> Option<Timestamp> {
    let micros = text(row, column).and_then(|micros| micros.parse().ok());
    micros.and_then(|micros| Timestamp::from_microsecond(micros).ok())
}

/// The page is chosen first; what belongs to its accounts is then looked up by index, an account at a time.
fn question(condition: &str) -> String {
    format!(
        "SELECT p.rolname, p.rolcanlogin, p.expiry, \
           (SELECT c.description FROM pg_shdescription c \
             WHERE c.objoid = p.oid AND c.classoid = 'pg_authid'::regclass), m.groups, m.administered, \
           p.rolsuper, p.rolcreaterole, p.rolcreatedb, p.rolreplication, p.rolbypassrls \
         FROM (SELECT r.oid, r.rolname, r.rolcanlogin, {EXPIRY} AS expiry, \
             r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls \
           FROM pg_roles r WHERE {condition}) p \
         CROSS JOIN LATERAL (SELECT json_agg(DISTINCT g.rolname::text) AS groups, \
             json_agg(DISTINCT g.rolname::text) FILTER (WHERE m.admin_option) AS administered \
           FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = p.oid) m \
         ORDER BY p.rolname"
    )
}

fn read(row: &SimpleQueryRow) -> Option<Seen> {
    let name = AccountName::found(&text(row, 0)?)?;
    let attributes = ATTRIBUTES.iter().enumerate().filter(|(at, _)| truth(row, 6 + at));
    let mut powers: Vec<String> = attributes.map(|(_, power)| (*power).to_owned()).collect();
    powers.extend(names(row, 5).iter().map(|group| format!("{ADMIN_OPTION_ON}{group}")));
    powers.sort_unstable();
    Some(Seen {
        account: FoundAccount {
            account: Account { name, hosts: Vec::new() },
            mark: text(row, 3).and_then(|comment| comment.parse().ok()),
            may_log_in: truth(row, 1),
            expires_at: None,
            member_of: names(row, 4),
            powers,
        },
        expires_at: expiry(row, 2),
    })
}

/// A column with a JSON list of names, sorted; NULL is none.
fn names(row: &SimpleQueryRow, column: usize) -> Vec<String> {
    let list = text(row, column).and_then(|list| serde_json::from_str::<Vec<String>>(&list).ok());
    let mut names = list.unwrap_or_default();
    names.sort_unstable();
    names
}
