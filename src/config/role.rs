//! `[roles.NAME]`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    access,
    approval::{self, Approvals},
    keys::{self, spell},
    reader::{Located, Reader, check_name, quoted},
    section::Section,
    statement::{self, Step},
    target::{Draft, database_limit},
};
use crate::domain::{
    Access, Engine, HostPattern, LeaseLimits, OwnedObjects, Role, RoleName, Statements, Subject, TargetName,
    Ttl, TtlBounds,
};

/// Iterations below which some drivers refuse to log in; libpq's own number.
const CUSTOMARY_ITERATIONS: u32 = 4096;

pub(super) fn role(
    name: &Located<String>,
    section: &Section<'_>,
    targets: &[Draft],
    approvals: &Approvals,
) -> Option<Role> {
    let reader = section.reader;
    let role_name: Option<RoleName> = reader.parse(name);
    let target = section.text("target");
    let engine = target.as_ref().and_then(|target| engine_of(reader, target, targets));
    let description = description(section);
    let ttl = ttl(section);
    let database = section.name("database", database_limit(engine));
    let connection_limit = section.number("connection_limit");
    let scram_iterations = scram_iterations(section, engine);
    let limits = limits(section);
    let allow = allow(section, approvals.others_may_allow);
    let approval = approval::of_role(section, approvals);
    let hosts = hosts(section, engine);
    let settings = settings(section, engine);
    let kind = section.choice("kind").map(|kind| kind.value);
    let members = member_of(section, engine, kind.as_deref() == Some("ephemeral"));
    let access = kind
        .as_deref()
        .and_then(|kind| access::access(section, kind, engine, (members.as_deref(), hosts.as_deref())));
    let owned_objects = owned_objects(section, engine, members.as_deref());
    let statements = statements(&section.child("statements"), engine, members.as_deref());
    if let (Some([]), Some(statements)) = (members.as_deref(), &statements)
        && statements.create.is_empty()
        && access == Some(Access::Ephemeral)
    {
        reader.warn(
            &section.at,
            "has no member_of and no statements.create: its accounts can do next to nothing",
        );
    }
    let target: Option<TargetName> = target.and_then(|target| reader.parse(&target));
    engine?;
    Some(Role {
        name: role_name?,
        target: target?,
        description: description?,
        member_of: members?,
        ttl: ttl?,
        database: database.map(|database| database.value),
        connection_limit: connection_limit.map(|limit| limit.value),
        hosts: hosts?,
        settings: settings?,
        owned_objects: owned_objects?,
        scram_iterations: scram_iterations?,
        limits: limits?,
        statements: statements?,
        allow: allow?,
        access: access?,
        approval: approval?,
    })
}

fn engine_of(reader: &Reader<'_>, target: &Located<String>, targets: &[Draft]) -> Option<Engine> {
    if let Some(draft) = targets.iter().find(|draft| draft.name == target.value) {
        return draft.engine;
    }
    let names: Vec<_> = targets.iter().map(|draft| draft.name.as_str()).collect();
    let wanted = quoted(&target.value);
    let message = match keys::nearest(&target.value, names.iter().copied()) {
        _ if names.is_empty() => format!("there is no target {wanted}; none is configured"),
        Some(near) if names.len() > 8 => {
            format!("there is no target {wanted}; did you mean {}?", quoted(near))
        }
        _ => {
            let known: Vec<_> = names.iter().take(8).map(|name| name.escape_debug().to_string()).collect();
            let more = if names.len() > 8 { ", …" } else { "" };
            format!("there is no target {wanted}; known targets: {}{more}", known.join(", "))
        }
    };
    reader.complain(&target.at, message);
    None
}

fn description(section: &Section<'_>) -> Option<String> {
    let text = section.text("description")?;
    if text.value.chars().any(char::is_control) || text.value.len() > 300 {
        section.reader.complain(&text.at, "is for one line: no line breaks, at most 300 bytes");
        return None;
    }
    Some(text.value)
}

fn ttl(section: &Section<'_>) -> Option<TtlBounds> {
    let (default, max) = (section.duration("default_ttl"), section.duration("max_ttl"));
    let (default, max) = (default?, max?);
    if default.value > max.value {
        let at = if section.written("default_ttl").is_some() { &default.at } else { &max.at };
        section.reader.complain(
            at,
            format!("default_ttl ({}) is above max_ttl ({})", spell(default.value), spell(max.value)),
        );
        return None;
    }
    TtlBounds::new(Ttl::new(default.value).ok()?, Ttl::new(max.value).ok()?).ok()
}

fn scram_iterations(section: &Section<'_>, engine: Option<Engine>) -> Option<u32> {
    if engine.is_some_and(|engine| engine != Engine::Postgres) {
        section.refuse("scram_iterations", "is for PostgreSQL only");
    }
    let iterations = section.number::<u32>("scram_iterations")?;
    if iterations.value < CUSTOMARY_ITERATIONS {
        section.reader.warn(
            &iterations.at,
            "some drivers refuse fewer than 4096 iterations (older pgjdbc, Bun): know the clients of this role",
        );
    }
    Some(iterations.value)
}

fn limits(section: &Section<'_>) -> Option<LeaseLimits> {
    let (own, total) = (section.number::<u32>("leases_per_principal"), section.number::<u32>("leases_total"));
    let (own, total) = (own?, total?);
    if own.value > total.value && section.written("leases_per_principal").is_some() {
        section.reader.warn(&own.at, format!("is never reached: leases_total is {}", total.value));
    }
    Some(LeaseLimits { per_principal: own.value, total: total.value })
}

/// `others`: there are policies that may let somebody use it.
fn allow(section: &Section<'_>, others: bool) -> Option<Vec<Subject>> {
    let texts = section.texts("allow")?;
    if texts.is_empty() && !others {
        let at = section.written("allow").unwrap_or(section.at.clone());
        section.reader.warn(&at, "nobody may use this role: allow names nobody");
    }
    section.reader.parse_all(&texts)
}

fn hosts(section: &Section<'_>, engine: Option<Engine>) -> Option<Vec<HostPattern>> {
    let texts = section.texts("hosts");
    match engine? {
        Engine::Postgres => {
            section.refuse(
                "hosts",
                "is for MySQL and MariaDB only; on PostgreSQL pg_hba.conf says where accounts connect from",
            );
            Some(Vec::new())
        }
        Engine::Mysql | Engine::Mariadb if section.written("hosts").is_none() => {
            Some(vec![HostPattern::any()])
        }
        Engine::Mysql | Engine::Mariadb => {
            let texts = texts?;
            if texts.is_empty() {
                let at = section.written("hosts").unwrap_or(section.at.clone());
                section.reader.complain(&at, "names no host; leave it out for any, which is \"%\"");
                return None;
            }
            let unique = refuse_repeated(section.reader, &texts, str::to_ascii_lowercase);
            section.reader.parse_all(&texts).filter(|_| unique)
        }
    }
}

fn settings(section: &Section<'_>, engine: Option<Engine>) -> Option<BTreeMap<String, String>> {
    let reader = section.reader;
    if engine.is_some_and(|engine| engine != Engine::Postgres) {
        section.refuse(
            "settings",
            "is for PostgreSQL only: the others have no settings that belong to an account",
        );
    }
    let Some(entries) = section.table("settings") else {
        return section.written("settings").is_none().then(BTreeMap::new);
    };
    let mut sound = true;
    let mut settings = BTreeMap::new();
    for (name, value) in entries {
        if !is_setting(&name.value) {
            reader.complain(&name.at, "is not the name of a setting: a-z, then a-z, 0-9, _ and .");
            sound = false;
        }
        if value.value.contains('\0') || value.value.len() > 1000 {
            reader.complain(&value.at, "is not a setting's value: at most 1000 bytes without a NUL byte");
            sound = false;
        }
        settings.insert(name.value, value.value);
    }
    sound.then_some(settings)
}

fn is_setting(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.')
}

fn member_of(section: &Section<'_>, engine: Option<Engine>, made: bool) -> Option<Vec<String>> {
    let (texts, reader) = (section.texts("member_of")?, section.reader);
    let limit = engine.map_or(63, Engine::account_name_limit);
    // Every name is looked at, so that every wrong one is told.
    let sound = texts.iter().filter(|text| !check_group(reader, text, limit, engine)).count() == 0;
    let unique = refuse_repeated(reader, &texts, str::to_owned);
    if engine == Some(Engine::Mariadb) && texts.len() > 1 && made {
        let at = section.written("member_of").unwrap_or(section.at.clone());
        reader.complain(
            &at,
            "a MariaDB account has one default role: create a role that is granted these, and name that one here",
        );
        return None;
    }
    (sound && unique).then(|| texts.into_iter().map(|text| text.value).collect())
}

fn check_group(reader: &Reader<'_>, group: &Located<String>, limit: usize, engine: Option<Engine>) -> bool {
    if engine == Some(Engine::Postgres) && group.value == "public" {
        reader.complain(&group.at, "every account is a member of public already; it cannot be granted");
        return false;
    }
    check_name(reader, group, limit)
}

fn refuse_repeated(reader: &Reader<'_>, texts: &[Located<String>], fold: impl Fn(&str) -> String) -> bool {
    let mut seen = BTreeSet::new();
    let repeated: Vec<_> = texts.iter().filter(|text| !seen.insert(fold(&text.value))).collect();
    for text in &repeated {
        reader.complain(&text.at, format!("{} is named twice", quoted(&text.value)));
    }
    repeated.is_empty()
}

fn owned_objects(
    section: &Section<'_>,
    engine: Option<Engine>,
    member_of: Option<&[String]>,
) -> Option<OwnedObjects> {
    let (text, reader) = (section.text("owned_objects")?, section.reader);
    let group = match text.value.as_str() {
        "drop" => return Some(OwnedObjects::Drop),
        "keep" => return Some(OwnedObjects::Keep),
        other => other.strip_prefix("reassign:").map(str::to_owned),
    };
    let Some(group) = group else {
        reader.complain(
            &text.at,
            format!("expected \"drop\", \"keep\" or \"reassign:ROLE\", found {}", quoted(&text.value)),
        );
        return None;
    };
    if member_of.is_some_and(|groups| groups.contains(&group)) {
        reader.complain(
            &text.at,
            "the role that objects are handed to must not be one of member_of: what an account leaves behind would run with \
             the rights of those who use the role; name a role of its own that cannot log in",
        );
        return None;
    }
    let group = Located { value: group, at: text.at };
    let limit = engine.map_or(63, Engine::account_name_limit);
    check_group(reader, &group, limit, engine).then_some(OwnedObjects::Reassign(group.value))
}

fn statements(
    section: &Section<'_>,
    engine: Option<Engine>,
    groups: Option<&[String]>,
) -> Option<Statements> {
    let has_groups = groups.is_none_or(|groups| !groups.is_empty());
    let read = |word, step| statement::templates(section, word, step, engine, has_groups);
    let (create, renew, end) =
        (read("create", Step::Create), read("renew", Step::Renew), read("end", Step::End));
    Some(Statements { create: create?, renew: renew?, end: end? })
}
