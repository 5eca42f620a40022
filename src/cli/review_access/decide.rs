//! Deciding on accesses from the command line, and telling what came of it.

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::{
    super::{
        CliError, Connection, Context, Exit,
        table::{self, Cell, Column, Paint},
        view,
    },
    Which, count, find,
    view::{ItemView, by, obtains},
};
use crate::api::proto::{self, AccessVerdict};

/// Decisions the server takes at once.
const BATCH: usize = 500;

/// Arguments of `mayfly review-access certify`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("some").args(["principal", "role", "target"]).required(true).multiple(true)))]
pub struct CertifyArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Why it is right
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub comment: String,
    /// Show what would be certified, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `mayfly review-access revoke`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("some").args(["principal", "role", "target"]).required(true).multiple(true)))]
pub struct RevokeArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Why it ends
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub comment: String,
    /// And lock the principal, from all roles
    #[arg(long)]
    pub lock: bool,
    /// Show what would end, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub(super) async fn certify(args: CertifyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let ruling = (AccessVerdict::Certify, false);
    on_all(&args.which, ruling, &args.comment, args.dry_run, context).await
}

pub(super) async fn revoke(args: RevokeArgs, context: &mut Context) -> Result<Exit, CliError> {
    let ruling = (AccessVerdict::Revoke, args.lock);
    on_all(&args.which, ruling, &args.comment, args.dry_run, context).await
}

async fn on_all(
    which: &Which,
    (verdict, lock): (AccessVerdict, bool),
    comment: &str,
    dry_run: bool,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let found = find(&connection, which, false, context.clock.now()).await?;
    if found.items.is_empty() {
        context.output.note("nobody holds or could obtain any of that");
        return Ok(Exit::Ok);
    }
    let decision = |item: proto::AccessItem| proto::AccessDecision {
        principal: item.principal,
        role: item.role,
        verdict: verdict.into(),
        comment: comment.to_owned(),
        etag: item.etag,
        lock,
    };
    carry_out(found.items.into_iter().map(decision).collect(), dry_run, &connection, context).await
}

/// Has all decisions checked, then carried out; with `dry_run` only the former.
pub(super) async fn carry_out(
    decisions: Vec<proto::AccessDecision>,
    dry_run: bool,
    connection: &Connection,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let mut outcomes = Vec::new();
    for batch in decisions.chunks(BATCH) {
        outcomes.extend(decide(batch, true, connection).await?);
    }
    if !dry_run {
        outcomes.clear();
        for batch in decisions.chunks(BATCH) {
            let decided = decide(batch, false, connection).await;
            if decided.is_err() && !outcomes.is_empty() {
                let done = count(outcomes.len(), "decision was", "decisions were");
                context.output.note(&format!("{done} carried out before this; deciding again does no harm"));
            }
            outcomes.extend(decided?);
        }
    }
    tell(&decisions, &outcomes, dry_run, context)?;
    Ok(Exit::Ok)
}

async fn decide(
    decisions: &[proto::AccessDecision],
    validate_only: bool,
    connection: &Connection,
) -> Result<Vec<proto::AccessOutcome>, CliError> {
    let message = proto::DecideAccessRequest { decisions: decisions.to_vec(), validate_only };
    let reply = connection.access().decide_access(connection.call(message)).await;
    Ok(reply.map_err(|status| connection.explain(&status))?.into_inner().outcomes)
}

#[derive(Serialize)]
struct OutcomeView {
    decision: &'static str,
    leases_ended: u32,
    requests_cancelled: u32,
    grants_revoked: u32,
    locked: bool,
    item: ItemView,
}

fn word(decision: &proto::AccessDecision) -> &'static str {
    match decision.verdict() {
        AccessVerdict::Certify => "certify",
        AccessVerdict::Revoke => "revoke",
        AccessVerdict::Unspecified => "",
    }
}

fn tell(
    decisions: &[proto::AccessDecision],
    outcomes: &[proto::AccessOutcome],
    dry_run: bool,
    context: &mut Context,
) -> Result<(), CliError> {
    let pairs = decisions.iter().zip(outcomes);
    if context.output.is_json() {
        #[derive(Serialize)]
        struct Reply {
            dry_run: bool,
            outcomes: Vec<OutcomeView>,
        }
        let view = |(decision, outcome): (&proto::AccessDecision, &proto::AccessOutcome)| OutcomeView {
            decision: word(decision),
            leases_ended: outcome.leases_ended,
            requests_cancelled: outcome.requests_cancelled,
            grants_revoked: outcome.grants_revoked,
            locked: outcome.locked,
            item: ItemView::from(&outcome.item.clone().unwrap_or_default()),
        };
        return context.output.json(&Reply { dry_run, outcomes: pairs.map(view).collect() });
    }
    let rows: Vec<_> = pairs.map(|(decision, outcome)| row(decision, outcome, dry_run)).collect();
    let columns = if dry_run { PLANNED } else { DONE };
    let table = table::render(&columns, &rows, &context.output);
    context.output.data(&table)?;
    let all = count(outcomes.len(), "decision", "decisions");
    context.output.note(&if dry_run {
        format!("{all} would be carried out; nothing was done")
    } else {
        format!("{all} carried out")
    });
    Ok(())
}

const DONE: [Column; 6] = [
    Column::whole("DECISION"),
    Column::whole("PRINCIPAL"),
    Column::whole("ROLE"),
    Column::whole("ENDED"),
    Column::whole("OBTAINS STILL"),
    Column::cut("BY", 12),
];

const PLANNED: [Column; 6] = [
    Column::whole("DECISION"),
    Column::whole("PRINCIPAL"),
    Column::whole("ROLE"),
    Column::whole("HOLDS"),
    Column::whole("OBTAINS"),
    Column::cut("BY", 12),
];

fn row(decision: &proto::AccessDecision, outcome: &proto::AccessOutcome, dry_run: bool) -> Vec<Cell> {
    let item = outcome.item.clone().unwrap_or_default();
    let paint = match decision.verdict() {
        AccessVerdict::Certify => Paint::Green,
        AccessVerdict::Revoke | AccessVerdict::Unspecified => Paint::Red,
    };
    let middle = if dry_run { super::view::holds(&item) } else { ended(outcome) };
    vec![
        Cell::painted(word(decision), paint),
        (&item.principal).into(),
        view::bare(&item.role).into(),
        middle.into(),
        obtains(&item).into(),
        by(&item).into(),
    ]
}

fn ended(outcome: &proto::AccessOutcome) -> String {
    let part = |number: u32, one: &str, many: &str| {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        (number > 0).then(|| count(number, one, many))
    };
    let parts = [
        part(outcome.leases_ended, "lease", "leases"),
        part(outcome.grants_revoked, "grant", "grants"),
        part(outcome.requests_cancelled, "request", "requests"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
