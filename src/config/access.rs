//! What kind of access `[roles.NAME]` gives.

use std::collections::{BTreeMap, BTreeSet};

use super::{reader::quoted, section::Section};
use crate::domain::{Access, Engine, ExistingAccount, HostPattern, PrincipalName};

/// Keys that are about an account that Mayfly makes.
const OF_MADE_ACCOUNTS: [&str; 5] =
    ["connection_limit", "settings", "owned_objects", "scram_iterations", "statements"];

/// Reads the kind, and what belongs to it.
pub(super) fn access(
    section: &Section<'_>,
    kind: &str,
    engine: Option<Engine>,
    (members, hosts): (Option<&[String]>, Option<&[HostPattern]>),
) -> Option<Access> {
    if kind == "elevation" {
        return elevation(section, engine, members, hosts);
    }
    for word in ["accounts", "end_sessions", "expiry"] {
        section.refuse(word, "is for roles with kind = \"elevation\"");
    }
    Some(Access::Ephemeral)
}

fn elevation(
    section: &Section<'_>,
    engine: Option<Engine>,
    members: Option<&[String]>,
    hosts: Option<&[HostPattern]>,
) -> Option<Access> {
    for word in OF_MADE_ACCOUNTS {
        section.refuse(word, "is for accounts that Mayfly makes; an elevation leaves the account as it is");
    }
    if members.is_some_and(<[String]>::is_empty) {
        section.miss("member_of", "an elevation gives groups: name at least one");
    }
    if hosts.is_some_and(|hosts| hosts.len() > 1) {
        let at = section.written("hosts").unwrap_or(section.at.clone());
        section.reader.complain(&at, "an existing account is one name at one host: name that host");
    }
    let (accounts, end_sessions) = (accounts(section, engine), section.flag("end_sessions"));
    if section.choice("expiry")?.value != "issuer" {
        section.miss(
            "expiry",
            "no server takes groups back by itself: while Mayfly does not run, an elevation outlives its expiry. Agree to that \
             with expiry = \"issuer\", or use a role of another kind",
        );
    }
    Some(Access::Elevation { accounts: accounts?, end_sessions: end_sessions? })
}

fn accounts(section: &Section<'_>, engine: Option<Engine>) -> Option<BTreeMap<PrincipalName, String>> {
    let reader = section.reader;
    let Some(entries) = section.table("accounts") else {
        if section.written("accounts").is_none() {
            let message =
                "says whose account is which, as in accounts = { \"alice@example.com\" = \"alice\" }";
            section.miss("accounts", message);
        }
        return None;
    };
    if entries.is_empty() {
        let at = section.written("accounts").unwrap_or(section.at.clone());
        reader.complain(&at, "names no account: nobody could use this role");
    }
    let limit = engine.map_or(80, Engine::account_name_limit);
    let (mut accounts, mut seen, mut sound) = (BTreeMap::new(), BTreeSet::new(), !entries.is_empty());
    for (principal, account) in entries {
        if let Err(error) = ExistingAccount::new(&account.value, Vec::new()) {
            reader.complain(&account.at, error.to_string());
            sound = false;
        } else if account.value.len() > limit {
            reader.complain(&account.at, format!("no account has more than {limit} bytes there"));
            sound = false;
        }
        if !seen.insert(account.value.clone()) {
            let message = format!(
                "{} is the account of several: what one of them is given, all of them have",
                quoted(&account.value)
            );
            reader.warn(&account.at, message);
        }
        match reader.parse::<PrincipalName>(&principal) {
            Some(principal) => drop(accounts.insert(principal, account.value)),
            None => sound = false,
        }
    }
    sound.then_some(accounts)
}
