//! Numbers that many threads change at once, one for each set of labels.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Measures how long something takes, whatever the clock says meanwhile. Nothing is decided by it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "nothing is decided by what it measures")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since it was started.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Only ever grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts so many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// What it shows from now on.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How values are spread.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One a bound, and one for what is above all of them.
    buckets: Box<[AtomicU64]>,
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts a value; a negative one as zero.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float that does not fit is cut to the nearest integer that does"
    )]
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    /// How many values are at most each bound; the last: how many there are.
    pub(super) fn cumulative(&self) -> Vec<(Option<f64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let mut below = 0;
        let counts = self.buckets.iter().map(|bucket| {
            below += bucket.load(Ordering::Relaxed);
            below
        });
        bounds.zip(counts).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "a sum of seconds need not be exact to the microsecond")]
    pub(super) fn sum(&self) -> f64 {
        self.sum.load(Ordering::Relaxed) as f64 / 1e6
    }
}

type Series<const N: usize, T> = RwLock<BTreeMap<[String; N], Arc<T>>>;

fn of<const N: usize, T>(series: &Series<N, T>, labels: [&str; N], new: impl FnOnce() -> T) -> Arc<T> {
    let labels = labels.map(str::to_owned);
    if let Some(known) = series.read().unwrap_or_else(PoisonError::into_inner).get(&labels) {
        return Arc::clone(known);
    }
    let mut series = series.write().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(series.entry(labels).or_insert_with(|| Arc::new(new())))
}

fn all<const N: usize, T>(series: &Series<N, T>) -> Vec<([String; N], Arc<T>)> {
    let series = series.read().unwrap_or_else(PoisonError::into_inner);
    series.iter().map(|(labels, one)| (labels.clone(), Arc::clone(one))).collect()
}

/// Counters, by labels.
#[derive(Debug, Default)]
pub struct Counters<const N: usize>(Series<N, Counter>);

impl<const N: usize> Counters<N> {
    /// The one with these labels.
    pub fn of(&self, labels: [&str; N]) -> Arc<Counter> {
        of(&self.0, labels, Counter::default)
    }

    pub(super) fn all(&self) -> Vec<([String; N], Arc<Counter>)> {
        all(&self.0)
    }
}

/// Gauges, by labels.
#[derive(Debug, Default)]
pub struct Gauges<const N: usize>(Series<N, Gauge>);

impl<const N: usize> Gauges<N> {
    /// The one with these labels.
    pub fn of(&self, labels: [&str; N]) -> Arc<Gauge> {
        of(&self.0, labels, Gauge::default)
    }

    pub(super) fn all(&self) -> Vec<([String; N], Arc<Gauge>)> {
        all(&self.0)
    }
}

/// Histograms with the same bounds, by labels.
#[derive(Debug)]
pub struct Histograms<const N: usize> {
    bounds: &'static [f64],
    series: Series<N, Histogram>,
}

impl<const N: usize> Histograms<N> {
    /// With these upper bounds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, series: RwLock::default() }
    }

    /// The one with these labels.
    pub fn of(&self, labels: [&str; N]) -> Arc<Histogram> {
        of(&self.series, labels, || Histogram::new(self.bounds))
    }

    pub(super) fn all(&self) -> Vec<([String; N], Arc<Histogram>)> {
        all(&self.series)
    }
}
