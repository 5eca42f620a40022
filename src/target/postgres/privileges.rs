//! What the administration account, the group roles and the role for left objects must be like, and the SQL that makes
//! them so. Asked when a target is examined, and when the server has refused for want of a privilege.

use tokio_postgres::SimpleQueryRow;

use super::{
    connect::{ADMIN_OPTION_SINCE, Connection, number, text, truth},
    errors::Failure,
    quote,
};
use crate::target::{Finding, Severity, TargetError, TargetErrorKind};

/// Predefined roles that amount to more than reading and writing tables.
const POWERFUL: &str = "'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', \
     'pg_signal_backend', 'pg_create_subscription', 'pg_database_owner'";

/// What roles need of the target.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Needs<'a> {
    /// Group roles to grant.
    pub(super) groups: &'a [&'a str],
    /// Roles that left objects are handed to.
    pub(super) owners: &'a [&'a str],
}

/// The administration account's privileges, and what it lacks to meet the needs.
pub(super) async fn findings(connection: &mut Connection, needs: Needs<'_>) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let own = connection
        .run(
            "SELECT current_user, r.rolcreaterole, r.rolsuper, r.rolinherit \
             FROM pg_roles r WHERE r.rolname = current_user",
        )
        .await?;
    let Some(own) = own.first() else { return Ok(findings) };
    let user = quote::identifier(&text(own, 0).unwrap_or_default())?;
    let (creates, superuser, inherits) = (truth(own, 1), truth(own, 2), truth(own, 3));
    if superuser {
        findings.push(Finding::warning(format!(
            "the administration account {user} is a superuser, which Mayfly never needs"
        )));
    } else if !creates {
        findings.push(
            Finding::problem(format!("the administration account {user} may not create roles"))
                .mended_by(format!("ALTER ROLE {user} CREATEROLE;")),
        );
    }
    if !inherits {
        findings.push(
            Finding::problem(format!(
                "the administration account {user} does not inherit what it is granted"
            ))
            .mended_by(format!("ALTER ROLE {user} INHERIT;")),
        );
    }
    for row in roles(connection, needs.groups).await? {
        findings.extend(group_findings(connection.release().number, &user, superuser, &row)?);
    }
    for row in roles(connection, needs.owners).await? {
        findings.extend(owner_findings(&user, &row)?);
    }
    Ok(findings)
}

/// The statements that give the administration account what it lacks; `None` when it lacks nothing that is known of.
pub(super) async fn remedy(connection: &mut Connection, needs: Needs<'_>) -> Option<String> {
    let findings = findings(connection, needs).await.ok()?;
    let problems = findings.into_iter().filter(|finding| finding.severity == Severity::Problem);
    let statements: Vec<String> = problems.filter_map(|finding| finding.remedy).collect();
    if statements.is_empty() { None } else { Some(statements.join("\n")) }
}

/// Whether a role `r` was granted something that is not for owning objects: on tables, sequences, functions, large objects or
/// parameters, or by default on those to come, whichever database they are in. What it takes to own (to create in a schema, to use a
/// foreign data wrapper) does not count.
pub(super) const GRANTED_MORE: &str = "EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass \
    AND d.refobjid = r.oid AND d.deptype = 'a' AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, \
    'pg_largeobject'::regclass, 'pg_default_acl'::regclass, to_regclass('pg_parameter_acl')))";

/// One row a name, also for names that are no roles.
async fn roles(connection: &mut Connection, names: &[&str]) -> Result<Vec<SimpleQueryRow>, Failure> {
    let Some(names) = values(names)? else { return Ok(Vec::new()) };
    connection
        .run(&format!(
            "SELECT v.name, r.oid IS NOT NULL, r.rolsuper, r.rolcanlogin, \
             concat_ws(', ', CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, \
                CASE WHEN r.rolreplication THEN 'REPLICATION' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END), \
             (SELECT string_agg(p.rolname, ', ' ORDER BY p.rolname) FROM pg_roles p \
                WHERE p.rolname IN ({POWERFUL}) AND NOT r.rolsuper AND pg_has_role(r.oid, p.oid, 'MEMBER')), \
             pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'), pg_has_role(r.oid, 'USAGE'), \
             (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid), {GRANTED_MORE} \
             FROM (VALUES {names}) AS v (name) LEFT JOIN pg_roles r ON r.rolname = v.name ORDER BY v.name"
        ))
        .await
}

fn values(names: &[&str]) -> Result<Option<String>, TargetError> {
    let rows: Result<Vec<String>, TargetError> =
        names.iter().map(|name| Ok(format!("({})", quote::literal(name)?))).collect();
    let rows = rows?;
    Ok(if rows.is_empty() { None } else { Some(rows.join(", ")) })
}

fn group_findings(
    release: u32,
    user: &str,
    superuser: bool,
    row: &SimpleQueryRow,
) -> Result<Vec<Finding>, TargetError> {
    let group = quote::identifier(&text(row, 0).unwrap_or_default())?;
    if !truth(row, 1) {
        let finding = Finding::problem(format!("the group role {group} does not exist"));
        return Ok(vec![finding.mended_by(format!("CREATE ROLE {group} NOLOGIN;"))]);
    }
    let mut findings = Vec::new();
    if truth(row, 2) {
        findings.push(
            Finding::problem(format!(
                "the group role {group} is a superuser: nobody but a superuser may grant it"
            ))
            .mended_by(format!("ALTER ROLE {group} NOSUPERUSER;")),
        );
    } else if release >= ADMIN_OPTION_SINCE && !superuser && !truth(row, 6) {
        findings.push(
            Finding::problem(format!(
                "the administration account {user} may not grant the group role {group}"
            ))
            .mended_by(format!("GRANT {group} TO {user} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE;")),
        );
    }
    let powers: Vec<String> =
        [text(row, 4), text(row, 5)].into_iter().flatten().filter(|p| !p.is_empty()).collect();
    if !powers.is_empty() {
        findings.push(Finding::warning(format!(
            "the group role {group} has {}: a leased account can use that after SET ROLE, or at once",
            powers.join(", ")
        )));
    }
    if truth(row, 3) {
        findings.push(
            Finding::warning(format!("the group role {group} can log in itself"))
                .mended_by(format!("ALTER ROLE {group} NOLOGIN;")),
        );
    }
    Ok(findings)
}

fn owner_findings(user: &str, row: &SimpleQueryRow) -> Result<Vec<Finding>, TargetError> {
    let owner = quote::identifier(&text(row, 0).unwrap_or_default())?;
    if !truth(row, 1) {
        let finding = Finding::problem(format!("the role {owner}, to which left objects go, does not exist"));
        return Ok(vec![
            finding.mended_by(format!("CREATE ROLE {owner} NOLOGIN;\nGRANT {owner} TO {user};")),
        ]);
    }
    let mut findings = Vec::new();
    let attributes = text(row, 4).unwrap_or_default();
    if truth(row, 2) || truth(row, 3) || !attributes.is_empty() || number(row, 8) > 0 || truth(row, 9) {
        findings.push(
            Finding::problem(format!(
                "the role {owner}, to which left objects go, can log in, is a member of a role or may do more than own: \
                 what a leased account leaves behind would run with its rights"
            ))
            .mended_by(format!(
                "-- or name a dedicated role; and revoke each role it is a member of, and each privilege on tables, functions and the like\n\
                 ALTER ROLE {owner} NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;"
            )),
        );
    }
    if !truth(row, 2) && !truth(row, 7) {
        findings.push(
            Finding::problem(format!("the administration account {user} may not hand objects to {owner}"))
                .mended_by(format!("GRANT {owner} TO {user};")),
        );
    }
    Ok(findings)
}

/// The administration account, quoted.
pub(super) async fn user(connection: &mut Connection) -> Option<String> {
    let rows = connection.run("SELECT current_user").await.ok()?;
    quote::identifier(&text(rows.first()?, 0)?).ok()
}

/// Adds to a refusal for want of a privilege on an account the statement that gives it.
pub(super) async fn explain_on_account(
    connection: &mut Connection,
    account: &str,
    mut error: TargetError,
) -> TargetError {
    if error.kind != TargetErrorKind::Denied || error.remedy.is_some() {
        return error;
    }
    if let Some(statement) = demotion(connection, account).await {
        return error.mended_by(statement);
    }
    error.remedy = remedy(connection, Needs::default()).await;
    if error.remedy.is_none() && connection.release().number >= ADMIN_OPTION_SINCE {
        let user = user(connection).await;
        error.remedy = quote::identifier(account)
            .ok()
            .zip(user)
            .map(|(account, user)| format!("GRANT {account} TO {user} WITH ADMIN OPTION;"));
    }
    error
}

/// Nobody but a superuser may touch a superuser and, up to 15, an account that may replicate: the statement that makes an
/// account that somebody made one ordinary again.
async fn demotion(connection: &mut Connection, account: &str) -> Option<String> {
    let (name, value) = (quote::identifier(account).ok()?, quote::literal(account).ok()?);
    let question = format!("SELECT rolsuper, rolreplication FROM pg_roles WHERE rolname = {value}");
    let rows = connection.run(&question).await.ok()?;
    let row = rows.first()?;
    let (superuser, replicates) = (truth(row, 0), truth(row, 1));
    let untouchable = superuser || (replicates && connection.release().number < ADMIN_OPTION_SINCE);
    untouchable.then(|| format!("ALTER ROLE {name} NOSUPERUSER NOREPLICATION;"))
}
