//! Disabling an account, and removing it.

use super::{
    errors,
    link::{Link, read},
    objects, quote, sessions,
};
use crate::{
    domain::Account,
    target::{Survey, TargetError},
};

/// What is asked of the table of accounts.
pub(super) const ACCOUNTS: &str = "the account";
/// What is asked of the table of memberships.
pub(super) const MEMBERSHIPS: &str = "the account's memberships";

/// The hosts an account exists for, whatever was intended: the name belongs to one lease only.
pub(super) async fn hosts(link: &mut Link<'_>, account: &Account) -> Result<Vec<String>, TargetError> {
    link.ask(ACCOUNTS, &hosts_question(account)?).await
}

fn hosts_question(account: &Account) -> Result<String, TargetError> {
    Ok(format!("SELECT Host FROM mysql.user WHERE User = {}", quote::literal(account.name.as_str())?))
}

/// Locks every host of the account, then looks: one round trip. A session may still define something before it is ended,
/// so an account with sessions counts as one with objects.
pub(super) async fn disable(link: &mut Link<'_>, account: &Account) -> Result<Survey, TargetError> {
    let locks = format!("ALTER USER IF EXISTS {} ACCOUNT LOCK", quote::accounts(account)?.join(", "));
    let batch = [locks, hosts_question(account)?, sessions::question(account)?, objects::question(account)?];
    let steps = [None, Some(ACCOUNTS), Some(sessions::SESSIONS), Some(objects::OBJECTS)];
    let sets = link.batch(&batch).await.map_err(|stopped| {
        let failure = match steps.get(stopped.done).copied().flatten() {
            Some(what) => stopped.failure.asking(what),
            None => stopped.failure,
        };
        errors::explain(failure, link.server())
    })?;
    let count = |index: usize| sets.get(index).map_or(0, Vec::len);
    let (present, open, objects) = (count(1), count(2), count(3));
    if present > account.hosts.len() {
        lock_strays(link, account).await?;
    }
    let sessions = u32::try_from(open).unwrap_or(u32::MAX);
    Ok(Survey { present: present > 0, sessions, has_objects: open > 0 || objects > 0 })
}

/// Locks hosts of the account that somebody else added.
async fn lock_strays(link: &mut Link<'_>, account: &Account) -> Result<(), TargetError> {
    let accounts = existing(link, account).await?;
    let statement = format!("ALTER USER IF EXISTS {} ACCOUNT LOCK", accounts.join(", "));
    link.run(&statement).await.map_err(|failure| errors::explain(failure, link.server()))
}

/// Every `'user'@'host'` there is of an account.
pub(super) async fn existing(link: &mut Link<'_>, account: &Account) -> Result<Vec<String>, TargetError> {
    let hosts = hosts(link, account).await?;
    hosts.iter().map(|host| quote::account(account.name.as_str(), host)).collect()
}

/// Drops every host of the account, and looks whether anything of it is left. A login that was being checked while the
/// account was locked shows up here at the latest.
pub(super) async fn remove(link: &mut Link<'_>, account: &Account) -> Result<bool, TargetError> {
    let drop = format!("DROP USER IF EXISTS {}", quote::accounts(account)?.join(", "));
    let batch = [drop, hosts_question(account)?, sessions::question(account)?];
    let steps = [None, Some(ACCOUNTS), Some(sessions::SESSIONS)];
    let mut sets = link.batch(&batch).await.map_err(|stopped| {
        let failure = match steps.get(stopped.done).copied().flatten() {
            Some(what) => stopped.failure.asking(what),
            None => stopped.failure,
        };
        errors::explain(failure, link.server())
    })?;
    let open = sets.pop().map_or(0, |sessions| sessions.len());
    let strays: Vec<String> = sets
        .pop()
        .unwrap_or_default()
        .into_iter()
        .map(|row| {
            read::<String>(ACCOUNTS, row).and_then(|host| quote::account(account.name.as_str(), &host))
        })
        .collect::<Result<_, _>>()?;
    if strays.is_empty() {
        return Ok(open == 0);
    }
    let drop = format!("DROP USER IF EXISTS {}", strays.join(", "));
    link.run(&drop).await.map_err(|failure| errors::explain(failure, link.server()))?;
    Ok(open == 0 && hosts(link, account).await?.is_empty())
}
