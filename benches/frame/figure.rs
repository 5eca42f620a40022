//! One thing that was found out.

use serde::Serialize;

use super::measure::{median, spread};

/// One figure beside its baseline.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What, beginning with its section: `issuing.postgres.scram-4096.callers-16.rate`.
    pub(crate) name: String,
    /// Median of the rounds.
    pub(crate) value: f64,
    /// `credentials/s`, `ms`, ….
    pub(crate) unit: &'static str,
    /// What the raw database did in the same rounds.
    pub(crate) baseline: Option<f64>,
    /// The median of the rounds' ratios of value to baseline.
    pub(crate) ratio: Option<f64>,
    /// How far apart the rounds' values are, relative to the median.
    pub(crate) spread: Option<f64>,
    /// What is aimed at.
    pub(crate) aim: Option<String>,
    /// Whether it is reached.
    pub(crate) met: Option<bool>,
}

impl Figure {
    /// Values of rounds beside the baseline's values in the same rounds; no baselines: there is nothing to compare with.
    pub(crate) fn of(name: String, unit: &'static str, values: &[f64], baselines: &[f64]) -> Self {
        let ratios: Vec<f64> =
            values.iter().zip(baselines).map(|(value, baseline)| value / baseline).collect();
        let compared = !ratios.is_empty();
        Self {
            name,
            value: median(values),
            unit,
            baseline: compared.then(|| median(baselines)),
            ratio: compared.then(|| median(&ratios)),
            spread: (values.len() > 1).then(|| spread(values)),
            aim: None,
            met: None,
        }
    }

    /// Adds an aim, in words, and whether it is reached.
    pub(crate) fn aiming(self, aim: &str, met: bool) -> Self {
        Self { aim: Some(aim.to_owned()), met: Some(met), ..self }
    }

    /// Aims at a value of at most so much.
    pub(crate) fn at_most(self, bound: f64) -> Self {
        let met = self.value <= bound;
        self.aiming(&format!("value ≤ {bound}"), met)
    }

    /// Aims at a value of at least so much.
    pub(crate) fn at_least(self, bound: f64) -> Self {
        let met = self.value >= bound;
        self.aiming(&format!("value ≥ {bound}"), met)
    }

    /// Aims at a ratio of at most so much.
    pub(crate) fn ratio_at_most(self, bound: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio <= bound);
        self.aiming(&format!("ratio ≤ {bound}"), met)
    }

    /// Aims at a ratio of at least so much.
    pub(crate) fn ratio_at_least(self, bound: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio >= bound);
        self.aiming(&format!("ratio ≥ {bound}"), met)
    }
}
