//! What happens how often, and how long it takes: counters and histograms, recorded where it happens and read by whoever
//! asks.
//!
//! Recording costs a few atomic operations and waits for nothing. Labels are names from the configuration and words of the
//! program, so there are only so many; a principal, a lease or an account never is one. What can be looked up when somebody
//! asks (leases, circuits, pools) is not recorded here at all: `telemetry` reads it.

pub mod family;
mod page;
mod series;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use family::{FAMILIES, Family, FamilyKind};
pub use page::{Format, Page};
pub use series::{Counters, Gauges, Histogram, Histograms, Stopwatch};

use crate::domain::{ChannelName, RoleName, StateName, TargetName};

/// Upper bounds of durations, in seconds.
pub const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
];

/// Upper bounds of commands in one commit.
const COMMANDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What is recorded.
#[derive(Debug)]
pub struct Metrics {
    issues: Counters<3>,
    issue_durations: Histograms<1>,
    issue_waits: Histograms<1>,
    renewals: Counters<3>,
    ends: Counters<3>,
    end_durations: Histograms<1>,
    failed_end_attempts: Counters<2>,
    orphans: Counters<1>,
    drifts: Counters<1>,
    notices: Counters<2>,
    reconciled_at: Gauges<1>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            issues: Counters::default(),
            issue_durations: Histograms::new(SECONDS),
            issue_waits: Histograms::new(SECONDS),
            renewals: Counters::default(),
            ends: Counters::default(),
            end_durations: Histograms::new(SECONDS),
            failed_end_attempts: Counters::default(),
            orphans: Counters::default(),
            drifts: Counters::default(),
            notices: Counters::default(),
            reconciled_at: Gauges::default(),
        }
    }
}

impl Metrics {
    /// A request for a credential was answered after `took`, with `issued` or a refusal's kind. A role that is not configured
    /// has no name here: callers could make up any number of them.
    pub fn issue_answered(
        &self,
        role: Option<(&RoleName, &TargetName)>,
        outcome: &'static str,
        took: Duration,
    ) {
        let (role, target) = role.map_or(("", ""), |(role, target)| (role.as_str(), target.as_str()));
        self.issues.of([target, role, outcome]).add(1);
        if outcome == ISSUED {
            self.issue_durations.of([target]).observe(took.as_secs_f64());
        }
    }

    /// An issue had to wait so long for its turn.
    pub fn turn_came(&self, target: &TargetName, waited: Duration) {
        self.issue_waits.of([target.as_str()]).observe(waited.as_secs_f64());
    }

    /// A request to renew a lease was answered, with `renewed` or a refusal's kind.
    pub fn renewal_answered(&self, role: &RoleName, target: &TargetName, outcome: &'static str) {
        self.renewals.of([target.as_str(), role.as_str(), outcome]).add(1);
    }

    /// A lease has ended: its account was verified gone, or kept by rule. `took`: from the beginning of its end.
    pub fn ended(&self, (role, target): (&RoleName, &TargetName), state: StateName, took: SignedDuration) {
        // One that moved on meanwhile is counted by whoever moves it.
        if !state.is_live() {
            self.ends.of([target.as_str(), role.as_str(), state.as_str()]).add(1);
            self.end_durations.of([target.as_str()]).observe(took.as_secs_f64());
        }
    }

    /// A lease could not be ended yet, for an error of this kind.
    pub fn end_attempt_failed(&self, target: &TargetName, kind: &'static str) {
        self.failed_end_attempts.of([target.as_str(), kind]).add(1);
    }

    /// A target was compared with the store, to its end: so many accounts of ours had no lease, so many differed from theirs.
    pub fn reconciled(&self, target: &TargetName, orphans: u64, drifted: u64, at: Timestamp) {
        self.orphans.of([target.as_str()]).add(orphans);
        self.drifts.of([target.as_str()]).add(drifted);
        self.reconciled_at.of([target.as_str()]).set(at.as_second());
    }

    /// A notice was `sent`, an attempt at it `failed`, or it is `dead`.
    pub fn notice(&self, channel: &ChannelName, outcome: &'static str) {
        self.notices.of([channel.as_str(), outcome]).add(1);
    }

    /// Writes everything that was recorded.
    pub fn write(&self, page: &mut Page) {
        page.counters(&family::ISSUES, &self.issues);
        page.histograms(&family::ISSUE_DURATION, &self.issue_durations);
        page.histograms(&family::ISSUE_WAIT, &self.issue_waits);
        page.counters(&family::RENEWALS, &self.renewals);
        page.counters(&family::ENDS, &self.ends);
        page.histograms(&family::END_DURATION, &self.end_durations);
        page.counters(&family::END_ATTEMPTS_FAILED, &self.failed_end_attempts);
        page.counters(&family::ORPHANS, &self.orphans);
        page.counters(&family::DRIFT, &self.drifts);
        page.counters(&family::NOTICES, &self.notices);
        page.gauges(&family::RECONCILED, &self.reconciled_at);
    }
}

/// The outcome of an issue that delivered a credential.
pub const ISSUED: &str = "issued";

/// The outcome of a renewal that moved an expiry, or found it late enough already.
pub const RENEWED: &str = "renewed";

/// How a store commits.
#[derive(Debug)]
pub struct CommitMeter {
    durations: Histogram,
    commands: Histogram,
}

impl Default for CommitMeter {
    fn default() -> Self {
        Self { durations: Histogram::new(SECONDS), commands: Histogram::new(COMMANDS) }
    }
}

impl CommitMeter {
    /// So many commands became durable together, after `took`.
    pub fn committed(&self, commands: u32, took: Duration) {
        self.durations.observe(took.as_secs_f64());
        self.commands.observe(f64::from(commands));
    }

    /// Writes both.
    pub fn write(&self, page: &mut Page) {
        page.histogram(&family::COMMIT_DURATION, &self.durations);
        page.histogram(&family::COMMIT_COMMANDS, &self.commands);
    }
}

#[cfg(test)]
mod tests;
