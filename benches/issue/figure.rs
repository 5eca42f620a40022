//! What comes out: figures, a table of them, and the report.

use std::{fmt::Write as _, fs, path::Path};

use mayfly::domain::Engine;
use serde::Serialize;

use super::{
    Kind, Outcome,
    environment::Environment,
    measure::{median, spread},
    round::Measured,
};

/// One figure beside its baseline.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What: `postgres.scram-4096.callers-16.rate`.
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
    /// Values of rounds beside the baseline's values in the same rounds.
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

    fn aiming(self, aim: &str, met: bool) -> Self {
        Self { aim: Some(aim.to_owned()), met: Some(met), ..self }
    }
}

/// The figures of one kind of credential at one number of callers.
pub(crate) fn of_issuing(kind: &Kind, callers: usize, measured: &Measured) -> Vec<Figure> {
    let (mayfly, raw) = (&measured.mayfly, &measured.raw);
    let named = |what: &str| format!("{}.callers-{callers}.{what}", kind.name);
    let mut rate = Figure::of(named("rate"), "credentials/s", &mayfly.rates, &raw.rates);
    if callers == 16 {
        let bare = kind.engine == Engine::Postgres && kind.iterations == 1;
        let ratio = rate.ratio.unwrap_or(0.0);
        rate = if bare {
            let met = rate.value >= 5_000.0;
            rate.aiming("value ≥ 5000", met)
        } else {
            rate.aiming("ratio ≥ 0.75", ratio >= 0.75)
        };
    }
    let mut figures = vec![
        rate,
        Figure::of(named("p50"), "ms", &mayfly.p50, &raw.p50),
        Figure::of(named("p99"), "ms", &mayfly.p99, &raw.p99),
        Figure::of(named("processor"), "ms", &mayfly.processor, &raw.processor),
    ];
    if callers == 1 {
        let overheads: Vec<f64> = mayfly.p50.iter().zip(&raw.p50).map(|(ours, raw)| ours - raw).collect();
        let overhead = Figure::of(named("p50-overhead"), "ms", &overheads, &[]);
        let met = overhead.value <= 2.0;
        figures.push(overhead.aiming("value ≤ 2", met));
    }
    figures
}

/// Everything a run found out.
pub(crate) struct Report {
    pub(crate) environment: Environment,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(environment: Environment) -> Self {
        Self { environment, figures: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Shows the table.
    #[expect(clippy::print_stdout, reason = "the table is what the program is run for")]
    pub(crate) fn print(&self) -> Outcome<()> {
        let heads = ["name", "value", "unit", "baseline", "ratio", "spread", "aim", "met"].map(str::to_owned);
        let rows: Vec<[String; 8]> = std::iter::once(heads).chain(self.figures.iter().map(cells)).collect();
        for row in &rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width =
                    rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
                let width = width.unwrap_or(0);
                if NUMBERS.contains(&column) {
                    write!(line, "{cell:>width$}  ")?;
                } else {
                    write!(line, "{cell:<width$}  ")?;
                }
            }
            println!("{}", line.trim_end());
        }
        println!("\n{}", serde_json::to_string_pretty(&self.environment)?);
        Ok(())
    }

    /// Writes `target/bench/report.json`: the figures, and last a record of the environment.
    pub(crate) fn write(&self) -> Outcome<()> {
        let mut records = self.figures.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        records.push(serde_json::json!({
            "name": "environment", "value": null, "unit": null, "baseline": null, "ratio": null, "spread": null,
            "aim": null, "met": null, "details": self.environment,
        }));
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("report.json"), serde_json::to_string_pretty(&records)? + "\n")?;
        Ok(())
    }
}

/// Columns that are read from the right.
const NUMBERS: [usize; 4] = [1, 3, 4, 5];

fn cells(figure: &Figure) -> [String; 8] {
    [
        figure.name.clone(),
        number(Some(figure.value)),
        figure.unit.to_owned(),
        number(figure.baseline),
        figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        figure.spread.map_or_else(String::new, |spread| format!("{:.0} %", spread * 100.0)),
        figure.aim.clone().unwrap_or_default(),
        figure.met.map_or("", |met| if met { "yes" } else { "no" }).to_owned(),
    ]
}

fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}
