//! One of many callers: asks for credentials wherever it is sent, uses, renews and returns them at random, and notices when one is lost.

use std::{collections::BTreeSet, time::Duration};

use mayfly::{
    api::proto::LeaseState,
    clock::{Clock as _, SystemClock},
    random::{Random as _, SeededRandom},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::balancer::{Balancer, may_pass};
use crate::{
    crash::caller::{Caller, Held, is_live},
    support::world::Database,
};

/// Credentials a worker holds at once.
const MOST_HELD: usize = 6;
/// Sessions it has open at once: a server has room for some dozens.
const MOST_SESSIONS: usize = 2;
/// Seconds of a lease, at most: leases are to expire all the time.
const LONGEST: u32 = 25;

/// What was done, for the totals.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) issued: u64,
    pub(super) renewed: u64,
    /// Leases whose end was seen to be complete.
    pub(super) over: u64,
    /// Requests given up after trying for long.
    pub(super) given_up: u64,
    /// Passwords that an earlier try's statement, delayed on its way to the target, took the place of; asking again mended it.
    pub(super) overtaken: u64,
}

impl Tally {
    /// Both together.
    pub(super) fn and(self, other: Tally) -> Tally {
        Tally {
            issued: self.issued + other.issued,
            renewed: self.renewed + other.renewed,
            over: self.over + other.over,
            given_up: self.given_up + other.given_up,
            overtaken: self.overtaken + other.overtaken,
        }
    }
}

/// A caller.
pub(super) struct Worker {
    balancer: Balancer,
    database: Database,
    role: String,
    random: SeededRandom,
    name: String,
    asked: u32,
    pub(super) held: Vec<Held>,
    /// Leases whose password took more than one try: a statement of an earlier one may still be on its way (docs/replicas.md).
    contested: BTreeSet<String>,
    pub(super) tally: Tally,
}

impl Worker {
    pub(super) fn new(balancer: Balancer, database: Database, role: String, seed: u64) -> Self {
        let name = format!("{role}-{seed:08x}");
        let random = SeededRandom::new(seed);
        let (held, contested, tally) = (Vec::new(), BTreeSet::new(), Tally::default());
        Self { balancer, database, role, random, name, asked: 0, held, contested, tally }
    }

    /// Works until told to stop.
    pub(super) async fn work(mut self, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            match self.act().await {
                Ok(()) => {}
                // An end that came in between: which it was is found out by looking.
                Err(status) if status.code() == Code::FailedPrecondition => {}
                Err(status) if may_pass(&status) => self.tally.given_up += 1,
                Err(status) => panic!("a retry does not cure this: {status:?}"),
            }
            let pause = self.random.below(150);
            tokio::time::sleep(Duration::from_millis(u64::from(pause))).await;
        }
        self
    }

    async fn act(&mut self) -> Result<(), Status> {
        let full = self.held.len() >= MOST_HELD;
        match self.random.below(20) {
            0..6 if !full => self.issue().await,
            kind => match self.any() {
                None => Ok(()),
                Some(at) => self.use_one(kind, at).await,
            },
        }
    }

    fn any(&self) -> Option<usize> {
        let count = u32::try_from(self.held.len()).unwrap();
        (count > 0).then(|| usize::try_from(self.random.below(count)).unwrap())
    }

    async fn use_one(&mut self, kind: u32, at: usize) -> Result<(), Status> {
        let ttl = 3 + self.random.below(LONGEST - 3);
        let wait = self.random.below(3) == 0;
        let sessions = self.held.iter().filter(|held| held.has_session()).count();
        let (balancer, random, role) = (&self.balancer, &self.random, &self.role);
        let held = &mut self.held[at];
        match kind {
            0..8 if sessions < MOST_SESSIONS && !held.has_session() && held.must_work() => {
                // It may expire on the way; whether it is lost is found out by looking.
                let _ = held.settle_in(&self.database).await;
                Ok(())
            }
            8..11 if !held.end_asked => {
                balancer.ask(random, async |caller| caller.renew(held, ttl).await).await?;
                self.tally.renewed += 1;
                Ok(())
            }
            11 => balancer.ask(random, async |caller| caller.release(held, wait).await).await,
            12 => balancer.ask(random, async |caller| caller.revoke(held, wait).await).await,
            13 | 14 if !held.end_asked => {
                let mut tries = 0;
                let ask = async |caller| {
                    tries += 1;
                    held.ask_again(&caller, role).await
                };
                let asked = balancer.ask(random, ask).await;
                if tries > 1 {
                    self.contested.insert(held.lease.clone());
                }
                asked
            }
            _ => self.look(at).await,
        }
    }

    async fn issue(&mut self) -> Result<(), Status> {
        self.asked += 1;
        let (key, ttl) = (format!("{}-{}", self.name, self.asked), 3 + self.random.below(LONGEST - 3));
        let role = &self.role;
        let mut tries = 0;
        let ask = async |caller: Caller| {
            tries += 1;
            caller.issue(role, ttl, &key).await
        };
        let held = self.balancer.ask(&self.random, ask).await?;
        self.tally.issued += 1;
        if tries > 1 {
            self.contested.insert(held.lease.clone());
        }
        self.held.push(held);
        Ok(())
    }

    /// Compares what it was promised with what is.
    async fn look(&mut self, at: usize) -> Result<(), Status> {
        let held = &mut self.held[at];
        let name = held.lease.clone();
        let lease = self.balancer.ask(&self.random, async |caller| caller.lease(&name).await).await?;
        if is_live(lease.state()) {
            let ignored = held.end_told && lease.state() == LeaseState::Active;
            assert!(!ignored, "its end was acknowledged: {held:?} is {lease:?}");
            if lease.state() == LeaseState::Active {
                if self.contested.contains(&name)
                    && held.must_work()
                    && held.log_in(&self.database).await.is_err()
                {
                    let role = &self.role;
                    let ask = async |caller| held.ask_again(&caller, role).await;
                    self.tally.overtaken += u64::from(self.balancer.ask(&self.random, ask).await.is_ok());
                    return Ok(());
                }
                held.assert_kept(&lease, &self.database).await;
            } else {
                let early = !held.end_asked && held.promised > SystemClock.now();
                assert!(!early, "lost: {held:?} is {lease:?}");
            }
            return Ok(());
        }
        let early = !held.end_asked && held.promised > SystemClock.now();
        assert!(!early, "lost: {held:?} is {lease:?}");
        held.assert_over(&self.database).await;
        self.held.swap_remove(at);
        self.tally.over += 1;
        Ok(())
    }

    /// Asserts of all it holds what was promised.
    pub(super) async fn look_at_all(&mut self) {
        for at in (0..self.held.len()).rev() {
            self.look(at).await.unwrap_or_else(|status| panic!("{:?}: {status:?}", self.held[at]));
        }
    }
}
