//! Listing accesses.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::{
        CliError, Connection, Context, Exit, duration, pages,
        request::table_of,
        table::{self, Cell, Column, Paint},
        view,
        view_request::RequestView,
    },
    Form, Found, ReviewAccessArgs, count, find, sheet,
    view::{ItemView, by, holds, obtains},
};
use crate::api::proto;

pub(super) async fn run(args: &ReviewAccessArgs, context: &mut Context) -> Result<Exit, CliError> {
    let form = match (args.format, context.output.is_json()) {
        (Some(form), _) => form,
        (None, true) => Form::Json,
        (None, false) => Form::Table,
    };
    let connection = context.connect()?;
    let now = context.clock.now();
    let spinner = context.output.spinner("asking policy about everybody");
    let glass = awaiting(&connection).await;
    let found = find(&connection, &args.which, args.unused, now).await;
    drop(spinner);
    let (glass, found) = (glass?, found?);
    match form {
        Form::Json => json(&glass, &found, context)?,
        Form::Csv => {
            context.output.data(&sheet::write(&found.items))?;
            tell_of_glass(&glass, context);
        }
        Form::Table => table(&glass, &found, now, context)?,
    }
    Ok(Exit::Ok)
}

/// Break-glass accesses that nobody has signed off.
async fn awaiting(connection: &Connection) -> Result<Vec<proto::AccessRequest>, CliError> {
    pages::all(async |page_size, page_token| {
        let message = proto::ListBreakGlassUsesRequest { page_size, page_token, all: false };
        let reply = connection.break_glass().list_break_glass_uses(connection.call(message)).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.requests, reply.next_page_token))
    })
    .await
}

fn json(glass: &[proto::AccessRequest], found: &Found, context: &mut Context) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Reply {
        break_glass: Vec<RequestView>,
        items: Vec<ItemView>,
        counted_since_time: Option<Timestamp>,
    }
    context.output.json(&Reply {
        break_glass: glass.iter().map(RequestView::from).collect(),
        items: found.items.iter().map(ItemView::from).collect(),
        counted_since_time: view::moment(found.counted_since),
    })
}

fn tell_of_glass(glass: &[proto::AccessRequest], context: &mut Context) {
    if !glass.is_empty() {
        let uses = count(glass.len(), "break-glass access awaits its", "break-glass accesses await their");
        context.output.note(&format!("{uses} sign-off: `mayfly breakglass ls`"));
    }
}

fn table(
    glass: &[proto::AccessRequest],
    found: &Found,
    now: Timestamp,
    context: &mut Context,
) -> Result<(), CliError> {
    if !glass.is_empty() {
        tell_of_glass(glass, context);
        let uses = table_of(glass, context);
        context.output.data(&format!("{uses}\n"))?;
    }
    if found.items.is_empty() {
        context.output.note("nobody holds or could obtain any of that");
        return Ok(());
    }
    let rows: Vec<_> = found.items.iter().map(|item| row(item, now)).collect();
    let table = table::render(&COLUMNS, &rows, &context.output);
    context.output.data(&table)?;
    let unused = found.items.iter().filter(|item| item.uses == 0).count();
    let since = view::moment(found.counted_since).map(|at| format!(" since {at:.0}")).unwrap_or_default();
    let all = count(found.items.len(), "access", "accesses");
    context.output.note(&format!("{all}, {unused} of them unused{since}"));
    Ok(())
}

const COLUMNS: [Column; 9] = [
    Column::whole("PRINCIPAL"),
    Column::whole("ROLE"),
    Column::whole("TARGET"),
    Column::whole("OBTAINS"),
    Column::whole("HOLDS"),
    Column::whole("USES"),
    Column::whole("LAST USE"),
    Column::whole("CERTIFIED"),
    Column::cut("BY", 12),
];

fn row(item: &proto::AccessItem, now: Timestamp) -> Vec<Cell> {
    let ago = |at| view::moment(at).map(|at| duration::relative(at, now)).unwrap_or_default();
    let certified = match (item.certified_by.as_str(), item.changed_since_certified) {
        ("", _) => Cell::from("-"),
        (_, true) => Cell::painted("changed since", Paint::Yellow),
        (_, false) => Cell::painted(ago(item.certify_time), Paint::Green),
    };
    let last = match item.last_use_time {
        Some(at) => Cell::from(ago(Some(at))),
        None => Cell::painted("never", Paint::Dim),
    };
    vec![
        (&item.principal).into(),
        view::bare(&item.role).into(),
        view::bare(&item.target).into(),
        obtains(item).into(),
        holds(item).into(),
        item.uses.to_string().into(),
        last,
        certified,
        by(item).into(),
    ]
}
