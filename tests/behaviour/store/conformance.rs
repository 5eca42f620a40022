//! What every store must do. Each behaviour is a function of a store without content; `conformance!` makes one test of
//! each for a way to open a store.

use std::{sync::Arc, time::Duration};

use mayfly::{
    audit::{AuditOutcome, Digest},
    domain::{
        EndCause, EndReport, Lease, LeaseEvent, LeaseId, LeaseLimits, LeaseState, StateName, TargetName,
    },
    store::{ApplyError, BeginError, Begun, LeaseFilter, NewLease, Page, PageRequest, Store, StoreErrorKind},
};
use tokio::{sync::broadcast::error::TryRecvError, time::timeout};

use super::fixtures::{
    actions, activated, at, draft, end, end_requested, ended, lease, live, records, token, unlimited,
};

/// How long anything may take that is expected to happen.
const SOON: Duration = Duration::from_secs(10);

/// Tests every behaviour against what `$open` (an expression for a fixture with a method `store()`) opens.
macro_rules! conformance {
    ($open:expr) => {
        $crate::store::conformance::conformance! { $open;
            a_lease_reads_back_as_it_was_begun,
            a_lease_passes_through_its_life_and_the_log_tells_of_it,
            an_event_that_does_not_apply_changes_nothing,
            an_event_on_an_unknown_lease_changes_nothing,
            asking_an_ending_lease_to_end_changes_nothing,
            a_failed_attempt_may_go_without_a_record,
            the_same_key_and_terms_bring_back_the_same_lease,
            the_same_key_with_other_terms_is_refused,
            a_key_belongs_to_its_principal,
            one_principal_cannot_exceed_its_limit,
            all_principals_together_cannot_exceed_the_roles_limit,
            limits_hold_when_many_ask_at_once,
            an_ended_lease_frees_its_place,
            a_listing_is_complete_and_newest_first_whatever_the_page_size,
            a_listing_passes_exactly_what_its_filter_passes,
            a_listing_stays_complete_while_leases_change,
            due_leases_come_most_overdue_first_and_only_of_their_target,
            live_leases_are_counted_by_target,
            changes_are_told_after_they_are_durable_and_only_then,
            a_token_is_found_by_its_digest_and_by_no_other,
            tokens_are_listed_newest_first_in_parts,
            a_token_is_revoked_once,
            the_log_is_one_chain_whoever_writes,
            the_log_can_be_waited_for,
            a_refusal_is_recorded_by_itself,
            a_store_says_that_it_can_be_written,
            a_closed_store_refuses,
        }
    };
    ($open:expr; $($behaviour:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let fixture = $open;
                $crate::store::conformance::$behaviour(fixture.store()).await;
                fixture.store().close().await;
            }
        )*
    };
}
pub(crate) use conformance;

type Subject = Arc<dyn Store>;

async fn whole(store: &Subject, filter: &LeaseFilter, size: u32) -> Vec<Lease> {
    let (mut items, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(filter, PageRequest { size, before }).await.unwrap();
        assert!(page.items.len() <= size as usize);
        items.extend(page.items);
        match page.next {
            None => return items,
            next => before = next,
        }
    }
}

pub(crate) async fn a_lease_reads_back_as_it_was_begun(store: Subject) {
    let mut new = lease(1, "ci/build", "reader");
    new.idempotency_key = Some("k'; DROP TABLE lease --".to_owned());
    let begun = store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
    assert_eq!(begun, Begun::Fresh(new.clone()));
    assert_eq!(store.lease(new.id).await.unwrap(), Some(new.clone()));
    assert_eq!(store.lease(lease(2, "a", "b").id).await.unwrap(), None);
    let records = records(&*store).await;
    assert_eq!((records.len(), records[0].resource.as_str()), (1, new.resource_name().as_str()));
}

pub(crate) async fn a_lease_passes_through_its_life_and_the_log_tells_of_it(store: Subject) {
    let id = live(&*store, lease(1, "ada", "reader"), 600).await.id;
    let renewed = LeaseEvent::Renewed { expires_at: at(900) };
    let lease = store.apply(id, renewed, at(10), Some(draft("lease.renewed", id))).await.unwrap();
    assert_eq!((lease.expires_at(), lease.updated_at), (Some(at(900)), at(10)));
    let cause = EndCause::Revoked { reason: "left the team".to_owned() };
    let done = end(&*store, id, cause.clone()).await;
    let report = EndReport { sessions_ended: 2, ..EndReport::default() };
    assert_eq!(done.state, LeaseState::Ended { cause, at: at(4), report });
    assert_eq!(store.lease(id).await.unwrap(), Some(done));
    let told = ["lease.begun", "lease.issued", "lease.renewed", "lease.ending", "lease.ended"];
    assert_eq!(actions(&*store).await, told);
}

pub(crate) async fn an_event_that_does_not_apply_changes_nothing(store: Subject) {
    let new = lease(1, "ada", "reader");
    store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
    let refused = store.apply(new.id, ended(2), at(2), Some(draft("lease.ended", new.id))).await;
    assert!(matches!(refused, Err(ApplyError::Illegal { .. })), "{refused:?}");
    assert_eq!(store.lease(new.id).await.unwrap(), Some(new));
    assert_eq!(actions(&*store).await, ["lease.begun"]);
}

pub(crate) async fn an_event_on_an_unknown_lease_changes_nothing(store: Subject) {
    let id = lease(1, "ada", "reader").id;
    let refused = store.apply(id, activated(9), at(2), Some(draft("lease.issued", id))).await;
    assert!(matches!(refused, Err(ApplyError::Unknown(unknown)) if unknown == id), "{refused:?}");
    assert!(actions(&*store).await.is_empty());
}

pub(crate) async fn asking_an_ending_lease_to_end_changes_nothing(store: Subject) {
    let id = live(&*store, lease(1, "ada", "reader"), 600).await.id;
    let ending = store.apply(id, end_requested(5, EndCause::Released), at(5), None).await.unwrap();
    let before = actions(&*store).await;
    let mut changes = store.changes();
    let again = end_requested(6, EndCause::Expired);
    let same = store.apply(id, again, at(6), Some(draft("lease.ending", id))).await.unwrap();
    assert_eq!(same, ending);
    assert_eq!(store.lease(id).await.unwrap(), Some(ending));
    assert_eq!(actions(&*store).await, before);
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
}

pub(crate) async fn a_failed_attempt_may_go_without_a_record(store: Subject) {
    let id = live(&*store, lease(1, "ada", "reader"), 600).await.id;
    store.apply(id, end_requested(5, EndCause::Expired), at(5), None).await.unwrap();
    let before = actions(&*store).await;
    let failed = LeaseEvent::EndAttemptFailed {
        error: "the target is down".to_owned(),
        next_attempt_at: at(60),
        progress: EndReport { sessions_ended: 1, ..EndReport::default() },
    };
    for attempt in 1..=3 {
        let lease = store.apply(id, failed.clone(), at(6), None).await.unwrap();
        let LeaseState::Ending { attempts, next_attempt_at, progress, .. } = lease.state else {
            panic!("{lease:?}")
        };
        assert_eq!((attempts, next_attempt_at, progress.sessions_ended), (attempt, at(60), attempt));
    }
    assert_eq!(actions(&*store).await, before);
}

fn keyed(n: u32, principal: &str) -> Lease {
    Lease { idempotency_key: Some("deploy-42".to_owned()), ..lease(n, principal, "reader") }
}

pub(crate) async fn the_same_key_and_terms_bring_back_the_same_lease(store: Subject) {
    let first = live(&*store, keyed(1, "ada"), 600).await;
    let second = keyed(2, "ada");
    // Even when the limit is reached: by that very lease.
    let limits = LeaseLimits { per_principal: 1, total: 1 };
    let repeated =
        store.begin(NewLease { lease: second.clone(), limits }, draft("lease.begun", second.id)).await;
    assert_eq!(repeated.unwrap(), Begun::Repeated(first));
    assert_eq!(store.lease(second.id).await.unwrap(), None);
    assert_eq!(actions(&*store).await, ["lease.begun", "lease.issued"]);
}

pub(crate) async fn the_same_key_with_other_terms_is_refused(store: Subject) {
    let first = live(&*store, keyed(1, "ada"), 600).await;
    let other_role = Lease { role: "writer".parse().unwrap(), ..keyed(2, "ada") };
    let mut other_purpose = keyed(3, "ada");
    other_purpose.terms.purpose = "something else".to_owned();
    let mut other_ttl = keyed(4, "ada");
    other_ttl.terms.ttl = 601.try_into().unwrap();
    for other in [other_role, other_purpose, other_ttl] {
        let id = other.id;
        match store.begin(unlimited(other), draft("lease.begun", id)).await {
            Err(BeginError::KeyReused(earlier)) => assert_eq!(*earlier, first),
            unexpected => panic!("{unexpected:?}"),
        }
        assert_eq!(store.lease(id).await.unwrap(), None);
    }
    assert_eq!(actions(&*store).await, ["lease.begun", "lease.issued"]);
}

pub(crate) async fn a_key_belongs_to_its_principal(store: Subject) {
    for (n, principal) in [(1, "ada"), (2, "grace")] {
        let new = keyed(n, principal);
        let begun = store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
        assert_eq!(begun, Begun::Fresh(new));
    }
}

async fn begin_limited(
    store: &Subject,
    lease: Lease,
    per_principal: u32,
    total: u32,
) -> Result<Begun, BeginError> {
    let id = lease.id;
    let limits = LeaseLimits { per_principal, total };
    store.begin(NewLease { lease, limits }, draft("lease.begun", id)).await
}

pub(crate) async fn one_principal_cannot_exceed_its_limit(store: Subject) {
    for n in 0..2 {
        begin_limited(&store, lease(n, "ada", "reader"), 2, 100).await.unwrap();
    }
    let refused = begin_limited(&store, lease(2, "ada", "reader"), 2, 100).await;
    assert!(matches!(refused, Err(BeginError::PrincipalLimit { live: 2, limit: 2 })), "{refused:?}");
    begin_limited(&store, lease(3, "grace", "reader"), 2, 100).await.unwrap();
    begin_limited(&store, lease(4, "ada", "writer"), 2, 100).await.unwrap();
    let (reader, ada) = ("reader".parse().unwrap(), "ada".parse().unwrap());
    assert_eq!(store.live_under_role(&reader, &ada).await.unwrap(), (2, 3));
    assert_eq!(actions(&*store).await.len(), 4);
}

pub(crate) async fn all_principals_together_cannot_exceed_the_roles_limit(store: Subject) {
    for (n, principal) in ["ada", "grace"].into_iter().enumerate() {
        begin_limited(&store, lease(n as u32, principal, "reader"), 9, 2).await.unwrap();
    }
    let refused = begin_limited(&store, lease(9, "joan", "reader"), 9, 2).await;
    assert!(matches!(refused, Err(BeginError::RoleLimit { live: 2, limit: 2 })), "{refused:?}");
}

pub(crate) async fn limits_hold_when_many_ask_at_once(store: Subject) {
    let asks: Vec<_> = (0..40)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { begin_limited(&store, lease(n, "ada", "reader"), 7, 100).await.is_ok() },
            )
        })
        .collect();
    let mut begun = 0;
    for ask in asks {
        begun += u32::from(ask.await.unwrap());
    }
    assert_eq!(begun, 7);
    assert_eq!(whole(&store, &LeaseFilter::default(), 100).await.len(), 7);
    assert_eq!(records(&*store).await.len(), 7);
}

pub(crate) async fn an_ended_lease_frees_its_place(store: Subject) {
    let first = lease(1, "ada", "reader");
    begin_limited(&store, first.clone(), 1, 1).await.unwrap();
    let cause = EndCause::Failed { reason: "the target is down".to_owned() };
    store.apply(first.id, end_requested(1, cause), at(1), None).await.unwrap();
    let second = lease(2, "ada", "reader");
    assert!(begin_limited(&store, second.clone(), 1, 1).await.is_err(), "an ending lease still counts");
    store.apply(first.id, ended(2), at(2), None).await.unwrap();
    begin_limited(&store, second, 1, 1).await.unwrap();
}

/// Leases of three principals under two roles, in four states.
async fn populate(store: &Subject) -> Vec<Lease> {
    let mut leases = Vec::new();
    for n in 0..36 {
        let new = lease(n, ["ada", "grace", "joan"][n as usize % 3], ["reader", "writer"][n as usize % 2]);
        leases.push(match n % 4 {
            0 => {
                store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
                new
            }
            1 => live(&**store, new, 600).await,
            2 => end(&**store, live(&**store, new, 600).await.id, EndCause::Expired).await,
            _ => end(&**store, live(&**store, new, 600).await.id, EndCause::Released).await,
        });
    }
    leases.reverse();
    leases
}

pub(crate) async fn a_listing_is_complete_and_newest_first_whatever_the_page_size(store: Subject) {
    let leases = populate(&store).await;
    for size in [1, 5, 35, 36, 37, 1000] {
        assert_eq!(whole(&store, &LeaseFilter::default(), size).await, leases, "size {size}");
    }
    let Page { items, next } =
        store.list(&LeaseFilter::default(), PageRequest { size: 36, before: None }).await.unwrap();
    assert_eq!((items.len(), next), (36, None), "no empty last page");
}

pub(crate) async fn a_listing_passes_exactly_what_its_filter_passes(store: Subject) {
    let leases = populate(&store).await;
    let live = vec![StateName::Provisioning, StateName::Active, StateName::Ending];
    let principals = [None, Some("grace".parse().unwrap()), Some("nobody".parse().unwrap())];
    let roles = [None, Some("writer".parse().unwrap())];
    let targets = [None, Some("db-writer".parse().unwrap()), Some("db-reader".parse().unwrap())];
    for states in [vec![], live, vec![StateName::Released, StateName::Released], vec![StateName::Failed]] {
        for principal in &principals {
            for role in &roles {
                for target in &targets {
                    let (states, principal) = (states.clone(), principal.clone());
                    let filter =
                        LeaseFilter { states, principal, role: role.clone(), target: target.clone() };
                    let expected: Vec<Lease> =
                        leases.iter().filter(|lease| filter.matches(lease)).cloned().collect();
                    assert_eq!(whole(&store, &filter, 4).await, expected, "{filter:?}");
                }
            }
        }
    }
}

pub(crate) async fn a_listing_stays_complete_while_leases_change(store: Subject) {
    let mut ids: Vec<LeaseId> = Vec::new();
    for n in 0..20 {
        ids.push(live(&*store, lease(n, "ada", "reader"), 600).await.id);
    }
    ids.reverse();
    let changing = {
        let (store, ids) = (Arc::clone(&store), ids.clone());
        tokio::spawn(async move {
            for id in ids {
                end(&*store, id, EndCause::Released).await;
            }
        })
    };
    while !changing.is_finished() {
        let seen: Vec<LeaseId> =
            whole(&store, &LeaseFilter::default(), 100).await.iter().map(|lease| lease.id).collect();
        assert_eq!(seen, ids);
    }
    changing.await.unwrap();
}

pub(crate) async fn due_leases_come_most_overdue_first_and_only_of_their_target(store: Subject) {
    let late = live(&*store, lease(1, "ada", "reader"), 300).await;
    let later = live(&*store, lease(2, "ada", "reader"), 200).await;
    let latest = live(&*store, lease(3, "ada", "reader"), 100).await;
    live(&*store, lease(4, "ada", "reader"), 500).await;
    live(&*store, lease(5, "ada", "writer"), 50).await;
    let over = live(&*store, lease(6, "ada", "reader"), 10).await;
    end(&*store, over.id, EndCause::Expired).await;
    let target = &late.target.clone();
    assert_eq!(store.due(target, at(300), 10).await.unwrap(), [latest.clone(), later.clone(), late]);
    assert_eq!(store.due(target, at(300), 2).await.unwrap(), [latest, later]);
    assert!(store.due(target, at(99), 10).await.unwrap().is_empty());
    assert_eq!(store.next_due(target).await.unwrap(), Some(at(100)));
    let elsewhere: TargetName = "elsewhere".parse().unwrap();
    assert_eq!(store.next_due(&elsewhere).await.unwrap(), None);
    assert!(store.due(&elsewhere, at(999), 10).await.unwrap().is_empty());
    let begun = Lease { target: elsewhere.clone(), ..lease(7, "ada", "reader") };
    store.begin(unlimited(begun.clone()), draft("lease.begun", begun.id)).await.unwrap();
    assert_eq!(store.next_due(&elsewhere).await.unwrap(), begun.state.due_at());
}

pub(crate) async fn live_leases_are_counted_by_target(store: Subject) {
    assert!(store.live_by_target().await.unwrap().is_empty());
    populate(&store).await;
    let counts = store.live_by_target().await.unwrap();
    assert_eq!(counts, [("db-reader".parse().unwrap(), 9), ("db-writer".parse().unwrap(), 9)]);
    for lease in whole(&store, &LeaseFilter::default(), 100).await {
        if lease.role.as_str() == "reader" && lease.state.name().is_live() {
            end(&*store, lease.id, EndCause::Expired).await;
        }
    }
    assert_eq!(store.live_by_target().await.unwrap(), [("db-writer".parse().unwrap(), 9)]);
}

pub(crate) async fn changes_are_told_after_they_are_durable_and_only_then(store: Subject) {
    let mut changes = store.changes();
    let new = lease(1, "ada", "reader");
    store.begin(unlimited(new.clone()), draft("lease.begun", new.id)).await.unwrap();
    let told = timeout(SOON, changes.recv()).await.unwrap().unwrap();
    assert_eq!(told, new);
    let active = store.apply(new.id, activated(600), at(2), None).await.unwrap();
    let told = timeout(SOON, changes.recv()).await.unwrap().unwrap();
    assert_eq!(Some(told), store.lease(new.id).await.unwrap());
    store.apply(new.id, activated(600), at(2), None).await.unwrap_err();
    begin_limited(&store, lease(2, "ada", "reader"), 1, 1).await.unwrap_err();
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(store.lease(new.id).await.unwrap(), Some(active));
}

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
