//! Callers that issue one after the other, until they are told to stop, and what each call took.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::CALLERS;
use crate::frame::{Kind, Line, Outcome, World, moment};

/// The first calls are not counted: connections are made, and code is met for the first time.
const WARM_UP: Duration = Duration::from_millis(500);

/// A call: when it began, and how long it took.
type Call = (Instant, Duration);

/// Callers at work.
pub(super) struct Calling {
    since: Instant,
    stop: CancellationToken,
    tasks: JoinSet<Outcome<Vec<Call>>>,
}

/// All their calls.
pub(super) struct Log(Vec<Call>);

/// Calls of a stretch of time.
pub(super) struct Calls {
    latencies: Vec<Duration>,
    stretch: Duration,
}

/// Sets them to work.
pub(super) async fn begin(world: &World, kind: Kind) -> Outcome<Calling> {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for line in world.mayfly_lines(kind, CALLERS).await? {
        tasks.spawn(call(line, stop.clone()));
    }
    Ok(Calling { since: moment(), stop, tasks })
}

async fn call(mut line: Line, stop: CancellationToken) -> Outcome<Vec<Call>> {
    let mut calls = Vec::new();
    while !stop.is_cancelled() {
        let began = moment();
        line.create(None).await?;
        calls.push((began, began.elapsed()));
    }
    Ok(calls)
}

impl Calling {
    /// From when on calls count.
    pub(super) fn since(&self) -> Instant {
        self.since + WARM_UP
    }

    /// Lets them finish the call they are at.
    pub(super) async fn stop(mut self) -> Outcome<Log> {
        self.stop.cancel();
        let mut all = Vec::new();
        while let Some(calls) = self.tasks.join_next().await {
            all.extend(calls??);
        }
        Ok(Log(all))
    }
}

impl Log {
    /// Those that ended between two moments.
    pub(super) fn between(&self, from: Instant, to: Instant) -> Calls {
        let ended = |(began, took): &&Call| (from..to).contains(&(*began + *took));
        let mut latencies: Vec<Duration> = self.0.iter().filter(ended).map(|(_, took)| *took).collect();
        latencies.sort_unstable();
        Calls { latencies, stretch: to.duration_since(from) }
    }
}

impl Calls {
    /// Calls a second.
    pub(super) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.stretch.as_secs_f64()
    }

    /// The latency, in milliseconds, that a share of the calls stays below; nearest rank.
    pub(super) fn latency(&self, share: f64) -> f64 {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.latencies.len().max(1)) - 1;
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}
