use async_trait::async_trait;

use super::*;
use crate::{
    audit::{Digest, Draft},
    domain::PrincipalKind,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_305_600 + second).unwrap()
}

fn sealed(seq: u64, draft: Draft) -> Record {
    Record::seal(draft, seq, Digest::GENESIS)
}

fn done(second: i64, action: &'static str, resource: &str) -> Draft {
    Draft::new(at(second), Actor::System, action, resource)
}

/// Chains in memory, which count what is read of them.
#[derive(Default)]
struct Chains {
    chains: BTreeMap<String, Vec<Record>>,
    parts: std::sync::Mutex<usize>,
}

impl Chains {
    fn of(chains: &[(&str, Vec<Draft>)]) -> Self {
        let chains = chains.iter().map(|(name, drafts)| {
            let records = drafts.iter().cloned().zip(1..).map(|(draft, seq)| sealed(seq, draft));
            ((*name).to_owned(), records.collect())
        });
        Self { chains: chains.collect(), parts: std::sync::Mutex::default() }
    }
}

#[async_trait]
impl AuditLog for Chains {
    async fn read_after(&self, _: u64, _: usize) -> Result<Vec<Record>, AuditReadError> {
        Ok(Vec::new())
    }

    async fn last_seq(&self) -> Result<u64, AuditReadError> {
        Ok(0)
    }

    async fn appended(&self, _: u64) {}

    async fn chain_ends(&self) -> Result<Vec<(String, u64)>, AuditReadError> {
        let end = |records: &Vec<Record>| records.last().map_or(0, |record| record.seq);
        Ok(self.chains.iter().map(|(name, records)| (name.clone(), end(records))).collect())
    }

    async fn part(&self, part: ChainPart<'_>) -> Result<Vec<Record>, AuditReadError> {
        *self.parts.lock().unwrap() += 1;
        let wanted = |record: &&Record| {
            (part.first..=part.last).contains(&record.seq)
                && serde_json::to_string(record).unwrap().contains(part.containing)
        };
        let mut records: Vec<Record> = self.chains[part.chain].iter().filter(wanted).cloned().collect();
        if part.order == Order::NewestFirst {
            records.reverse();
        }
        records.truncate(part.limit as usize);
        Ok(records)
    }
}

/// Everything a search finds, a part at a time, and in how many parts.
async fn all(log: &Chains, filter: &AuditFilter, order: Order, limit: usize) -> (Vec<(String, u64)>, usize) {
    let (mut found, mut position, mut parts) = (Vec::new(), None, 0);
    loop {
        let part = search(log, filter, order, position.as_ref(), limit).await.unwrap();
        assert!(part.items.len() <= limit);
        parts += 1;
        found.extend(part.items.into_iter().map(|item| (item.chain, item.record.seq)));
        match part.next {
            // As it travels.
            Some(next) => position = Some(next.to_string().parse().unwrap()),
            None => return (found, parts),
        }
    }
}

fn filter(change: impl FnOnce(&mut AuditFilter)) -> AuditFilter {
    let mut filter = AuditFilter::default();
    change(&mut filter);
    filter
}

#[test]
fn a_record_is_found_by_whom_and_by_what_it_concerns() {
    let lease = LeaseId::new(at(0), 1);
    let actor = |name: &str| Actor::Principal {
        name: name.parse().unwrap(),
        kind: PrincipalKind::Human,
        address: None,
    };
    let by = sealed(
        1,
        Draft::new(at(5), actor("ada"), "lease.issued", format!("leases/{lease}")).with("role", "reader"),
    );
    let about = sealed(
        2,
        done(5, "lease.expired", &format!("leases/{lease}")).with("principal", "ada").with("target", "shop"),
    );
    let kind = sealed(
        3,
        done(5, "lease.adopted", "leases/-").with("requester", "human:ada").with("lease", lease.to_string()),
    );
    let role = sealed(4, Draft::new(at(5), actor("bob"), "lease.requested", "roles/reader").refused("no"));
    let lock = sealed(5, done(5, "lock.set", "locks/principal/ada"));
    let lock_on = |change: fn(&mut AuditFilter)| filter(change).matches(&lock);
    assert!(lock_on(|filter| filter.principal = Some("ada".parse().unwrap())));
    assert!(!lock_on(|filter| filter.role = Some("ada".parse().unwrap())));
    let ada = filter(|filter| filter.principal = Some("ada".parse().unwrap()));
    let reader = filter(|filter| filter.role = Some("reader".parse().unwrap()));
    let shop = filter(|filter| filter.target = Some("shop".parse().unwrap()));
    let this = filter(|filter| filter.lease = Some(lease));
    let issued = filter(|filter| filter.action = Some("lease.issued".to_owned()));
    let leases = filter(|filter| filter.action = Some("lease".to_owned()));
    let no = filter(|filter| filter.action = Some("lea".to_owned()));
    let refused = filter(|filter| filter.outcome = Some(AuditOutcome::Refused));
    let before = filter(|filter| filter.until = Some(at(5)));
    let since = filter(|filter| filter.from = Some(at(5)));
    for (filter, expected) in [
        (ada, [true, true, true, false]),
        (reader, [true, false, false, true]),
        (shop, [false, true, false, false]),
        (this, [true, true, true, false]),
        (issued, [true, false, false, false]),
        (leases, [true; 4]),
        (no, [false; 4]),
        (refused, [false, false, false, true]),
        (before, [false; 4]),
        (since, [true; 4]),
        (AuditFilter::default(), [true; 4]),
    ] {
        for (record, expected) in [&by, &about, &kind, &role].into_iter().zip(expected) {
            assert_eq!(filter.matches(record), expected, "{filter:?} {}", record.seq);
            let json = serde_json::to_string(record).unwrap();
            assert!(!expected || json.contains(&filter.needle()), "{} in {json}", filter.needle());
        }
    }
}

#[tokio::test]
async fn chains_are_told_by_time_in_either_direction_and_in_parts() {
    let a = (0..9).map(|n| done(n * 10, "lease.issued", "leases/x")).collect();
    let b = (0..5).map(|n| done(n * 20 + 5, "lease.issued", "leases/y")).collect();
    let log = Chains::of(&[("a", a), ("b", b), ("c", vec![])]);
    let place = |chain: &str, seq: u32| (chain.to_owned(), u64::from(seq));
    let mut expected: Vec<(u32, (String, u64))> = (0..9).map(|n| (n * 10, place("a", n + 1))).collect();
    expected.extend((0..5).map(|n| (n * 20 + 5, place("b", n + 1))));
    expected.sort();
    let mut expected: Vec<_> = expected.into_iter().map(|(_, item)| item).collect();
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for limit in [1, 3, 14, 100] {
            assert_eq!(
                all(&log, &AuditFilter::default(), order, limit).await.0,
                expected,
                "{order:?} {limit}"
            );
        }
        expected.reverse();
    }
}

#[tokio::test]
async fn a_period_is_found_without_reading_what_is_outside_it() {
    let hour = |n: i64| done(n * 3600, "lease.issued", "leases/x");
    let log = Chains::of(&[("a", (0..1000).map(hour).collect())]);
    let day = filter(|filter| (filter.from, filter.until) = (Some(at(500 * 3600)), Some(at(524 * 3600))));
    for order in [Order::OldestFirst, Order::NewestFirst] {
        *log.parts.lock().unwrap() = 0;
        let (found, parts) = all(&log, &day, order, 1000).await;
        assert_eq!((found.len(), parts), (24, 1));
        assert!(*log.parts.lock().unwrap() < 30);
    }
    // A clock that was set back for a while.
    let mut drafts: Vec<Draft> = (0..100).map(hour).collect();
    drafts[70].at = at(60 * 3600);
    let log = Chains::of(&[("a", drafts)]);
    let odd = filter(|filter| (filter.from, filter.until) = (Some(at(60 * 3600)), Some(at(60 * 3600 + 1))));
    assert_eq!(all(&log, &odd, Order::OldestFirst, 10).await.0, [("a".to_owned(), 61), ("a".to_owned(), 71)]);
}

#[tokio::test]
async fn a_long_search_says_where_it_got_to_and_goes_on_from_there() {
    let mut drafts: Vec<Draft> = (0..45_000).map(|n| done(n, "lease.issued", "leases/x")).collect();
    for rare in [7, 30_000] {
        drafts[rare].action = "lease.drifted";
    }
    let log = Chains::of(&[("a", drafts), ("b", vec![done(3, "lease.drifted", "leases/y")])]);
    let rare = filter(|filter| filter.action = Some("lease.drifted".to_owned()));
    let first = search(&log, &rare, Order::NewestFirst, None, 10).await.unwrap();
    assert_eq!(first.items, [], "not within the bound");
    assert!(first.next.is_some());
    let expected = [("a".to_owned(), 30_001), ("a".to_owned(), 8), ("b".to_owned(), 1)];
    let (found, parts) = all(&log, &rare, Order::NewestFirst, 10).await;
    assert_eq!(found, expected);
    assert!((4..=6).contains(&parts), "{parts}");
}

#[test]
fn a_position_comes_back_and_nothing_else_is_one() {
    let position = Position([("a-b".to_owned(), 7), ("c".to_owned(), 0)].into());
    assert_eq!(position.to_string(), "a-b:7,c:0");
    assert_eq!("a-b:7,c:0".parse(), Ok(position));
    for text in ["", "a", "a:", "a:-1", "a:1,", "a:x"] {
        assert_eq!(text.parse::<Position>(), Err(PositionError), "{text}");
    }
}
