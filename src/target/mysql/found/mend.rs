//! Undoing what was done to an account behind Mayfly's back.
//!
//! What is there now is looked at again and put right by kind: an account may have changed since the drift was found, and
//! half of it may have been undone by an attempt before.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{AtHost, Membership, Seen, look};
use crate::{
    domain::Drift,
    target::{
        LeasedAccount, TargetError, TargetErrorKind,
        mysql::{
            end,
            errors::{self, Failure, Step},
            expiry,
            flavour::Flavour,
            link::Link,
            quote, sessions,
            switch::{self, Keeper, Registry},
        },
    },
};

/// Which kinds of drift there are to undo.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of kinds, each of which may be there or not")]
struct Wanted<'d> {
    lock: bool,
    unlock: bool,
    expiry: bool,
    hosts: bool,
    powers: bool,
    joined: BTreeSet<&'d str>,
    left: BTreeSet<&'d str>,
    widened: bool,
}

impl<'d> Wanted<'d> {
    fn of(drift: &'d [Drift]) -> Self {
        let mut wanted = Self { widened: drift.iter().any(Drift::widens), ..Self::default() };
        for one in drift {
            match one {
                Drift::LivesLonger { .. } | Drift::EndsEarlier { .. } => wanted.expiry = true,
                Drift::LoginEnabled => wanted.lock = true,
                Drift::LoginDisabled => wanted.unlock = true,
                Drift::GainedHost(_) => wanted.hosts = true,
                Drift::GainedPower(_) => wanted.powers = true,
                Drift::JoinedGroup(group) => {
                    wanted.joined.insert(group);
                }
                Drift::LeftGroup(group) => {
                    wanted.left.insert(group);
                }
            }
        }
        wanted
    }
}

/// Undoes drift: first what lets the holder do more, then what keeps him from what was agreed. What was gained reaches into
/// sessions that are open, and sessions do not tell which host or membership they came by; so they are ended then.
pub(in crate::target::mysql) async fn put_right(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    drift: &[Drift],
    expires_at: Timestamp,
    keeper: Keeper<'_>,
) -> Result<(), TargetError> {
    let wanted = Wanted::of(drift);
    let registry = switch::registry(link, keeper).await?;
    let names = [leased.account.name.clone()];
    let Some(seen) = look(link, &names, registry).await?.pop() else {
        return Err(TargetError::new(TargetErrorKind::Missing, "the account does not exist"));
    };
    if wanted.lock {
        run(link, format!("ALTER USER {} ACCOUNT LOCK", quoted(&seen, |_| true)?.join(", "))).await?;
    }
    if wanted.hosts || wanted.powers {
        end::drop_strays(link, leased.account, registry != Registry::Absent).await?;
    }
    take_away(link, leased, &seen, &wanted).await?;
    give_back(link, leased, &left(leased, &seen, &wanted)).await?;
    if wanted.expiry && registry != Registry::Absent {
        expiry::shift(link, leased, expires_at).await?;
    }
    if wanted.unlock {
        unlock(link, leased, expires_at, registry).await?;
    }
    if wanted.widened && (wanted.lock || wanted.hosts || wanted.powers || !wanted.joined.is_empty()) {
        sessions::end(link, leased.account).await?;
    }
    Ok(())
}

/// The hosts of an account that are to be acted on, with its name, quoted.
fn quoted(seen: &Seen, of: impl Fn(&str) -> bool) -> Result<Vec<String>, TargetError> {
    let hosts = seen.hosts.keys().filter(|host| of(host));
    hosts.map(|host| quote::account(seen.name.as_str(), host)).collect()
}

async fn run(link: &mut Link<'_>, statement: String) -> Result<(), TargetError> {
    link.run(&statement).await.map_err(|failure| errors::explain(failure, link.server()))
}

/// Takes away what was gained, at each host that stays.
async fn take_away(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    seen: &Seen,
    wanted: &Wanted<'_>,
) -> Result<(), TargetError> {
    if !wanted.powers && wanted.joined.is_empty() {
        return Ok(());
    }
    for (host, at) in &seen.hosts {
        if !end::is_planned(leased.account, host) {
            continue;
        }
        let account = quote::account(leased.account.name.as_str(), host)?;
        let gained = |membership: &&Membership| {
            wanted.joined.contains(membership.group().as_str()) || wanted.powers && membership.hands
        };
        let stays = |membership: &&Membership| !wanted.joined.contains(membership.group().as_str());
        let kept: Vec<&Membership> = at.memberships.iter().filter(stays).collect();
        let everything = wanted.powers && !at.powers.is_empty() && !seen.foreign_powers().is_empty();
        if everything && seen.own_statements != Some(false) {
            return Err(inseparable());
        }
        let on_mariadb = link.server().flavour == Flavour::Mariadb;
        let gained: Vec<&Membership> = at.memberships.iter().filter(gained).collect();
        // MariaDB's includes every membership, those that the administration account may not hand on as well.
        let at_once = everything || on_mariadb && !gained.is_empty() && seen.own_statements == Some(false);
        if !(at_once && on_mariadb) {
            for membership in &gained {
                leave(link, membership, &account).await?;
            }
        }
        if at_once {
            run(link, format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}")).await?;
        }
        let lost: Vec<&&Membership> =
            kept.iter().filter(|kept| at_once && on_mariadb || gained.contains(*kept)).collect();
        for membership in &lost {
            join(link, membership, &account).await?;
        }
        if !lost.is_empty() {
            default_roles(link, &kept, &account).await?;
        }
    }
    Ok(())
}

fn inseparable() -> TargetError {
    let message = "statements of the role may have given the account privileges of its own, which cannot be told from \
                   those it gained: its lease can only be ended";
    TargetError::new(TargetErrorKind::Refused, message)
}

async fn leave(link: &mut Link<'_>, membership: &Membership, account: &str) -> Result<(), TargetError> {
    let outcome = link.run(&format!("REVOKE {} FROM {account}", membership.quoted()?)).await;
    match outcome {
        Err(failure) if failure.code() == Some(errors::MARIADB_CANNOT_REVOKE_ROLE) => Ok(()),
        outcome => of_membership(link, membership, outcome),
    }
}

async fn join(link: &mut Link<'_>, membership: &Membership, account: &str) -> Result<(), TargetError> {
    let outcome = link.run(&format!("GRANT {} TO {account}", membership.quoted()?)).await;
    of_membership(link, membership, outcome)
}

fn of_membership(
    link: &Link<'_>,
    membership: &Membership,
    outcome: Result<(), Failure>,
) -> Result<(), TargetError> {
    let step = || Step::Join(membership.group());
    outcome.map_err(|failure| errors::explain(failure.during(step()), link.server()))
}

/// Makes memberships those that are active after login.
async fn default_roles(
    link: &mut Link<'_>,
    memberships: &[&Membership],
    account: &str,
) -> Result<(), TargetError> {
    let roles: Vec<String> =
        memberships.iter().map(|membership| membership.quoted()).collect::<Result<_, _>>()?;
    let statement = match (link.server().flavour, roles.last()) {
        (_, None) => return Ok(()),
        (Flavour::Mysql, _) => format!("ALTER USER {account} DEFAULT ROLE {}", roles.join(", ")),
        (Flavour::Mariadb, Some(role)) => format!("SET DEFAULT ROLE {role} FOR {account}"),
    };
    let outcome = link.run(&statement).await;
    outcome.map_err(|failure| errors::explain(failure.during(Step::DefaultRole), link.server()))
}

/// Groups to put the account back into: those it left, and those it is in at some of its hosts only, which does not show as
/// long as it is in them at one that was added.
fn left<'w>(leased: LeasedAccount<'w>, seen: &Seen, wanted: &Wanted<'w>) -> BTreeSet<&'w str> {
    let is_in = |at: &AtHost, group: &str| at.memberships.iter().any(|one| one.group() == group);
    let mut left = wanted.left.clone();
    for group in leased.plan.member_of.iter().map(String::as_str) {
        let planned = seen.hosts.iter().filter(|(host, _)| end::is_planned(leased.account, host));
        let somewhere = seen.hosts.values().any(|at| is_in(at, group));
        if somewhere && !wanted.joined.contains(group) && planned.into_iter().any(|(_, at)| !is_in(at, group))
        {
            left.insert(group);
        }
    }
    left
}

/// Puts the account back into groups it left, at every host it was created for.
async fn give_back(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    left: &BTreeSet<&str>,
) -> Result<(), TargetError> {
    if left.is_empty() {
        return Ok(());
    }
    let flavour = link.server().flavour;
    let role_host = (flavour == Flavour::Mysql).then(|| "%".to_owned());
    let membership =
        |group: &String| Membership { role: group.clone(), role_host: role_host.clone(), hands: false };
    let groups: Vec<Membership> = leased.plan.member_of.iter().map(membership).collect();
    for host in end::hosts(link, leased.account).await? {
        if !end::is_planned(leased.account, &host) {
            continue;
        }
        let account = quote::account(leased.account.name.as_str(), &host)?;
        for group in groups.iter().filter(|group| left.contains(group.role.as_str())) {
            join(link, group, &account).await?;
        }
        default_roles(link, &groups.iter().collect::<Vec<_>>(), &account).await?;
    }
    Ok(())
}

/// Unlocks the account unless the switch locked it, or is about to: looked at before and after, as the switch may come
/// between.
async fn unlock(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    expires_at: Timestamp,
    registry: Registry,
) -> Result<(), TargetError> {
    if expires_at <= link.clock().now() {
        return Err(TargetError::new(
            TargetErrorKind::Refused,
            "the lease has expired: its account stays locked",
        ));
    }
    if registry != Registry::Absent {
        expiry::refuse_expired(link, leased.account).await?;
    }
    let accounts = quote::accounts(leased.account)?.join(", ");
    run(link, format!("ALTER USER IF EXISTS {accounts} ACCOUNT UNLOCK")).await?;
    if registry == Registry::Absent {
        return Ok(());
    }
    let expired = expiry::refuse_expired(link, leased.account).await;
    if expired.is_err() {
        run(link, format!("ALTER USER IF EXISTS {accounts} ACCOUNT LOCK")).await?;
    }
    expired
}
