//! Disabling an account, and removing it.

use mysql_async::Row;

use super::{
    errors::{self, Step},
    expiry,
    flavour::Flavour,
    link::Link,
    quote, sessions,
};
use crate::{domain::Account, target::TargetError};

/// What is asked of the table of accounts.
pub(super) const ACCOUNTS: &str = "the account";
/// What is asked of the table of memberships.
pub(super) const MEMBERSHIPS: &str = "the account's memberships";

/// All hosts an account exists for, those included that somebody else created.
pub(super) async fn hosts(link: &mut Link<'_>, account: &Account) -> Result<Vec<String>, TargetError> {
    let question = hosts_question(link.server().flavour, &[account])?;
    let found: Vec<(String, String)> = link.ask(ACCOUNTS, &question).await?;
    Ok(found.into_iter().map(|(_, host)| host).collect())
}

/// Names and hosts. By the whole key, of which the host comes first: there may be very many accounts, and few different hosts.
fn hosts_question(flavour: Flavour, accounts: &[&Account]) -> Result<String, TargetError> {
    let table = match flavour {
        Flavour::Mysql => "mysql.user",
        Flavour::Mariadb => "mysql.global_priv",
    };
    Ok(format!(
        "SELECT u.User, u.Host FROM (SELECT DISTINCT Host FROM {table}) h \
         STRAIGHT_JOIN {table} u ON u.Host = h.Host AND u.User IN ({})",
        quote::names(accounts)?
    ))
}

/// Whether an account was created for a host. The servers keep hosts in lower case.
pub(super) fn is_planned(account: &Account, host: &str) -> bool {
    account.hosts.iter().any(|planned| planned.as_str().eq_ignore_ascii_case(host))
}

/// Those of an account's hosts that it was not created for, with its name, quoted.
fn strays(account: &Account, hosts: &[String]) -> Result<Vec<String>, TargetError> {
    let strays: Vec<&String> = hosts.iter().filter(|host| !is_planned(account, host)).collect();
    if !strays.is_empty() {
        tracing::warn!(account = %account.name, hosts = ?strays, "the account exists for hosts it was not created for");
    }
    strays.into_iter().map(|host| quote::account(account.name.as_str(), host)).collect()
}

/// Drops an account at the hosts it was not created for.
pub(super) async fn drop_strays(
    link: &mut Link<'_>,
    account: &Account,
    forget: bool,
) -> Result<(), TargetError> {
    let hosts = hosts(link, account).await?;
    let odd: Vec<&String> = hosts.iter().filter(|host| !is_planned(account, host)).collect();
    if odd.is_empty() {
        return Ok(());
    }
    let mut batch = vec![drop_users(&strays(account, &hosts)?)];
    if forget {
        batch.push(expiry::forget_hosts(account, &odd)?);
    }
    let done = link.batch(&batch).await;
    done.map(drop).map_err(|stopped| errors::explain(stopped.failure, link.server()))
}

/// Locks every host of the account, then looks whether it is there and how many sessions it has: one round trip, unless
/// somebody gave it more hosts.
pub(super) async fn disable(link: &mut Link<'_>, account: &Account) -> Result<(bool, u32), TargetError> {
    let (mut hosts, mut sessions) =
        look_after_one(link, account, lock(&quote::accounts(account)?), None).await?;
    let strays = strays(account, &hosts)?;
    if !strays.is_empty() {
        (hosts, sessions) = look_after_one(link, account, lock(&strays), None).await?;
    }
    Ok((!hosts.is_empty(), sessions))
}

/// Locks accounts, quoted.
pub(super) fn lock(accounts: &[String]) -> String {
    format!("ALTER USER IF EXISTS {} ACCOUNT LOCK", accounts.join(", "))
}

/// Drops accounts, quoted.
pub(super) fn drop_users(accounts: &[String]) -> String {
    format!("DROP USER IF EXISTS {}", accounts.join(", "))
}

/// Drops every host of the account, and looks whether anything of it is left. A login that was being checked while the
/// account was locked shows up here at the latest.
pub(super) async fn remove(link: &mut Link<'_>, account: &Account) -> Result<bool, TargetError> {
    let forget = || expiry::forget_without_sessions(&[account]).map(Some);
    let (mut hosts, mut sessions) =
        look_after_one(link, account, drop_users(&quote::accounts(account)?), forget()?).await?;
    let strays = strays(account, &hosts)?;
    if !strays.is_empty() {
        (hosts, sessions) = look_after_one(link, account, drop_users(&strays), forget()?).await?;
    }
    Ok(hosts.is_empty() && sessions == 0)
}

/// What is seen of one account: its hosts, and how many sessions it has.
async fn look_after_one(
    link: &mut Link<'_>,
    account: &Account,
    statement: String,
    last: Option<String>,
) -> Result<(Vec<String>, u32), TargetError> {
    let Sight { accounts, sessions } = look_after(link, &[account], statement, last).await?;
    let hosts = accounts.into_iter().map(|(_, host)| host).collect();
    Ok((hosts, u32::try_from(sessions.len()).unwrap_or(u32::MAX)))
}

/// What is seen of accounts.
pub(super) struct Sight {
    /// Name and host of each that is there.
    pub(super) accounts: Vec<(String, String)>,
    /// The name that each session of theirs signed in with.
    pub(super) sessions: Vec<String>,
}

/// Runs a statement, then says for which hosts the accounts are there and which sessions they have. What is run last may be refused:
/// where there is no dead-man's switch there is nothing to forget, and what is left there does no harm.
pub(super) async fn look_after(
    link: &mut Link<'_>,
    accounts: &[&Account],
    statement: String,
    last: Option<String>,
) -> Result<Sight, TargetError> {
    let hosts = hosts_question(link.server().flavour, accounts)?;
    let mut batch = vec![statement, hosts, sessions::question(accounts)?];
    batch.extend(last);
    let sets = match link.batch(&batch).await {
        Ok(sets) => sets,
        Err(stopped) => {
            let failure = match stopped.done {
                0 => stopped.failure,
                1 => stopped.failure.asking(ACCOUNTS),
                2 => stopped.failure.asking(sessions::SESSIONS),
                _ => stopped.failure.during(Step::Expiry),
            };
            let refused = stopped.done > 2 && failure.code().is_some();
            let error = errors::explain(failure, link.server());
            if !refused {
                return Err(error);
            }
            let first = accounts.first().map(|account| account.name.as_str());
            tracing::debug!(account = first, %error, "the expiry of ended accounts stays with the server");
            stopped.answers
        }
    };
    let text = |row: &Row, column: usize| row.get_opt::<String, usize>(column)?.ok();
    let found = |row: &Row| Some((text(row, 0)?, text(row, 1)?));
    Ok(Sight {
        accounts: sets.get(1).into_iter().flatten().filter_map(found).collect(),
        // A session whose name cannot be read is one all the same.
        sessions: sets.get(2).into_iter().flatten().map(|row| text(row, 1).unwrap_or_default()).collect(),
    })
}
