//! Pages of listings and scans for what is due, asked of the store itself.

use std::{path::Path, sync::Arc};

use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::{LeaseId, StateName},
    sandbox::Server,
    store::{
        LeaseFilter, PageRequest, Store,
        postgres::PostgresStore,
        sqlite::{SqliteOptions, SqliteStore},
    },
};

use super::fill;
use crate::frame::{Figure, Options, Outcome, median, moment};

/// Leases on a page: as many as the API gives at most.
const PAGE: u32 = 100;

/// What a store in a file takes.
pub(super) async fn of_file(path: &Path, options: &Options) -> Outcome<Vec<Figure>> {
    let store = SqliteStore::open(path, SqliteOptions::default())?;
    let figures = look(&store, "sqlite", options).await;
    store.close().await;
    figures
}

/// What a store on a server takes.
pub(super) async fn of_server(server: &Server, options: &Options) -> Outcome<Vec<Figure>> {
    let store = PostgresStore::open(fill::settings(server, "looker")?, Arc::new(SystemClock)).await?;
    let figures = look(&store, "postgres", options).await;
    store.close().await;
    figures
}

async fn look(store: &dyn Store, name: &str, options: &Options) -> Outcome<Vec<Figure>> {
    let rounds = options.rounds * 5;
    let mut slowest: Vec<f64> = Vec::new();
    for filter in filters()? {
        for before in [None, Some(deep()?)] {
            let mut times = Vec::new();
            for _ in 0..rounds {
                let began = moment();
                store.list(&filter, PageRequest { size: PAGE, before }).await?;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            let time = median(&times);
            if slowest.is_empty() || time > median(&slowest) {
                slowest = times;
            }
        }
    }
    let (target, now) = (fill::TARGET.parse()?, SystemClock.now());
    let mut scans = Vec::new();
    for _ in 0..rounds {
        let began = moment();
        store.due(&target, now, 100).await?;
        store.next_due(&target).await?;
        store.tally(now).await?;
        scans.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(vec![
        Figure::of(format!("leases.{name}.list-page"), "ms", &slowest, &[]).at_most(10.0),
        Figure::of(format!("leases.{name}.due-scan"), "ms", &scans, &[]).at_most(10.0),
    ])
}

/// By everything there is to look by.
fn filters() -> Outcome<Vec<LeaseFilter>> {
    let all = LeaseFilter::default();
    let by_role = LeaseFilter { role: Some(fill::ROLE.parse()?), ..all.clone() };
    let expired = vec![StateName::Expired];
    Ok(vec![
        all.clone(),
        LeaseFilter { states: expired.clone(), ..all.clone() },
        LeaseFilter { target: Some(fill::TARGET.parse()?), ..all.clone() },
        LeaseFilter { states: expired, ..by_role.clone() },
        by_role.clone(),
        LeaseFilter { principal: Some(fill::PRINCIPAL.parse()?), ..all.clone() },
        LeaseFilter { principal: Some(fill::FLEET.parse()?), ..all },
        LeaseFilter { principal: Some(fill::FLEET.parse()?), ..by_role },
    ])
}

/// Somewhere in the middle of those that ended, as their identifiers are counted.
fn deep() -> Outcome<LeaseId> {
    Ok(format!("06{:018x}", 50_000).parse()?)
}
