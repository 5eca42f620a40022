use std::{future::Future, pin::Pin, task::Poll};

use futures_util::poll;
use jiff::SignedDuration;

use super::*;
use crate::{clock::ManualClock, random::SeededRandom};

struct Rig {
    clock: Arc<ManualClock>,
    admissions: Admissions,
    bounds: PoolSettings,
}

type Entering<'r> = Pin<Box<dyn Future<Output = Result<Place, Refusal>> + 'r>>;

impl Rig {
    /// One issue's connection, so two under way.
    fn new(queue: usize) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_000_000).unwrap()));
        let random = Arc::new(SeededRandom::new(7));
        let admissions = Admissions::new(Arc::clone(&clock) as Arc<dyn Clock>, random, Arc::default());
        let bounds = PoolSettings { issuing: 1, queue, ..PoolSettings::default() };
        Self { clock, admissions, bounds }
    }

    fn enter<'r>(&'r self, target: &'r TargetName, who: &'r PrincipalName) -> Entering<'r> {
        Box::pin(self.admissions.enter(target, who, &self.bounds))
    }

    /// Somebody who need not wait.
    async fn at_once(&self, target: &TargetName, who: &PrincipalName) -> Place {
        let Poll::Ready(entered) = poll!(self.enter(target, who)) else { panic!("{who} waits") };
        entered.unwrap()
    }

    /// Somebody who has to wait.
    async fn waits<'r>(&'r self, target: &'r TargetName, who: &'r PrincipalName) -> Entering<'r> {
        let mut entering = self.enter(target, who);
        assert!(poll!(&mut entering).is_pending(), "{who} does not wait");
        entering
    }

    async fn is_turned_away(&self, target: &TargetName, who: &PrincipalName) -> Duration {
        let Poll::Ready(Err(refusal)) = poll!(self.enter(target, who)) else { panic!("{who} is let in") };
        assert_eq!(refusal.kind, RefusalKind::Overloaded);
        refusal.retry_after.unwrap()
    }

    fn crowd(&self, target: &TargetName) -> (usize, usize) {
        let Crowd { under_way, waiting } = self.admissions.crowd(target);
        (under_way, waiting)
    }
}

fn names() -> (TargetName, PrincipalName, PrincipalName) {
    ("orders".parse().unwrap(), "fleet".parse().unwrap(), "app".parse().unwrap())
}

#[tokio::test]
async fn beyond_what_goes_and_what_waits_one_is_told_when_to_come_back() {
    let (rig, (orders, fleet, _)) = (Rig::new(1), names());
    let first = rig.at_once(&orders, &fleet).await;
    let _second = rig.at_once(&orders, &fleet).await;
    let waiting = rig.waits(&orders, &fleet).await;
    let wait = rig.is_turned_away(&orders, &fleet).await;
    assert!(wait >= COME_BACK.0 && wait < COME_BACK.0 * 2, "{wait:?}");
    assert_eq!(rig.crowd(&orders), (2, 1));
    drop(first);
    let _third = waiting.await.unwrap();
    assert_eq!(rig.crowd(&orders), (2, 0));
}

#[tokio::test]
async fn another_target_is_not_in_the_way() {
    let (rig, (orders, fleet, app)) = (Rig::new(0), names());
    let _places = [rig.at_once(&orders, &fleet).await, rig.at_once(&orders, &fleet).await];
    rig.is_turned_away(&orders, &app).await;
    let stock = "stock".parse().unwrap();
    let _place = rig.at_once(&stock, &app).await;
    assert_eq!((rig.crowd(&orders), rig.crowd(&stock)), ((2, 0), (1, 0)));
}

#[tokio::test]
async fn ones_own_backlog_does_not_delay_another() {
    let (rig, (orders, fleet, app)) = (Rig::new(100), names());
    let first = rig.at_once(&orders, &fleet).await;
    let second = rig.at_once(&orders, &fleet).await;
    let mut backlog = Vec::new();
    for _ in 0..50 {
        backlog.push(rig.waits(&orders, &fleet).await);
    }
    let entering = rig.waits(&orders, &app).await;
    drop(first);
    drop(second);
    let _place = entering.await.unwrap();
    assert_eq!(rig.crowd(&orders), (2, 49));
}

#[tokio::test]
async fn one_that_is_displaced_is_told_at_once() {
    let (rig, (orders, fleet, app)) = (Rig::new(2), names());
    let _places = [rig.at_once(&orders, &fleet).await, rig.at_once(&orders, &fleet).await];
    let mut first = rig.waits(&orders, &fleet).await;
    let latest = rig.waits(&orders, &fleet).await;
    let _app = rig.waits(&orders, &app).await;
    assert_eq!(latest.await.map(|_| ()).unwrap_err().kind, RefusalKind::Overloaded);
    assert!(poll!(&mut first).is_pending());
    assert_eq!(rig.crowd(&orders), (2, 2));
}

#[tokio::test]
async fn a_caller_who_gives_up_frees_its_place_waiting_or_just_called() {
    let (rig, (orders, fleet, app)) = (Rig::new(10), names());
    let first = rig.at_once(&orders, &fleet).await;
    let second = rig.at_once(&orders, &fleet).await;
    let (gives_up, called) = (rig.waits(&orders, &fleet).await, rig.waits(&orders, &app).await);
    drop(gives_up);
    assert_eq!(rig.crowd(&orders), (2, 1));
    drop(first);
    assert_eq!(rig.crowd(&orders), (2, 0), "its turn has come, and it does not know yet");
    drop(called);
    assert_eq!(rig.crowd(&orders), (1, 0));
    drop(second);
    assert_eq!(rig.crowd(&orders), (0, 0));
}

#[tokio::test]
async fn nobody_waits_longer_than_a_turn_may_take() {
    let (mut rig, (orders, fleet, app)) = (Rig::new(10), names());
    rig.bounds.turn = Duration::from_millis(20);
    let _places = [rig.at_once(&orders, &fleet).await, rig.at_once(&orders, &fleet).await];
    let refusal = rig.waits(&orders, &app).await.await.map(|_| ()).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Overloaded);
    assert_eq!(rig.crowd(&orders), (2, 0));
}

#[tokio::test]
async fn where_waiting_would_be_in_vain_one_is_told_at_once_and_to_come_back_as_late_as_the_queue_is_long() {
    let (mut rig, (orders, fleet, app)) = (Rig::new(100), names());
    rig.bounds.turn = Duration::from_secs(1);
    let slow = rig.at_once(&orders, &fleet).await;
    rig.clock.advance(SignedDuration::from_millis(700));
    drop(slow);
    let _places = [rig.at_once(&orders, &fleet).await, rig.at_once(&orders, &fleet).await];
    // Two at once of 700 ms each: a place every 350 ms.
    let _first = rig.waits(&orders, &fleet).await;
    let _second = rig.waits(&orders, &fleet).await;
    let wait = rig.is_turned_away(&orders, &fleet).await;
    assert!(wait >= Duration::from_millis(1050) && wait < Duration::from_millis(2100), "{wait:?}");
    let _app = rig.waits(&orders, &app).await;
}

#[tokio::test]
async fn other_bounds_let_in_who_waits_as_soon_as_somebody_comes() {
    let (mut rig, (orders, fleet, app)) = (Rig::new(10), names());
    let _places = [rig.at_once(&orders, &fleet).await, rig.at_once(&orders, &fleet).await];
    let door = rig.admissions.door(&orders);
    let (arrival, mut turn) = door.arrive(&app, &rig.bounds);
    assert!(matches!(arrival, Arrival::Wait { .. }), "{arrival:?}");
    rig.bounds.issuing = 2;
    let _place = rig.at_once(&orders, &fleet).await;
    assert_eq!(turn.try_recv(), Ok(Turn::Come));
    assert_eq!(rig.crowd(&orders), (4, 0));
}
