//! A store of many leases answers from short ranges of its indexes: what the server read for an answer is counted.

use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::{EndCause, StateName},
    store::{
        LeaseFilter, LeaseStore as _, PageRequest, RetentionStore as _, Store as _, postgres::PostgresStore,
    },
};
use tokio_postgres::Client;

use super::Place;
use crate::store::fixtures::{at, end, lease, live};

/// Far more than any answer holds.
const LEASES: i64 = 20_000;

/// How often each question is asked: from the sixth time on a server may plan without looking at what is asked for.
const TIMES: usize = 8;

/// A live lease and an ended one, so many times over, on one target.
async fn fill(place: &Place) {
    let store = place.open("filler").await;
    live(&*store, lease(1, "ada", "reader"), 1_000_000_000).await;
    let gone = live(&*store, lease(2, "ada", "reader"), 600).await;
    end(&*store, gone.id, EndCause::Released).await;
    store.close().await;
    let sql = format!(
        "INSERT INTO lease (id, kind, role, target, principal, principal_kind, state, due_at, created_at, updated_at, \
             account, terms, end_plan, standing) \
         SELECT '00' || lpad(n::text, 18, '0'), kind, role, target, 'p' || n % 100, principal_kind, state, due_at + n, \
             created_at, updated_at + n, account, terms, end_plan, standing \
         FROM lease, generate_series(1, {LEASES}) AS series (n) WHERE (n % 2 = 0) = (due_at IS NULL); \
         ANALYZE lease"
    );
    let client = place.client().await;
    client.batch_execute(&sql).await.unwrap();
    // What was read for this is counted now, not at some later moment.
    client.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    client.batch_execute("SELECT").await.unwrap();
}

/// Rows the server has read of the table of leases, for whoever's sake.
async fn rows_read(client: &Client) -> i64 {
    let sql = "SELECT pg_stat_clear_snapshot()::text, (SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) \
         FROM pg_stat_user_tables WHERE relid = 'lease'::regclass), \
         (SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relid = 'lease'::regclass)";
    let row = client.query_one(sql, &[]).await.unwrap();
    row.get::<_, i64>(1) + row.get::<_, i64>(2)
}

async fn ask_everything(store: &PostgresStore) -> usize {
    let one = lease(1, "ada", "reader");
    let size = 10;
    let all = LeaseFilter::default();
    let filters = [
        all.clone(),
        LeaseFilter { states: vec![StateName::Ending, StateName::Active], ..all.clone() },
        LeaseFilter { role: Some(one.role.clone()), ..all.clone() },
        LeaseFilter { target: Some(one.target.clone()), ..all.clone() },
        LeaseFilter { principal: Some("p7".parse().unwrap()), role: Some(one.role.clone()), ..all },
    ];
    for filter in &filters {
        let page = store.list(filter, PageRequest { size, before: None }).await.unwrap();
        assert_eq!(page.items.len(), 10);
    }
    assert!(store.due(&one.target, at(0), 100).await.unwrap().is_empty());
    assert!(store.next_due(&one.target).await.unwrap().is_some());
    assert_eq!(store.tally(at(0)).await.unwrap().len(), 1);
    assert_eq!(store.live_by_target().await.unwrap().len(), 1);
    assert_eq!(store.live_under_role(&one.role, &one.principal.name).await.unwrap(), (1, 1));
    assert_eq!(store.leases(&[one.id]).await.unwrap().len(), 1);
    assert!(store.lease(one.id).await.unwrap().is_some());
    assert_eq!(store.ended(StateName::Released, None, 10).await.unwrap().len(), 10);
    10 * (filters.len() + 1) + 2
}

#[tokio::test]
async fn among_many_leases_only_those_asked_for_are_read() {
    let Some(place) = Place::new().await else { return };
    fill(&place).await;
    let client = place.client().await;
    let before = rows_read(&client).await;
    let store = place.open("asker").await;
    let mut answered = 0;
    for _ in 0..TIMES {
        answered += ask_everything(&store).await;
    }
    // A session tells of what it read when it ends, at the latest.
    store.close().await;
    let deadline = SystemClock.now().as_second() + 10;
    let told = async || rows_read(&client).await - before;
    while told().await < i64::try_from(answered).unwrap() && SystemClock.now().as_second() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let read = told().await;
    assert!(read >= i64::try_from(answered).unwrap(), "{read} rows counted for {answered} answered");
    assert!(read < LEASES, "{read} rows read to answer with {answered}");
}
