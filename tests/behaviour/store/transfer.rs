//! Everything out of one store and into another, and back.

use std::path::Path;

use mayfly::{
    audit::{Actor, Archives, ChainsError, Draft, OTHER_CHAINS, REPLICA},
    domain::{EndCause, InstanceId, LeaseEvent},
    store::{
        Committed, Entry, EntryChange, EntryKind, KeptSecret, KnownServer, LeaseStore, Store, StoreError,
        StoreErrorKind, postgres, sqlite,
        transfer::{Counts, Item},
    },
};
use tempfile::TempDir;

use super::{
    conformance::{add, change, keyed_entry},
    fixtures::{at, draft, end, end_requested, lease, live, records, token, unlimited},
    postgres::Place,
    sqlite::{open, path_in},
};

async fn fill(store: &dyn Store) {
    let kept = live(store, lease(1, "ada", "reader"), 600).await;
    let gone = live(store, lease(2, "grace", "reader"), 600).await;
    end(store, gone.id, EndCause::Revoked { reason: "left".to_owned() }).await;
    let mut keyed = lease(3, "ada", "writer");
    keyed.idempotency_key = Some("k'; DROP TABLE lease --".to_owned());
    store.begin(unlimited(keyed.clone()), draft("lease.begun", keyed.id)).await.unwrap();
    let ending = live(store, lease(4, "ada", "reader"), 600).await;
    store.apply(ending.id, end_requested(5, EndCause::Released), at(5), None).await.unwrap();
    for n in 1..=2 {
        store.add_token(token(n), draft("token.created", kept.id)).await.unwrap();
    }
    store.revoke_token(token(1).id, at(7), draft("token.revoked", kept.id)).await.unwrap();
    let target = "db-reader".parse().unwrap();
    let known = KnownServer { identity: "7234".to_owned(), since: at(1) };
    store.know_server(&target, known, draft("target.recognised", kept.id)).await.unwrap();
    let sealed = "v1.0011223344556677.AAAA".parse().unwrap();
    let secret = KeptSecret::none("mayfly").begun(sealed, at(1)).promoted(at(2));
    store.keep_secret(&target, secret, draft("target.rotated", kept.id)).await.unwrap();
    let later = KeptSecret { revision: 1, ..KeptSecret::none("mayfly") }.failed(at(3), "down");
    store.keep_secret(&target, later, draft("target.rotated", kept.id)).await.unwrap();
    let entries = [
        Entry { due_at: Some(at(9)), ..keyed_entry("r'1", &[("state", "pending"), ("by", "ada")]) },
        keyed_entry("r2\n", &[]),
        Entry {
            kind: EntryKind::User,
            body: r#"{"name": "ünï \\u0000"}"#.to_owned(),
            ..keyed_entry("r2", &[("by", "")])
        },
    ];
    add(store, entries.clone()).await;
    let again = Entry { revision: 1, ..entries[0].clone() };
    assert_eq!(change(store, vec![EntryChange::Put(again)]).await, Committed::Yes);
}

fn out_of_file(path: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    sqlite::export(path, &mut |item| {
        items.push(item);
        Ok(())
    })
    .unwrap();
    items
}

async fn out_of(place: &Place) -> Vec<Item> {
    let mut items = Vec::new();
    let mut out = |item| {
        items.push(item);
        Ok(())
    };
    postgres::export(&place.settings("offline"), &mut out).await.unwrap();
    items
}

/// As lines and back, as they travel.
fn travel(items: &[Item]) -> impl Iterator<Item = Result<Item, StoreError>> + Send + use<> {
    let lines: Vec<String> = items.iter().map(|item| serde_json::to_string(item).unwrap()).collect();
    lines.into_iter().map(|line| Ok(serde_json::from_str(&line).unwrap()))
}

async fn into(place: &Place, items: &[Item]) -> Result<Counts, StoreError> {
    postgres::import(&place.settings("offline"), &mut travel(items)).await
}

fn into_file(directory: &TempDir, items: &[Item]) -> Result<Counts, StoreError> {
    sqlite::import(&path_in(directory), &mut travel(items))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_to_a_shared_store_and_back() {
    let Some(place) = Place::new().await else { return };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&path_in(&first));
    fill(&store).await;
    let (instance, log): (InstanceId, _) = (store.instance(), records(&store).await);
    store.close().await;
    let items = out_of_file(&path_in(&first));
    let counts = into(&place, &items).await.unwrap();
    assert_eq!((counts.leases, counts.tokens, counts.entries, counts.records), (4, 2, 3, log.len() as u64));
    assert_eq!(out_of(&place).await, items, "nothing was left out, added or changed");

    let shared = place.open("a").await;
    assert_eq!(shared.instance(), instance);
    assert_eq!(shared.live_by_target().await.unwrap().len(), 2);
    let due = shared.due(&"db-reader".parse().unwrap(), at(700), 10).await.unwrap();
    assert_eq!(due.len(), 2);
    shared.close().await;
    assert_eq!(out_of(&place).await, items, "who has claimed what does not travel");

    into_file(&second, &items).unwrap();
    assert_eq!(out_of_file(&path_in(&second)), items);
    let back = open(&path_in(&second));
    assert_eq!((back.instance(), records(&back).await), (instance, log));
    live(&back, lease(9, "ada", "reader"), 600).await;
    back.close().await;
    sqlite::verify_chains(&path_in(&second), &[], Archives::default()).unwrap();
}

fn started(replica: &str, others: &[(String, mayfly::audit::ChainHead)]) -> Draft {
    let others: Vec<String> = others.iter().map(|(name, head)| format!("{name}={head}")).collect();
    Draft::new(at(0), Actor::System, "server.started", "server/-")
        .with(REPLICA, replica)
        .with(OTHER_CHAINS, others.join(" "))
}

/// Two processes that served one after the other.
async fn two_chains(place: &Place) {
    for (name, n) in [("a", 1), ("b", 2)] {
        let store = place.open(name).await;
        store.record(started(name, &store.other_chains().await.unwrap())).await.unwrap();
        live(&*store, lease(n, "ada", "reader"), 600).await;
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chains_of_all_replicas_are_verified_and_move_together() {
    let Some(place) = Place::new().await else { return };
    two_chains(&place).await;
    let settings = place.settings("offline");
    let verified = postgres::verify_chains(&settings, &[], Archives::default()).await.unwrap();
    assert_eq!(verified.chains.iter().map(|chain| chain.verified.records).collect::<Vec<_>>(), [3, 3]);

    let directory = tempfile::tempdir().unwrap();
    let items = out_of(&place).await;
    into_file(&directory, &items).unwrap();
    let store = open(&path_in(&directory));
    assert_eq!(
        store.other_chains().await.unwrap().len(),
        2,
        "a start vouches for the chains that were moved here"
    );
    store.record(started(&store.replica().unwrap(), &store.other_chains().await.unwrap())).await.unwrap();
    store.close().await;
    let verified = sqlite::verify_chains(&path_in(&directory), &[], Archives::default()).unwrap();
    let names: Vec<_> = verified.chains.iter().filter_map(|chain| chain.name.as_deref()).collect();
    assert_eq!(names, ["a", "b", "embedded"]);

    let client = place.client().await;
    client.batch_execute("DELETE FROM audit WHERE replica = 'a' AND seq = 3").await.unwrap();
    client
        .batch_execute(
            "UPDATE chain SET seq = 2, hash = audit.hash FROM audit
        WHERE chain.replica = 'a' AND audit.replica = 'a' AND audit.seq = 2",
        )
        .await
        .unwrap();
    let cut = postgres::verify_chains(&settings, &[], Archives::default()).await.unwrap_err();
    assert!(matches!(&cut, ChainsError::Contradicted { chain, .. } if chain == "chain a"), "{cut}");
    client
        .batch_execute("DELETE FROM audit WHERE replica = 'a'; DELETE FROM chain WHERE replica = 'a'")
        .await
        .unwrap();
    let gone = postgres::verify_chains(&settings, &[], Archives::default()).await.unwrap_err();
    assert!(matches!(&gone, ChainsError::Absent { chain, .. } if chain == "a"), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_holds_something_takes_nothing_in() {
    let Some(place) = Place::new().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = open(&path_in(&directory));
    live(&store, lease(1, "ada", "reader"), 600).await;
    assert_eq!(into_file(&directory, &[]).unwrap_err().kind, StoreErrorKind::Held, "a server has it");
    store.close().await;
    let items = out_of_file(&path_in(&directory));
    assert!(into_file(&directory, &items).unwrap_err().to_string().contains("is not empty"));
    into(&place, &items).await.unwrap();
    assert!(into(&place, &items).await.unwrap_err().to_string().contains("is not empty"));
    assert_eq!(out_of(&place).await, items);
}

#[test]
fn an_export_from_before_there_were_entries_is_taken_in() {
    let directory = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"store":{"format":1,"instance":"00112233445566778899"}}"#,
        r#"{"end":{"leases":0,"tokens":0,"known_servers":0,"administration_secrets":0,"records":0}}"#,
    ];
    let mut items = lines.iter().map(|line| Ok(serde_json::from_str(line).unwrap()));
    assert_eq!(sqlite::import(&path_in(&directory), &mut items).unwrap(), Counts::default());
    let newer = Item::Store { format: 3, instance: "00112233445566778899".to_owned() };
    let refused = into_file(&tempfile::tempdir().unwrap(), &[newer]).unwrap_err();
    assert!(refused.to_string().ends_with("the format 3, and this version knows those up to 2"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_whole_is_refused_and_leaves_nothing() {
    let Some(place) = Place::new().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = open(&path_in(&directory));
    fill(&store).await;
    store.close().await;
    let items = out_of_file(&path_in(&directory));
    let without = |what: fn(&Item) -> bool| {
        let position = items.iter().position(what).unwrap();
        let mut items = items.clone();
        items.remove(position);
        items
    };
    let mut edited = items.clone();
    for item in &mut edited {
        if let Item::Record { line, .. } = item {
            *line = line.replace("lease.issued", "lease.expired");
        }
    }
    for broken in [
        without(|item| matches!(item, Item::Store { .. })),
        without(|item| matches!(item, Item::Lease(_))),
        without(|item| matches!(item, Item::Entry(_))),
        without(|item| matches!(item, Item::Record { .. })),
        without(|item| matches!(item, Item::End(_))),
        edited,
    ] {
        let fresh = tempfile::tempdir().unwrap();
        assert_eq!(into(&place, &broken).await.unwrap_err().kind, StoreErrorKind::Corrupt);
        assert_eq!(into_file(&fresh, &broken).unwrap_err().kind, StoreErrorKind::Corrupt);
        let left = out_of_file(&path_in(&fresh));
        assert!(matches!(left.as_slice(), [Item::Store { .. }, Item::End(_)]), "{left:?}");
    }
    into(&place, &items).await.unwrap();
    let store = place.open("a").await;
    let id = lease(1, "ada", "reader").id;
    store.apply(id, LeaseEvent::Due { at: at(900) }, at(900), None).await.unwrap();
    store.close().await;
}
