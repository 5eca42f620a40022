//! What must hold at the end: nothing left on a target, nothing live in the store, sound books.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::BufReader,
};

use mayfly::{
    api::proto::LeaseState,
    audit::{AuditOutcome, ChainHead, ChainVerifier, ChainsVerifier, Digest, Record, Verifier},
    domain::Engine,
};

use super::{fleet::Plan, replica::Replica};
use crate::{
    crash::caller::Caller,
    support::{eventually, world::Database},
};

/// What the books hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) leases: usize,
}

/// The fleet's accounts on a target, whatever its books say.
pub(super) async fn accounts(plan: &Plan, database: &Database) -> BTreeSet<String> {
    let role = plan.role(database.engine);
    let (table, column) = match database.engine {
        Engine::Postgres => ("pg_roles", "rolname"),
        _ => ("mysql.user", "User"),
    };
    let statement = format!("SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE 'mf\\_{role}\\_%'");
    database.ask_superuser(database.server.unwrap(), &statement).await.into_iter().collect()
}

/// Ends every lease and waits until all have ended.
pub(super) async fn end_everything(plan: &Plan, caller: &Caller) -> Totals {
    for database in &plan.databases {
        let engine = database.engine.as_str();
        caller.revoke_on(engine).await.unwrap();
    }
    eventually("every lease has ended", async || {
        let live = [LeaseState::Provisioning, LeaseState::Active, LeaseState::Ending];
        caller.leases(&live).await.unwrap().is_empty().then_some(())
    })
    .await;
    Totals { leases: caller.leases(&[]).await.unwrap().len() }
}

/// Asserts that nothing is left and that the books are in order. Nobody serves any more; these were stopped in good order.
pub(super) async fn assert_in_order(plan: &Plan, stopped: &[&Replica]) {
    for database in &plan.databases {
        assert_eq!(accounts(plan, database).await, BTreeSet::new(), "left on {}", database.engine);
    }
    let live = plan.store.ask("SELECT id FROM lease WHERE due_at IS NOT NULL").await.unwrap();
    assert_eq!(live, Vec::<Vec<String>>::new(), "live in the store");
    let counted =
        plan.store.ask("SELECT target FROM live_by_target GROUP BY 1 HAVING sum(live) <> 0").await.unwrap();
    assert_eq!(counted, Vec::<Vec<String>>::new(), "counted as live");
    let (heads, records) = verify_together(plan).await;
    assert_ended_once(&records);
    for replica in stopped {
        if let Some(head) = heads.get(&replica.name) {
            assert_file_complete(replica, *head);
        }
    }
}

/// Verifies every replica's chain and all against each other; returns their ends and all records.
async fn verify_together(plan: &Plan) -> (BTreeMap<String, ChainHead>, Vec<Record>) {
    let (mut heads, mut records) = (BTreeMap::new(), Vec::new());
    for row in plan.store.ask("SELECT replica, seq, encode(hash, 'hex') FROM chain").await.unwrap() {
        let hash = Digest::try_from(row[2].clone()).unwrap();
        heads.insert(row[0].clone(), ChainHead { seq: row[1].parse().unwrap(), hash });
    }
    let known: Vec<_> = heads.iter().map(|(name, head)| (Some(name.clone()), *head)).collect();
    let mut all = ChainsVerifier::knowing(&known);
    for name in heads.keys() {
        let mut chain = ChainVerifier::new(Some(name.clone()));
        let statement = format!("SELECT record FROM audit WHERE replica = '{name}' ORDER BY seq");
        for line in plan.store.ask(&statement).await.unwrap() {
            records.push(chain.line(&line[0]).unwrap_or_else(|error| panic!("{name}: {error}")));
        }
        all.add(chain).unwrap_or_else(|error| panic!("{error}"));
    }
    all.finish(true).unwrap_or_else(|error| panic!("{error}"));
    (heads, records)
}

/// Asserts that no lease was issued or ended twice.
fn assert_ended_once(records: &[Record]) {
    let mut counts: BTreeMap<&str, [u32; 3]> = BTreeMap::new();
    for record in records.iter().filter(|record| record.outcome == AuditOutcome::Done) {
        let counted = match record.action.as_str() {
            "lease.issued" => 0,
            "lease.expired" | "lease.revoked" | "lease.released" | "lease.failed" => 1,
            "lease.reappeared" => 2,
            _ => continue,
        };
        counts.entry(&record.resource).or_default()[counted] += 1;
    }
    for (lease, [issued, ended, reappeared]) in counts {
        assert!(issued <= 1, "{lease} was issued {issued} times");
        assert!(ended <= 1 + reappeared, "{lease} ended {ended} times, having reappeared {reappeared} times");
    }
}

/// Asserts that a replica's audit file says what its chain in the store says.
fn assert_file_complete(replica: &Replica, head: ChainHead) {
    let Ok(file) = fs::File::open(replica.path("audit.jsonl")) else { return };
    let mut verifier = Verifier::new(Some(head));
    verifier.lines(BufReader::new(file)).unwrap_or_else(|error| panic!("{}: {error}", replica.name));
    let last = verifier.finish().unwrap_or_else(|error| panic!("{}: {error}", replica.name)).last.unwrap();
    assert_eq!((last.seq, last.hash), (head.seq, head.hash), "the audit file of {} is short", replica.name);
}
