//! What is done to a fleet at random.

use std::{fmt, time::Duration};

use mayfly::{
    crash::Point,
    random::{Random, SeededRandom},
    sandbox::Server,
};
use rustix::process::Signal;

use super::{balancer::Balancer, fleet::Plan, replica::Replica, watch::Watch};
use crate::support::proxy::Proxy;

/// How a wire is cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// Connections end, and new ones as soon as they are made.
    Severed,
    /// Connections stay, are accepted, and nothing passes.
    Silent,
}

/// One thing that goes wrong with a replica.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Killed, and started again.
    Kill,
    /// Killed in the middle of ending a lease, and started again.
    KillWhileEnding(Point, u32),
    /// Stopped for so many milliseconds, which is past its claims, and let go on.
    Freeze(u32),
    /// Cut off from the store.
    FromStore(Cut, u32),
    /// Cut off from one of the targets.
    FromTarget(usize, Cut, u32),
    /// Stopped in good order and started again.
    Restart,
}

/// What goes wrong next.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// With one replica, or with two at once.
    Replicas(Vec<(usize, Fault)>),
    /// The store's server ends all connections.
    StoreHangsUp,
    /// The store's server is restarted.
    StoreRestarts,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Draws what goes wrong, over and over.
pub(super) struct Fate {
    random: SeededRandom,
    replicas: u32,
    targets: u32,
}

impl Fate {
    pub(super) fn new(seed: u64, replicas: usize, targets: usize) -> Self {
        let count = |count| u32::try_from(count).unwrap();
        Self { random: SeededRandom::new(seed), replicas: count(replicas), targets: count(targets) }
    }

    fn fault(&self) -> Fault {
        let random = &self.random;
        let cut = |number| if number == 0 { Cut::Severed } else { Cut::Silent };
        match random.below(12) {
            0 | 1 => Fault::Kill,
            2 | 3 => {
                let points = [
                    Point::EndDue,
                    Point::EndBegun,
                    Point::EndDisabled,
                    Point::EndRemoved,
                    Point::EndRecorded,
                ];
                let at = usize::try_from(random.below(5)).unwrap();
                Fault::KillWhileEnding(points[at], 1 + random.below(6))
            }
            4..7 => Fault::Freeze(3_200 + random.below(3_000)),
            7 | 8 => Fault::FromStore(cut(random.below(2)), 500 + random.below(6_000)),
            9 | 10 => {
                let target = usize::try_from(random.below(self.targets)).unwrap();
                Fault::FromTarget(target, cut(random.below(2)), 500 + random.below(6_000))
            }
            _ => Fault::Restart,
        }
    }

    /// What goes wrong next; of three replicas, one at least is always left alone.
    pub(super) fn next(&self) -> Event {
        match self.random.below(14) {
            0 => Event::StoreHangsUp,
            1 => Event::StoreRestarts,
            number => {
                let first = self.random.below(self.replicas);
                let second = (first + 1 + self.random.below(self.replicas - 1)) % self.replicas;
                let index = |number| usize::try_from(number).unwrap();
                let mut faults = vec![(index(first), self.fault())];
                if number < 5 && self.replicas > 2 {
                    faults.push((index(second), self.fault()));
                }
                Event::Replicas(faults)
            }
        }
    }
}

async fn cut(wire: &Proxy, how: Cut, millis: u32) {
    match how {
        Cut::Severed => wire.sever(),
        Cut::Silent => wire.pause(),
    }
    tokio::time::sleep(Duration::from_millis(u64::from(millis))).await;
    wire.resume();
}

/// How long to wait for an armed replica to come to its crash point.
const UNTIL_CRASH: Duration = Duration::from_secs(5);

/// Lets one thing go wrong with a replica and be over.
async fn suffer(replica: &mut Replica, at: usize, fault: Fault, balancer: &Balancer) {
    match fault {
        Fault::Kill => {
            replica.kill().await;
            balancer.set(at, replica.start(None).await);
        }
        Fault::KillWhileEnding(point, pass) => {
            replica.kill().await;
            balancer.set(at, replica.start(Some(&format!("{}:{pass}", point.as_str()))).await);
            let _ = tokio::time::timeout(UNTIL_CRASH, replica.ended_by_itself()).await;
            replica.kill().await;
            balancer.set(at, replica.start(None).await);
        }
        Fault::Freeze(millis) => {
            replica.freeze().await;
            tokio::time::sleep(Duration::from_millis(u64::from(millis))).await;
            replica.signal(Signal::CONT);
        }
        Fault::FromStore(how, millis) => cut(&replica.store, how, millis).await,
        Fault::FromTarget(target, how, millis) => {
            let wire = replica.targets.values().nth(target).unwrap();
            cut(wire, how, millis).await;
        }
        Fault::Restart => {
            replica.stop().await;
            balancer.set(at, replica.start(None).await);
        }
    }
}

/// Lets it happen, and waits until it is over.
pub(super) async fn befall(
    event: &Event,
    replicas: &mut [Replica],
    balancer: &Balancer,
    (plan, server, watch): (&Plan, Option<&mut Server>, &Watch),
) {
    match event {
        Event::Replicas(faults) => {
            let hit = replicas.iter_mut().enumerate().filter_map(|(at, replica)| {
                let (_, fault) = faults.iter().find(|(hit, _)| *hit == at)?;
                Some(suffer(replica, at, *fault, balancer))
            });
            futures_util::future::join_all(hit).await;
        }
        Event::StoreHangsUp => {
            let hang_up = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE application_name LIKE 'mayfly %' AND datname = current_database()";
            plan.store.ask(hang_up).await.unwrap();
            watch.calm();
        }
        Event::StoreRestarts => {
            let Some(server) = server else { return };
            watch.trouble();
            server.crash().await.unwrap();
            server.start_again().await.unwrap();
            watch.calm();
        }
    }
}
