//! Existing accounts that are given groups for a while.
//!
//! Their default roles are their own and stay as they are: whoever is elevated says `SET ROLE`, unless the server activates all roles
//! on login (`activate_all_roles_on_login`, MySQL). An open session keeps a role that was taken away, so sessions are ended.
//!
//! Where the dead-man's switch is, it takes the groups away by itself: of each group a row a lease is written to its table before the
//! group is given, and the switch takes what no row holds any more that is not over.

use jiff::Timestamp;

use super::{
    errors::{self, Failure, Step},
    existing::{Place, state},
    expiry,
    link::Link,
    quote,
    switch::{self, Keeper, Registry},
};
use crate::{
    domain::{ExistingAccount, LeaseId, TargetName},
    target::{Elevated, TargetError, TargetErrorKind},
};

/// Makes the account a member of groups; of what it is a member already it stays one. What the switch may have taken already is given
/// again.
pub(super) async fn elevate(
    link: &mut Link<'_>,
    elevated: Elevated<'_>,
    target: &TargetName,
) -> Result<(), TargetError> {
    let keeper = Keeper { expiry: elevated.expiry, target };
    let registry = switch::required(link, keeper, switch::KINDS).await?;
    let (account, place) = (elevated.account, Place::of(elevated.account)?);
    if registry == Registry::Whole && !elevated.groups.is_empty() {
        write(link, &elevated, &place).await?;
    }
    for group in elevated.groups {
        let statement = format!("GRANT {} TO {}", quote::identifier(group)?, place.whole);
        let Err(failure) = link.run(&statement).await else { continue };
        let error = errors::explain(failure.during(Step::Join(group.clone())), link.server());
        if !error.outcome_is_unknown() && state(link, account).await?.is_none() {
            let message = format!("the account {account} does not exist");
            return Err(TargetError::new(TargetErrorKind::Missing, message).caused_by(error));
        }
        return Err(error);
    }
    Ok(())
}

async fn write(link: &mut Link<'_>, elevated: &Elevated<'_>, place: &Place) -> Result<(), TargetError> {
    let Place { user, host, .. } = place;
    let lease = quote::literal(&elevated.lease.to_string())?;
    let expiry = expiry::on_servers_clock(elevated.expires_at, link.clock().now());
    let ends_sessions = if elevated.ends_sessions { "TRUE" } else { "FALSE" };
    let row = |group: &String| {
        Ok(format!("({user}, {host}, {}, {lease}, {expiry}, {ends_sessions})", quote::literal(group)?))
    };
    let rows: Vec<String> = elevated.groups.iter().map(row).collect::<Result<_, TargetError>>()?;
    let write = format!(
        "INSERT INTO mayfly.elevations (user, host, role, lease, expires_at, ends_sessions) VALUES {} \
         ON DUPLICATE KEY UPDATE expires_at = VALUES(expires_at), revoked_at = NULL, sessions_to = NULL, trouble = NULL",
        rows.join(", ")
    );
    let written = link.run(&write).await;
    written.map_err(|failure| errors::explain(failure.during(Step::Expiry), link.server()))
}

/// That a row is not over.
const LIVE: &str = "revoked_at IS NULL AND expires_at > UTC_TIMESTAMP(6)";

/// Moves the expiry, unless the switch has taken the groups or is about to.
pub(super) async fn keep_until(
    link: &mut Link<'_>,
    account: &ExistingAccount,
    lease: LeaseId,
    expires_at: Timestamp,
) -> Result<(), TargetError> {
    let rows = of_lease(&Place::of(account)?, lease)?;
    let moved = expiry::on_servers_clock(expires_at, link.clock().now());
    let batch = [
        format!("UPDATE mayfly.elevations SET expires_at = {moved} WHERE {rows} AND {LIVE}"),
        format!("SELECT role FROM mayfly.elevations WHERE {rows} AND NOT ({LIVE})"),
    ];
    let sets = match link.batch(&batch).await {
        Ok(sets) => sets,
        Err(stopped) => return where_there_is_one(Err(stopped.failure), link),
    };
    if sets.get(1).is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let message =
        "the elevation has expired on the target, which takes its groups away: it cannot be renewed any more";
    Err(TargetError::new(TargetErrorKind::Refused, message))
}

fn of_lease(Place { user, host, .. }: &Place, lease: LeaseId) -> Result<String, TargetError> {
    let lease = quote::literal(&lease.to_string())?;
    Ok(format!("user = {user} AND host = {host} AND lease = {lease}"))
}

/// Takes groups away from the account, and verifies that. Whether the account exists.
pub(super) async fn strip(
    link: &mut Link<'_>,
    account: &ExistingAccount,
    groups: &[String],
) -> Result<bool, TargetError> {
    let place = Place::of(account)?;
    for _ in 0..2 {
        let Some(state) = state(link, account).await? else {
            forget(link, &place, groups).await?;
            return Ok(false);
        };
        let held: Vec<&String> = groups.iter().filter(|group| state.member_of.contains(*group)).collect();
        if held.is_empty() {
            forget(link, &place, groups).await?;
            return Ok(true);
        }
        for group in held {
            let statement = format!("REVOKE {} FROM {}", quote::identifier(group)?, place.whole);
            let outcome = link.run(&statement).await;
            outcome.map_err(|failure| {
                errors::explain(failure.during(Step::Join(group.clone())), link.server())
            })?;
        }
    }
    let message = format!("the account {account} is still a member of a group that was taken from it");
    Err(TargetError::new(TargetErrorKind::Refused, message))
}

/// What was taken is over on the server as well, which ends the sessions there are should nobody come to do so.
async fn forget(link: &mut Link<'_>, place: &Place, groups: &[String]) -> Result<(), TargetError> {
    if groups.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = groups.iter().map(|group| quote::literal(group)).collect::<Result<_, _>>()?;
    let over = format!(
        "UPDATE mayfly.elevations SET revoked_at = UTC_TIMESTAMP(6), trouble = NULL, \
         sessions_to = (SELECT COALESCE(MAX(ID), 0) FROM information_schema.PROCESSLIST) \
         WHERE user = {} AND host = {} AND role IN ({}) AND revoked_at IS NULL",
        place.user,
        place.host,
        names.join(", ")
    );
    where_there_is_one(link.run(&over).await, link)
}

/// The server is to hold nothing for a lease any more. What others hold stays.
pub(super) async fn let_go(
    link: &mut Link<'_>,
    account: &ExistingAccount,
    lease: LeaseId,
) -> Result<(), TargetError> {
    let rows = of_lease(&Place::of(account)?, lease)?;
    let statement = format!("DELETE FROM mayfly.elevations WHERE {rows} AND revoked_at IS NULL");
    where_there_is_one(link.run(&statement).await, link)
}

/// Where there is no switch, or an old one, there is nothing to forget.
fn where_there_is_one(outcome: Result<(), Failure>, link: &Link<'_>) -> Result<(), TargetError> {
    match outcome {
        Err(failure) if !failure.code().is_some_and(errors::is_not_there) => {
            Err(errors::explain(failure.during(Step::Expiry), link.server()))
        }
        _ => Ok(()),
    }
}
