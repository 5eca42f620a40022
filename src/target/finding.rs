//! What an examination of a target finds.

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Works, but worth knowing.
    Warning,
    /// Will not work until it is mended.
    Problem,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub summary: String,
    /// SQL to paste, run as an administrator of the server, that mends it.
    pub remedy: Option<String>,
}

impl Finding {
    /// Something is as it should be.
    pub fn fine(summary: impl Into<String>) -> Self {
        Self { severity: Severity::Fine, summary: summary.into(), remedy: None }
    }

    /// Something is worth knowing.
    pub fn warning(summary: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, summary: summary.into(), remedy: None }
    }

    /// Something will not work.
    pub fn problem(summary: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, summary: summary.into(), remedy: None }
    }

    /// Adds the statement that mends it.
    #[must_use]
    pub fn mended_by(mut self, statement: impl Into<String>) -> Self {
        self.remedy = Some(statement.into());
        self
    }
}
