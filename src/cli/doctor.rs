//! `mayfly doctor`: examines a database and says what is missing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde::Serialize;

use super::{CliError, Context, Exit, Output, error::printable, serve, table::Paint, view};
use crate::{
    api::proto,
    config::Config,
    domain::Role,
    random::SystemRandom,
    target::{Examination, Severity, Surroundings, Target, TargetError, connect},
};

const EXAMPLES: &str = "Examples:
  mayfly doctor orders                          ask the server to examine its target
  mayfly doctor --config mayfly.toml orders     examine it from here, without a server
  mayfly doctor --config mayfly.toml --install stock    make accounts expire with nobody there (MySQL, MariaDB)
  mayfly doctor --config mayfly.toml --print stock      the same as SQL for an administrator of the database

Nothing is changed without --install. Statements shown are to be run by an administrator of the database.
Ends with 0, or with 11 when there are problems.";

/// Arguments of `mayfly doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// The target (`mayfly targets ls`)
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Examine it from this machine, as this configuration says, instead of asking the server
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Install or upgrade the dead-man's switch (MySQL, MariaDB) with the administration account's rights, then examine
    #[arg(long, requires = "config")]
    pub install: bool,
    /// Print the dead-man's switch as SQL for an administrator of the database, and change nothing
    #[arg(long, requires = "config", conflicts_with = "install")]
    pub print: bool,
}

/// What an examination found, ready to be shown.
#[derive(Debug, Serialize)]
pub struct Report {
    target: String,
    /// Empty: nothing answers.
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_offset_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    installed: Vec<String>,
    findings: Vec<FindingView>,
}

#[derive(Debug, Serialize)]
struct FindingView {
    severity: Weight,
    summary: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Weight {
    Fine,
    Warning,
    Problem,
}

/// Runs `mayfly doctor`.
///
/// # Errors
/// What the server refuses, or a configuration that cannot be read.
pub async fn run(args: DoctorArgs, context: &mut Context) -> Result<Exit, CliError> {
    let report = match &args.config {
        Some(config) => {
            let here = Here::load(config, &args.target, context).await?;
            if args.print {
                return here.print(context).await;
            }
            let installed = if args.install { here.install(context).await? } else { Vec::new() };
            Report { installed, ..here.examine(context).await }
        }
        None => ask_the_server(&args.target, context).await?,
    };
    if context.output.is_json() {
        context.output.json(&report)?;
    } else {
        let text = text(&report, &context.output);
        context.output.data(&text)?;
    }
    Ok(if report.has_problems() { Exit::Problems } else { Exit::Ok })
}

/// Examines every target of a configuration from here, in the order of their names.
///
/// # Errors
/// When a target cannot be used as it is configured, whatever its server says.
pub(super) async fn examine_all(config: &Config, context: &mut Context) -> Result<Vec<Report>, CliError> {
    let mut reports = Vec::new();
    for name in config.targets.keys() {
        let here = Here::of(config, name.as_str(), context).await?;
        reports.push(here.examine(context).await);
    }
    Ok(reports)
}

async fn ask_the_server(target: &str, context: &Context) -> Result<Report, CliError> {
    let connection = context.connect()?;
    let spinner = context.output.spinner("examining");
    let request = connection.call(proto::ExamineTargetRequest { name: target.to_owned() });
    let reply = connection.targets().examine_target(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    drop(spinner);
    let findings = reply.findings.iter().map(|finding| FindingView {
        severity: match finding.severity() {
            proto::Severity::Fine => Weight::Fine,
            proto::Severity::Warning => Weight::Warning,
            // Doubt is a problem.
            proto::Severity::Problem | proto::Severity::Unspecified => Weight::Problem,
        },
        summary: finding.summary.clone(),
        remedy: finding.remedy.clone(),
    });
    Ok(Report {
        target: view::qualified("targets", target),
        clock_offset_seconds: reply.clock_offset.map(view::offset_seconds),
        installed: Vec::new(),
        findings: findings.collect(),
        server: reply.server,
    })
}

/// A target reached from here, as a configuration says.
struct Here {
    target: Arc<dyn Target>,
    roles: Vec<Role>,
}

impl Here {
    async fn load(config: &Path, target: &str, context: &mut Context) -> Result<Self, CliError> {
        Self::of(&serve::load(config).await?.config, target, context).await
    }

    async fn of(config: &Config, target: &str, context: &mut Context) -> Result<Self, CliError> {
        let known = || config.targets.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let bare = target.strip_prefix("targets/").unwrap_or(target);
        let (name, settings) =
            config.targets.iter().find(|(name, _)| name.as_str() == bare).ok_or_else(|| {
                CliError::new(Exit::NotFound, format!("there is no target {bare}"))
                    .hint(format!("known targets: {}", known()))
            })?;
        let surroundings = Surroundings::new(Arc::clone(&context.clock), Arc::new(SystemRandom));
        let credentials = super::doctor_credentials::credentials(config, settings, context).await;
        let target = connect(settings.clone(), Surroundings { credentials, ..surroundings })
            .map_err(|error| CliError::local(format!("targets.{name} cannot be used"), &error))?;
        let roles = config.roles.values().filter(|role| role.target == *name).cloned().collect();
        Ok(Self { target, roles })
    }

    async fn examine(&self, context: &Context) -> Report {
        let roles: Vec<&Role> = self.roles.iter().collect();
        let spinner = context.output.spinner("examining");
        let examination = self.target.examine(&roles).await;
        drop(spinner);
        let server = examination.server.as_ref();
        let server =
            server.map(|server| format!("{} {}", server.engine.title(), server.version)).unwrap_or_default();
        Report::of(self.target.name().as_str(), server, &examination)
    }

    async fn install(&self, context: &Context) -> Result<Vec<String>, CliError> {
        let spinner = context.output.spinner("installing");
        let outcome = self.target.install().await;
        drop(spinner);
        let done = outcome.map_err(|error| self.failed("could not be installed", &error))?;
        Ok(if done.is_empty() { vec!["nothing to install".to_owned()] } else { done })
    }

    async fn print(&self, context: &mut Context) -> Result<Exit, CliError> {
        let script = self.target.installation_script().await;
        let script = script.map_err(|error| self.failed("cannot be printed", &error))?;
        if context.output.is_json() {
            context.output.json(&serde_json::json!({ "script": script }))?;
        } else if script.is_empty() {
            context.output.note("nothing to install: the database refuses expired accounts itself");
        } else {
            context.output.data(&script)?;
        }
        Ok(Exit::Ok)
    }

    fn failed(&self, words: &str, error: &TargetError) -> CliError {
        let failed = CliError::local(format!("{}: what expiry needs {words}", self.target.name()), error);
        match &error.remedy {
            Some(remedy) => failed.hint(format!("an administrator of the database can run:\n{remedy}")),
            None => failed,
        }
    }
}

impl Report {
    /// The report of an examination made here.
    pub fn of(target: &str, server: String, examination: &Examination) -> Self {
        let findings = examination.findings.iter().map(|finding| FindingView {
            severity: match finding.severity {
                Severity::Fine => Weight::Fine,
                Severity::Warning => Weight::Warning,
                Severity::Problem => Weight::Problem,
            },
            summary: finding.summary.clone(),
            remedy: finding.remedy.clone().unwrap_or_default(),
        });
        Self {
            target: view::qualified("targets", target),
            server,
            clock_offset_seconds: examination.clock_offset.map(|offset| offset.as_secs_f64()),
            installed: Vec::new(),
            findings: findings.collect(),
        }
    }

    /// Whether there is something to mend.
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Weight::Problem)
    }
}

/// A report for people.
pub(super) fn text(report: &Report, output: &Output) -> String {
    let colour = output.colour();
    let mut lines = Vec::new();
    let server = if report.server.is_empty() { "nothing answers" } else { &report.server };
    let clock = report.clock_offset_seconds.map_or(String::new(), |offset| format!(", clock {offset:+.3} s"));
    lines.push(format!("{}: {}{clock}", view::bare(&report.target), printable(server)));
    lines.extend(
        report.installed.iter().map(|done| format!("  {} {}", Paint::Green.on("+", colour), printable(done))),
    );
    for finding in &report.findings {
        let (mark, paint) = match finding.severity {
            Weight::Fine => ("✓", Paint::Green),
            Weight::Warning => ("!", Paint::Yellow),
            Weight::Problem => ("✗", Paint::Red),
        };
        lines.push(format!("  {} {}", paint.on(mark, colour), printable(&finding.summary)));
        // Line by line: a remedy may be several statements, and is pasted as it stands.
        lines.extend(finding.remedy.lines().map(|line| format!("      {}", printable(line))));
    }
    lines.push(summary(report));
    lines.join("\n")
}

fn summary(report: &Report) -> String {
    let count = |weight| report.findings.iter().filter(|finding| finding.severity == weight).count();
    match (count(Weight::Problem), count(Weight::Warning)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("usable; {warnings} worth knowing"),
        (problems, 0) => format!("{problems} to mend"),
        (problems, warnings) => format!("{problems} to mend, {warnings} worth knowing"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{OutputFormat, output::capture},
        *,
    };
    use crate::target::Finding;

    #[test]
    fn findings_come_with_the_statement_to_paste() {
        let examination = Examination {
            server: None,
            clock_offset: Some(jiff::SignedDuration::from_millis(-12)),
            findings: vec![
                Finding::fine("the account may create roles"),
                Finding::warning("the event scheduler is off"),
                Finding::problem("the account may not grant readers")
                    .mended_by("GRANT readers TO mayfly\n  WITH ADMIN OPTION;"),
            ],
        };
        let report = Report::of("orders", "PostgreSQL 15.18".into(), &examination);
        let (output, ..) = capture::output(OutputFormat::Text);
        assert_eq!(
            text(&report, &output),
            "orders: PostgreSQL 15.18, clock -0.012 s\n  ✓ the account may create roles\n  ! the event scheduler is off\n  \
             ✗ the account may not grant readers\n      GRANT readers TO mayfly\n        WITH ADMIN OPTION;\n\
             1 to mend, 1 worth knowing"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][2]["severity"], "problem");
    }
}
