//! What an account owns and was granted, in every database: handed on, dropped or kept, by the role's rule.
//!
//! `drop` destroys what the account owns and nothing else: when objects of others depend on it, it is an error that says
//! so, and the account stays disabled until somebody decides. Databases and tablespaces are never dropped.

use deadpool::managed::Object;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_postgres::error::SqlState;

use super::{
    connect::{Connection, Connector, number, text, truth},
    end,
    errors::Failure,
    pool::{Manager, Pool},
    privileges,
    put_right::memberships,
    quote::{self, QuoteError},
    subscriptions,
    templates::{self, Values},
};
use crate::{
    domain::{ObjectCounts, OwnedObjects},
    target::{LeasedAccount, PoolSettings, TargetError, TargetErrorKind},
};

pub(super) const DOING: &str = "settling objects";

/// What reaches every database of the server, within the bounds for ending.
pub(super) struct Reach<'a> {
    pub(super) connector: &'a Connector,
    pub(super) pool: &'a Pool,
    /// Connections to databases other than the one for administration.
    pub(super) visits: &'a Semaphore,
    pub(super) bounds: &'a PoolSettings,
}

/// One database in which something depends on the account, or the server as a whole.
struct Place {
    /// `None`: shared by all databases (a database, a tablespace, a grant on one).
    database: Option<String>,
    /// Objects it owns there.
    owned: u32,
}

/// The role's own statements for the end, then the objects in every database.
pub(super) async fn settle(
    reach: &Reach<'_>,
    account: LeasedAccount<'_>,
) -> Result<ObjectCounts, TargetError> {
    let name = account.account.name.as_str();
    let mut connection = reach.pool.get().await?;
    let oid = end::oid(&mut connection, name).await.map_err(|failure| failure.while_doing(DOING))?;
    let Some(oid) = oid else { return Ok(ObjectCounts::default()) };
    let own = templates::render(&account.plan.end, &Values::of_leased(&account, None))?;
    if let Err(failure) = templates::run(&mut connection, &[], &own, account.lease).await {
        return Err(failure.while_doing("running the role's own statements for the end"));
    }
    roll_back_prepared(reach, &mut connection, name).await?;
    let places = places(&mut connection, oid).await.map_err(|failure| failure.while_doing(DOING))?;
    let total = places.iter().map(|place| place.owned).fold(0, u32::saturating_add);
    let statements = match &account.plan.owned_objects {
        OwnedObjects::Keep if total > 0 => {
            leave_groups(&mut connection, name, oid).await?;
            return Ok(ObjectCounts { kept: total, ..ObjectCounts::default() });
        }
        OwnedObjects::Reassign(owner) if total > 0 => {
            refuse_privileged(&mut connection, owner).await?;
            // What was granted to the account is not reassigned: the second statement revokes it.
            let (account, owner) = (quote::identifier(name)?, quote::identifier(owner)?);
            format!("REASSIGN OWNED BY {account} TO {owner}; DROP OWNED BY {account}")
        }
        _ => format!("DROP OWNED BY {}", quote::identifier(name)?),
    };
    subscriptions::settle(reach, &mut connection, &account, oid).await?;
    for database in databases(&places, reach.connector.database()) {
        visit(reach, &mut connection, &account, database, &statements).await?;
    }
    verify(&mut connection, name, oid).await?;
    Ok(match &account.plan.owned_objects {
        OwnedObjects::Reassign(_) => ObjectCounts { reassigned: total, ..ObjectCounts::default() },
        OwnedObjects::Drop | OwnedObjects::Keep => ObjectCounts { dropped: total, ..ObjectCounts::default() },
    })
}

/// Where the account has something. Its default privileges and user mappings count as nothing of their own.
async fn places(connection: &mut Connection, oid: u32) -> Result<Vec<Place>, Failure> {
    let rows = connection
        .run(&format!(
            "SELECT b.datname, count(*) FILTER (WHERE d.deptype = 'o' \
               AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)) \
             FROM pg_shdepend d LEFT JOIN pg_database b ON b.oid = d.dbid \
             WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = {oid} GROUP BY b.datname ORDER BY 1"
        ))
        .await?;
    Ok(rows
        .iter()
        .map(|row| Place {
            database: text(row, 0),
            owned: u32::try_from(number(row, 1).max(0)).unwrap_or(u32::MAX),
        })
        .collect())
}

/// The databases to visit, each once. What is shared can be settled from any; the one for administration does.
fn databases<'a>(places: &'a [Place], administration: &'a str) -> Vec<&'a str> {
    let mut databases: Vec<&str> =
        places.iter().map(|place| place.database.as_deref().unwrap_or(administration)).collect();
    databases.sort_unstable();
    databases.dedup();
    databases
}

/// Runs statements as a member of the account, in one transaction, in one database.
pub(super) async fn visit(
    reach: &Reach<'_>,
    administration: &mut Object<Manager>,
    account: &LeasedAccount<'_>,
    database: &str,
    statements: &str,
) -> Result<(), TargetError> {
    let name = account.account.name.as_str();
    let join = end::membership(administration, name).map_err(|failure| failure.while_doing(DOING))?;
    let leave = format!("REVOKE {} FROM CURRENT_USER", quote::identifier(name)?);
    let message = format!("{join}; {statements}; {leave}");
    if database == reach.connector.database() {
        let outcome = administration.run(&message).await;
        return explain(administration, account, database, outcome).await;
    }
    let (mut there, _permit) = enter(reach, database).await?;
    let outcome = there.run(&message).await;
    explain(&mut there, account, database, outcome).await
}

/// A connection to any database, and the permission to have one.
async fn enter<'a>(
    reach: &Reach<'a>,
    database: &str,
) -> Result<(Connection, SemaphorePermit<'a>), TargetError> {
    let wait = reach.bounds.wait;
    let Ok(Ok(permit)) = timeout(wait, reach.visits.acquire()).await else {
        let message = format!("every connection for visiting databases was busy for {wait:?}");
        return Err(TargetError::new(TargetErrorKind::Busy, message));
    };
    match reach.connector.connect(database).await {
        Ok(connection) => Ok((connection, permit)),
        Err(error) if error.kind == TargetErrorKind::Denied => {
            let (name, user) = (quote::identifier(database)?, quote::identifier(reach.connector.user())?);
            Err(error.mended_by(format!("GRANT CONNECT ON DATABASE {name} TO {user};")))
        }
        Err(error) => Err(error),
    }
}

async fn explain(
    connection: &mut Connection,
    account: &LeasedAccount<'_>,
    database: &str,
    outcome: Result<Vec<tokio_postgres::SimpleQueryRow>, Failure>,
) -> Result<(), TargetError> {
    let Err(failure) = outcome else { return Ok(()) };
    let name = account.account.name.as_str();
    if failure.is(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) {
        let message = format!(
            "objects of others depend on what {name} owns in database {database:?}; they are not dropped along with it"
        );
        return Err(TargetError::new(TargetErrorKind::Refused, message)
            .mended_by(format!(
                "-- in database {database:?}\nDROP OWNED BY {} CASCADE;",
                quote::identifier(name)?
            ))
            .caused_by(failure));
    }
    let mut error = failure.while_doing(&format!("settling objects in database {database:?}"));
    if error.kind == TargetErrorKind::Denied
        && let OwnedObjects::Reassign(owner) = &account.plan.owned_objects
    {
        error.remedy = reassigning_remedy(connection, name, owner).await.ok().flatten();
    }
    Err(privileges::explain_on_account(connection, name, error).await)
}

/// The statements that let objects change hands: a new owner needs CREATE on a function's schema, CREATE on a
/// publication's database and USAGE on what a foreign server is reached through; whoever hands a schema or a
/// subscription on needs CREATE on the database.
async fn reassigning_remedy(
    connection: &mut Connection,
    account: &str,
    owner: &str,
) -> Result<Option<String>, Failure> {
    let needs = privileges::Needs { groups: &[], owners: &[owner] };
    if let Some(statements) = privileges::remedy(connection, needs).await {
        return Ok(Some(statements));
    }
    let (account, owner) = (quote::literal(account)?, quote::literal(owner)?);
    let rows = connection
        .run(&format!(
            "WITH here AS (SELECT oid, datname FROM pg_database WHERE datname = current_database()), \
             owned AS (SELECT d.classid, d.objid FROM pg_shdepend d JOIN here ON here.oid = d.dbid \
               WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' \
               AND d.refobjid = (SELECT oid FROM pg_roles WHERE rolname = {account})) \
             SELECT format('GRANT CREATE ON SCHEMA %I TO %I;', n.nspname, {owner}) FROM pg_namespace n \
               WHERE NOT has_schema_privilege({owner}, n.oid, 'CREATE') AND n.nspname IN \
               (SELECT (pg_identify_object(classid, objid, 0)).schema FROM owned) \
             UNION ALL \
             SELECT format('GRANT CREATE ON DATABASE %I TO %I;', datname, current_user) FROM here \
               WHERE NOT has_database_privilege(oid, 'CREATE') \
               AND (EXISTS (SELECT FROM owned WHERE classid = 'pg_namespace'::regclass) \
                 OR EXISTS (SELECT FROM pg_subscription s JOIN pg_roles r ON r.oid = s.subowner \
                   WHERE s.subdbid = here.oid AND r.rolname = {account})) \
             UNION ALL \
             SELECT format('GRANT CREATE ON DATABASE %I TO %I;', datname, {owner}) FROM here \
               WHERE NOT has_database_privilege({owner}, oid, 'CREATE') \
               AND EXISTS (SELECT FROM owned WHERE classid = 'pg_publication'::regclass) \
             UNION ALL \
             SELECT DISTINCT format('GRANT USAGE ON FOREIGN DATA WRAPPER %I TO %I;', w.fdwname, {owner}) FROM owned \
               JOIN pg_foreign_server f ON owned.classid = 'pg_foreign_server'::regclass AND f.oid = owned.objid \
               JOIN pg_foreign_data_wrapper w ON w.oid = f.srvfdw \
               WHERE NOT has_foreign_data_wrapper_privilege({owner}, w.oid, 'USAGE')"
        ))
        .await?;
    let statements: Vec<String> = rows.iter().filter_map(|row| text(row, 0)).collect();
    Ok((!statements.is_empty()).then(|| statements.join("\n")))
}

/// Whoever made an object can have put code into it that runs with its owner's rights.
async fn refuse_privileged(connection: &mut Connection, owner: &str) -> Result<(), TargetError> {
    let name = quote::literal(owner)?;
    let rows = connection
        .run(&format!(
            "SELECT r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication \
             OR r.rolbypassrls OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid) OR {} \
             FROM pg_roles r WHERE r.rolname = {name}",
            privileges::GRANTED_MORE
        ))
        .await
        .map_err(|failure| failure.while_doing(DOING))?;
    let message = match rows.first() {
        Some(row) if !truth(row, 0) => return Ok(()),
        Some(_) => "can log in, is a member of a role or may do more than own: nothing is handed to it",
        None => "does not exist",
    };
    let message = format!("the role {owner:?}, to which left objects go, {message}");
    let needs = privileges::Needs { groups: &[], owners: &[owner] };
    let mut error = TargetError::new(TargetErrorKind::Refused, message);
    error.remedy = privileges::remedy(connection, needs).await;
    Err(error)
}

/// `keep`: the account stays, a member of nothing, and so are those whom it made members.
async fn leave_groups(connection: &mut Connection, account: &str, oid: u32) -> Result<(), TargetError> {
    let name = quote::identifier(account)?;
    let groups = memberships(connection, oid).await.map_err(|failure| failure.while_doing(DOING))?;
    if groups.is_empty() {
        return Ok(());
    }
    let release = connection.release().number;
    for membership in groups {
        let message = membership.revocation("", &name, release)?;
        let outcome =
            connection.run(&message).await.map_err(|failure| failure.while_doing("revoking memberships"));
        match outcome {
            // Not ours to revoke: it is found below, and the others are revoked all the same.
            Err(error) if error.kind == TargetErrorKind::Denied => {}
            outcome => drop(outcome?),
        }
    }
    let left = memberships(connection, oid).await.map_err(|failure| failure.while_doing(DOING))?;
    if left.is_empty() {
        return Ok(());
    }
    let remedy: Result<Vec<String>, _> = left
        .iter()
        .map(|membership| Ok::<_, QuoteError>(format!("{};", membership.revocation("", &name, release)?)))
        .collect();
    let message = format!("the account {account} is still a member of roles that somebody else granted it");
    Err(TargetError::new(TargetErrorKind::Denied, message).mended_by(remedy?.join("\n")))
}

/// A prepared transaction outlives its session, holds its locks and could be committed later: it is rolled back, which
/// only its owner may do.
async fn roll_back_prepared(
    reach: &Reach<'_>,
    administration: &mut Object<Manager>,
    account: &str,
) -> Result<(), TargetError> {
    let doing = |failure: Failure| failure.while_doing("rolling back a prepared transaction");
    let (name, value) = (quote::identifier(account)?, quote::literal(account)?);
    let prepared = administration
        .run(&format!("SELECT database, gid FROM pg_prepared_xacts WHERE owner = {value}"))
        .await
        .map_err(doing)?;
    for row in &prepared {
        let (Some(database), Some(gid)) = (text(row, 0), text(row, 1)) else { continue };
        let join = end::membership(administration, account).map_err(doing)?;
        let (mut there, _permit) = enter(reach, &database).await?;
        there.run(&format!("{join}; SET ROLE {name}")).await.map_err(doing)?;
        let outcome = there.run(&format!("ROLLBACK PREPARED {}", quote::literal(&gid)?)).await;
        there.run(&format!("RESET ROLE; REVOKE {name} FROM CURRENT_USER")).await.map_err(doing)?;
        outcome.map_err(doing)?;
    }
    Ok(())
}

/// Nothing may depend on the account any more. What may still: a database or tablespace, which is not dropped, and what
/// somebody else than us has granted the account, which is not ours to revoke.
async fn verify(connection: &mut Connection, account: &str, oid: u32) -> Result<(), TargetError> {
    let rows = connection
        .run(&format!(
            "SELECT coalesce(b.datname, current_database()), bool_or(d.deptype = 'o') \
             FROM pg_shdepend d LEFT JOIN pg_database b ON b.oid = d.dbid \
             WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = {oid} GROUP BY 1 ORDER BY 1"
        ))
        .await
        .map_err(|failure| failure.while_doing(DOING))?;
    if rows.is_empty() {
        return Ok(());
    }
    let places: Vec<String> = rows.iter().filter_map(|row| text(row, 0)).collect();
    if rows.iter().any(|row| truth(row, 1)) {
        let message =
            format!("the account {account} still owns a database, a tablespace or objects in {places:?}");
        let mut error = TargetError::new(TargetErrorKind::Refused, message);
        error.remedy = adoption(connection, oid).await.ok().filter(|statements| !statements.is_empty());
        return Err(error);
    }
    let name = quote::identifier(account)?;
    let remedy: Vec<String> =
        places.iter().map(|place| format!("-- in database {place:?}\nDROP OWNED BY {name};")).collect();
    let message = format!("somebody else has granted the account {account} privileges in {places:?}");
    Err(TargetError::new(TargetErrorKind::Denied, message).mended_by(remedy.join("\n")))
}

/// The statements by which whoever runs them takes over what is never dropped.
async fn adoption(connection: &mut Connection, oid: u32) -> Result<String, Failure> {
    let rows = connection
        .run(&format!(
            "SELECT format('ALTER DATABASE %I OWNER TO CURRENT_USER;', datname) FROM pg_database WHERE datdba = {oid} \
             UNION ALL \
             SELECT format('ALTER TABLESPACE %I OWNER TO CURRENT_USER;', spcname) FROM pg_tablespace WHERE spcowner = {oid}"
        ))
        .await?;
    Ok(rows.iter().filter_map(|row| text(row, 0)).collect::<Vec<_>>().join("\n"))
}
