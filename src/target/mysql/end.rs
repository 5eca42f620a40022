//! Disabling an account, and removing it.

use super::{errors, link::Link, quote, sessions};
use crate::{domain::Account, target::TargetError};

/// What is asked of the table of accounts.
pub(super) const ACCOUNTS: &str = "the account";
/// What is asked of the table of memberships.
pub(super) const MEMBERSHIPS: &str = "the account's memberships";

/// Which of its hosts an account exists for.
pub(super) async fn hosts(link: &mut Link<'_>, account: &Account) -> Result<Vec<String>, TargetError> {
    link.ask(ACCOUNTS, &hosts_question(account)?).await
}

/// By the whole key: there may be very many accounts. Hosts that somebody added to an account are not looked for.
fn hosts_question(account: &Account) -> Result<String, TargetError> {
    let hosts: Vec<String> =
        account.hosts.iter().map(|host| quote::literal(host.as_str())).collect::<Result<_, _>>()?;
    let name = quote::literal(account.name.as_str())?;
    Ok(format!("SELECT Host FROM mysql.user WHERE User = {name} AND Host IN ({})", hosts.join(", ")))
}

/// Locks every host of the account, then looks whether it is there and how many sessions it has: one round trip.
pub(super) async fn disable(link: &mut Link<'_>, account: &Account) -> Result<(bool, u32), TargetError> {
    let lock = format!("ALTER USER IF EXISTS {} ACCOUNT LOCK", quote::accounts(account)?.join(", "));
    look_after(link, account, lock).await
}

/// Drops every host of the account, and looks whether anything of it is left. A login that was being checked while the
/// account was locked shows up here at the latest.
pub(super) async fn remove(link: &mut Link<'_>, account: &Account) -> Result<bool, TargetError> {
    let drop = format!("DROP USER IF EXISTS {}", quote::accounts(account)?.join(", "));
    Ok(look_after(link, account, drop).await? == (false, 0))
}

/// Runs a statement, then says whether the account is there and how many sessions it has.
async fn look_after(
    link: &mut Link<'_>,
    account: &Account,
    statement: String,
) -> Result<(bool, u32), TargetError> {
    let batch = [statement, hosts_question(account)?, sessions::question(account)?];
    let sets = link.batch(&batch).await.map_err(|stopped| {
        let failure = match stopped.done {
            0 => stopped.failure,
            1 => stopped.failure.asking(ACCOUNTS),
            _ => stopped.failure.asking(sessions::SESSIONS),
        };
        errors::explain(failure, link.server())
    })?;
    let count = |index: usize| sets.get(index).map_or(0, Vec::len);
    Ok((count(1) > 0, u32::try_from(count(2)).unwrap_or(u32::MAX)))
}
