//! What only the inside of the store can show: how it meets a full disk, and which indexes answer its questions.

use jiff::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    audit::{Actor, AuditLog},
    domain::{PrincipalName, RoleName, StateName, TargetName},
    store::{LeaseFilter, StoreErrorKind},
};

fn opened() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mayfly.db");
    (SqliteStore::open(&path, SqliteOptions::default()).unwrap(), directory)
}

fn note(size: usize) -> Draft {
    let note = "x".repeat(size);
    Draft::new(Timestamp::UNIX_EPOCH, Actor::System, "something.noted", "notes/1").with("note", note)
}

async fn limit_pages(store: &SqliteStore, limit: u32) {
    let set = move |ledger: &mut Ledger<'_>| {
        ledger
            .connection
            .pragma_update_and_check(None, "max_page_count", limit, |row| row.get::<_, u32>(0))
            .map_err(write_failed)
    };
    store.writer.run(set).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_in_words_and_is_recovered_from() {
    let (store, _directory) = opened();
    store.record(note(10)).await.unwrap();
    limit_pages(&store, 1).await;
    let refused = store.record(note(100_000)).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::NotWritable);
    assert!(refused.to_string().starts_with("the disk that holds the store is full"), "{refused}");
    assert!(std::error::Error::source(&refused).is_some());
    let refused = store.check_writable().await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::NotWritable);

    limit_pages(&store, u32::MAX - 1).await;
    store.check_writable().await.unwrap();
    store.record(note(100_000)).await.unwrap();
    let records = store.read_after(0, 10).await.unwrap();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(records[1].previous, records[0].hash);
    store.close().await;
}

#[tokio::test]
async fn one_failing_write_does_not_take_its_neighbours_with_it() {
    let (store, _directory) = opened();
    let failing = |ledger: &mut Ledger<'_>| -> Result<(), StoreError> {
        ledger.append(note(1))?;
        Err(StoreError::new(StoreErrorKind::Other, "changed its mind"))
    };
    let outcome = tokio::join!(store.record(note(1)), store.writer.run(failing), store.record(note(2)));
    assert!(outcome.0.is_ok() && outcome.2.is_ok());
    assert_eq!(outcome.1.unwrap_err().to_string(), "changed its mind");
    assert_eq!(store.read_after(0, 10).await.unwrap().len(), 2);
    store.close().await;
}

#[tokio::test]
async fn a_transaction_that_is_lost_fails_everybody_in_it_and_nobody_after_it() {
    let (store, _directory) = opened();
    let losing = |ledger: &mut Ledger<'_>| -> Result<(), StoreError> {
        ledger.append(note(1))?;
        ledger.connection.execute_batch("ROLLBACK").map_err(write_failed)?;
        Err(StoreError::new(StoreErrorKind::NotWritable, "lost"))
    };
    let outcome = tokio::join!(store.writer.run(losing), store.record(note(2)));
    assert_eq!(outcome.0.unwrap_err().kind, StoreErrorKind::NotWritable);
    // The neighbour was in the same transaction behind it, or in the next one: it runs after the loss either way.
    assert!(outcome.1.is_ok());
    let records = store.read_after(0, 10).await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].digest(), records[0].hash);
    store.close().await;
}

fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
    steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn every_question_is_one_range_of_an_index() {
    let (store, directory) = opened();
    let connection = file::open_reader(&directory.path().join("mayfly.db")).unwrap();
    let principal: PrincipalName = "ada".parse().unwrap();
    let role: RoleName = "reader".parse().unwrap();
    let target: TargetName = "main".parse().unwrap();
    let by_target = LeaseFilter { target: Some(target), ..LeaseFilter::default() };
    let by_role = LeaseFilter { role: Some(role), ..by_target.clone() };
    let by_principal =
        LeaseFilter { principal: Some(principal), states: vec![StateName::Active], ..by_role.clone() };
    for (filter, range) in [
        (LeaseFilter::default(), "lease_by_state (state=? AND id<?)"),
        (by_target, "lease_by_target (target=? AND state=? AND id<?)"),
        (by_role, "lease_by_role (role=? AND state=? AND id<?)"),
        (by_principal, "lease_by_principal (principal=? AND state=? AND id<?)"),
    ] {
        let plan = plan(&connection, lease_query::range(&filter));
        assert_eq!(plan, format!("SEARCH lease USING COVERING INDEX {range}"));
    }
    let due = plan(&connection, lease_query::DUE);
    assert_eq!(due, "SEARCH lease USING INDEX lease_by_due (target=? AND due_at<?)");
    let put_off = plan(&connection, lease_query::PUT_OFF);
    assert_eq!(put_off, "SEARCH lease USING INDEX lease_ending (target=? AND due_at>?)");
    let next_due = plan(&connection, lease_query::NEXT_DUE);
    assert_eq!(next_due, "SEARCH lease USING COVERING INDEX lease_by_due (target=? AND due_at>?)");
    let in_state = plan(&connection, tally::IN_STATE);
    assert_eq!(in_state, "SEARCH lease USING COVERING INDEX lease_by_target (target=? AND state=?)");
    let ending_since = plan(&connection, tally::ENDING_SINCE);
    assert_eq!(ending_since, "SEARCH lease USING INDEX lease_ending (target=?)");
    for (question, ranges) in [
        (entry::ONE, ["entry USING PRIMARY KEY (kind=? AND id=?)"].as_slice()),
        (entry::OF_A_KIND, &["entry USING PRIMARY KEY (kind=? AND id<?)"]),
        (
            entry::FOUND_BY,
            &[
                "found USING PRIMARY KEY (kind=? AND name=? AND value=? AND id<?)",
                "entry USING PRIMARY KEY (kind=? AND id=?)",
            ],
        ),
        (entry::DUE, &["entry USING INDEX entry_by_due (kind=? AND due_at<?)"]),
        (entry::NEXT_DUE, &["entry USING COVERING INDEX entry_by_due (kind=? AND due_at>?)"]),
    ] {
        // With every entry comes what it is found by: a handful, put into order.
        let own = [
            "SEARCH own USING COVERING INDEX entry_key_of (kind=? AND id=?)",
            "USE TEMP B-TREE FOR json_group_array(ORDER BY)",
        ];
        let plan = plan(&connection, question);
        let steps = plan
            .split("; ")
            .filter(|step| !own.contains(step) && !step.starts_with("CORRELATED SCALAR SUBQUERY"));
        let searches: Vec<String> = ranges.iter().map(|range| format!("SEARCH {range}")).collect();
        assert_eq!(steps.collect::<Vec<_>>(), searches);
    }
    let due = plan(&connection, tally::DUE);
    assert_eq!(due, "SEARCH lease USING INDEX lease_by_due (target=? AND due_at<?)");
    store.close().await;
}
