//! Random histories: whatever happens in whatever order, what a store counts is what is there.

use std::collections::BTreeMap;

use mayfly::{
    domain::{EndCause, EndReport, Lease, LeaseEvent},
    store::{LeaseFilter, PageRequest, Store},
};
use proptest::prelude::{Strategy, any, prop_oneof};

use super::fixtures::{activated, at, draft, end_requested, ended, lease, unlimited};

const PRINCIPALS: [&str; 3] = ["ada", "grace", "joan"];
const ROLES: [&str; 2] = ["reader", "writer"];

/// Something that happens to the lease with a number.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Begin(u32),
    Happen(u32, LeaseEvent),
}

/// One step in the life of up to twelve leases; most sequences contain many that are refused.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        any::<u16>().prop_map(|expiry| activated(i64::from(expiry))),
        any::<u16>().prop_map(|expiry| LeaseEvent::Renewed { expires_at: at(i64::from(expiry)) }),
        proptest::sample::select(vec![EndCause::Expired, EndCause::Released])
            .prop_map(|cause| end_requested(1, cause)),
        any::<u16>().prop_map(|next| LeaseEvent::EndAttemptFailed {
            error: "down".to_owned(),
            next_attempt_at: at(i64::from(next)),
            progress: EndReport::default(),
        }),
        proptest::strategy::Just(ended(5)),
    ];
    prop_oneof![
        1 => (0..12u32).prop_map(Step::Begin),
        3 => (0..12u32, event).prop_map(|(n, event)| Step::Happen(n, event)),
    ]
}

fn the(n: u32) -> Lease {
    lease(n, PRINCIPALS[n as usize % 3], ROLES[n as usize % 2])
}

/// Makes a history happen; what is refused is refused.
pub(crate) async fn play(store: &dyn Store, history: Vec<Step>) {
    for step in history {
        match step {
            Step::Begin(n) => {
                let _ = store.begin(unlimited(the(n)), draft("lease.begun", the(n).id)).await;
            }
            Step::Happen(n, event) => {
                let _ = store.apply(the(n).id, event, at(2), Some(draft("lease.changed", the(n).id))).await;
            }
        }
    }
}

/// Every count and every due time agrees with the leases themselves.
pub(crate) async fn check_books(store: &dyn Store) {
    let page = PageRequest { size: 100, before: None };
    let mut leases = store.list(&LeaseFilter::default(), page).await.unwrap().items;
    leases.retain(|lease| lease.state.name().is_live());
    let mut by_target = BTreeMap::new();
    for lease in &leases {
        *by_target.entry(lease.target.clone()).or_insert(0) += 1;
    }
    let counted: BTreeMap<_, _> = store.live_by_target().await.unwrap().into_iter().collect();
    assert_eq!(counted, by_target);
    for role in ROLES {
        let of_role: Vec<_> = leases.iter().filter(|lease| lease.role.as_str() == role).collect();
        for principal in PRINCIPALS {
            let own = of_role.iter().filter(|lease| lease.principal.name.as_str() == principal).count();
            let (role, principal) = (role.parse().unwrap(), principal.parse().unwrap());
            let counted = store.live_under_role(&role, &principal).await.unwrap();
            assert_eq!((counted.0 as usize, counted.1 as usize), (own, of_role.len()));
        }
        let target = format!("db-{role}").parse().unwrap();
        let earliest = of_role.iter().filter_map(|lease| lease.state.due_at()).min();
        assert_eq!(store.next_due(&target).await.unwrap(), earliest);
    }
}
