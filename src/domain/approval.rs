//! What an approval takes: ordered steps, each with its reviewers, a quorum and a number of denials that ends it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Subject;

/// One step of reviews. Steps are taken in order; each begins when the one before it has its quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewStep {
    /// Its name, for people.
    pub name: String,
    /// Who may review; policy must allow each of them as well.
    pub reviewers: Vec<Subject>,
    /// Approvals it takes; at least 1.
    pub quorum: u32,
    /// Denials that deny the request; at least 1.
    pub denials: u32,
    /// After how long without an outcome `escalate_to` may review as well; `None`: never.
    pub escalate_after: Option<Duration>,
    /// Who else may review then.
    pub escalate_to: Vec<Subject>,
    /// It is taken only when the request's risk is at least this.
    pub from_risk: u32,
}

/// Something that makes a request riskier, and by how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskFactor {
    /// Its name, such as `sensitivity` or `night`.
    pub name: String,
    /// What it adds to the score.
    pub points: u32,
    /// Why it applies, for people.
    pub because: String,
}

/// How risky a request is, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// The sum of the factors' points.
    pub score: u32,
    /// The factors that apply.
    pub factors: Vec<RiskFactor>,
}

/// What was decided when a request was made, and by what; it does not change with the policy afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The steps it takes; none: it is approved by rule.
    pub steps: Vec<ReviewStep>,
    /// How risky it is.
    pub risk: Risk,
    /// The policies that allowed asking, by id.
    pub policies: Vec<String>,
    /// The digest of the policy set that decided.
    pub policy_set: String,
}
