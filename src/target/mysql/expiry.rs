//! Expiry on the server. Neither flavour lets an account expire at a moment: `PASSWORD EXPIRE` counts whole days, and only
//! asks for another password. So expiries are written to the table of the dead-man's [`switch`], in UTC by the server's
//! own clock: what is sent is how long the account has yet to live, and no difference of clocks matters.

use jiff::{SignedDuration, Timestamp};
use mysql_async::Row;

use super::{
    create, end,
    errors::{self, Step},
    link::Link,
    quote,
    switch::{self, Keeper, Registry},
    template::Values,
};
use crate::{
    domain::{Account, LeaseId},
    target::{LeasedAccount, NewAccount, TargetError, TargetErrorKind},
};

/// How far ahead an expiry is written at most: what lasts longer than this does not expire in anybody's time.
const FARTHEST: SignedDuration = SignedDuration::from_hours(24 * 366 * 100);

/// A moment by our clock, as an expression by the server's when it runs.
pub(super) fn on_servers_clock(at: Timestamp, now: Timestamp) -> String {
    let left = at.duration_since(now).clamp(-FARTHEST, FARTHEST);
    format!("UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND", left.as_micros())
}

/// Writes when an account expires, and its mark where there is a place for it, one row a host: fails when it has an expiry
/// already.
///
/// # Errors
/// When a name cannot be quoted.
pub(super) fn write(new: &NewAccount<'_>, now: Timestamp, registry: Registry) -> Result<String, TargetError> {
    if registry < Registry::WithoutKinds {
        return insert(new.account, new.lease, new.expires_at, now, ("", ""));
    }
    let mark = quote::literal(&new.mark().to_string())?;
    let own_statements = if create::has_own_statements(new.role) { "TRUE" } else { "FALSE" };
    insert(
        new.account,
        new.lease,
        new.expires_at,
        now,
        (", mark, own_statements", &format!(", {mark}, {own_statements}")),
    )
}

fn insert(
    account: &Account,
    lease: LeaseId,
    at: Timestamp,
    now: Timestamp,
    (columns, values): (&str, &str),
) -> Result<String, TargetError> {
    let (name, lease) = (quote::literal(account.name.as_str())?, quote::literal(&lease.to_string())?);
    let expiry = on_servers_clock(at, now);
    let row = |host: &crate::domain::HostPattern| {
        Ok(format!("({name}, {}, {lease}, {expiry}{values})", quote::literal(host.as_str())?))
    };
    let rows: Vec<String> = account.hosts.iter().map(row).collect::<Result<_, TargetError>>()?;
    Ok(format!(
        "INSERT INTO mayfly.accounts (user, host, lease, expires_at{columns}) VALUES {}",
        rows.join(", ")
    ))
}

/// Forgets the expiry of an account that was not created after all.
///
/// # Errors
/// When a name cannot be quoted.
pub(super) fn forget(account: &Account) -> Result<String, TargetError> {
    Ok(format!("DELETE FROM mayfly.accounts WHERE user = {}", quote::literal(account.name.as_str())?))
}

/// Forgets the expiry of an account at hosts it was not created for.
///
/// # Errors
/// When a name cannot be quoted.
pub(super) fn forget_hosts(account: &Account, hosts: &[&String]) -> Result<String, TargetError> {
    let hosts: Vec<String> = hosts.iter().map(|host| quote::literal(host)).collect::<Result<_, _>>()?;
    Ok(format!("{} AND host IN ({})", forget(account)?, hosts.join(", ")))
}

/// Forgets it once no session of any of the accounts is left: until then the switch looks for them.
///
/// # Errors
/// When a name cannot be quoted.
pub(super) fn forget_without_sessions(accounts: &[&Account]) -> Result<String, TargetError> {
    let sessions = super::sessions::question(accounts)?;
    let names = quote::names(accounts)?;
    Ok(format!("DELETE FROM mayfly.accounts WHERE user IN ({names}) AND NOT EXISTS ({sessions})"))
}

/// Moves the expiry: sees that the account is there and has not expired, then runs the role's own statements.
pub(super) async fn renew(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    expires_at: Timestamp,
    keeper: Keeper<'_>,
) -> Result<(), TargetError> {
    let registry = switch::required(link, keeper, switch::MARKS).await?;
    if end::hosts(link, leased.account).await?.is_empty() {
        return Err(TargetError::new(TargetErrorKind::Missing, "the account does not exist"));
    }
    if registry != Registry::Absent {
        shift(link, leased, expires_at).await?;
    }
    Values::of_leased(&leased, Some(expires_at)).run(link, &leased.plan.renew).await
}

/// Moves the expiry of an account unless the switch has locked it, or is about to. One that was issued before there was a
/// switch is watched from now on.
pub(super) async fn shift(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    at: Timestamp,
) -> Result<(), TargetError> {
    let now = link.clock().now();
    let shift = format!(
        "{} ON DUPLICATE KEY UPDATE expires_at = IF(locked_at IS NULL AND expires_at > UTC_TIMESTAMP(6), {}, expires_at)",
        insert(leased.account, leased.lease, at, now, ("", ""))?,
        on_servers_clock(at, now)
    );
    let sets = link.batch(&[shift, expired(leased.account)?]).await;
    refuse(
        sets.map_err(|stopped| errors::explain(stopped.failure.during(Step::Expiry), link.server()))?.get(1),
    )
}

/// Asks for the hosts of an account that the switch has locked, or is about to.
fn expired(account: &Account) -> Result<String, TargetError> {
    Ok(format!(
        "SELECT host FROM mayfly.accounts \
         WHERE user = {} AND (locked_at IS NOT NULL OR expires_at <= UTC_TIMESTAMP(6))",
        quote::literal(account.name.as_str())?
    ))
}

fn refuse(expired: Option<&Vec<Row>>) -> Result<(), TargetError> {
    if expired.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let message =
        "the account has expired on the target, which locks it: it cannot be renewed or put right any more";
    Err(TargetError::new(TargetErrorKind::Refused, message))
}

/// Says whether the switch has locked an account, or is about to.
///
/// # Errors
/// When it has or is.
pub(super) async fn refuse_expired(link: &mut Link<'_>, account: &Account) -> Result<(), TargetError> {
    let sets = link.batch(&[expired(account)?]).await;
    refuse(
        sets.map_err(|stopped| errors::explain(stopped.failure.during(Step::Expiry), link.server()))?.first(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_the_time_left_to_the_microsecond() {
        let now: Timestamp = "2026-11-22T01:02:03Z".parse().unwrap();
        let at = now + SignedDuration::from_micros(1_500_001);
        assert_eq!(on_servers_clock(at, now), "UTC_TIMESTAMP(6) + INTERVAL 1500001 MICROSECOND");
        assert_eq!(on_servers_clock(now, at), "UTC_TIMESTAMP(6) + INTERVAL -1500001 MICROSECOND");
        let far = on_servers_clock(Timestamp::MAX, now);
        assert_eq!(far, format!("UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND", FARTHEST.as_micros()));
    }
}
