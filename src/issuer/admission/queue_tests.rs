use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn queue(under_way: usize, waiting: usize) -> Queue<&'static str> {
    Queue::new(Limits { under_way, waiting })
}

fn waits(queue: &mut Queue<&'static str>, who: &'static str) -> Ticket {
    match queue.arrive(&who) {
        Arrival::Wait { ticket, displaced: None } => ticket,
        other => panic!("{who}: {other:?}"),
    }
}

#[test]
fn so_many_go_at_once_and_so_many_wait() {
    let mut queue = queue(2, 1);
    assert_eq!((queue.arrive(&"a"), queue.arrive(&"a")), (Arrival::Go, Arrival::Go));
    let waiting = waits(&mut queue, "a");
    assert_eq!(queue.arrive(&"a"), Arrival::Full);
    assert_eq!(queue.next(), None, "no place is free");
    queue.over();
    assert_eq!(queue.next(), Some(waiting));
    assert_eq!((queue.under_way(), queue.waiting()), (2, 0));
}

#[test]
fn a_principal_with_one_call_waits_for_one_turn_however_many_calls_another_has() {
    let mut queue = queue(1, 1_000);
    queue.arrive(&"fleet");
    let fleet: Vec<Ticket> = (0..500).map(|_| waits(&mut queue, "fleet")).collect();
    assert_eq!(queue.ahead_of(&"app"), 1);
    assert_eq!(queue.ahead_of(&"fleet"), 500);
    let app = waits(&mut queue, "app");
    queue.over();
    assert_eq!(queue.next(), Some(fleet[0]));
    queue.over();
    assert_eq!(queue.next(), Some(app));
    queue.over();
    assert_eq!(queue.next(), Some(fleet[1]));
}

#[test]
fn a_queue_filled_by_one_is_open_to_others_until_they_have_as_much() {
    let mut queue = queue(1, 4);
    queue.arrive(&"fleet");
    let fleet: Vec<Ticket> = (0..4).map(|_| waits(&mut queue, "fleet")).collect();
    assert_eq!(queue.arrive(&"fleet"), Arrival::Full);
    for latest in [fleet[3], fleet[2]] {
        let Arrival::Wait { displaced, .. } = queue.arrive(&"app") else { panic!("there is no place") };
        assert_eq!(displaced, Some(latest));
    }
    assert_eq!(queue.arrive(&"app"), Arrival::Full);
    assert_eq!(queue.waiting(), 4);
}

#[test]
fn who_gives_up_leaves_no_gap() {
    let mut queue = queue(1, 10);
    queue.arrive(&"a");
    let (first, second, other) = (waits(&mut queue, "a"), waits(&mut queue, "a"), waits(&mut queue, "b"));
    assert!(queue.leave(&"a", first));
    assert!(!queue.leave(&"a", first), "it has left");
    assert!(!queue.leave(&"b", second), "it is another's");
    queue.over();
    assert_eq!(queue.next(), Some(second));
    assert!(queue.leave(&"b", other));
    queue.over();
    assert_eq!(queue.next(), None);
    assert!(queue.is_idle());
}

#[test]
fn other_limits_hold_for_whoever_comes_and_let_go_who_may_go_now() {
    let mut queue = queue(1, 2);
    queue.arrive(&"a");
    let tickets = [waits(&mut queue, "a"), waits(&mut queue, "a")];
    queue.limit(Limits { under_way: 3, waiting: 0 });
    assert_eq!([queue.next(), queue.next(), queue.next()], [Some(tickets[0]), Some(tickets[1]), None]);
    queue.limit(Limits { under_way: 1, waiting: 0 });
    queue.over();
    assert_eq!(queue.next(), None);
    assert_eq!(queue.arrive(&"a"), Arrival::Full);
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(u8),
    Over,
    Leave(usize),
    Limit(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..6_u8).prop_map(Step::Arrive),
        3 => Just(Step::Over),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => (1..5_usize, 0..8_usize).prop_map(|(under_way, waiting)| Step::Limit(under_way, waiting)),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Bounds hold, nobody is lost or served twice, and whoever waits while a place is free is let go.
    #[test]
    fn nobody_is_lost_and_no_place_stays_free(steps in steps()) {
        let mut limits = Limits { under_way: 2, waiting: 4 };
        let mut queue = Queue::new(limits);
        let mut waiting: BTreeMap<Ticket, u8> = BTreeMap::new();
        let mut under_way = 0_usize;
        for step in steps {
            match step {
                Step::Arrive(who) => {
                    let (before, ahead) = (queue.waiting(), queue.ahead_of(&who));
                    prop_assert!(ahead <= before);
                    match queue.arrive(&who) {
                        Arrival::Go => under_way += 1,
                        Arrival::Wait { ticket, displaced } => {
                            if let Some(displaced) = displaced {
                                let whose = waiting.remove(&displaced);
                                prop_assert!(whose.is_some() && whose != Some(who));
                            }
                            waiting.insert(ticket, who);
                            prop_assert!(waiting.len() <= limits.waiting.max(before));
                        }
                        Arrival::Full => prop_assert!(before >= limits.waiting),
                    }
                }
                Step::Over if under_way > 0 => {
                    queue.over();
                    under_way -= 1;
                }
                Step::Over => {}
                Step::Leave(which) => {
                    let chosen = waiting.iter().nth(which % waiting.len().max(1)).map(|(t, w)| (*t, *w));
                    if let Some((ticket, who)) = chosen {
                        prop_assert!(queue.leave(&who, ticket));
                        waiting.remove(&ticket);
                    }
                }
                Step::Limit(more, queued) => {
                    limits = Limits { under_way: more, waiting: queued };
                    queue.limit(limits);
                }
            }
            while let Some(ticket) = queue.next() {
                prop_assert!(waiting.remove(&ticket).is_some());
                under_way += 1;
                prop_assert!(under_way <= limits.under_way);
            }
            prop_assert!(waiting.is_empty() || under_way >= limits.under_way);
            prop_assert_eq!((queue.under_way(), queue.waiting()), (under_way, waiting.len()));
        }
    }

    /// Between two turns of one principal, nobody else has more than one; so nobody waits longer than what is told.
    #[test]
    fn turns_go_round(calls in proptest::collection::vec(0..5_u8, 1..60), newcomer in 0..6_u8) {
        let mut queue = Queue::new(Limits { under_way: 1, waiting: 100 });
        queue.arrive(&9);
        for who in &calls {
            queue.arrive(who);
        }
        let ahead = queue.ahead_of(&newcomer);
        let Arrival::Wait { ticket, .. } = queue.arrive(&newcomer) else { panic!("there is room") };
        let mut gone = 0;
        loop {
            queue.over();
            let next = queue.next().unwrap();
            if next == ticket {
                break;
            }
            gone += 1;
        }
        prop_assert!(gone <= ahead, "{gone} went before it, {ahead} were announced");
    }
}
