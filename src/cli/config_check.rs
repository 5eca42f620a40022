//! `mayfly config check`: whether the configuration is right.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use serde::Serialize;

use super::{CliError, Context, Exit, doctor, serve};

/// Subcommands of `mayfly config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration: every mistake with its file and line; ends with 2 when there is one
    Check(CheckArgs),
}

/// Arguments of `mayfly config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
    /// Ask the databases as well: privileges, groups, and that no role hands objects on to an owner who may do more than own.
    /// Ends with 11 when something is to be mended there
    #[arg(long)]
    pub connect: bool,
}

/// Runs `mayfly config …`.
///
/// # Errors
/// What is wrong with the configuration.
pub async fn run(command: ConfigCommand, context: &mut Context) -> Result<Exit, CliError> {
    let ConfigCommand::Check(args) = command;
    let loaded = serve::load(&args.config).await?;
    for warning in &loaded.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    let examined =
        if args.connect { Some(doctor::examine_all(&loaded.config, context).await?) } else { None };
    let checked = Checked {
        config: args.config.display().to_string(),
        targets: loaded.config.targets.len(),
        roles: loaded.config.roles.len(),
        warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        examined,
    };
    if context.output.is_json() {
        context.output.json(&checked)?;
    } else {
        let count =
            |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let (targets, roles) = (count(checked.targets, "target"), count(checked.roles, "role"));
        context.output.data(&format!("{}: ok ({targets}, {roles})", checked.config))?;
        for report in checked.examined.iter().flatten() {
            let text = doctor::text(report, &context.output);
            context.output.data(&format!("\n{text}"))?;
        }
    }
    let problems = checked.examined.iter().flatten().any(doctor::Report::has_problems);
    Ok(if problems { Exit::Problems } else { Exit::Ok })
}

/// What was checked.
#[derive(Debug, Serialize)]
struct Checked {
    config: String,
    targets: usize,
    roles: usize,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    examined: Option<Vec<doctor::Report>>,
}
