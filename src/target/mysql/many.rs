//! Ending many accounts together: what [`end`](super::end) does for one, in as many round trips for a batch.
//!
//! MySQL alters and drops all accounts of a statement or none; MariaDB those it can, and says that it could not do all. Either way a
//! statement that fails says nothing of any of them, and they are ended one by one.

use super::{
    end::{self, Sight},
    expiry,
    link::Link,
    quote,
};
use crate::{
    domain::Account,
    target::{Glance, TargetError},
};

fn quoted(accounts: &[&Account]) -> Result<Vec<String>, TargetError> {
    let hosts: Vec<Vec<String>> =
        accounts.iter().map(|account| quote::accounts(account)).collect::<Result<_, _>>()?;
    Ok(hosts.into_iter().flatten().collect())
}

/// Locks every host of each account, then looks which are there and have sessions: one round trip. Whether they are the definer of
/// anything is not looked for here, see [`load`].
pub(super) async fn disable(link: &mut Link<'_>, accounts: &[&Account]) -> Result<Vec<Glance>, TargetError> {
    let sight = end::look_after(link, accounts, end::lock(&quoted(accounts)?), None).await?;
    Ok(accounts.iter().map(|account| glance(account, &sight)).collect())
}

fn glance(account: &Account, sight: &Sight) -> Glance {
    let name = account.name.as_str();
    let mut hosts = sight.accounts.iter().filter(|(user, _)| user == name).peekable();
    if hosts.peek().is_none() && !sight.sessions.iter().any(|user| user == name) {
        return Glance::Absent;
    }
    // A host that it was not created for was not locked.
    if !hosts.all(|(_, host)| end::is_planned(account, host)) {
        return Glance::Laden;
    }
    if sight.sessions.iter().any(|user| user == name) { Glance::InUse } else { Glance::Bare }
}

/// Makes those laden that are the definer of something. One with sessions may still define something before they end, and is asked about when
/// it is looked at again.
pub(super) fn load(glances: &mut [Glance], definers: &[bool]) {
    for (glance, defines) in glances.iter_mut().zip(definers) {
        if *glance == Glance::Bare && *defines {
            *glance = Glance::Laden;
        }
    }
}

/// Drops every host of each account, and looks whether anything is left. `false` for all where any session is left: then the
/// dead-man's switch has not forgotten them either, and whoever ends them one by one sees to that.
pub(super) async fn remove(link: &mut Link<'_>, accounts: &[&Account]) -> Result<Vec<bool>, TargetError> {
    let forget = expiry::forget_without_sessions(accounts)?;
    let Sight { accounts: left, sessions } =
        end::look_after(link, accounts, end::drop_users(&quoted(accounts)?), Some(forget)).await?;
    let is_left = |account: &&Account| left.iter().any(|(user, _)| user == account.name.as_str());
    Ok(accounts.iter().map(|account| sessions.is_empty() && !is_left(account)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountName, Engine, HostPattern, LeaseId};

    fn account(number: u64) -> Account {
        let (role, principal) = ("read".parse().unwrap(), "alice".parse().unwrap());
        let id = LeaseId::new(jiff::Timestamp::UNIX_EPOCH, number);
        let name = AccountName::compose(Engine::Mysql, &role, &principal, id);
        Account { name, hosts: vec![HostPattern::any()] }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_told_from_what_is_not() {
        let (bare, used, stray, gone) = (account(1), account(2), account(3), account(4));
        let at = |account: &Account, host: &str| (account.name.as_str().to_owned(), host.to_owned());
        let sight = Sight {
            accounts: vec![at(&bare, "%"), at(&used, "%"), at(&stray, "%"), at(&stray, "10.0.0.1")],
            sessions: vec![used.name.as_str().to_owned()],
        };
        let seen = [&bare, &used, &stray, &gone].map(|account| glance(account, &sight));
        assert_eq!(seen, [Glance::Bare, Glance::InUse, Glance::Laden, Glance::Absent]);
        let mut glances = [Glance::Bare, Glance::Bare, Glance::InUse, Glance::Absent];
        load(&mut glances, &[true, false, true, true]);
        assert_eq!(glances, [Glance::Laden, Glance::Bare, Glance::InUse, Glance::Absent]);
    }

    #[test]
    fn a_session_of_an_account_that_is_gone_is_one_to_end() {
        let account = account(1);
        let sight = Sight { accounts: Vec::new(), sessions: vec![account.name.as_str().to_owned()] };
        assert_eq!(glance(&account, &sight), Glance::InUse);
    }
}
