//! Grants: every event in every state, and what no sequence of events can bring about.

use proptest::prelude::*;

use super::*;

/// When a grant is opened, starts if it has a start, has to be claimed if not; and how long it lasts.
const OPENED: i64 = 1_000;
const STARTS: i64 = 2_000;
const CLAIM_BY: i64 = 3_000;
const LASTS: i64 = 600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn root() -> PrincipalName {
    "root".parse().unwrap()
}

fn grant(state: GrantState) -> Grant {
    Grant {
        id: GrantId::new(at(OPENED), 9),
        request: RequestId::new(at(OPENED), 1),
        principal: PrincipalRef { kind: crate::domain::PrincipalKind::Human, name: "alice".parse().unwrap() },
        role: "shop-read".parse().unwrap(),
        target: "shop".parse().unwrap(),
        ttl: LASTS.unsigned_abs().try_into().unwrap(),
        parallel: 1,
        purpose: String::new(),
        basis: "approved by bob".to_owned(),
        break_glass: false,
        created_at: at(OPENED),
        leases: Vec::new(),
        leases_ended: false,
        state,
    }
}

fn scheduled(start: Option<i64>) -> GrantState {
    GrantState::Scheduled { start: start.map(at), claim_by: at(CLAIM_BY) }
}

fn active(since: i64, until: i64) -> GrantState {
    GrantState::Active { since: at(since), until: at(until) }
}

fn revoked(second: i64) -> GrantState {
    GrantState::Revoked { at: at(second), by: Some(root()), reason: "done".to_owned() }
}

fn ended(second: i64, lapsed: bool) -> GrantState {
    GrantState::Ended { at: at(second), lapsed }
}

fn claim(second: i64) -> GrantEvent {
    GrantEvent::Claimed { at: at(second) }
}

fn due(second: i64) -> GrantEvent {
    GrantEvent::Due { at: at(second) }
}

fn extend(second: i64, until: i64) -> GrantEvent {
    GrantEvent::Extended { at: at(second), until: at(until) }
}

fn revoke(second: i64) -> GrantEvent {
    GrantEvent::Revoked { at: at(second), by: Some(root()), reason: "done".to_owned() }
}

/// State, event, and the state after it; `None`: it is illegal.
type Line = (GrantState, GrantEvent, Option<GrantState>);

fn waiting_to_be_claimed() -> Vec<Line> {
    let state = || scheduled(None);
    vec![
        (state(), claim(1_500), Some(active(1_500, 1_500 + LASTS))),
        (state(), claim(CLAIM_BY - 1), Some(active(CLAIM_BY - 1, CLAIM_BY - 1 + LASTS))),
        (state(), claim(CLAIM_BY), None),
        (state(), due(CLAIM_BY - 1), Some(state())),
        (state(), due(CLAIM_BY), Some(ended(CLAIM_BY, true))),
        (state(), extend(1_500, 9_000), None),
        (state(), revoke(1_500), Some(revoked(1_500))),
    ]
}

fn waiting_for_its_start() -> Vec<Line> {
    let (state, over) = (|| scheduled(Some(STARTS)), STARTS + LASTS);
    vec![
        (state(), claim(STARTS - 1), None),
        (state(), claim(STARTS), Some(active(STARTS, over))),
        // Its clock began at its start, whoever was late.
        (state(), claim(STARTS + 100), Some(active(STARTS, over))),
        (state(), claim(over), None),
        (state(), due(STARTS - 1), Some(state())),
        (state(), due(STARTS), Some(active(STARTS, over))),
        (state(), due(over + 100), Some(active(STARTS, over))),
        // By when it would have to be claimed is of no concern.
        (scheduled(Some(CLAIM_BY)), due(CLAIM_BY), Some(active(CLAIM_BY, CLAIM_BY + LASTS))),
        (state(), extend(1_500, 9_000), None),
        (state(), revoke(1_500), Some(revoked(1_500))),
    ]
}

fn running() -> Vec<Line> {
    let (state, over) = (|| active(STARTS, STARTS + LASTS), STARTS + LASTS);
    vec![
        (state(), claim(over - 1), Some(state())),
        (state(), claim(over), None),
        (state(), due(over - 1), Some(state())),
        (state(), due(over), Some(ended(over, false))),
        (state(), extend(over - 1, over + 60), Some(active(STARTS, over + 60))),
        (state(), extend(over - 1, over - 60), Some(state())),
        (state(), extend(over, over + 60), None),
        (state(), revoke(over), Some(revoked(over))),
    ]
}

fn over() -> Vec<Line> {
    let states = [ended(5_000, true), ended(5_000, false), revoked(5_000)];
    let lines = |state: GrantState| {
        [
            (state.clone(), claim(5_001), None),
            (state.clone(), extend(5_001, 9_000), None),
            (state.clone(), due(5_001), Some(state.clone())),
            // The first reason stands.
            (state.clone(), revoke(5_001), Some(state)),
        ]
    };
    states.into_iter().flat_map(lines).collect()
}

#[test]
fn every_pair_of_state_and_event_does_what_the_diagram_says() {
    let lines = [waiting_to_be_claimed(), waiting_for_its_start(), running(), over()].concat();
    for (before, event, expected) in lines {
        let grant = grant(before.clone());
        let after = grant.clone().after(event.clone()).ok();
        let expected = expected.map(|state| Grant { state, ..grant });
        assert_eq!(after, expected, "{before:?} after {event:?}");
    }
}

#[test]
fn a_refusal_says_what_was_tried() {
    let refused = |state, event| grant(state).after(event).unwrap_err().to_string();
    assert_eq!(refused(revoked(5_000), claim(5_001)), "a grant that is revoked cannot be claimed");
    assert_eq!(
        refused(scheduled(Some(STARTS)), claim(STARTS - 1)),
        "a grant that is scheduled cannot be claimed before its start"
    );
    assert_eq!(
        refused(scheduled(None), extend(1_500, 9_000)),
        "a grant that is scheduled cannot be extended"
    );
}

#[test]
fn grants_survive_the_store() {
    for state in [scheduled(None), scheduled(Some(STARTS)), active(1, 2), ended(5, true), revoked(5)] {
        let grant = grant(state);
        let text = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant, "{text}");
    }
}

#[test]
fn it_is_due_until_its_end_was_carried_through_to_its_leases() {
    for state in [ended(5_000, false), revoked(5_000)] {
        let over = grant(state);
        assert_eq!(over.due_at(), Some(at(5_000)));
        assert_eq!(Grant { leases_ended: true, ..over }.due_at(), None);
    }
}

#[test]
fn it_covers_what_it_gives_and_nothing_more() {
    let ttl = |seconds: i64| Some(seconds.unsigned_abs().try_into().unwrap());
    let unclaimed = grant(scheduled(None));
    assert!(unclaimed.covers(ttl(LASTS), None, 1, at(CLAIM_BY - 1)));
    assert!(!unclaimed.covers(ttl(LASTS), None, 1, at(CLAIM_BY)), "it can be claimed no longer");
    assert!(!unclaimed.covers(ttl(LASTS + 1), None, 1, at(OPENED)));
    assert!(!unclaimed.covers(ttl(LASTS), None, 2, at(OPENED)), "fewer at once than asked for");
    assert!(!unclaimed.covers(ttl(LASTS), Some(at(STARTS)), 1, at(OPENED)), "another start");
    let planned = grant(scheduled(Some(STARTS)));
    assert!(planned.covers(ttl(LASTS), Some(at(STARTS)), 1, at(OPENED)));
    assert!(!planned.covers(ttl(LASTS), None, 1, at(OPENED)), "later than asked for");
    let running = grant(active(STARTS, STARTS + LASTS));
    assert!(running.covers(ttl(100), None, 1, at(STARTS + LASTS - 100)));
    assert!(!running.covers(ttl(101), None, 1, at(STARTS + LASTS - 100)));
    assert!(running.covers(None, None, 1, at(STARTS + LASTS - 1)));
    assert!(!running.covers(None, None, 1, at(STARTS + LASTS)));
    for over in [ended(5_000, false), revoked(5_000)] {
        assert!(!grant(over).covers(None, None, 1, at(OPENED)));
    }
}

/// Something that happens so many seconds after what happened before; of an extension, to how much longer.
#[derive(Debug, Clone)]
enum Happening {
    Claimed,
    Due,
    Extended(i64),
    Revoked,
}

fn happening() -> impl Strategy<Value = (i64, Happening)> {
    let what = prop_oneof![
        5 => Just(Happening::Claimed),
        5 => Just(Happening::Due),
        5 => (-300_i64..300).prop_map(Happening::Extended),
        1 => Just(Happening::Revoked),
    ];
    (prop_oneof![6 => 0_i64..200, 1 => 500_i64..3_000], what)
}

/// What holds of every change of a grant, given how long it may last by now.
fn is_step(before: &Grant, after: &Grant, longest: i64) {
    assert_eq!(Grant { state: before.state.clone(), ..after.clone() }, *before, "its terms do not change");
    match (&before.state, &after.state) {
        (GrantState::Active { since, until }, GrantState::Active { since: still, until: later }) => {
            assert!(since == still && later >= until, "it is never cut short but by being taken back");
        }
        (GrantState::Scheduled { start, .. }, GrantState::Active { since, .. }) => {
            assert!(start.is_none_or(|start| start == *since));
        }
        (GrantState::Scheduled { .. } | GrantState::Active { .. }, _) => {}
        (over, state) => assert_eq!(over, state, "what is over stays so"),
    }
    if let GrantState::Active { since, until } = after.state {
        assert!(until.as_second() - since.as_second() <= longest, "no longer than was agreed to");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_of_a_grant_is_unsound(
        start in prop::option::of(Just(STARTS)),
        history in prop::collection::vec(happening(), 1..30),
    ) {
        let (mut now, mut longest, mut grant) = (OPENED, LASTS, grant(scheduled(start)));
        for (later, what) in history {
            now += later;
            let event = match what {
                Happening::Claimed => claim(now),
                Happening::Due => due(now),
                Happening::Revoked => revoke(now),
                Happening::Extended(longer) => {
                    let until = grant.until().map_or(now, Timestamp::as_second) + longer;
                    extend(now, until)
                }
            };
            let Ok(after) = grant.clone().after(event) else { continue };
            if let Happening::Extended(longer) = what {
                longest += longer.max(0);
            }
            is_step(&grant, &after, longest);
            grant = after;
            if let Happening::Due = what {
                // Looked at until nothing moves, it is due only later, or has leases to end.
                let rest = grant.clone().after(due(now)).unwrap();
                let left = rest.state.is_live() && rest.due_at().is_some_and(|next| next <= at(now));
                prop_assert!(!left, "{rest:?} at {now}");
            }
        }
    }
}
