//! The store alone: what issuing could be at most if the database cost nothing.

use std::sync::Arc;

use mayfly::{
    audit::{Actor, Draft},
    clock::{Clock as _, SystemClock},
    store::{
        Store as _,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use tokio::task::JoinSet;

use crate::frame::{Figure, Options, Outcome, World, moment};

const CALLERS: usize = 16;
const RECORDS: usize = 250;

/// Durable audit records a second, 16 callers at once. An issue needs two such writes, one after the other.
pub(crate) async fn commits(world: &World, options: &Options) -> Outcome<Figure> {
    let store = Arc::new(SqliteStore::open(&world.directory().join("commits.db"), SqliteOptions::default())?);
    let mut rates = Vec::new();
    for _ in 0..options.rounds {
        let began = moment();
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for _ in 0..RECORDS {
                    let draft = Draft::new(SystemClock.now(), Actor::System, "benchmark.done", "server/-");
                    store.record(draft).await?;
                }
                Ok::<(), mayfly::store::StoreError>(())
            });
        }
        tasks.join_all().await.into_iter().collect::<Result<Vec<()>, _>>()?;
        rates.push((CALLERS * RECORDS) as f64 / began.elapsed().as_secs_f64());
    }
    store.close().await;
    Ok(Figure::of(format!("issuing.store.callers-{CALLERS}.records"), "records/s", &rates, &[]))
}
