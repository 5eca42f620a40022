//! Measurements of the embedded store; printed, not asserted.
//! `cargo test --test behaviour -- --ignored --nocapture measures`; `MAYFLY_BENCH_DIR` names the disk.

use std::{
    fmt::Debug,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use mayfly::{
    clock::{Clock, SystemClock},
    domain::{LeaseLimits, StateName},
    store::{LeaseFilter, LeaseStore, NewLease, PageRequest, Store},
};
use tempfile::TempDir;

use super::{
    fixtures::{activated, at, draft, lease, live, unlimited},
    sqlite::{open, path_in},
};

fn directory() -> TempDir {
    let place = std::env::var("MAYFLY_BENCH_DIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").to_owned());
    tempfile::tempdir_in(place).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "it is for whoever runs it")]
async fn measures_pairs_per_second() {
    for callers in [1, 16, 64, 256] {
        let directory = directory();
        let numbers = Arc::new(AtomicU32::new(0));
        let store = Arc::new(open(&path_in(&directory)));
        let each = 20_000 / callers;
        let started = SystemClock.now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (store, numbers) = (Arc::clone(&store), Arc::clone(&numbers));
                tokio::spawn(async move {
                    for _ in 0..each {
                        let new = lease(numbers.fetch_add(1, Ordering::Relaxed), "ada", "reader");
                        let id = new.id;
                        store.begin(unlimited(new), draft("lease.begun", id)).await.unwrap();
                        store
                            .apply(id, activated(600), at(2), Some(draft("lease.issued", id)))
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let took = SystemClock.now().duration_since(started).as_secs_f64();
        println!("{callers} callers: {:.0} begin+activate pairs/s", f64::from(callers * each) / took);
        let page = PageRequest { size: 10, before: None };
        assert_eq!(store.list(&LeaseFilter::default(), page).await.unwrap().items.len(), 10);
        store.close().await;
    }
}

/// Fills a closed store's file with rows; every eleventh is live, like 1 in 11 of a year's leases.
fn fill(path: &Path, rows: u32) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection.pragma_update(None, "cache_size", -400_000).unwrap();
    let sql = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO lease (id, kind, role, target, principal, principal_kind, state, due_at, created_at, updated_at,
            idempotency_key, account, terms, end_plan, standing)
        SELECT printf('%020d', n), kind, role, target, 'p' || (n % 1000), principal_kind,
            iif(n % 11 = 0, 'active', 'expired'), iif(n % 11 = 0, due_at + n, NULL), created_at, updated_at,
            NULL, account, terms, end_plan, standing
        FROM n, (SELECT * FROM lease LIMIT 1)";
    connection.execute(sql, [rows]).unwrap();
}

async fn timed<T: Debug>(what: &str, work: impl Future<Output = T>) -> T {
    let started = SystemClock.now();
    let result = work.await;
    let took = SystemClock.now().duration_since(started).as_secs_f64();
    #[expect(clippy::print_stdout, reason = "it is for whoever runs it")]
    {
        println!("{what}: {:.3} ms", took * 1000.0);
    }
    result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; takes minutes and gigabytes"]
async fn measures_a_million_live_leases() {
    let directory = directory();
    let path = path_in(&directory);
    let store = open(&path);
    let first = live(&store, lease(1, "ada", "reader"), 600).await;
    store.close().await;
    let rows = std::env::var("MAYFLY_BENCH_ROWS").map_or(11_000_000, |rows| rows.parse().unwrap());
    timed("filling", async { fill(&path, rows) }).await;
    let store = timed("opening", async { open(&path) }).await;
    for round in ["cold", "warm"] {
        let page = PageRequest { size: 100, before: None };
        timed(&format!("{round} page of all"), store.list(&LeaseFilter::default(), page)).await.unwrap();
        let rare = LeaseFilter { states: vec![StateName::Failed], ..LeaseFilter::default() };
        timed(&format!("{round} page of a state nobody is in"), store.list(&rare, page)).await.unwrap();
        let own =
            LeaseFilter { principal: Some("p7".parse().unwrap()), states: vec![StateName::Active], ..rare };
        let found =
            timed(&format!("{round} page of a principal's live"), store.list(&own, page)).await.unwrap();
        assert!(found.items.len() > 10);
        timed(&format!("{round} due"), store.due(&first.target, at(999_999), 64)).await.unwrap();
        timed(&format!("{round} next due"), store.next_due(&first.target)).await.unwrap();
        timed(&format!("{round} live by target"), store.live_by_target()).await.unwrap();
        let new = lease(if round == "cold" { 2 } else { 3 }, "ada", "reader");
        let id = new.id;
        let limits = LeaseLimits { per_principal: u32::MAX, total: u32::MAX };
        let begin =
            store.begin(NewLease { lease: new, limits, entries: Vec::new() }, draft("lease.begun", id));
        timed(&format!("{round} begin"), begin).await.unwrap();
    }
    timed("closing", store.close()).await;
}
