//! What is answered.

use crate::domain::Requirement;

/// What asking comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may not be asked for.
    Denied {
        /// Why, fit for the caller.
        reason: String,
        /// The policies that decided, by id; none when no policy allowed it.
        policies: Vec<String>,
    },
    /// It is granted by rule.
    ByRule {
        /// The rule, fit for the audit log and the caller.
        by: String,
        /// What was decided; without steps.
        requirement: Requirement,
    },
    /// It is granted once it is reviewed.
    Reviewed {
        /// What that takes; at least one step.
        requirement: Requirement,
    },
}

/// The answer, with the rule that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow {
        /// The rule, fit for the audit log and the caller.
        by: String,
        /// The policies that allowed it, by id.
        policies: Vec<String>,
    },
    /// No.
    Deny {
        /// Why, fit for the caller.
        reason: String,
        /// The policies that forbid it, by id; none when no policy allows it.
        policies: Vec<String>,
    },
}

impl Decision {
    /// No, for a reason that is no policy's.
    pub(super) fn deny(reason: impl Into<String>) -> Self {
        Decision::Deny { reason: reason.into(), policies: Vec::new() }
    }

    /// Whether it is yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow { .. })
    }
}
