//! `mayfly policy check`: whether policies are right.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    super::{CliError, Context, Exit},
    source,
};
use crate::policy::Policies;

/// Arguments of `mayfly policy check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A directory of policy files (*.cedar), or one file; without it, those that the configuration names
    #[arg(value_name = "DIR|FILE", conflicts_with = "config")]
    pub path: Option<PathBuf>,
    /// The configuration; its secrets are not read
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
}

/// What was checked.
#[derive(Debug, Serialize)]
struct Checked {
    what: String,
    policies: usize,
    policy_set: String,
    warnings: Vec<String>,
}

pub(super) async fn run(args: CheckArgs, context: &mut Context) -> Result<Exit, CliError> {
    let checked = if let Some(path) = &args.path {
        let policies = source::policies(path).await?;
        let warnings = policies.doubts().iter().map(ToString::to_string).collect();
        summary(path.display().to_string(), &policies, warnings)
    } else {
        let loaded = source::configuration(&args.config).await?;
        let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
        summary(args.config.display().to_string(), &loaded.config.policies, warnings)
    };
    for warning in &checked.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    if context.output.is_json() {
        context.output.json(&checked)?;
    } else {
        let Checked { what, policies, policy_set, .. } = &checked;
        let own = if *policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") };
        context.output.data(&format!("{what}: ok ({own} besides those built in, set {policy_set})"))?;
    }
    Ok(Exit::Ok)
}

fn summary(what: String, policies: &Policies, warnings: Vec<String>) -> Checked {
    let builtin = Policies::builtin().len();
    Checked {
        what,
        policies: policies.len().saturating_sub(builtin),
        policy_set: policies.digest().to_owned(),
        warnings,
    }
}
