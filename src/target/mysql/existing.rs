//! Existing accounts: how they stand, and their sessions.

use super::{
    flavour::Flavour,
    found::STANDING,
    handed,
    link::Link,
    quote, sessions,
    switch::{self, Registry},
};
use crate::{
    domain::{Access, ExistingAccount, Role},
    target::{
        ExistingState, Finding, SessionsEnded, TargetError, TargetErrorKind, existing::standing_password,
    },
};

/// A session in the middle of something needs a moment to notice: looked at again this often, after this long.
const LOOKS: u32 = 20;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

/// One account at one host.
pub(super) struct Place {
    /// `'user'`.
    pub(super) user: String,
    /// `'host'`.
    pub(super) host: String,
    /// `'user'@'host'`.
    pub(super) whole: String,
}

impl Place {
    pub(super) fn of(account: &ExistingAccount) -> Result<Self, TargetError> {
        let [host] = account.hosts() else {
            let message = "an existing account is one name at one host";
            return Err(TargetError::new(TargetErrorKind::Refused, message));
        };
        Ok(Self {
            user: quote::literal(account.name())?,
            host: quote::literal(host.as_str())?,
            whole: quote::account(account.name(), host.as_str())?,
        })
    }
}

/// Privileges of MySQL's with which an account gets at others, or at any privilege.
const ADMINISTERING: &str = "'SYSTEM_USER', 'ROLE_ADMIN', 'SET_USER_ID', 'SET_ANY_DEFINER'";

/// The account as it stands, but for its expiry; `None`: there is none.
pub(super) async fn state(
    link: &mut Link<'_>,
    account: &ExistingAccount,
) -> Result<Option<ExistingState>, TargetError> {
    let Place { user, host, .. } = Place::of(account)?;
    let (locked, more) = match link.server().flavour {
        Flavour::Mysql => (
            "u.account_locked = 'Y'".to_owned(),
            format!(
                "EXISTS (SELECT 1 FROM mysql.global_grants g WHERE g.USER = u.User AND g.HOST = u.Host \
                 AND g.PRIV IN ({ADMINISTERING}))"
            ),
        ),
        Flavour::Mariadb => (
            "COALESCE((SELECT JSON_VALUE(p.Priv, '$.account_locked') FROM mysql.global_priv p \
             WHERE p.User = u.User AND p.Host = u.Host), '0') = '1'"
                .to_owned(),
            "FALSE".to_owned(),
        ),
    };
    let question = format!(
        "SELECT {locked}, CONCAT(u.User, '@', u.Host) = CURRENT_USER(), \
         u.Super_priv = 'Y' OR u.Create_user_priv = 'Y' OR u.Grant_priv = 'Y' OR {more}, u.Repl_slave_priv = 'Y' \
         FROM mysql.user u WHERE u.User = {user} AND u.Host = {host}"
    );
    let found: Vec<(bool, bool, bool, bool)> = link.ask(STANDING, &question).await?;
    let Some((locked, own, administers, replicates)) = found.into_iter().next() else { return Ok(None) };
    let barred = if own {
        Some("it is the account by which Mayfly administers the server".to_owned())
    } else if administers {
        Some("it administers accounts or the server itself".to_owned())
    } else if replicates {
        Some("it may replicate, and so read everything already".to_owned())
    } else {
        None
    };
    let memberships = match link.server().flavour {
        Flavour::Mysql => format!(
            "SELECT FROM_USER FROM mysql.role_edges WHERE TO_USER = {user} AND TO_HOST = {host} AND FROM_HOST = '%'"
        ),
        Flavour::Mariadb => {
            format!("SELECT Role FROM mysql.roles_mapping WHERE User = {user} AND Host = {host}")
        }
    };
    let member_of: Vec<String> = link.ask(STANDING, &memberships).await?;
    let member_of = member_of.into_iter().collect();
    Ok(Some(ExistingState { member_of, barred, may_log_in: !locked, expires_at: None }))
}

/// Ends the sessions there are under the account's name, at whatever host, and waits until those are gone: others may begin meanwhile.
pub(super) async fn end_sessions(
    link: &mut Link<'_>,
    account: &ExistingAccount,
) -> Result<SessionsEnded, TargetError> {
    let user = quote::literal(account.name())?;
    // Whoever is being let in just now may have been given its roles already.
    let begun = format!(
        "SELECT COALESCE(MAX(ID), 0) FROM information_schema.PROCESSLIST \
         WHERE USER = {user} OR USER = 'unauthenticated user'"
    );
    let last: Vec<u64> = link.ask(sessions::SESSIONS, &begun).await?;
    let last = last.first().copied().unwrap_or_default();
    let question =
        format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = {user} AND ID <= {last}");
    let mut told: Vec<u64> = Vec::new();
    let mut open: Vec<u64> = Vec::new();
    for look in 0..LOOKS {
        open = link.ask(sessions::SESSIONS, &question).await?;
        if open.is_empty() && look > 0 {
            break;
        }
        for id in &open {
            if !told.contains(id) {
                sessions::kill(link, *id).await?;
                told.push(*id);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    if open.is_empty() {
        handed::forget_taken_back(link, account).await;
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(SessionsEnded { ended: count(told.len()), remaining: count(open.len()) })
}

/// What is wrong with the existing accounts that a role names: missing, or not to be touched.
pub(super) async fn findings(link: &mut Link<'_>, role: &Role) -> Result<Vec<Finding>, TargetError> {
    let (accounts, handed_out): (Vec<&String>, bool) = match &role.access {
        Access::Elevation { accounts, .. } => (accounts.values().collect(), false),
        Access::Checkout { account, .. } => (vec![account], true),
        Access::Ephemeral => return Ok(Vec::new()),
    };
    let mut findings = Vec::new();
    for name in accounts {
        let Ok(account) = ExistingAccount::new(name, role.hosts.clone()) else { continue };
        let names = format!("the role {} names the account {account}", role.name);
        match handed::state(link, &account).await? {
            None => findings.push(Finding::problem(format!("{names}, which does not exist"))),
            Some(ExistingState { barred: Some(why), .. }) => {
                findings.push(Finding::problem(format!("{names}, which is left alone: {why}")));
            }
            Some(state) if handed_out && state.may_log_in && state.expires_at.is_none() => {
                // Without a place for its expiry, one that is handed out just now looks the same.
                if switch::seen(link).await? == Registry::Whole {
                    let words = standing_password(role.name.as_str(), &account.to_string());
                    findings.push(Finding::warning(words));
                }
            }
            Some(_) => {}
        }
    }
    Ok(findings)
}
