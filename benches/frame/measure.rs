//! A closed loop: so many callers, each with one call under way, until the work is done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::Barrier, task::JoinSet};

use super::{Job, Line, Outcome};

/// A moment, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "a benchmark is about the time that really passes")]
pub(crate) fn moment() -> Instant {
    Instant::now()
}

/// What this process has used of the processors so far.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// What to do: so many calls. A raw line takes its statements from the jobs; Mayfly makes up its own.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) calls: usize,
    pub(crate) jobs: Arc<[Job]>,
}

/// What one side of a round took.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The accounts that exist now.
    pub(crate) accounts: Vec<String>,
    elapsed: Duration,
    processor: Duration,
    latencies: Vec<Duration>,
}

impl Taken {
    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Milliseconds of processor time of this process for one call.
    pub(crate) fn processor(&self) -> f64 {
        self.processor.as_secs_f64() * 1e3 / self.latencies.len() as f64
    }

    /// The latency, in milliseconds, that a share of the calls stays below; nearest rank.
    pub(crate) fn latency(&self, share: f64) -> f64 {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.latencies.len().max(1)) - 1;
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Does the work over all lines at once, and gives the lines back.
pub(crate) async fn drive(lines: Vec<Line>, work: &Work) -> Outcome<(Vec<Line>, Taken)> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(lines.len() + 1));
    let mut tasks = JoinSet::new();
    for mut line in lines {
        let (next, start, work) = (Arc::clone(&next), Arc::clone(&start), work.clone());
        tasks.spawn(async move {
            let mut done = Vec::with_capacity(work.calls);
            start.wait().await;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= work.calls {
                    return Ok((line, done));
                }
                let began = moment();
                let account = line.create(work.jobs.get(at)).await?;
                done.push((account, began.elapsed()));
            }
        });
    }
    start.wait().await;
    let (began, processor) = (moment(), processor_time());
    let ended: Vec<Outcome<_>> = tasks.join_all().await;
    let (elapsed, processor) = (began.elapsed(), processor_time().saturating_sub(processor));
    let (mut lines, mut accounts, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for ended in ended {
        let (line, done) = ended?;
        lines.push(line);
        for (account, latency) in done {
            accounts.push(account);
            latencies.push(latency);
        }
    }
    latencies.sort_unstable();
    Ok((lines, Taken { accounts, elapsed, processor, latencies }))
}

/// The middle one; of an even number, the mean of the middle two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), half.checked_sub(1).and_then(|below| sorted.get(below))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => f64::midpoint(*upper, *lower),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

/// How far apart the extremes are, relative to the median. Values that are all nothing are not apart.
pub(crate) fn spread(values: &[f64]) -> f64 {
    if values.iter().all(|value| *value == 0.0) {
        return 0.0;
    }
    let extreme = |pick: fn(f64, f64) -> f64, from| values.iter().copied().fold(from, pick);
    (extreme(f64::max, f64::MIN) - extreme(f64::min, f64::MAX)) / median(values)
}
