//! Carrying out the decisions in a sheet.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;

use super::{
    super::{CliError, Context, Exit},
    decide,
    sheet::{self, Problem, Row},
};
use crate::{
    api::proto::{self, AccessVerdict},
    domain::{PrincipalName, RoleName},
};

/// Bytes a sheet may have.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Lines that are told of at once.
const TOLD: usize = 20;

/// Arguments of `mayfly review-access apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The sheet; lines without a decision are left alone
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Lock principals of whom something is revoked, from all roles
    #[arg(long)]
    pub lock: bool,
}

pub(super) async fn run(args: ApplyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let name = args.file.display().to_string();
    let unreadable = |error: std::io::Error| CliError::local(format!("cannot read {name}"), &error);
    let length = std::fs::metadata(&args.file).map_err(unreadable)?.len();
    if length > LARGEST {
        return Err(CliError::usage(format!("{name} has {length} bytes; a sheet has at most {LARGEST}")));
    }
    let bytes = std::fs::read(&args.file).map_err(unreadable)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::usage(format!("{name} is not UTF-8: save it as \"CSV UTF-8\"")))?;
    let decisions = match sheet::read(&text).and_then(|rows| decisions(&rows, args.lock)) {
        Ok(decisions) => decisions,
        Err(problems) => return Err(refused(&name, &problems)),
    };
    if decisions.is_empty() {
        context.output.note(&format!("{name} decides nothing: the column `decision` is empty"));
        return Ok(Exit::Ok);
    }
    let connection = context.connect()?;
    decide::carry_out(decisions, args.dry_run, &connection, context).await
}

fn refused(name: &str, problems: &[Problem]) -> CliError {
    let told = problems.iter().take(TOLD).map(|problem| format!("{name}:{}: {}", problem.line, problem.what));
    let more = problems.len().saturating_sub(TOLD);
    let more = (more > 0).then(|| format!("… and {more} more"));
    let lines: Vec<String> = told.chain(more).collect();
    CliError::usage(format!("nothing was done: the sheet is malformed\n{}", lines.join("\n")))
}

/// The decisions of a sheet; or everything that is wrong with it.
fn decisions(rows: &[Row], lock: bool) -> Result<Vec<proto::AccessDecision>, Vec<Problem>> {
    let (mut decisions, mut problems, mut lines) = (Vec::new(), Vec::new(), BTreeMap::new());
    for row in rows {
        match decision(row, lock) {
            Ok(None) => {}
            Ok(Some(decision)) => {
                let pair = (decision.principal.clone(), decision.role.clone());
                if let Some(first) = lines.insert(pair, row.line) {
                    let what = format!("decides on the same principal and role as line {first}");
                    problems.push(Problem { line: row.line, what });
                }
                decisions.push(decision);
            }
            Err(what) => problems.push(Problem { line: row.line, what }),
        }
    }
    if problems.is_empty() { Ok(decisions) } else { Err(problems) }
}

fn decision(row: &Row, lock: bool) -> Result<Option<proto::AccessDecision>, String> {
    let verdict = match row.decision.trim().to_lowercase().as_str() {
        "" => return Ok(None),
        "certify" => AccessVerdict::Certify,
        "revoke" => AccessVerdict::Revoke,
        _ => return Err("the decision is none: expected certify, revoke or nothing".to_owned()),
    };
    let principal: PrincipalName = row.principal.parse().map_err(|error| format!("the principal {error}"))?;
    let role = row.role.strip_prefix("roles/").unwrap_or(&row.role);
    let role: RoleName = role.parse().map_err(|error| format!("the role {error}"))?;
    if row.comment.chars().any(char::is_control) || row.comment.chars().count() > 1_000 {
        return Err("a comment is at most 1,000 characters on one line".to_owned());
    }
    Ok(Some(proto::AccessDecision {
        principal: principal.to_string(),
        role: role.to_string(),
        verdict: verdict.into(),
        comment: row.comment.clone(),
        etag: row.etag.clone(),
        lock: lock && verdict == AccessVerdict::Revoke,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: usize, decision: &str, principal: &str, role: &str) -> Row {
        Row {
            line,
            decision: decision.to_owned(),
            comment: String::new(),
            principal: principal.to_owned(),
            role: role.to_owned(),
            etag: String::new(),
        }
    }

    #[test]
    fn blanks_decide_nothing_and_words_are_read_however_they_are_written() {
        let rows = [row(2, "", "a", "x"), row(3, " Certify ", "b", "x"), row(4, "REVOKE", "c", "roles/x")];
        let found = decisions(&rows, true).unwrap();
        let told: Vec<_> =
            found.iter().map(|one| (one.principal.as_str(), one.role.as_str(), one.lock)).collect();
        assert_eq!(told, [("b", "x", false), ("c", "x", true)]);
    }

    #[test]
    fn every_malformed_line_is_named() {
        let rows = [
            row(2, "maybe", "a", "x"),
            row(3, "certify", "", "x"),
            row(4, "certify", "a", "x y"),
            row(5, "certify", "a", "x"),
            row(9, "revoke", "a", "x"),
        ];
        let problems = decisions(&rows, false).unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 4, 9]);
        let error = refused("a.csv", &problems).to_string();
        assert!(error.contains("a.csv:2: the decision is none"), "{error}");
        assert!(error.contains("a.csv:9: decides on the same principal and role as line 5"), "{error}");
    }
}
