//! `mayfly reconcile`: targets compared with the store.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{CliError, Connection, Context, Exit, Output, error::printable, table::Paint, view};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly reconcile                     every target
  mayfly reconcile orders --dry-run    what differs on one; nothing is written anywhere

The server does this by itself from time to time (reconcile_every). Accounts that are not Mayfly's are never touched.
Ends with 0 when nothing is left to see to, with 11 when something is, and with 8 when a target could not be reached; the
other targets are compared all the same.";

/// Arguments of `mayfly reconcile`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReconcileArgs {
    /// Which targets; none: all of them
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Only tell what differs
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Reply {
    dry_run: bool,
    targets: Vec<TargetView>,
}

#[derive(Debug, Serialize)]
struct TargetView {
    name: String,
    /// Why it was not compared; empty: it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<CountsView>,
    discrepancies: Vec<DiscrepancyView>,
    left_out: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct CountsView {
    leases: u64,
    accounts: u64,
    vanished: u64,
    orphans: u64,
    reappeared: u64,
    drifted: u64,
    disputed: u64,
    foreign: u64,
    unmarked: u64,
    remaining: u64,
}

#[derive(Debug, Serialize)]
struct DiscrepancyView {
    kind: &'static str,
    account: String,
    lease: String,
    summary: String,
    answer: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

/// Runs `mayfly reconcile`.
///
/// # Errors
/// What the server refuses; that a target cannot be reached only when all the others were tried.
pub async fn run(args: ReconcileArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let names = if args.targets.is_empty() {
        let targets = super::targets::all(&connection).await?;
        targets.into_iter().map(|target| target.name).collect()
    } else {
        args.targets
    };
    let (mut views, mut exit) = (Vec::new(), Exit::Ok);
    for name in names {
        let spinner = context.output.spinner(&format!("comparing {}", printable(&name)));
        let (view, ended) = one(&connection, &name, args.dry_run).await?;
        drop(spinner);
        exit = worse(exit, ended);
        if !context.output.is_json() {
            let text = text(&view, args.dry_run, &context.output);
            context.output.data(&text)?;
        }
        views.push(view);
    }
    if context.output.is_json() {
        context.output.json(&Reply { dry_run: args.dry_run, targets: views })?;
    }
    Ok(exit)
}

/// One target, and how the command ends because of it.
async fn one(connection: &Connection, name: &str, dry_run: bool) -> Result<(TargetView, Exit), CliError> {
    let request = connection.call(proto::ReconcileTargetRequest { name: name.to_owned(), dry_run });
    let name = view::qualified("targets", name);
    match connection.targets().reconcile_target(request).await {
        Ok(reply) => {
            let view = TargetView::of(name, &reply.into_inner());
            let remaining = view.counts.is_some_and(|counts| counts.remaining > 0);
            Ok((view, if remaining { Exit::Problems } else { Exit::Ok }))
        }
        Err(status) => {
            let error = connection.explain(&status);
            // The server answered for this target alone; anything else would be the same for all.
            let of_target =
                status.code() == tonic::Code::Unavailable && std::error::Error::source(&status).is_none();
            let refused = error.exit() == Exit::Precondition;
            if !of_target && !refused {
                return Err(error);
            }
            let exit = error.exit();
            let error = error.to_string();
            let view = TargetView { name, error, counts: None, discrepancies: Vec::new(), left_out: 0 };
            Ok((view, exit))
        }
    }
}

/// That a target could not be compared outweighs what others have left.
fn worse(so_far: Exit, ended: Exit) -> Exit {
    match (so_far, ended) {
        (Exit::Ok, ended) | (Exit::Problems, ended @ (Exit::Unavailable | Exit::Precondition)) => ended,
        (so_far, _) => so_far,
    }
}

impl TargetView {
    fn of(name: String, reply: &proto::ReconcileTargetResponse) -> Self {
        let discrepancies = reply.discrepancies.iter().map(DiscrepancyView::from).collect();
        let counts = reply.counts.map(|counts| CountsView {
            leases: counts.leases,
            accounts: counts.accounts,
            vanished: counts.vanished,
            orphans: counts.orphans,
            reappeared: counts.reappeared,
            drifted: counts.drifted,
            disputed: counts.disputed,
            foreign: counts.foreign,
            unmarked: counts.unmarked,
            remaining: counts.remaining,
        });
        Self { name, error: String::new(), counts, discrepancies, left_out: reply.left_out }
    }
}

impl From<&proto::Discrepancy> for DiscrepancyView {
    fn from(found: &proto::Discrepancy) -> Self {
        Self {
            kind: match found.kind() {
                proto::DiscrepancyKind::Unspecified => "unknown",
                proto::DiscrepancyKind::Vanished => "vanished",
                proto::DiscrepancyKind::Orphan => "orphan",
                proto::DiscrepancyKind::Reappeared => "reappeared",
                proto::DiscrepancyKind::Drifted => "drifted",
                proto::DiscrepancyKind::Disputed => "disputed",
            },
            account: found.account.clone(),
            lease: found.lease.clone(),
            summary: found.summary.clone(),
            answer: match found.answer() {
                proto::DiscrepancyAnswer::Unspecified => "unknown",
                proto::DiscrepancyAnswer::Reported => "reported",
                proto::DiscrepancyAnswer::Ending => "ending",
                proto::DiscrepancyAnswer::PutRight => "put_right",
                proto::DiscrepancyAnswer::Failed => "failed",
            },
            error: found.error.clone(),
            remedy: found.remedy.clone(),
        }
    }
}

fn text(view: &TargetView, dry_run: bool, output: &Output) -> String {
    let name = printable(view::bare(&view.name));
    let Some(counts) = view.counts else {
        return format!("{name}: {}", Paint::Red.on(&printable(&view.error), output.colour()));
    };
    let mut text = format!("{name}: {} leases, {} accounts", counts.leases, counts.accounts);
    // Writing into a string cannot fail.
    for (count, what) in [(counts.foreign, "of other installations"), (counts.unmarked, "unmarked")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    for found in &view.discrepancies {
        let paint = match found.answer {
            "ending" | "put_right" => Paint::Yellow,
            _ => Paint::Red,
        };
        let answer = paint.on(&found.answer.replace('_', " "), output.colour());
        let (account, summary) = (printable(&found.account), printable(&found.summary));
        let _ = write!(text, "\n  {}  {account}: {summary} ({answer}", found.kind);
        let _ = match found.error.as_str() {
            "" => write!(text, ")"),
            error => write!(text, ": {})", printable(error)),
        };
        for line in found.remedy.lines() {
            let _ = write!(text, "\n      {}", printable(line));
        }
    }
    if view.left_out > 0 {
        let _ = write!(text, "\n  and {} more", view.left_out);
    }
    let _ = match (view.discrepancies.is_empty() && view.left_out == 0, counts.remaining) {
        (true, _) => write!(text, "; target and store agree"),
        (false, 0) => write!(text, "\nnothing is left to see to"),
        (false, remaining) if dry_run => write!(text, "\n{remaining} to see to; nothing was changed"),
        (false, remaining) => write!(text, "\n{remaining} left to see to"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::{OutputFormat, output::capture},
        *,
    };

    fn found(kind: proto::DiscrepancyKind, answer: proto::DiscrepancyAnswer) -> proto::Discrepancy {
        proto::Discrepancy {
            kind: kind.into(),
            account: "mf_r_p_1".into(),
            lease: "leases/1".into(),
            summary: "was given SUPERUSER".into(),
            answer: answer.into(),
            ..Default::default()
        }
    }

    #[test]
    fn every_difference_is_told_with_what_was_done_about_it() {
        let mut failed = found(proto::DiscrepancyKind::Drifted, proto::DiscrepancyAnswer::Failed);
        failed.error = "permission denied".into();
        failed.remedy = "ALTER ROLE x NOSUPERUSER;".into();
        let orphan = found(proto::DiscrepancyKind::Orphan, proto::DiscrepancyAnswer::Ending);
        let reply = proto::ReconcileTargetResponse {
            counts: Some(proto::ReconcileCounts {
                leases: 3,
                accounts: 5,
                drifted: 2,
                orphans: 1,
                foreign: 1,
                remaining: 2,
                ..Default::default()
            }),
            discrepancies: vec![failed, orphan],
            left_out: 1,
        };
        let view = TargetView::of("targets/shop".into(), &reply);
        let (output, ..) = capture::output(OutputFormat::Text);
        assert_eq!(
            text(&view, false, &output),
            "shop: 3 leases, 5 accounts, 1 of other installations\n  \
             drifted  mf_r_p_1: was given SUPERUSER (failed: permission denied)\n      ALTER ROLE x NOSUPERUSER;\n  \
             orphan  mf_r_p_1: was given SUPERUSER (ending)\n  and 1 more\n2 left to see to"
        );
        let agreeing = proto::ReconcileTargetResponse {
            counts: Some(proto::ReconcileCounts { leases: 3, accounts: 3, ..Default::default() }),
            ..Default::default()
        };
        let view = TargetView::of("targets/shop".into(), &agreeing);
        assert_eq!(text(&view, false, &output), "shop: 3 leases, 3 accounts; target and store agree");
    }

    #[test]
    fn a_target_that_was_not_compared_outweighs_what_is_left_elsewhere() {
        let fold = |exits: &[Exit]| exits.iter().fold(Exit::Ok, |so_far, ended| worse(so_far, *ended));
        assert_eq!(fold(&[Exit::Ok, Exit::Ok]), Exit::Ok);
        assert_eq!(fold(&[Exit::Problems, Exit::Ok]), Exit::Problems);
        assert_eq!(fold(&[Exit::Problems, Exit::Unavailable, Exit::Problems]), Exit::Unavailable);
    }
}
