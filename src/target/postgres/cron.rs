//! The job by which `pg_cron`, where a server has it, ends the sessions of accounts past their expiry: `VALID UNTIL` refuses
//! logins only. Optional, and never installed by us: it needs the right to end anybody's session.

use super::{
    connect::{Connection, text, truth},
    errors::Failure,
    found::{LEASED, MARKED},
    quote::{self, QuoteError},
};
use crate::target::Finding;

/// What the job is called.
const JOB: &str = "mayfly-expire";

/// What lets the administration account see that job of somebody else's, and no other.
const POLICY: &str = "mayfly_sees_its_job";

/// What the job does. Sessions are told by the account they signed in as, whatever role they have become since.
pub(super) fn command() -> String {
    format!(
        "SELECT count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(a.pid))\n  \
         FROM pg_catalog.pg_stat_get_activity(NULL) a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid\n  \
         WHERE {MARKED}\n  AND {LEASED}\n  AND r.rolvaliduntil <= pg_catalog.clock_timestamp()"
    )
}

/// SQL for a superuser to run in the database that `pg_cron` keeps its jobs in.
pub(super) fn script(administration: &str, database: &str) -> Result<String, QuoteError> {
    let (user, command) = (quote::identifier(administration)?, command());
    Ok(format!(
        "-- Optional: ends the sessions of accounts past their expiry even while Mayfly is not running. New logins of theirs are\n\
         -- refused by the server without it. To be run by a superuser, whose job it becomes, on a server that has pg_cron among its\n\
         -- shared_preload_libraries, in the database that cron.database_name names; mayfly doctor looks for it in {}.\n\
         CREATE EXTENSION IF NOT EXISTS pg_cron;\n\
         -- Every minute. From pg_cron 1.5 on, '10 seconds' will do as well.\n\
         SELECT cron.schedule('{JOB}', '* * * * *', $mayfly$\n{command}\n$mayfly$);\n\
         -- So that mayfly doctor can see that job, and no other.\n\
         GRANT USAGE ON SCHEMA cron TO {user};\n\
         GRANT SELECT ON cron.job TO {user};\n\
         DROP POLICY IF EXISTS {POLICY} ON cron.job;\n\
         CREATE POLICY {POLICY} ON cron.job FOR SELECT TO {user} USING (jobname = '{JOB}');\n",
        quote::identifier(database)?,
    ))
}

/// Whether the job is there, where `pg_cron` is. Nothing is said of a server without it.
pub(super) async fn findings(connection: &mut Connection) -> Result<Vec<Finding>, Failure> {
    // A table of that name that is not the extension's own is somebody's trap: looking at it could run code of his.
    let rows = connection
        .run(
            "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') \
             FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid \
               AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' \
             JOIN pg_class c ON c.oid = d.objid AND c.relname = 'job' AND c.relkind = 'r' \
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'cron' \
             WHERE e.extname = 'pg_cron'",
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let active = if truth(row, 0) {
        let question = format!("SELECT bool_or(active), min(command) FROM cron.job WHERE jobname = '{JOB}'");
        connection.run(&question).await?.first().and_then(|row| Some((text(row, 0)? == "t", text(row, 1)?)))
    } else {
        None
    };
    Ok(vec![match active {
        Some((true, found)) if found.trim() == command() => {
            Finding::fine("sessions of expired accounts are ended by pg_cron while Mayfly is not running")
        }
        Some((true, _)) => Finding::warning(format!("the pg_cron job {JOB} does not do what it does in this version"))
            .mended_by(RESCHEDULE),
        Some((false, _)) => Finding::warning(format!("the pg_cron job {JOB} is switched off"))
            .mended_by(format!("UPDATE cron.job SET active = true WHERE jobname = '{JOB}';")),
        None => Finding::warning(format!(
            "the server has pg_cron, but no job {JOB} of it can be seen: sessions that are open when an account expires stay open while Mayfly is not running"
        ))
        .mended_by(RESCHEDULE),
    }])
}

const RESCHEDULE: &str = "-- the statements that mayfly doctor --print shows";
