//! Tokens, the audit log, and the store as a whole.

use std::{sync::Arc, time::Duration};

use mayfly::{
    audit::{AuditOutcome, Digest},
    store::{ApplyError, StoreErrorKind},
};
use tokio::time::timeout;

use super::{SOON, Subject};
use crate::store::fixtures::{actions, activated, at, draft, ended, lease, live, records, token};

pub(crate) async fn a_token_is_found_by_its_digest_and_by_no_other(store: Subject) {
    assert!(store.has_no_tokens().await.unwrap());
    for n in 1..=2 {
        store.add_token(token(n), draft("token.created", lease(1, "a", "b").id)).await.unwrap();
    }
    assert!(!store.has_no_tokens().await.unwrap());
    assert_eq!(store.token_by_hash(&token(1).hash).await.unwrap(), Some(token(1)));
    assert_eq!(store.token_by_hash(&token(2).hash).await.unwrap(), Some(token(2)));
    assert_eq!(store.token_by_hash(&token(3).hash).await.unwrap(), None);
    let twice = store.add_token(token(1), draft("token.created", lease(1, "a", "b").id)).await;
    assert_eq!(twice.unwrap_err().kind, StoreErrorKind::Other);
    assert_eq!(actions(&*store).await.len(), 2, "what failed left no record");
}

pub(crate) async fn tokens_are_listed_newest_first_in_parts(store: Subject) {
    for n in 0..5 {
        store.add_token(token(n), draft("token.created", lease(1, "a", "b").id)).await.unwrap();
    }
    let first = store.tokens(None, 3).await.unwrap();
    assert_eq!(first, [token(4), token(3), token(2)]);
    assert_eq!(store.tokens(Some(first[2].id), 3).await.unwrap(), [token(1), token(0)]);
}

pub(crate) async fn a_token_is_revoked_once(store: Subject) {
    let revoking = || draft("token.revoked", lease(1, "a", "b").id);
    assert_eq!(store.revoke_token(token(1).id, at(5), revoking()).await.unwrap(), None);
    store.add_token(token(1), draft("token.created", lease(1, "a", "b").id)).await.unwrap();
    let revoked = store.revoke_token(token(1).id, at(5), revoking()).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(5)));
    let again = store.revoke_token(token(1).id, at(6), revoking()).await.unwrap();
    assert_eq!(again, Some(revoked.clone()));
    assert_eq!(store.token_by_hash(&revoked.hash).await.unwrap(), Some(revoked));
    assert_eq!(actions(&*store).await, ["token.created", "token.revoked"]);
    assert!(!store.has_no_tokens().await.unwrap(), "a revoked token was kept all the same");
}

/// While others look the token up without pause, so that what they read races with what is written.
pub(crate) async fn a_revocation_is_seen_by_whoever_looks_after_it(store: Subject) {
    for n in 0..20 {
        store.add_token(token(n), draft("token.created", lease(1, "a", "b").id)).await.unwrap();
        let looking: Vec<_> = (0..4)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    while store.token_by_hash(&token(n).hash).await.unwrap().unwrap().revoked_at.is_none() {
                        tokio::task::yield_now().await;
                    }
                    store.token_by_hash(&token(n).hash).await.unwrap().unwrap().revoked_at
                })
            })
            .collect();
        let revoking = draft("token.revoked", lease(1, "a", "b").id);
        store.revoke_token(token(n).id, at(5), revoking).await.unwrap().unwrap();
        for _ in 0..50 {
            let found = store.token_by_hash(&token(n).hash).await.unwrap().unwrap();
            assert_eq!(found.revoked_at, Some(at(5)));
        }
        for looked in looking {
            assert_eq!(looked.await.unwrap(), Some(at(5)), "once revoked, it stays revoked");
        }
    }
}

pub(crate) async fn a_revocation_counts_even_if_nobody_waits_for_it(store: Subject) {
    store.add_token(token(1), draft("token.created", lease(1, "a", "b").id)).await.unwrap();
    assert_eq!(store.token_by_hash(&token(1).hash).await.unwrap(), Some(token(1)));
    let revoking = store.revoke_token(token(1).id, at(5), draft("token.revoked", lease(1, "a", "b").id));
    // Polled once, so that it is under way, then given up.
    let _ = timeout(Duration::ZERO, revoking).await;
    // Writes are done in order.
    store.record(draft("something.done", lease(1, "a", "b").id)).await.unwrap();
    let found = store.token_by_hash(&token(1).hash).await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(at(5)));
}

pub(crate) async fn the_log_is_one_chain_whoever_writes(store: Subject) {
    let writers: Vec<_> = (0..30)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let refused = lease(n, "ada", "reader").id;
                store.apply(refused, ended(1), at(1), Some(draft("lease.ended", refused))).await.unwrap_err();
                live(&*store, lease(n, "ada", "reader"), 600).await
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let records = records(&*store).await;
    assert_eq!(records.len(), 60);
    let mut previous = Digest::GENESIS;
    for (position, record) in records.iter().enumerate() {
        assert_eq!((record.seq, record.previous), (position as u64 + 1, previous));
        assert_eq!(record.hash, record.digest());
        previous = record.hash;
    }
    assert_eq!(store.read_after(57, 2).await.unwrap(), records[57..59]);
}

pub(crate) async fn the_log_can_be_waited_for(store: Subject) {
    let waiting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.appended(1).await })
    };
    store.record(draft("server.started", lease(1, "a", "b").id)).await.unwrap();
    timeout(SOON, store.appended(0)).await.unwrap();
    assert!(!waiting.is_finished());
    store.record(draft("server.stopped", lease(1, "a", "b").id)).await.unwrap();
    timeout(SOON, waiting).await.unwrap().unwrap();
}

pub(crate) async fn a_refusal_is_recorded_by_itself(store: Subject) {
    let refusal = draft("lease.issued", lease(1, "a", "b").id).refused("the role's list does not name you");
    store.record(refusal).await.unwrap();
    let records = records(&*store).await;
    assert_eq!((records.len(), records[0].outcome), (1, AuditOutcome::Refused));
    assert_eq!(records[0].details["reason"], "the role's list does not name you");
}

pub(crate) async fn a_store_says_that_it_can_be_written(store: Subject) {
    for _ in 0..3 {
        store.check_writable().await.unwrap();
    }
    assert!(records(&*store).await.is_empty());
}

pub(crate) async fn a_closed_store_refuses(store: Subject) {
    let kept = live(&*store, lease(1, "ada", "reader"), 600).await;
    store.close().await;
    assert_eq!(store.lease(kept.id).await.unwrap_err().kind, StoreErrorKind::Closed);
    assert_eq!(store.check_writable().await.unwrap_err().kind, StoreErrorKind::Closed);
    let refused = store.apply(kept.id, activated(9), at(2), None).await;
    assert!(matches!(refused, Err(ApplyError::Store(error)) if error.kind == StoreErrorKind::Closed));
    assert!(store.read_after(0, 1).await.is_err());
    store.close().await;
}
