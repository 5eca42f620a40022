//! One of many callers: asks for credentials, uses, renews and returns them at random, and notices when one is lost.

use std::{cell::Cell, time::Duration};

use jiff::Timestamp;
use mayfly::{
    api::proto::LeaseState,
    clock::{Clock as _, SystemClock},
    random::{Random as _, SeededRandom},
};
use tonic::Status;

use super::{
    caller::{Caller, Held, is_live},
    place::Place,
};

/// Credentials a worker holds at once.
const MOST_HELD: usize = 8;
/// Sessions it has open at once: a server has room for some dozens.
const MOST_SESSIONS: usize = 2;
/// Seconds of a lease, at most: leases are to expire all the time.
const LONGEST: u32 = 30;

/// What was done, for the totals.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) issued: u64,
    pub(super) renewed: u64,
    /// Leases whose end was seen to be complete.
    pub(super) over: u64,
}

impl Tally {
    /// Both together.
    pub(super) fn and(self, other: Tally) -> Tally {
        Tally {
            issued: self.issued + other.issued,
            renewed: self.renewed + other.renewed,
            over: self.over + other.over,
        }
    }
}

/// A caller.
pub(super) struct Worker<'p> {
    place: &'p Place,
    random: SeededRandom,
    name: String,
    asked: u32,
    /// What it holds.
    pub(super) held: Vec<Held>,
    /// A request that had no answer and is to be made again: key and seconds.
    unanswered: Option<(String, u32)>,
    pub(super) tally: Tally,
}

impl<'p> Worker<'p> {
    pub(super) fn new(place: &'p Place, number: u32, seed: u64) -> Self {
        Self {
            place,
            random: SeededRandom::new(seed),
            name: format!("w{number}"),
            asked: 0,
            held: Vec::new(),
            unanswered: None,
            tally: Tally::default(),
        }
    }

    /// Works until told to stop.
    pub(super) async fn work(&mut self, caller: &Caller, stop: &Cell<bool>) {
        while !stop.get() {
            // What fails because the server is being killed is looked into when it is back.
            let _ = self.act(caller).await;
            let pause = self.random.below(25);
            tokio::time::sleep(Duration::from_millis(u64::from(pause))).await;
        }
    }

    async fn act(&mut self, caller: &Caller) -> Result<(), Status> {
        let full = self.held.len() >= MOST_HELD;
        match self.random.below(20) {
            0..5 if !full => self.issue(caller).await,
            5 => {
                // Refused by the target, and undone.
                drop(caller.issue(&self.place.refused, 10, "").await);
                Ok(())
            }
            kind => match self.any() {
                None => Ok(()),
                Some(at) => self.use_one(kind, at, caller).await,
            },
        }
    }

    async fn use_one(&mut self, kind: u32, at: usize, caller: &Caller) -> Result<(), Status> {
        let ttl = 3 + self.random.below(LONGEST - 3);
        let wait = self.random.below(3) == 0;
        let sessions = self.held.iter().filter(|held| held.has_session()).count();
        let held = &mut self.held[at];
        match kind {
            0..7 if sessions < MOST_SESSIONS && held.must_work() => {
                // It may expire on the way; whether it is lost is found out by looking.
                let _ = held.settle_in(&self.place.database).await;
                Ok(())
            }
            7..10 if !held.end_asked => {
                caller.renew(held, ttl).await?;
                self.tally.renewed += 1;
                Ok(())
            }
            10 | 11 => caller.release(held, wait).await,
            12 => caller.revoke(held, wait).await,
            13 if !held.end_asked => held.ask_again(caller, &self.place.role).await,
            _ => self.look(at, caller).await,
        }
    }

    fn any(&self) -> Option<usize> {
        let count = u32::try_from(self.held.len()).unwrap();
        (count > 0).then(|| usize::try_from(self.random.below(count)).unwrap())
    }

    async fn issue(&mut self, caller: &Caller) -> Result<(), Status> {
        let (key, ttl) = self.unanswered.take().unwrap_or_else(|| {
            self.asked += 1;
            (format!("{}-{}", self.name, self.asked), 3 + self.random.below(LONGEST - 3))
        });
        match caller.issue(&self.place.role, ttl, &key).await {
            Ok(held) => {
                self.tally.issued += 1;
                self.held.push(held);
                Ok(())
            }
            Err(status) => {
                // Most ask again; some never do.
                let patient = self.random.below(4) > 0;
                let gone = status.code() == tonic::Code::FailedPrecondition;
                self.unanswered = Some((key, ttl)).filter(|_| patient && !gone);
                Err(status)
            }
        }
    }

    /// Compares what it was promised with what is.
    async fn look(&mut self, at: usize, caller: &Caller) -> Result<(), Status> {
        let held = &mut self.held[at];
        let lease = caller.lease(&held.lease).await?;
        if is_live(lease.state()) {
            let ignored = held.end_told && lease.state() == LeaseState::Active;
            assert!(!ignored, "its end was acknowledged: {held:?} is {lease:?}");
            held.assert_kept(&lease, &self.place.database).await;
            return Ok(());
        }
        let early = !held.end_asked && held.promised > now();
        assert!(!early, "lost: {held:?} is {lease:?}");
        held.assert_over(&self.place.database).await;
        self.held.swap_remove(at);
        self.tally.over += 1;
        Ok(())
    }

    /// While nobody serves: what was promised must hold all the same.
    pub(super) async fn assert_kept_by_the_database(&self) {
        if let Some(at) = self.any() {
            self.held[at].assert_logs_in(&self.place.database).await;
        }
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}
