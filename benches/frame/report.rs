//! What a run found out: a table for whoever waits, JSON for programs, plots for the documentation.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Chart, Environment, Figure, Options, Outcome, Section};

/// Everything a run found out.
pub(crate) struct Report {
    pub(crate) environment: Environment,
    figures: Vec<Figure>,
    plots: BTreeMap<&'static str, String>,
}

impl Report {
    pub(crate) fn new(environment: Environment) -> Self {
        Self { environment, figures: Vec::new(), plots: BTreeMap::new() }
    }

    /// A section begins.
    pub(crate) fn begin(&mut self, section: Section) {
        self.environment.begin(section);
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// A plot to publish, under `docs/benchmarks/NAME.svg`.
    pub(crate) fn plot(&mut self, name: &'static str, chart: &Chart) {
        self.plots.insert(name, chart.svg());
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

    /// Writes `target/bench/report.json`: the figures, and last a record of the environment. If it is to be published, also
    /// `docs/benchmarks/report.json`, where sections that this run left out keep what they had, and the plots.
    pub(crate) fn write(&self, options: &Options) -> Outcome<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut records = self.figures.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        let mut details = serde_json::to_value(&self.environment)?;
        let here = root.join("target/bench");
        fs::create_dir_all(&here)?;
        save(&here.join("report.json"), &records, &details)?;
        if !options.publish {
            return Ok(());
        }
        let published = root.join("docs/benchmarks");
        let path = published.join("report.json");
        keep_others(&path, options, &mut records, &mut details)?;
        save(&path, &records, &details)?;
        for (name, svg) in &self.plots {
            fs::write(published.join(name).with_extension("svg"), svg)?;
        }
        Ok(())
    }
}

/// The figures that are published already, of sections that this run did not measure, with when and on what they were.
fn keep_others(
    path: &PathBuf,
    options: &Options,
    records: &mut Vec<Value>,
    details: &mut Value,
) -> Outcome<()> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(()) };
    let earlier: Vec<Value> = serde_json::from_str(&text)?;
    let others: Vec<&str> = Section::ALL
        .into_iter()
        .filter(|section| !options.wants_section(*section))
        .map(Section::as_str)
        .collect();
    for record in earlier {
        let name = record.get("name").and_then(Value::as_str).unwrap_or_default();
        if name == "environment" {
            keep_environment(record.get("details"), &others, details);
        } else if name.split('.').next().is_some_and(|section| others.contains(&section)) {
            records.push(record);
        }
    }
    // As in a run of everything, whatever was measured when.
    let rank = |record: &Value| {
        let name = record.get("name").and_then(Value::as_str).unwrap_or_default();
        Section::ALL.iter().position(|section| name.split('.').next() == Some(section.as_str()))
    };
    records.sort_by_key(rank);
    Ok(())
}

/// What the earlier environment says of sections, servers and the disk that this run did not meet.
fn keep_environment(earlier: Option<&Value>, others: &[&str], details: &mut Value) {
    let of = |field: &str| earlier.and_then(|earlier| earlier.get(field));
    for field in ["sections", "servers"] {
        let known = details.get_mut(field).and_then(Value::as_object_mut);
        let before = of(field).and_then(Value::as_object);
        if let Some((known, before)) = known.zip(before) {
            for (name, about) in before {
                if field == "servers" || others.contains(&name.as_str()) {
                    known.entry(name.clone()).or_insert_with(|| about.clone());
                }
            }
        }
    }
    if let Some(disk) = details.get_mut("disk_sync_ms").filter(|disk| disk.is_null()) {
        *disk = of("disk_sync_ms").cloned().unwrap_or(Value::Null);
    }
}

fn save(path: &Path, records: &[Value], details: &Value) -> Outcome<()> {
    let environment = json!({
        "name": "environment", "value": null, "unit": null, "baseline": null, "ratio": null, "spread": null,
        "aim": null, "met": null, "details": details,
    });
    let all: Vec<&Value> = records.iter().chain(std::iter::once(&environment)).collect();
    fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
    Ok(())
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
