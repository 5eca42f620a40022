//! Whether the switch is there and works.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{COMMENT, KINDS, MARKS, SCHEMA, VERSION, body};
use crate::{
    domain::TargetName,
    target::{
        Expiry, TargetError, TargetErrorKind,
        mysql::{link::Link, privileges::Privilege, quote},
    },
};

/// What is asked of the switch.
const SWITCH: &str = "the dead-man's switch";
/// What was seen of it is trusted for this long.
const TRUSTED: SignedDuration = SignedDuration::from_secs(10);

/// What there is of the switch on a server.
#[derive(Debug)]
pub(in crate::target::mysql) struct Switch {
    /// The server's word for its scheduler: `ON`, `OFF` or `DISABLED`.
    pub(super) scheduler: String,
    /// `None`: not installed, or not to be seen by the administration account.
    pub(super) event: Option<Event>,
}

/// The event.
#[derive(Debug)]
pub(super) struct Event {
    /// The server's word: `ENABLED`, or another.
    pub(super) status: String,
    /// 0: not one of ours.
    pub(super) version: u32,
    /// Whose rights it runs with, quoted.
    pub(super) definer: String,
    pub(super) definer_exists: bool,
    /// Does what this version does.
    pub(super) is_ours: bool,
}

/// A reason why accounts would not expire, and what mends it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::target::mysql) struct Trouble {
    pub(in crate::target::mysql) words: String,
    pub(in crate::target::mysql) remedy: String,
}

/// Looks at the switch.
pub(in crate::target::mysql) async fn look(link: &mut Link<'_>) -> Result<Switch, TargetError> {
    type Row = (String, Option<String>, Option<String>, Option<String>, Option<String>);
    let question = format!(
        "SELECT CAST(@@GLOBAL.event_scheduler AS CHAR), e.STATUS, e.EVENT_COMMENT, e.DEFINER, e.EVENT_DEFINITION \
         FROM (SELECT 1) one LEFT JOIN information_schema.EVENTS e \
         ON e.EVENT_SCHEMA = {} AND e.EVENT_NAME = 'expire'",
        quote::literal(SCHEMA)?
    );
    let rows: Vec<Row> = link.ask(SWITCH, &question).await?;
    let (scheduler, status, comment, definer, does) = rows.into_iter().next().unwrap_or_default();
    let event = match (status, definer) {
        (Some(status), Some(definer)) => {
            let (user, host) = definer.rsplit_once('@').unwrap_or((&definer, "%"));
            Some(Event {
                status,
                version: version(&comment.unwrap_or_default()),
                definer_exists: exists(link, user, host).await?,
                definer: quote::account(user, host)?,
                is_ours: same(&does.unwrap_or_default(), body()),
            })
        }
        _ => None,
    };
    let scheduler = if scheduler == "1" { "ON".to_owned() } else { scheduler };
    Ok(Switch { scheduler, event })
}

/// What a server has to keep expiries and marks in: each has what those before it have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::target::mysql) enum Registry {
    /// Nothing.
    #[default]
    Absent,
    /// The table of version 1, which has no place for marks.
    WithoutMarks,
    /// The table of version 2, which has no place for accounts that were there before Mayfly.
    WithoutKinds,
    /// The table.
    Whole,
}

/// Who sees to the expiry of a target's accounts.
#[derive(Debug, Clone, Copy)]
pub(in crate::target::mysql) struct Keeper<'a> {
    pub(in crate::target::mysql) expiry: Expiry,
    pub(in crate::target::mysql) target: &'a TargetName,
}

/// What there is of the switch, looked at unless this connection did a moment ago.
async fn recent(link: &mut Link<'_>) -> Result<Arc<Switch>, TargetError> {
    let now = link.clock().now();
    if let Some((at, switch)) = link.seen_switch()
        && (SignedDuration::ZERO..TRUSTED).contains(&now.duration_since(at))
    {
        return Ok(switch);
    }
    let switch = Arc::new(look(link).await?);
    link.saw_switch(now, Arc::clone(&switch));
    Ok(switch)
}

/// What expiries are to be read from, whatever else of the switch may be in trouble.
pub(in crate::target::mysql) async fn seen(link: &mut Link<'_>) -> Result<Registry, TargetError> {
    Ok(recent(link).await?.registry())
}

/// What expiries are to be written to, where a version or a later one is needed.
///
/// An old version is not put up with where the server is to see to expiry: on MariaDB an account without a mark is one
/// that nobody may end once its lease is lost.
///
/// # Errors
/// When it would not do its work and the target's accounts are not to be without.
pub(in crate::target::mysql) async fn required(
    link: &mut Link<'_>,
    Keeper { expiry, target }: Keeper<'_>,
    needed: u32,
) -> Result<Registry, TargetError> {
    let switch = recent(link).await?;
    match (switch.trouble(link, target, needed), expiry) {
        (Some(trouble), Expiry::Server) => {
            link.forget_switch();
            Err(trouble.into())
        }
        (_, Expiry::Issuer) | (None, Expiry::Server) => Ok(switch.registry()),
    }
}

/// What expiries and marks are to be read from. The rest of the switch may be in trouble.
///
/// # Errors
/// When there is nothing and the target's accounts are not to be without.
pub(in crate::target::mysql) async fn registry(
    link: &mut Link<'_>,
    keeper: Keeper<'_>,
) -> Result<Registry, TargetError> {
    let switch = look(link).await?;
    match (switch.registry(), keeper.expiry) {
        (Registry::Absent, Expiry::Server) => Err(switch.refusal(link, keeper.target)),
        (registry, _) => Ok(registry),
    }
}

impl From<Trouble> for TargetError {
    fn from(trouble: Trouble) -> Self {
        let message = format!("accounts would not expire on the target: {}", trouble.words);
        TargetError::new(TargetErrorKind::Refused, message).mended_by(trouble.remedy)
    }
}

impl Switch {
    pub(super) fn registry(&self) -> Registry {
        match &self.event {
            None => Registry::Absent,
            Some(event) if event.version < MARKS => Registry::WithoutMarks,
            Some(event) if event.version < KINDS => Registry::WithoutKinds,
            Some(_) => Registry::Whole,
        }
    }

    fn refusal(&self, link: &Link<'_>, target: &TargetName) -> TargetError {
        let unseen = || TargetError::new(TargetErrorKind::Refused, "the target has no dead-man's switch");
        self.trouble(link, target, MARKS).map_or_else(unseen, TargetError::from)
    }

    /// The first reason why accounts would not expire that need a version or a later one.
    pub(in crate::target::mysql) fn trouble(
        &self,
        link: &Link<'_>,
        target: &TargetName,
        needed: u32,
    ) -> Option<Trouble> {
        let server = link.server();
        let trouble = |words: &str, remedy: String| Some(Trouble { words: words.to_owned(), remedy });
        let install = install(target);
        let Some(event) = &self.event else {
            return trouble(
                "the dead-man's switch is not installed, or the administration account may not see it",
                format!("{install}\n{}", Privilege::Expiries.grant(server)),
            );
        };
        if event.version < needed {
            let words =
                format!("the dead-man's switch is of version {}; version {needed} is needed", event.version);
            return trouble(&words, install);
        }
        if !event.definer_exists {
            let words = format!(
                "the account {} does not exist any more, with whose rights the dead-man's switch runs",
                event.definer
            );
            return trouble(&words, install);
        }
        if event.status != "ENABLED" {
            return trouble(
                "the event of the dead-man's switch is disabled, as it is after a failover to a replica",
                // Whoever alters an event becomes its definer unless another is named.
                format!("ALTER DEFINER = {} EVENT mayfly.expire ENABLE;", event.definer),
            );
        }
        match self.scheduler.as_str() {
            "ON" => None,
            "DISABLED" => trouble(
                "the event scheduler is disabled, so the dead-man's switch does nothing",
                "-- start the server with event_scheduler = ON".to_owned(),
            ),
            word => trouble(
                &format!("the event scheduler is {word}, so the dead-man's switch does nothing"),
                "-- and event_scheduler = ON in the server's configuration, for its next start\n\
                 SET GLOBAL event_scheduler = ON;"
                    .to_owned(),
            ),
        }
    }

    /// Its version, where that is older than what this Mayfly installs.
    pub(in crate::target::mysql) fn old_version(&self) -> Option<u32> {
        self.event.as_ref().map(|event| event.version).filter(|version| *version < VERSION)
    }

    /// Newer than what this Mayfly installs.
    pub(in crate::target::mysql) fn is_newer(&self) -> bool {
        self.event.as_ref().is_some_and(|event| event.version > VERSION)
    }

    /// Of this version, and yet does something else.
    pub(in crate::target::mysql) fn is_altered(&self) -> bool {
        self.event.as_ref().is_some_and(|event| event.version == VERSION && !event.is_ours)
    }

    /// Whose rights it runs with, quoted.
    pub(in crate::target::mysql) fn definer(&self) -> Option<&str> {
        self.event.as_ref().map(|event| event.definer.as_str())
    }
}

async fn exists(link: &mut Link<'_>, user: &str, host: &str) -> Result<bool, TargetError> {
    if quote::account(user, host)? == link.server().administrator {
        return Ok(true);
    }
    let (user, host) = (quote::literal(user)?, quote::literal(host)?);
    let question = format!("SELECT Host FROM mysql.user WHERE User = {user} AND Host = {host}");
    let found: Vec<String> = link.ask(crate::target::mysql::end::ACCOUNTS, &question).await?;
    Ok(!found.is_empty())
}

/// What installs or upgrades it.
pub(super) fn install(target: &TargetName) -> String {
    format!("-- mayfly doctor --config FILE --install {target}   (--print: the SQL for it)")
}

fn version(comment: &str) -> u32 {
    comment.strip_prefix(COMMENT).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The same but for white space, which clients may change.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_comment() {
        assert_eq!(version("mayfly switch, version 12"), 12);
        assert_eq!(version("mayfly switch, version x"), 0);
        assert_eq!(version("somebody's event"), 0);
    }

    #[test]
    fn white_space_makes_no_difference() {
        assert!(same("BEGIN\n  KILL x;\nEND", "BEGIN KILL x; END"));
        assert!(!same("BEGIN KILL x; END", "BEGIN KILL y; END"));
    }
}
