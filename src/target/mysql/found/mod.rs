//! Accounts as they stand on the server: their hosts, locks, expiries, marks and memberships, and what they may do that no
//! leased account may. Looks at them, and undoes what was altered.

mod ask;
mod mend;
mod powers;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use self::{ask::Names, powers::Power};
pub(super) use self::{ask::STANDING, mend::put_right, powers::GLOBAL as GLOBAL_POWERS};
use super::{link::Link, quote, switch::Registry};
use crate::{
    domain::{Account, AccountName, FoundAccount, HostPattern},
    target::{TargetError, Which},
};

/// An account of one name, with all hosts it exists for.
#[derive(Debug)]
struct Seen {
    name: AccountName,
    hosts: BTreeMap<String, AtHost>,
    mark: Option<String>,
    /// Whether statements of its role may have given it privileges; `None`: nothing tells.
    own_statements: Option<bool>,
}

/// The account at one host.
#[derive(Debug, Default)]
struct AtHost {
    locked: bool,
    /// When the server refuses it, on our clock.
    expires_at: Option<Timestamp>,
    memberships: Vec<Membership>,
    powers: BTreeSet<Power>,
}

/// That it is a member of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Membership {
    role: String,
    /// MySQL, where roles have one: the host of the role.
    role_host: Option<String>,
    hands: bool,
}

impl Membership {
    /// As leases name groups: MySQL's roles are at `%` unless said otherwise.
    fn group(&self) -> String {
        match self.role_host.as_deref() {
            None | Some("%") => self.role.clone(),
            Some(host) => format!("{}@{host}", self.role),
        }
    }

    fn quoted(&self) -> Result<String, TargetError> {
        match &self.role_host {
            None => quote::identifier(&self.role),
            Some(host) => quote::account(&self.role, host),
        }
    }
}

/// Accounts whose names are ours. A page is filled up however many names between are not.
pub(super) async fn list(
    link: &mut Link<'_>,
    which: Which<'_>,
    registry: Registry,
) -> Result<Vec<FoundAccount>, TargetError> {
    let names = match which {
        Which::Named(names) => names.iter().map(|name| (*name).clone()).collect(),
        Which::After { name, limit } => page(link, name, limit).await?,
    };
    Ok(look(link, &names, registry).await?.iter().map(Seen::found).collect())
}

async fn page(link: &mut Link<'_>, after: Option<&str>, limit: u32) -> Result<Vec<AccountName>, TargetError> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut names, mut after) = (Vec::new(), after.map(str::to_owned));
    while names.len() < wanted {
        let next = ask::names_after(link, after.as_deref(), limit).await?;
        let last = next.len() < wanted;
        after = next.last().cloned();
        names.extend(next.iter().filter_map(|name| AccountName::found(name)));
        if last {
            break;
        }
    }
    names.truncate(wanted);
    Ok(names)
}

/// Those of the names that exist, in the order of their names.
async fn look(
    link: &mut Link<'_>,
    names: &[AccountName],
    registry: Registry,
) -> Result<Vec<Seen>, TargetError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names = Names::new(names)?;
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for (user, host, locked) in ask::hosts(link, &names).await? {
        let Some(name) = AccountName::found(&user) else { continue };
        let account = seen.entry(user).or_insert_with(|| Seen {
            name,
            hosts: BTreeMap::new(),
            mark: None,
            own_statements: None,
        });
        account.hosts.insert(host, AtHost { locked, ..AtHost::default() });
    }
    if seen.is_empty() {
        return Ok(Vec::new());
    }
    for (user, host, membership) in ask::memberships(link, &names).await? {
        if let Some(at) = at(&mut seen, &user, &host) {
            at.memberships.push(membership);
        }
    }
    for (user, host, power) in powers::ask(link, &names).await? {
        if let Some(at) = at(&mut seen, &user, &host) {
            at.powers.insert(power);
        }
    }
    // Its own clock has moved on since; by less than matters.
    let now = link.clock().now();
    for row in ask::registry(link, &names, registry).await? {
        let Some(account) = seen.get_mut(&row.user) else { continue };
        account.mark = account.mark.take().or(row.mark);
        account.own_statements = account.own_statements.or(row.own_statements);
        if let Some(at) = account.hosts.get_mut(&row.host) {
            at.expires_at = now.checked_add(SignedDuration::from_micros(row.left)).ok();
        }
    }
    for (user, attribute) in ask::attributes(link, &names).await? {
        if let Some(account) = seen.get_mut(&user) {
            account.mark = account.mark.take().or(attribute.mark);
            account.own_statements = account.own_statements.or(attribute.own_statements);
        }
    }
    Ok(seen.into_values().collect())
}

/// What a group role of MySQL may do by itself, and the groups it may hand on.
pub(super) async fn of_group(
    link: &mut Link<'_>,
    group: &str,
) -> Result<(BTreeSet<String>, BTreeSet<String>), TargetError> {
    let names = Names::one(group)?;
    let powers = powers::ask(link, &names).await?;
    let powers = powers.into_iter().filter(|(_, host, _)| host == "%").map(|(.., power)| power.to_string());
    let memberships = ask::memberships(link, &names).await?;
    let handed = memberships.into_iter().filter(|(_, host, membership)| host == "%" && membership.hands);
    Ok((powers.collect(), handed.map(|(.., membership)| membership.group()).collect()))
}

fn at<'s>(seen: &'s mut BTreeMap<String, Seen>, user: &str, host: &str) -> Option<&'s mut AtHost> {
    seen.get_mut(user)?.hosts.get_mut(host)
}

impl Seen {
    /// Powers that are no doing of Mayfly's. Where statements of the role may have given some, only those count that no
    /// role gives.
    fn foreign_powers(&self) -> BTreeSet<&Power> {
        let all = self.hosts.values().flat_map(|at| &at.powers);
        all.filter(|power| self.own_statements == Some(false) || power.administers()).collect()
    }

    fn found(&self) -> FoundAccount {
        let parsed = |host: &String| host.parse::<HostPattern>().map_err(|_| host.clone());
        let (hosts, odd): (Vec<_>, Vec<_>) = self.hosts.keys().map(parsed).partition(Result::is_ok);
        let memberships = || self.hosts.values().flat_map(|at| &at.memberships);
        let member_of: BTreeSet<String> = memberships().map(Membership::group).collect();
        let mut powers: BTreeSet<String> =
            self.foreign_powers().into_iter().map(ToString::to_string).collect();
        let handing = memberships().filter(|membership| membership.hands);
        powers.extend(handing.map(|membership| format!("ADMIN OPTION ON {}", membership.group())));
        // Nothing that Mayfly creates; a pattern that cannot be written in a lease is named here.
        powers.extend(odd.into_iter().filter_map(Result::err).map(|host| format!("LOGIN FROM {host:?}")));
        let mut hosts: Vec<HostPattern> = hosts.into_iter().filter_map(Result::ok).collect();
        hosts.sort();
        FoundAccount {
            account: Account { name: self.name.clone(), hosts },
            mark: self.mark.as_deref().and_then(|text| text.parse().ok()),
            may_log_in: self.hosts.values().any(|at| !at.locked),
            expires_at: self.expires_at(),
            member_of: member_of.into_iter().collect(),
            powers: powers.into_iter().collect(),
        }
    }

    /// When the last of its hosts is refused; `None`: one never is.
    fn expires_at(&self) -> Option<Timestamp> {
        let all: Option<Vec<Timestamp>> = self.hosts.values().map(|at| at.expires_at).collect();
        all?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Engine, LeaseId};

    fn seen(hosts: &[(&str, AtHostIs)], own_statements: Option<bool>) -> Seen {
        let lease = LeaseId::new(Timestamp::UNIX_EPOCH, 42);
        let name = AccountName::compose(Engine::Mysql, &"r".parse().unwrap(), &"p".parse().unwrap(), lease);
        let at = |&(host, AtHostIs { locked, second }): &(&str, AtHostIs)| {
            let expires_at = second.map(|second| Timestamp::from_second(second).unwrap());
            (host.to_owned(), AtHost { locked, expires_at, ..AtHost::default() })
        };
        Seen { name, hosts: hosts.iter().map(at).collect(), mark: None, own_statements }
    }

    #[derive(Clone, Copy)]
    struct AtHostIs {
        locked: bool,
        second: Option<i64>,
    }

    const OPEN: AtHostIs = AtHostIs { locked: false, second: Some(10) };
    const SHUT: AtHostIs = AtHostIs { locked: true, second: Some(20) };
    const FOR_EVER: AtHostIs = AtHostIs { locked: true, second: None };

    #[test]
    fn it_may_log_in_if_it_may_from_anywhere_and_until_the_last_host_is_refused() {
        let found = seen(&[("%", OPEN), ("10.%", SHUT)], None).found();
        assert!(found.may_log_in);
        assert_eq!(found.expires_at, Some(Timestamp::from_second(20).unwrap()));
        assert_eq!(found.account.hosts.iter().map(HostPattern::as_str).collect::<Vec<_>>(), ["%", "10.%"]);
        let found = seen(&[("10.%", SHUT), ("%", FOR_EVER)], None).found();
        assert!(!found.may_log_in);
        assert_eq!(found.expires_at, None);
    }

    #[test]
    fn a_host_that_no_lease_can_name_is_told_among_the_powers() {
        let found = seen(&[("%", OPEN), ("a b", OPEN)], None).found();
        assert_eq!(found.powers, ["LOGIN FROM \"a b\""]);
        assert_eq!(found.account.hosts.len(), 1);
    }

    #[test]
    fn what_statements_of_the_role_may_have_given_is_no_drift() {
        let with = |own_statements| {
            let mut seen = seen(&[("%", OPEN)], own_statements);
            let at = seen.hosts.get_mut("%").unwrap();
            at.powers.insert(Power::on("SELECT", Some("shop")));
            at.powers.insert(Power::on("SUPER", None));
            at.powers.insert(Power::on("GRANT OPTION", Some("shop")));
            at.memberships.push(Membership { role: "g".to_owned(), role_host: None, hands: true });
            seen.found().powers
        };
        let all = ["ADMIN OPTION ON g", "GRANT OPTION ON shop", "SELECT ON shop", "SUPER"];
        assert_eq!(with(Some(false)), all);
        for unsure in [Some(true), None] {
            assert_eq!(with(unsure), ["ADMIN OPTION ON g", "GRANT OPTION ON shop", "SUPER"]);
        }
    }
}
