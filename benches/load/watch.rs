//! What the flood does to the server: its memory, and how late leases end.

use std::time::Duration;

use mayfly::domain::Engine;
use mysql_async::prelude::Queryable as _;

use super::super::frame::{Line, Outcome, Serving, Site, moment};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// When, of the whole time, memory is as the flood has it.
const SETTLED: u32 = 6;

/// How long the last leases may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Accounts that are there, and by how many seconds the one that expired first is late.
const POSTGRES: &str = "SELECT count(*), coalesce(extract(epoch FROM max(now() - rolvaliduntil)), -1)::float8 \
    FROM pg_roles WHERE starts_with(rolname, 'mf_')";
const MYSQL: &str = "SELECT count(*), coalesce(max(timestampdiff(MICROSECOND, expires_at, utc_timestamp(6)) / 1e6), -1e0) + 0e0 \
    FROM mayfly.accounts";

/// What was seen.
pub(super) struct Watched {
    /// MiB resident once the flood had begun.
    pub(super) memory_at_begin: f64,
    /// MiB resident when it ended.
    pub(super) memory_at_end: f64,
    /// By how many seconds an account outlived its expiry, at most.
    pub(super) latest: f64,
}

impl Watched {
    /// By which share memory grew.
    pub(super) fn growth(&self) -> f64 {
        (self.memory_at_end - self.memory_at_begin) / self.memory_at_begin
    }
}

/// Watches for so long.
pub(super) async fn watch(site: &Site, serving: &Serving, length: Duration) -> Outcome<Watched> {
    let mut line = site.administrator().await?;
    let began = moment();
    let (mut memory_at_begin, mut latest) = (0.0, 0.0_f64);
    let mut ticks = tokio::time::interval(EVERY);
    while began.elapsed() < length {
        ticks.tick().await;
        let (_, late) = accounts(&mut line).await?;
        latest = latest.max(late);
        if began.elapsed() <= length / SETTLED + EVERY {
            memory_at_begin = serving.resident()?.0;
        }
    }
    Ok(Watched { memory_at_begin, memory_at_end: serving.resident()?.0, latest })
}

/// Waits until every account is gone.
pub(super) async fn drained(site: &Site) -> Outcome<()> {
    let mut line = site.administrator().await?;
    let began = moment();
    while began.elapsed() < PATIENCE {
        if accounts(&mut line).await?.0 == 0 {
            return Ok(());
        }
        tokio::time::sleep(EVERY / 5).await;
    }
    Err("accounts are left".into())
}

/// How many accounts there are, and by how many seconds the latest is late; below zero: none is.
async fn accounts(line: &mut Line) -> Outcome<(i64, f64)> {
    match line {
        Line::Postgres(client) => {
            let row = client.query_one(POSTGRES, &[]).await?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        }
        Line::Mysql(connection) => Ok(connection.query_first(MYSQL).await?.ok_or("no answer")?),
        Line::Mayfly(_) => Err(format!("{} is not asked through Mayfly", Engine::Postgres).into()),
    }
}
