//! `mayfly policy test`: cases, what they are expected to come to, and what they come to.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    super::{
        CliError, Context, Exit,
        table::{self, Cell, Column, Paint},
    },
    case::{Answer, Outcome, Question},
    source,
};
use crate::config::Config;

/// How test files end.
const ENDING: &str = ".test.toml";

/// Arguments of `mayfly policy test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// A directory of test files (*.test.toml), or one file
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    pub path: PathBuf,
}

/// A test file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The configuration the cases are decided by; a relative path starts beside the file.
    configuration: PathBuf,
    /// What a case does not say.
    #[serde(default)]
    default: Question,
    #[serde(default)]
    case: Vec<Spanned<toml::Table>>,
}

/// What a case expects.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    expect: Outcome,
    policies: Option<Vec<String>>,
    steps: Option<Vec<String>>,
    risk: Option<u32>,
}

/// A case that came to something else than it expected, or to nothing.
#[derive(Debug, Serialize)]
struct Miss {
    file: String,
    line: usize,
    case: String,
    expected: String,
    found: String,
    because: String,
}

#[derive(Debug, Serialize)]
struct Tally {
    cases: usize,
    misses: Vec<Miss>,
}

pub(super) async fn run(args: TestArgs, context: &mut Context) -> Result<Exit, CliError> {
    let mut tally = Tally { cases: 0, misses: Vec::new() };
    for path in files(&args.path)? {
        let text = read(&path)?;
        let file: File = toml::from_str(&text).map_err(|error| {
            CliError::usage(format!("{}: {}", path.display(), error.to_string().trim_end()))
        })?;
        let beside = path.parent().unwrap_or(Path::new("")).join(&file.configuration);
        let config = source::configuration(&beside).await?.config;
        let now = context.clock.now();
        for case in &file.case {
            tally.cases += 1;
            let line = text.get(..case.span().start).unwrap_or_default().matches('\n').count() + 1;
            let miss = judge(case.get_ref(), &file.default, &config, now);
            tally.misses.extend(miss.map(|miss| Miss { file: path.display().to_string(), line, ..miss }));
        }
    }
    if tally.cases == 0 {
        return Err(CliError::usage(format!("there is no case in {}", args.path.display())));
    }
    tell(&tally, context)?;
    Ok(if tally.misses.is_empty() { Exit::Ok } else { Exit::Problems })
}

fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error| CliError::usage(format!("cannot read {}: {error}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        files.push(entry.map_err(unreadable)?.path());
    }
    files.retain(|file| file.to_string_lossy().ends_with(ENDING));
    files.sort();
    if files.is_empty() {
        return Err(CliError::usage(format!("there is no file *{ENDING} in {}", path.display())));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))
}

/// What a case misses; file and line are filled in by who knows them.
fn judge(case: &toml::Table, default: &Question, config: &Config, now: Timestamp) -> Option<Miss> {
    let name = case.get("name").and_then(toml::Value::as_str).unwrap_or("(no name)").to_owned();
    let miss = |expected: String, found: &str, because: String| {
        let (found, name) = (found.to_owned(), name.clone());
        Some(Miss { file: String::new(), line: 0, case: name, expected, found, because })
    };
    let (expected, question) = match split(case) {
        Ok(parts) => parts,
        Err(error) => return miss("a case".to_owned(), "none", error),
    };
    let answer = match question.or(default).ask(config, now, false) {
        Ok(answer) => answer,
        Err(error) => return miss(expected.expect.as_str().to_owned(), "no question", error),
    };
    let found = answer.outcome.as_str();
    if answer.outcome != expected.expect {
        return miss(expected.expect.as_str().to_owned(), found, answer.because);
    }
    let (wanted, came) = particulars(&expected, &answer)?;
    miss(wanted, &came, answer.because)
}

/// A case has the keys of a question and those of what is expected.
fn split(case: &toml::Table) -> Result<(Expected, Question), String> {
    let is_expected = |key: &str| ["name", "expect", "policies", "steps", "risk"].contains(&key);
    let (mut expected, question): (toml::Table, toml::Table) =
        case.clone().into_iter().partition(|(key, _)| is_expected(key));
    expected.remove("name").ok_or("name: what is the case called?")?;
    let plain = |error: toml::de::Error| error.message().to_owned();
    Ok((expected.try_into().map_err(plain)?, question.try_into().map_err(plain)?))
}

/// What besides the outcome differs.
fn particulars(expected: &Expected, answer: &Answer) -> Option<(String, String)> {
    if let Some(policies) = &expected.policies
        && policies.iter().any(|policy| !answer.policies.contains(policy))
    {
        return Some((format!("by {}", policies.join(", ")), format!("by {}", none_or(&answer.policies))));
    }
    let steps: Vec<String> = answer.steps.iter().map(|step| step.name.clone()).collect();
    if let Some(wanted) = &expected.steps
        && *wanted != steps
    {
        return Some((format!("steps {}", none_or(wanted)), format!("steps {}", none_or(&steps))));
    }
    let wanted = expected.risk.filter(|risk| *risk != answer.risk.score)?;
    Some((format!("risk {wanted}"), format!("risk {}", answer.risk.score)))
}

fn none_or(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn tell(tally: &Tally, context: &mut Context) -> Result<(), CliError> {
    if context.output.is_json() {
        return context.output.json(tally);
    }
    if tally.misses.is_empty() {
        return context.output.data(&format!("{} cases, as expected", tally.cases));
    }
    let columns = [
        Column::cut("CASE", 20),
        Column::whole("EXPECTED"),
        Column::whole("FOUND"),
        Column::cut("BECAUSE", 20),
        Column::whole("WHERE"),
    ];
    let rows: Vec<Vec<Cell>> = tally
        .misses
        .iter()
        .map(|miss| {
            vec![
                miss.case.as_str().into(),
                miss.expected.as_str().into(),
                Cell::painted(&miss.found, Paint::Red),
                miss.because.as_str().into(),
                format!("{}:{}", miss.file, miss.line).into(),
            ]
        })
        .collect();
    let text = table::render(&columns, &rows, &context.output);
    context.output.data(&text)?;
    context.output.note(&format!("{} of {} cases are not as expected", tally.misses.len(), tally.cases));
    Ok(())
}
