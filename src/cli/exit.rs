//! Exit codes: the one place where they are decided.

use std::{fmt::Write as _, process::ExitCode};

/// How a command ended, for the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// Something on this machine went wrong: a file, a pipe, a process.
    Failure,
    /// The command line or the configuration is wrong.
    Usage,
    /// No token, or one that is not accepted.
    Unauthenticated,
    /// Policy says no.
    Denied,
    /// No such role, target, lease or token.
    NotFound,
    /// The server refused a value.
    Invalid,
    /// A limit is reached, or the server sheds load.
    Limit,
    /// The server or the target cannot be reached or used now.
    Unavailable,
    /// The state of things does not allow it: the lease has ended, a privilege is missing.
    Precondition,
    /// No answer in time.
    Deadline,
    /// `doctor` found problems, or `reconcile` left something to see to.
    Problems,
    /// `audit verify` or `store check` found that the log or the store was changed or damaged.
    Unverified,
    /// The same is under way, or was done on other terms (idempotency keys).
    Conflict,
    /// Others must agree first, or it has not begun.
    Pending,
    /// Reviewers said no.
    Declined,
    /// The request expired or was withdrawn, or the grant is over.
    Lapsed,
    /// A defect, here or in the server.
    Internal,
    /// What a child process ended with, or 128 plus the number of the signal that ended it or us.
    Child(u8),
}

/// Every code but the child's, with what it means.
const MEANINGS: [(Exit, &str); 18] = [
    (Exit::Ok, "done"),
    (Exit::Failure, "something on this machine went wrong (a file, a pipe, a process)"),
    (Exit::Usage, "the command line or the configuration is wrong"),
    (Exit::Unauthenticated, "not authenticated: no token, or one that is not accepted"),
    (Exit::Denied, "denied by policy"),
    (Exit::NotFound, "not found: no such role, target, lease or token"),
    (Exit::Invalid, "a value was refused (a TTL above the maximum, …)"),
    (Exit::Limit, "a limit is reached, or the server sheds load: try again later"),
    (Exit::Unavailable, "the server or the target is unavailable: try again later"),
    (Exit::Precondition, "not possible as things stand (the lease has ended, a privilege is missing, …)"),
    (Exit::Deadline, "no answer in time; the outcome is unknown"),
    (Exit::Problems, "doctor found problems, reconcile left something to see to, or a policy test failed"),
    (Exit::Unverified, "audit verify, store: the log, or the store, is not what was written"),
    (Exit::Conflict, "conflict: an idempotency key used for other terms, or a call with it under way"),
    (
        Exit::Pending,
        "pending: others must agree first or hold the account (`--wait` waits for them), or what was granted has not begun",
    ),
    (Exit::Declined, "reviewers said no"),
    (Exit::Lapsed, "the request expired or was withdrawn, or what was granted is over"),
    (Exit::Internal, "a defect in Mayfly"),
];

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Unauthenticated => 3,
            Exit::Denied => 4,
            Exit::NotFound => 5,
            Exit::Invalid => 6,
            Exit::Limit => 7,
            Exit::Unavailable => 8,
            Exit::Precondition => 9,
            Exit::Deadline => 10,
            Exit::Problems => 11,
            Exit::Unverified => 12,
            Exit::Conflict => 13,
            Exit::Pending => 14,
            Exit::Declined => 15,
            Exit::Lapsed => 16,
            Exit::Internal => 70,
            Exit::Child(code) => code,
        }
    }

    /// The code of a process that a signal ended, as shells report it.
    pub fn of_signal(signal: i32) -> Self {
        Exit::Child(u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// The table of codes, as `mayfly --help` shows it.
pub(super) fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in MEANINGS {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "  {:>3}  {meaning}", exit.code());
    }
    text.push_str("  run and connect end with the code of their child, 128+n when signal n ended it,\n");
    text.push_str("  126 when it cannot be run and 127 when it is not found.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct() {
        let mut codes: Vec<u8> = MEANINGS.iter().map(|(exit, _)| exit.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), MEANINGS.len());
    }

    #[test]
    fn a_signal_is_reported_as_shells_do() {
        assert_eq!(Exit::of_signal(15).code(), 143);
        assert_eq!(Exit::of_signal(i32::MAX).code(), 255);
    }

    #[test]
    fn the_manual_lists_every_code_with_its_meaning() {
        let manual = include_str!("../../docs/cli.md");
        for (exit, meaning) in MEANINGS {
            let row = format!("| {} | {meaning} |", exit.code());
            assert!(manual.contains(&row), "docs/cli.md lacks the row: {row}");
        }
    }
}
