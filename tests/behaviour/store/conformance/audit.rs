//! Finding records.

use mayfly::audit::{self, AuditFilter, AuditOutcome, ChainPart, FoundRecord, Order, Position};

use super::Subject;
use crate::store::fixtures::{at, draft, end, lease, live, records};

/// All that a search finds, a few at a time.
pub(crate) async fn find(store: &Subject, filter: &AuditFilter, order: Order) -> Vec<FoundRecord> {
    let (mut items, mut position): (Vec<FoundRecord>, Option<Position>) = (Vec::new(), None);
    loop {
        let found = audit::search(&**store, filter, order, position.as_ref(), 3).await.unwrap();
        items.extend(found.items);
        match found.next {
            Some(next) => position = Some(next.to_string().parse().unwrap()),
            None => return items,
        }
    }
}

pub(crate) async fn records_are_found_by_what_they_tell_and_when(store: Subject) {
    let ada = live(&*store, lease(1, "ada", "reader"), 600).await;
    let bob = live(&*store, lease(2, "bob", "reader"), 600).await;
    end(&*store, ada.id, mayfly::domain::EndCause::Released).await;
    let told = draft("lease.drifted", bob.id).with("principal", "bob").with("target", "db-reader");
    let odd = mayfly::audit::Draft { at: at(100), ..told.failed("100% of_it \"odd\"") };
    store.record(odd).await.unwrap();
    let log = records(&*store).await;
    let filter = |change: fn(&mut AuditFilter)| {
        let mut filter = AuditFilter::default();
        change(&mut filter);
        filter
    };
    let of_ada = AuditFilter { lease: Some(ada.id), ..AuditFilter::default() };
    for (filter, expected) in [
        (AuditFilter::default(), log.len()),
        (of_ada, 4),
        (filter(|filter| filter.principal = Some("bob".parse().unwrap())), 1),
        (filter(|filter| filter.target = Some("db-reader".parse().unwrap())), 1),
        (filter(|filter| filter.action = Some("lease.issued".to_owned())), 2),
        (filter(|filter| filter.action = Some("lease".to_owned())), log.len()),
        (filter(|filter| filter.outcome = Some(AuditOutcome::Failed)), 1),
        (filter(|filter| filter.from = Some(at(100))), 1),
        (filter(|filter| filter.until = Some(at(100))), log.len() - 1),
        (filter(|filter| filter.until = Some(at(-200_000))), 0),
        (filter(|filter| filter.from = Some(at(200_000))), 0),
        (filter(|filter| filter.role = Some("nobody".parse().unwrap())), 0),
    ] {
        let oldest = find(&store, &filter, Order::OldestFirst).await;
        let wanted: Vec<_> = log.iter().filter(|record| filter.matches(record)).collect();
        assert_eq!(oldest.iter().map(|found| &found.record).collect::<Vec<_>>(), wanted, "{filter:?}");
        assert_eq!(oldest.len(), expected, "{filter:?}");
        let mut newest = find(&store, &filter, Order::NewestFirst).await;
        newest.reverse();
        let seqs = |found: &[FoundRecord]| found.iter().map(|found| found.record.seq).collect::<Vec<_>>();
        assert_eq!(seqs(&newest), seqs(&oldest), "{filter:?}");
    }
}

pub(crate) async fn a_part_of_a_chain_is_read_in_either_order(store: Subject) {
    for n in 0..6 {
        store.record(draft("server.noted", lease(n, "a", "b").id)).await.unwrap();
    }
    let [(chain, end)] = store.chain_ends().await.unwrap().try_into().unwrap();
    assert_eq!(end, 6);
    let part = async |chain: &str, order, containing: &str, limit| -> Vec<u64> {
        let part = ChainPart { chain, first: 2, last: 5, order, containing, limit };
        store.part(part).await.unwrap().into_iter().map(|record| record.seq).collect()
    };
    assert_eq!(part(&chain, Order::OldestFirst, "", 10).await, [2, 3, 4, 5]);
    assert_eq!(part(&chain, Order::NewestFirst, "", 3).await, [5, 4, 3]);
    let third = lease(2, "a", "b").id.to_string();
    assert_eq!(part(&chain, Order::NewestFirst, &third, 10).await, [3]);
    assert_eq!(part(&chain, Order::NewestFirst, "%", 10).await, [0; 0]);
    assert_eq!(part("another", Order::NewestFirst, "", 10).await, [0; 0]);
}
