//! What kind of access `[roles.NAME]` gives.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    reader::{Located, quoted},
    section::Section,
    target::Draft,
};
use crate::domain::{Access, Engine, ExistingAccount, HostPattern, PrincipalName, Role};

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
    if kind != "elevation" {
        for word in ["accounts", "end_sessions", "expiry"] {
            section.refuse(word, "is for roles with kind = \"elevation\"");
        }
    }
    if kind != "checkout" {
        for word in ["account", "queue"] {
            section.refuse(word, "is for roles with kind = \"checkout\"");
        }
    }
    match kind {
        "elevation" => elevation(section, engine, members, hosts),
        "checkout" => checkout(section, engine, hosts),
        _ => Some(Access::Ephemeral),
    }
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
    refuse_several_hosts(section, hosts);
    let (accounts, end_sessions) = (accounts(section, engine), section.flag("end_sessions"));
    let ends_by_itself = section.choice("expiry")?.value != "issuer";
    if ends_by_itself && engine == Some(Engine::Postgres) {
        section.miss(
            "expiry",
            "PostgreSQL takes no groups back by itself: while Mayfly does not run, an elevation outlives its expiry. Agree to \
             that with expiry = \"issuer\", or use a role of another kind",
        );
    }
    Some(Access::Elevation { accounts: accounts?, end_sessions: end_sessions?, ends_by_itself })
}

fn checkout(section: &Section<'_>, engine: Option<Engine>, hosts: Option<&[HostPattern]>) -> Option<Access> {
    for word in OF_MADE_ACCOUNTS.into_iter().filter(|word| *word != "scram_iterations") {
        section.refuse(word, "is for accounts that Mayfly makes; one that is handed out stays as it is");
    }
    section.refuse(
        "member_of",
        "is not for an account that is handed out: it may do what it was granted, and keeps that",
    );
    refuse_several_hosts(section, hosts);
    let queue = section.number("queue");
    let Some(account) = section.text("account") else {
        if section.written("account").is_none() {
            section.miss("account", "says which existing account is handed out, as in account = \"app\"");
        }
        return None;
    };
    let sound = check_account(section, engine, &account);
    let queue = queue?.value;
    sound.then_some(Access::Checkout { account: account.value, queue })
}

fn refuse_several_hosts(section: &Section<'_>, hosts: Option<&[HostPattern]>) {
    if hosts.is_some_and(|hosts| hosts.len() > 1) {
        let at = section.written("hosts").unwrap_or(section.at.clone());
        section.reader.complain(&at, "an existing account is one name at one host: name that host");
    }
}

/// Whether a text can be the name of an existing account there.
fn check_account(section: &Section<'_>, engine: Option<Engine>, account: &Located<String>) -> bool {
    let limit = engine.map_or(80, Engine::account_name_limit);
    let message = match ExistingAccount::new(&account.value, Vec::new()) {
        Err(error) => error.to_string(),
        Ok(_) if account.value.len() > limit => format!("no account has more than {limit} bytes there"),
        Ok(_) => return true,
    };
    section.reader.complain(&account.at, message);
    false
}

/// Refuses what no account can be at once: handed out, and elevated, or what administers its target.
pub(super) fn check_shared(root: &Section<'_>, roles: &[Option<Role>], targets: &[Draft]) {
    let sections = root.child("roles").children();
    let written = |role: &Role, word| {
        let section =
            sections.iter().find(|(name, _)| name.value == role.name.as_str()).map(|(_, section)| section);
        section.map(|section| section.written(word).unwrap_or(section.at.clone()))
    };
    for role in roles.iter().flatten() {
        let Access::Checkout { account, .. } = &role.access else { continue };
        let Some(at) = written(role, "account") else { continue };
        let target = targets.iter().find(|draft| draft.name == role.target.as_str());
        let administrator = target.and_then(|draft| draft.settings.as_ref()).map(|settings| &settings.user);
        if administrator == Some(account) {
            root.reader.complain(
                &at,
                "is the account by which Mayfly administers the target: it would lock itself out",
            );
        }
        let on_target = || roles.iter().flatten().filter(|other| other.target == role.target);
        let elevates = |other: &&Role| match &other.access {
            Access::Elevation { accounts, .. } => accounts.values().any(|elevated| elevated == account),
            Access::Ephemeral | Access::Checkout { .. } => false,
        };
        let elsewhere = |other: &&Role| match &other.access {
            Access::Checkout { account: others, .. } => others == account && other.hosts != role.hosts,
            Access::Ephemeral | Access::Elevation { .. } => false,
        };
        if let Some(other) = on_target().find(elsewhere) {
            let message = format!(
                "{} is handed out by the role {} as well, at other hosts: sessions of one name end together, so name the same host",
                quoted(account),
                other.name
            );
            root.reader.complain(&at, message);
        }
        if let Some(other) = on_target().find(elevates) {
            let message = format!(
                "{} is elevated by the role {}: an account is either a person's own or handed out, and not both",
                quoted(account),
                other.name
            );
            root.reader.complain(&at, message);
        }
    }
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
    let (mut accounts, mut seen, mut sound) = (BTreeMap::new(), BTreeSet::new(), !entries.is_empty());
    for (principal, account) in entries {
        sound &= check_account(section, engine, &account);
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
