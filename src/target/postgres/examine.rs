//! Examining a target: everything the roles will need, found out without changing anything.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    connect::{Connection, number, text, truth},
    cron, deputies,
    errors::Failure,
    existing::{self, Named},
    privileges::{self, Needs},
    quote,
};
use crate::{
    domain::{Access, OwnedObjects, Role},
    target::{Finding, NOTABLE_OFFSET},
};

/// Iterations that every driver accepts.
const COMMON_ITERATIONS: u32 = 4096;

/// Everything but connecting and the release, which are behind the caller.
pub(super) async fn examine(
    connection: &mut Connection,
    roles: &[&Role],
    offset: Option<SignedDuration>,
) -> Result<Vec<Finding>, Failure> {
    let groups: BTreeSet<&str> = roles.iter().flat_map(|role| &role.member_of).map(String::as_str).collect();
    let owners: BTreeSet<&str> = roles
        .iter()
        .filter_map(|role| match &role.owned_objects {
            OwnedObjects::Reassign(owner) => Some(owner.as_str()),
            OwnedObjects::Drop | OwnedObjects::Keep => None,
        })
        .collect();
    let (groups, owners): (Vec<&str>, Vec<&str>) =
        (groups.into_iter().collect(), owners.into_iter().collect());
    let mut findings = privileges::findings(connection, Needs { groups: &groups, owners: &owners }).await?;
    findings.extend(existing::findings(connection, &named_accounts(roles)).await?);
    findings.extend(server(connection).await?);
    findings.extend(databases(connection).await?);
    findings.extend(cron::findings(connection).await?);
    findings.extend(deputies::findings(connection).await?);
    findings.extend(offset.map(clock));
    findings.extend(roles.iter().filter_map(|role| iterations(role)));
    if findings.iter().all(|finding| finding.remedy.is_none()) {
        findings.push(Finding::fine(format!(
            "the administration account can create and end accounts, and grant {} group roles",
            groups.len()
        )));
    }
    Ok(findings)
}

/// Existing accounts that roles name, each with one role that does so, of a kind.
fn named_accounts<'r>(roles: &[&'r Role]) -> Vec<Named<'r>> {
    let accounts = |role: &'r Role| -> Vec<(&'r str, bool)> {
        match &role.access {
            Access::Elevation { accounts, .. } => {
                accounts.values().map(|account| (account.as_str(), false)).collect()
            }
            Access::Checkout { account, .. } => vec![(account.as_str(), true)],
            Access::Ephemeral => Vec::new(),
        }
    };
    let named = roles.iter().flat_map(|role| {
        let role_name = role.name.as_str();
        accounts(role).into_iter().map(move |(account, handed_out)| Named {
            account,
            handed_out,
            role: role_name,
        })
    });
    let mut named: Vec<Named<'r>> = named.collect();
    named.sort_unstable();
    named.dedup_by_key(|named| (named.account, named.handed_out));
    named
}

fn clock(offset: SignedDuration) -> Finding {
    if offset.abs() > NOTABLE_OFFSET {
        Finding::warning(format!("the server's clock is {offset:#} off ours; expiries are corrected for it"))
    } else {
        Finding::fine("the server's clock agrees with ours")
    }
}

fn iterations(role: &Role) -> Option<Finding> {
    (role.scram_iterations < COMMON_ITERATIONS).then(|| {
        Finding::warning(format!(
            "the role {} uses {} SCRAM iterations; some drivers refuse fewer than {COMMON_ITERATIONS}",
            role.name, role.scram_iterations
        ))
    })
}

/// The server and the account we have on it.
async fn server(connection: &mut Connection) -> Result<Vec<Finding>, Failure> {
    let rows = connection
        .run(
            "SELECT current_user, pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, \
             pg_has_role('pg_read_all_stats', 'USAGE'), \
             (r.rolvaliduntil < clock_timestamp() + interval '14 days'), r.rolvaliduntil::text, \
             (SELECT count(*) FROM pg_stat_get_activity(NULL) a WHERE a.usesysid <> 0 \
                AND NOT EXISTS (SELECT FROM pg_roles o WHERE o.oid = a.usesysid)), \
             current_setting('password_encryption'), \
             has_function_privilege('pg_control_system()', 'EXECUTE') \
             FROM pg_roles r WHERE r.rolname = current_user",
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let user = quote::identifier(&text(row, 0).unwrap_or_default())?;
    let mut findings = Vec::new();
    if truth(row, 1) {
        findings.push(Finding::problem("the server is in recovery or read-only: name the primary"));
    }
    if !truth(row, 2) {
        findings.push(
            Finding::warning("where live sessions come from and what they do cannot be seen")
                .mended_by(format!("GRANT pg_read_all_stats TO {user};")),
        );
    }
    if truth(row, 3) {
        let until = text(row, 4).unwrap_or_default();
        findings.push(
            Finding::warning(format!(
                "the password of the administration account {user} is valid until {until} only"
            ))
            .mended_by(format!("ALTER ROLE {user} VALID UNTIL 'infinity';")),
        );
    }
    let orphans = number(row, 5);
    if orphans > 0 {
        findings.push(
            Finding::warning(format!(
                "{orphans} sessions belong to roles that were dropped by somebody else"
            ))
            .mended_by(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_get_activity(NULL) a \
                 WHERE a.usesysid <> 0 AND NOT EXISTS (SELECT FROM pg_roles o WHERE o.oid = a.usesysid);",
            ),
        );
    }
    if text(row, 6).is_some_and(|encryption| encryption != "scram-sha-256") {
        findings.push(
            Finding::warning(
                "password_encryption is not scram-sha-256: leased accounts are not affected, but passwords that people change are",
            )
            .mended_by("ALTER SYSTEM SET password_encryption = 'scram-sha-256'; SELECT pg_reload_conf();"),
        );
    }
    if !truth(row, 7) {
        findings.push(
            Finding::warning(
                "the server does not tell us which one it is: one that takes its place is not found out. Once it does, it counts as another",
            )
            .mended_by(format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {user};")),
        );
    }
    Ok(findings)
}

/// The database we are in, and the right to enter the others.
async fn databases(connection: &mut Connection) -> Result<Vec<Finding>, Failure> {
    let rows = connection
        .run(
            "SELECT current_user, current_database(), EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) e \
               WHERE n.nspname = 'public' AND e.grantee = 0 AND e.privilege_type = 'CREATE'), \
             (SELECT string_agg(quote_ident(d.datname), ', ' ORDER BY d.datname) FROM pg_database d \
               WHERE d.datallowconn AND NOT has_database_privilege(d.oid, 'CONNECT'))",
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let user = quote::identifier(&text(row, 0).unwrap_or_default())?;
    let mut findings = Vec::new();
    if truth(row, 2) {
        let database = text(row, 1).unwrap_or_default();
        findings.push(
            Finding::warning(format!(
                "in database {database:?} everybody may create objects in schema public"
            ))
            .mended_by("REVOKE CREATE ON SCHEMA public FROM PUBLIC;"),
        );
    }
    if let Some(closed) = text(row, 3) {
        findings.push(
            Finding::warning(format!("objects left in {closed} cannot be settled: we may not connect there"))
                .mended_by(format!("GRANT CONNECT ON DATABASE {closed} TO {user};")),
        );
    }
    Ok(findings)
}
