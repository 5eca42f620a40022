//! `mayfly policy explain`: what a request would come to, why, and what would change that.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use clap::Args;
use serde::Serialize;

use super::{
    super::{CliError, Context, Exit},
    case::{Answer, Outcome, Question, Wanted},
    source,
};
use crate::{
    config::Config,
    domain::{PrincipalKind, RiskFactor},
    policy::Admission,
};

/// Arguments of `mayfly policy explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The role asked for
    #[arg(value_name = "ROLE", required_unless_present = "action")]
    pub role: Option<String>,
    /// The configuration; its secrets are not read
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE", default_value = "mayfly.toml")]
    pub config: PathBuf,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    pub principal: String,
    /// What kind of principal
    #[arg(long, value_name = "KIND", default_value = "human")]
    pub kind: PrincipalKind,
    /// A group of the principal's; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// An attribute of the principal's; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair)]
    pub attributes: Vec<(String, String)>,
    /// What is wanted: request when left out
    #[arg(long, value_enum, value_name = "ACTION")]
    pub action: Option<Wanted>,
    /// For how long; the role's default when left out
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<String>,
    /// When it is asked, such as 2026-03-11T10:00 (in the policies' time zone); now when left out
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// When access is to begin; at once when left out
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// Where the call comes from
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// The ticket it belongs to
    #[arg(long)]
    pub ticket: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How long ago a second factor was given
    #[arg(long, value_name = "DURATION")]
    pub second_factor: Option<String>,
    /// Leases the principal holds under the role
    #[arg(long, value_name = "NUMBER")]
    pub live_leases: Option<u32>,
    /// A role under which the principal has something live; may be repeated
    #[arg(long = "live-role", value_name = "ROLE")]
    pub live_roles: Vec<String>,
    /// The principal used the role before: true or false; not known when left out
    #[arg(long, value_name = "BOOL")]
    pub used_before: Option<bool>,
    /// With --action review: whose request
    #[arg(long, value_name = "NAME")]
    pub requester: Option<String>,
    /// With --action review: a group of the requester's; may be repeated
    #[arg(long = "requester-group", value_name = "GROUP")]
    pub requester_groups: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl ExplainArgs {
    fn question(&self) -> Question {
        Question {
            action: self.action,
            principal: Some(self.principal.clone()),
            kind: Some(self.kind),
            groups: Some(self.groups.clone()),
            attributes: Some(self.attributes.iter().cloned().collect::<BTreeMap<_, _>>()),
            role: self.role.clone(),
            ttl: self.ttl.clone(),
            at: self.at.clone(),
            start: self.start.clone(),
            address: self.from,
            ticket: self.ticket.clone(),
            justification: self.reason.clone(),
            second_factor: self.second_factor.clone(),
            live_leases: self.live_leases,
            live_roles: Some(self.live_roles.clone()),
            first_use: self.used_before.map(|before| !before),
            requester: self.requester.clone(),
            requester_groups: Some(self.requester_groups.clone()),
            ..Question::default()
        }
    }
}

/// The answer, for programs.
#[derive(Debug, Serialize)]
struct Explanation {
    outcome: Outcome,
    because: String,
    policies: Vec<Named>,
    policy_set: String,
    risk: u32,
    factors: Vec<RiskFactor>,
    steps: Vec<Step>,
    would_change: Vec<Change>,
}

/// A deciding policy.
#[derive(Debug, Serialize)]
struct Named {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// A step of reviews it would take.
#[derive(Debug, Serialize)]
struct Step {
    name: String,
    reviewers: Vec<String>,
    quorum: u32,
}

/// Something that would change the answer.
#[derive(Debug, Serialize)]
struct Change {
    what: String,
    then: String,
}

pub(super) async fn run(args: ExplainArgs, context: &mut Context) -> Result<Exit, CliError> {
    let config = source::configuration(&args.config).await?.config;
    let now = context.clock.now();
    let answer = args.question().ask(&config, now, true).map_err(CliError::usage)?;
    let outcome = answer.outcome;
    let explanation = explanation(&config, answer);
    if context.output.is_json() {
        context.output.json(&explanation)?;
    } else {
        let text = text(&explanation);
        context.output.data(&text)?;
    }
    Ok(if outcome == Outcome::Deny { Exit::Denied } else { Exit::Ok })
}

fn explanation(config: &Config, answer: Answer) -> Explanation {
    let policies = &config.policies;
    let named = |id: String| {
        let advice = policies.advice(&id).map(str::to_owned);
        Named { id, advice }
    };
    let step = |step: crate::domain::ReviewStep| Step {
        name: step.name,
        reviewers: step.reviewers.iter().map(ToString::to_string).collect(),
        quorum: step.quorum,
    };
    let change = |alternative: crate::policy::Alternative| {
        let then = match &alternative.then {
            Admission::Denied { reason, .. } => format!("denied: {reason}"),
            Admission::ByRule { .. } => "granted by rule".to_owned(),
            Admission::Reviewed { requirement } => {
                let names: Vec<&str> = requirement.steps.iter().map(|step| step.name.as_str()).collect();
                format!("granted once reviewed: {}", names.join(", then "))
            }
        };
        Change { what: alternative.what, then }
    };
    Explanation {
        outcome: answer.outcome,
        because: answer.because,
        policies: answer.policies.into_iter().map(named).collect(),
        policy_set: policies.digest().to_owned(),
        risk: answer.risk.score,
        factors: answer.risk.factors,
        steps: answer.steps.into_iter().map(step).collect(),
        would_change: answer.alternatives.into_iter().map(change).collect(),
    }
}

fn text(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", explanation.outcome.as_str(), explanation.because)];
    let mut part = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            lines.push(format!("{title}:"));
            lines.extend(items.into_iter().map(|item| format!("  {item}")));
        }
    };
    let advice =
        |policy: &Named| policy.advice.as_ref().map(|advice| format!(" ({advice})")).unwrap_or_default();
    part(
        "deciding policies",
        explanation.policies.iter().map(|policy| format!("{}{}", policy.id, advice(policy))).collect(),
    );
    let factors = explanation.factors.iter();
    part(
        &format!("risk {}", explanation.risk),
        factors.map(|factor| format!("+{} {}: {}", factor.points, factor.name, factor.because)).collect(),
    );
    part(
        "reviews",
        explanation
            .steps
            .iter()
            .map(|step| format!("{}: {} of {}", step.name, step.quorum, step.reviewers.join(", ")))
            .collect(),
    );
    part(
        "what would change it",
        explanation.would_change.iter().map(|change| format!("{}: {}", change.what, change.then)).collect(),
    );
    lines.push(format!("policy set {}", explanation.policy_set));
    lines.join("\n")
}
