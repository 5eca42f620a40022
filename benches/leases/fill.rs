//! Stores as they are after years, made in minutes: rows by the schema's own columns, indexes built afterwards.

use std::{fs, path::Path, sync::Arc};

use mayfly::{
    clock::SystemClock,
    sandbox::Server,
    store::{
        Store as _,
        postgres::{Address, PostgresOptions, PostgresSettings, PostgresStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use rusqlite::Connection;
use tokio_postgres::{Client, NoTls};

use crate::frame::{self, Options, Outcome};

/// How many leases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    live: u64,
    ended: u64,
}

impl Size {
    /// As wished for.
    pub(super) fn of(options: &Options) -> Self {
        match (options.quick, options.full_size) {
            (true, _) => Self { live: 10_000, ended: 100_000 },
            (false, true) => Self { live: 1_000_000, ended: 10_000_000 },
            (false, false) => Self { live: 1_000_000, ended: 1_000_000 },
        }
    }

    fn total(self) -> u64 {
        self.live + self.ended
    }
}

/// Whose leases are revoked at once: a tenth of those that are live.
pub(super) const FLEET: &str = "ci/fleet";

/// A target and a role of the past, and a principal with leases of every kind.
pub(super) const TARGET: &str = "past-0";
pub(super) const ROLE: &str = "role-10";
pub(super) const PRINCIPAL: &str = "service-9";

/// The rows, but for how numbers are counted and written. Identifiers are below those made today, and in the order of their time.
fn rows(series: &str, id: &str, total: u64, live: u64) -> String {
    let first_live = total - live;
    format!(
        r#"INSERT INTO lease (id, kind, role, target, principal, principal_kind, state, due_at, created_at, updated_at,
            idempotency_key, account, terms, end_plan, standing)
        SELECT id, 'ephemeral', 'role-' || role, 'past-' || (role % 10), principal, 'workload',
            CASE WHEN n > {first_live} THEN 'active' ELSE final END,
            CASE WHEN n > {first_live} THEN 4102444800000000 + n END,
            1700000000000000 + n * 1000000, 1700000600000000 + n * 1000000,
            CASE WHEN n % 4 = 0 THEN 'job-' || n END,
            '{{"name":"mf_role_' || id || '","hosts":[]}}',
            '{{"ttl":600,"renewable_until":"2100-01-01T00:00:00Z","purpose":"","allowed_by":"role list"}}',
            '{{"owned_objects":"drop","member_of":["readers"],"renew":[],"end":[],"end_sessions":true}}',
            CASE WHEN n > {first_live} THEN '{{"state":"active","expires_at":"2100-01-01T00:00:00Z"}}'
            ELSE '{{"state":"ended","cause":"' || final || CASE final WHEN 'revoked' THEN '","reason":"done' WHEN 'failed'
                THEN '","reason":"the target was down' ELSE '' END || '","at":"2025-01-01T00:00:00Z","report":{{"sessions_ended":1,"objects":'
                || '{{"reassigned":0,"dropped":0,"kept":0}},"was_absent":false,"account_kept":false}}}}' END
        FROM (SELECT n, {id} AS id, n * 31 % 40 AS role,
                CASE WHEN n > {first_live} AND n % 10 = 0 THEN '{FLEET}' ELSE 'service-' || (n * 7919 % 5000) END AS principal,
                CASE WHEN n % 50 = 0 THEN 'revoked' WHEN n % 5 = 0 THEN 'released' WHEN n % 97 = 0 THEN 'failed'
                    ELSE 'expired' END AS final
            FROM {series}) AS facts"#
    )
}

/// A file.
pub(super) async fn sqlite(path: &Path, size: Size) -> Outcome<()> {
    frame::say(&format!("leases: filling sqlite with {} leases", size.total()));
    // Made by the store itself, so that it is of today's schema.
    SqliteStore::open(path, SqliteOptions::default())?.close().await;
    let file = Connection::open(path)?;
    file.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -600000")
        .or_else(|error| if error.to_string().contains("results") { Ok(()) } else { Err(error) })?;
    let made: Vec<(String, String, String)> = {
        let sql = "SELECT type, name, sql FROM sqlite_schema
            WHERE type IN ('index', 'trigger') AND tbl_name = 'lease' AND sql IS NOT NULL";
        let mut found = file.prepare(sql)?;
        found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?
    };
    for (kind, name, _) in &made {
        file.execute_batch(&format!("DROP {kind} {name}"))?;
    }
    file.execute_batch("BEGIN")?;
    let total = size.total();
    let series = format!(
        "(WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {total}) SELECT n FROM series)"
    );
    file.execute_batch(&rows(&series, "printf('06%018x', n)", total, size.live))?;
    for (table, columns) in
        [("live_by_role", "role"), ("live_by_holder", "role, principal"), ("live_by_target", "target")]
    {
        file.execute_batch(&format!(
            "INSERT INTO {table} SELECT {columns}, count(*) FROM lease WHERE due_at IS NOT NULL GROUP BY {columns}"
        ))?;
    }
    file.execute_batch("COMMIT")?;
    for (_, _, sql) in &made {
        file.execute_batch(sql)?;
    }
    file.close().map_err(|(_, error)| error)?;
    fs::File::open(path)?.sync_all()?;
    Ok(())
}

/// A schema on a server.
pub(super) async fn postgres(server: &Server, size: Size) -> Outcome<()> {
    frame::say(&format!("leases: filling postgres with {} leases", size.total()));
    PostgresStore::open(settings(server, "filler")?, Arc::new(SystemClock)).await?.close().await;
    let client = connect(server).await?;
    client
        .batch_execute(
            "SET search_path = mayfly; SET maintenance_work_mem = '512MB'; SET synchronous_commit = off",
        )
        .await?;
    let found = client
        .query(
            "SELECT indexname::text, indexdef::text FROM pg_indexes
            WHERE schemaname = 'mayfly' AND tablename = 'lease' AND indexname <> 'lease_pkey'",
            &[],
        )
        .await?;
    let mut made: Vec<(String, String)> = Vec::new();
    for row in &found {
        made.push((row.try_get(0)?, row.try_get(1)?));
    }
    for (name, _) in &made {
        client.batch_execute(&format!("DROP INDEX {name}")).await?;
    }
    let total = size.total();
    let series = format!("generate_series(1, {total}) AS series (n)");
    // What is counted in 64 bits, as SQLite does.
    let series = format!("(SELECT n::bigint AS n FROM {series}) AS numbers");
    client.batch_execute(&rows(&series, "'06' || lpad(to_hex(n), 18, '0')", total, size.live)).await?;
    for (table, columns, with) in [
        ("live_by_role", "role", "role, 'past'"),
        ("live_by_holder", "role, principal", "role, principal, 'past'"),
        ("live_by_target", "target", "target, 'past'"),
    ] {
        client
            .batch_execute(&format!(
                "INSERT INTO {table} SELECT {with}, count(*) FROM lease WHERE due_at IS NOT NULL GROUP BY {columns}"
            ))
            .await?;
    }
    for (_, sql) in &made {
        client.batch_execute(sql).await?;
    }
    client.batch_execute("VACUUM (ANALYZE) lease").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

/// Has a file look as if nobody ever had a token, so that the first is shown once more.
pub(super) fn forget_tokens_in_file(path: &Path) -> Outcome<()> {
    Connection::open(path)?.execute_batch("DELETE FROM token")?;
    Ok(())
}

/// Likewise, a schema on a server.
pub(super) async fn forget_tokens_on_server(server: &Server, schema: &str) -> Outcome<()> {
    Ok(connect(server).await?.batch_execute(&format!("DELETE FROM {schema}.token")).await?)
}

/// How to reach the full store on a server.
pub(super) fn settings(server: &Server, replica: &str) -> Outcome<PostgresSettings> {
    let account = server.administrator();
    Ok(PostgresSettings {
        address: Address {
            hosts: vec![("127.0.0.1".to_owned(), server.port())],
            user: account.user.clone(),
            database: "postgres".to_owned(),
        },
        password: Some(account.password.clone()),
        tls: None,
        schema: "mayfly".parse()?,
        replica: replica.parse()?,
        options: PostgresOptions::default(),
    })
}

async fn connect(server: &Server) -> Outcome<Client> {
    let account = server.administrator();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.port()).dbname("postgres");
    config.user(&account.user).password(account.password.expose());
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
