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
    let question = hosts_question(link.server().flavour, account)?;
    link.ask(ACCOUNTS, &question).await
}

/// By the whole key, of which the host comes first: there may be very many accounts, and few different hosts.
fn hosts_question(flavour: Flavour, account: &Account) -> Result<String, TargetError> {
    let table = match flavour {
        Flavour::Mysql => "mysql.user",
        Flavour::Mariadb => "mysql.global_priv",
    };
    Ok(format!(
        "SELECT u.Host FROM (SELECT DISTINCT Host FROM {table}) h \
         STRAIGHT_JOIN {table} u ON u.Host = h.Host AND u.User = {}",
        quote::literal(account.name.as_str())?
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
    let mut batch = vec![format!("DROP USER IF EXISTS {}", strays(account, &hosts)?.join(", "))];
    if forget {
        batch.push(expiry::forget_hosts(account, &odd)?);
    }
    let done = link.batch(&batch).await;
    done.map(drop).map_err(|stopped| errors::explain(stopped.failure, link.server()))
}

/// Locks every host of the account, then looks whether it is there and how many sessions it has: one round trip, unless
/// somebody gave it more hosts.
pub(super) async fn disable(link: &mut Link<'_>, account: &Account) -> Result<(bool, u32), TargetError> {
    let lock = |accounts: Vec<String>| format!("ALTER USER IF EXISTS {} ACCOUNT LOCK", accounts.join(", "));
    let (mut hosts, mut sessions) = look_after(link, account, lock(quote::accounts(account)?), None).await?;
    let strays = strays(account, &hosts)?;
    if !strays.is_empty() {
        (hosts, sessions) = look_after(link, account, lock(strays), None).await?;
    }
    Ok((!hosts.is_empty(), sessions))
}

/// Drops every host of the account, and looks whether anything of it is left. A login that was being checked while the
/// account was locked shows up here at the latest.
pub(super) async fn remove(link: &mut Link<'_>, account: &Account) -> Result<bool, TargetError> {
    let drop = |accounts: Vec<String>| format!("DROP USER IF EXISTS {}", accounts.join(", "));
    let forget = || expiry::forget_without_sessions(account).map(Some);
    let (mut hosts, mut sessions) =
        look_after(link, account, drop(quote::accounts(account)?), forget()?).await?;
    let strays = strays(account, &hosts)?;
    if !strays.is_empty() {
        (hosts, sessions) = look_after(link, account, drop(strays), forget()?).await?;
    }
    Ok(hosts.is_empty() && sessions == 0)
}

/// Runs a statement, then says for which hosts the account is there and how many sessions it has. What is run last may be refused:
/// where there is no dead-man's switch there is nothing to forget, and what is left there does no harm.
async fn look_after(
    link: &mut Link<'_>,
    account: &Account,
    statement: String,
    last: Option<String>,
) -> Result<(Vec<String>, u32), TargetError> {
    let hosts = hosts_question(link.server().flavour, account)?;
    let mut batch = vec![statement, hosts, sessions::question(account)?];
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
            tracing::debug!(account = %account.name, %error, "the expiry of an ended account stays with the server");
            stopped.answers
        }
    };
    let host = |row: &Row| row.get_opt::<String, usize>(0)?.ok();
    let hosts = sets.get(1).into_iter().flatten().filter_map(host).collect();
    let sessions = sets.get(2).map_or(0, Vec::len);
    Ok((hosts, u32::try_from(sessions).unwrap_or(u32::MAX)))
}
