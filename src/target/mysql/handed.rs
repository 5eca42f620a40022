//! Existing accounts that are handed to a holder and taken back.
//!
//! Neither server does several things to an account in one transaction, so it is the order that holds: the expiry is written first, to
//! the table of the dead-man's switch and as of the kind that says so, and the account is enabled last, by which time nothing but the
//! fresh password is left to log in by. What bars an account is asked right before.

use jiff::{SignedDuration, Timestamp};

use super::{
    create,
    errors::{self, Failure, Step},
    existing::{self, Place},
    expiry,
    flavour::Flavour,
    link::Link,
    quote,
    switch::{self, Keeper, Registry},
};
use crate::{
    domain::{ExistingAccount, LeaseId},
    target::{AuthPlugin, ExistingState, HandedOut, Secret, TargetError, TargetErrorKind},
};

/// What is asked of the switch's table.
const ROW: &str = "when an existing account expires";

/// What the switch's table says of an account that is handed out.
struct Row {
    lease: String,
    /// Microseconds until it expires, by the server's clock.
    left: i64,
}

/// The account as it stands, and when it expires where that is known; `None`: there is none.
pub(super) async fn state(
    link: &mut Link<'_>,
    account: &ExistingAccount,
) -> Result<Option<ExistingState>, TargetError> {
    let Some(state) = existing::state(link, account).await? else { return Ok(None) };
    if switch::seen(link).await? != Registry::Whole {
        return Ok(Some(state));
    }
    let row = row(link, &Place::of(account)?).await?;
    let now = link.clock().now();
    let expires_at =
        row.map(|row| now.checked_add(SignedDuration::from_micros(row.left)).unwrap_or(Timestamp::MAX));
    Ok(Some(ExistingState { expires_at, ..state }))
}

async fn row(link: &mut Link<'_>, place: &Place) -> Result<Option<Row>, TargetError> {
    let question = format!(
        "SELECT lease, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at) FROM mayfly.accounts WHERE {}",
        of(place)
    );
    let rows: Vec<(String, i64)> = link.ask(ROW, &question).await?;
    Ok(rows.into_iter().next().map(|(lease, left)| Row { lease, left }))
}

/// That a row of the switch's table is an account's that is handed out.
fn of(place: &Place) -> String {
    format!("user = {} AND host = {} AND kind = 'checkout'", place.user, place.host)
}

/// Makes a secret the only way to log in, until the expiry.
pub(super) async fn check_out(
    link: &mut Link<'_>,
    handed: HandedOut<'_>,
    (secret, plugin): (&Secret, AuthPlugin),
    keeper: Keeper<'_>,
) -> Result<(), TargetError> {
    let registry = switch::required(link, keeper, switch::KINDS).await?;
    let (place, account) = (Place::of(handed.account)?, handed.account);
    let Some(state) = existing::state(link, account).await? else { return Err(missing(account)) };
    if let Some(why) = state.barred {
        let message = format!("the account {account} is left alone: {why}");
        return Err(TargetError::new(TargetErrorKind::Refused, message));
    }
    let mut batch = Vec::new();
    let mut anew = false;
    if registry == Registry::Whole {
        let before = row(link, &place).await?;
        refuse_anothers(before.as_ref(), handed, &place)?;
        anew = before.is_none_or(|row| row.lease != handed.lease.to_string());
        let now = link.clock().now();
        let taken_over = "lease = VALUES(lease), expires_at = VALUES(expires_at), locked_at = NULL, trouble = NULL, \
             mark = NULL, own_statements = NULL, kind = VALUES(kind)";
        batch.push(format!("{} ON DUPLICATE KEY UPDATE {taken_over}", insert(&place, handed, now)?));
    }
    let written = batch.len();
    batch.extend(opening(link.server().flavour, plugin, secret, &place)?);
    let Err(stopped) = link.batch(&batch).await else { return Ok(()) };
    let step = if stopped.done < written { Step::Expiry } else { Step::Account };
    let error = explain(stopped.failure.during(step), account, link);
    if !error.outcome_is_unknown() {
        if anew && stopped.done >= written {
            forget(link, &place).await;
        }
        link.forget_switch();
    }
    Err(error)
}

/// Another installation may administer the server as well: what it has handed out is not handed out again.
fn refuse_anothers(row: Option<&Row>, handed: HandedOut<'_>, place: &Place) -> Result<(), TargetError> {
    let Some(row) = row.filter(|row| row.left > 0 && row.lease != handed.lease.to_string()) else {
        return Ok(());
    };
    let message = format!(
        "the account {} is handed out already on the target, for the lease {}: this installation knows nothing of that",
        handed.account, row.lease
    );
    let remedy = format!(
        "-- if no other installation has that lease\nDELETE FROM mayfly.accounts WHERE {} AND lease = {};",
        of(place),
        quote::literal(&row.lease)?
    );
    Err(TargetError::new(TargetErrorKind::Refused, message).mended_by(remedy))
}

fn insert(place: &Place, handed: HandedOut<'_>, now: Timestamp) -> Result<String, TargetError> {
    Ok(format!(
        "INSERT INTO mayfly.accounts (user, host, lease, expires_at, kind) VALUES ({}, {}, {}, {}, 'checkout')",
        place.user,
        place.host,
        quote::literal(&handed.lease.to_string())?,
        expiry::on_servers_clock(handed.expires_at, now)
    ))
}

/// The account stays locked until nothing else is left to log in by: on MySQL a second password may be, on MariaDB what the account
/// logged in by is replaced whole.
fn opening(
    flavour: Flavour,
    plugin: AuthPlugin,
    secret: &Secret,
    Place { whole, .. }: &Place,
) -> Result<Vec<String>, TargetError> {
    let mut statements = closing(flavour, plugin, secret, whole)?;
    statements.push(format!("ALTER USER {whole} ACCOUNT UNLOCK"));
    Ok(statements)
}

fn closing(
    flavour: Flavour,
    plugin: AuthPlugin,
    secret: &Secret,
    whole: &str,
) -> Result<Vec<String>, TargetError> {
    let identified = create::identification(flavour, plugin, secret)?;
    let mut statements = vec![format!("ALTER USER {whole} {identified} ACCOUNT LOCK")];
    if flavour == Flavour::Mysql {
        statements.push(format!("ALTER USER {whole} DISCARD OLD PASSWORD"));
    }
    Ok(statements)
}

/// Moves the expiry, unless the switch has locked the account or is about to.
pub(super) async fn prolong(
    link: &mut Link<'_>,
    handed: HandedOut<'_>,
    keeper: Keeper<'_>,
) -> Result<(), TargetError> {
    let registry = switch::required(link, keeper, switch::KINDS).await?;
    let (place, account) = (Place::of(handed.account)?, handed.account);
    let Some(state) = existing::state(link, account).await? else { return Err(missing(account)) };
    let expired =
        format!("the account {account} is locked on the target: its expiry cannot be moved any more");
    let expired = || TargetError::new(TargetErrorKind::Refused, expired.clone());
    if !state.may_log_in {
        return Err(expired());
    }
    if registry != Registry::Whole {
        return Ok(());
    }
    let now = link.clock().now();
    let (lease, moved) = (lease(handed.lease)?, expiry::on_servers_clock(handed.expires_at, now));
    let live = format!("lease = {lease} AND locked_at IS NULL AND expires_at > UTC_TIMESTAMP(6)");
    let shift = format!(
        "{} ON DUPLICATE KEY UPDATE expires_at = IF({live}, {moved}, expires_at)",
        insert(&place, handed, now)?
    );
    let over = format!("SELECT host FROM mayfly.accounts WHERE {} AND NOT ({live})", of(&place));
    let sets = link.batch(&[shift, over]).await;
    let sets = sets.map_err(|stopped| explain(stopped.failure.during(Step::Expiry), account, link))?;
    if sets.get(1).is_none_or(Vec::is_empty) { Ok(()) } else { Err(expired()) }
}

fn lease(lease: LeaseId) -> Result<String, TargetError> {
    quote::literal(&lease.to_string())
}

/// Takes it back: with a password that nobody was told, and locked. Whether it exists. From then on it is due on the target, so that its
/// sessions end even if nobody comes to end them.
pub(super) async fn check_in(
    link: &mut Link<'_>,
    account: &ExistingAccount,
    (secret, plugin): (&Secret, AuthPlugin),
) -> Result<bool, TargetError> {
    let place = Place::of(account)?;
    let question = format!(
        "SELECT CONCAT(User, '@', Host) = CURRENT_USER() FROM mysql.user WHERE User = {} AND Host = {}",
        place.user, place.host
    );
    let found: Vec<bool> = link.ask(super::end::ACCOUNTS, &question).await?;
    let Some(&own) = found.first() else {
        forget(link, &place).await;
        return Ok(false);
    };
    if own {
        let message = "the account by which Mayfly administers the server is never locked";
        return Err(TargetError::new(TargetErrorKind::Refused, message));
    }
    let statements = closing(link.server().flavour, plugin, secret, &place.whole)?;
    if let Err(stopped) = link.batch(&statements).await {
        let error = explain(stopped.failure, account, link);
        if error.kind != TargetErrorKind::Missing {
            return Err(error);
        }
        forget(link, &place).await;
        return Ok(false);
    }
    let due = format!(
        "UPDATE mayfly.accounts SET expires_at = LEAST(expires_at, UTC_TIMESTAMP(6)), \
         locked_at = COALESCE(locked_at, UTC_TIMESTAMP(6)), trouble = NULL WHERE {}",
        of(&place)
    );
    match link.run(&due).await {
        Err(failure) if !failure.code().is_some_and(errors::is_not_there) => {
            Err(explain(failure.during(Step::Expiry), account, link))
        }
        _ => Ok(true),
    }
}

/// Forgets the expiry of an account that was taken back, once no session of it is left: until then the switch looks for them.
pub(super) async fn forget_taken_back(link: &mut Link<'_>, account: &ExistingAccount) {
    let Ok(place) = Place::of(account) else { return };
    let open = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = {}", place.user);
    let over = format!("{} AND locked_at IS NOT NULL AND NOT EXISTS ({open})", of(&place));
    delete(link, &over, &place).await;
}

async fn forget(link: &mut Link<'_>, place: &Place) {
    delete(link, &of(place), place).await;
}

/// Where there is no dead-man's switch there is nothing to forget, and what is left there is taken over by who has the account next.
async fn delete(link: &mut Link<'_>, condition: &str, place: &Place) {
    if let Err(failure) = link.run(&format!("DELETE FROM mayfly.accounts WHERE {condition}")).await {
        let error = errors::explain(failure.during(Step::Expiry), link.server());
        tracing::debug!(account = %place.whole, %error, "the expiry of an existing account stays with the server");
    }
}

fn missing(account: &ExistingAccount) -> TargetError {
    TargetError::new(TargetErrorKind::Missing, format!("the account {account} does not exist"))
}

fn explain(failure: Failure, account: &ExistingAccount, link: &Link<'_>) -> TargetError {
    if failure.code() == Some(errors::CANNOT_USER) {
        return missing(account);
    }
    errors::explain(failure, link.server())
}
