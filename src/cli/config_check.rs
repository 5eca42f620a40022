//! `mayfly config check`: whether the configuration is right.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use serde::Serialize;

use super::{CliError, Context, Exit, serve};

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
    let checked = Checked {
        config: args.config.display().to_string(),
        targets: loaded.config.targets.len(),
        roles: loaded.config.roles.len(),
        warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
    };
    if context.output.is_json() {
        context.output.json(&checked)?;
    } else {
        let count =
            |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let (targets, roles) = (count(checked.targets, "target"), count(checked.roles, "role"));
        context.output.data(&format!("{}: ok ({targets}, {roles})", checked.config))?;
    }
    Ok(Exit::Ok)
}

/// What was checked.
#[derive(Debug, Serialize)]
struct Checked {
    config: String,
    targets: usize,
    roles: usize,
    warnings: Vec<String>,
}
