//! Everything out of a store's file, and everything into a fresh one. Blocks.

use std::path::Path;

use rusqlite::{Connection, Row, params};

use super::{
    entry::{self, select_entries},
    failure::{read_failed, write_failed},
    file,
    lease_row::{self, Encoded, lease_columns},
    row::{parsed, signed},
    secret, server, token,
};
use crate::{
    audit::Record,
    domain::InstanceId,
    store::{
        KnownServer, StoreError,
        transfer::{Counts, EMBEDDED, Inspector, Item, Items, Outlet, not_empty},
    },
};

/// Shows everything in the file at `path`, as of one moment; the file may be in service.
///
/// # Errors
/// When it cannot be read, or `out` fails.
pub fn export(
    path: &Path,
    out: &mut (dyn FnMut(Item) -> Result<(), StoreError> + Send),
) -> Result<Counts, StoreError> {
    let connection = file::open_reader(path)?;
    file::check_current(&connection, path)?;
    let snapshot = connection.unchecked_transaction().map_err(read_failed)?;
    let mut outlet = Outlet::new(out);
    outlet.put(Item::first(server::instance(&snapshot).map_err(read_failed)?))?;
    each(&snapshot, concat!("SELECT ", lease_columns!(), " FROM lease ORDER BY id"), &mut outlet, |row| {
        lease_row::read(row).map(Item::of_lease)
    })?;
    each(&snapshot, token::ALL, &mut outlet, |row| token::read(row).map(Item::of_token))?;
    each(
        &snapshot,
        "SELECT target, identity, since FROM known_server ORDER BY target",
        &mut outlet,
        |row| {
            let known = KnownServer { identity: row.get(1)?, since: super::row::moment(row, 2)? };
            Ok(Item::of_server(parsed(row, 0)?, known))
        },
    )?;
    each(&snapshot, &secret::all(), &mut outlet, |row| {
        secret::kept(row).map(|(target, kept)| Item::of_secret(target, kept))
    })?;
    each(&snapshot, select_entries!("ORDER BY entry.kind, entry.id"), &mut outlet, |row| {
        entry::read(row).map(Item::of_entry)
    })?;
    let record = |row: &Row<'_>| Ok(Item::Record { chain: row.get(0)?, line: row.get(1)? });
    let records = "SELECT replica, record FROM (
            SELECT replica, seq, record FROM former_audit
            UNION ALL SELECT ?1, seq, record FROM audit
        ) ORDER BY replica, seq";
    let mut statement = snapshot.prepare(records).map_err(read_failed)?;
    for item in statement.query_map([EMBEDDED], record).map_err(read_failed)? {
        outlet.put(item.map_err(read_failed)?)?;
    }
    outlet.end()
}

fn each(
    connection: &Connection,
    sql: &str,
    outlet: &mut Outlet<'_>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Item>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql).map_err(read_failed)?;
    for item in statement.query_map([], read).map_err(read_failed)? {
        outlet.put(item.map_err(read_failed)?)?;
    }
    Ok(())
}

/// Fills a fresh store at `path`, making the file when there is none; all of it or nothing.
///
/// # Errors
/// When another process holds the store, when it is not empty, or when the stream is not whole.
pub fn import(path: &Path, items: Items<'_>) -> Result<Counts, StoreError> {
    let hold = file::hold(path)?;
    let mut connection = file::open_writer(path)?;
    let transaction = connection.transaction().map_err(write_failed)?;
    let filled: bool = transaction
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM lease) OR EXISTS (SELECT 1 FROM token) OR EXISTS (SELECT 1 FROM audit)
                OR EXISTS (SELECT 1 FROM former_audit) OR EXISTS (SELECT 1 FROM known_server)
                OR EXISTS (SELECT 1 FROM administration_secret) OR EXISTS (SELECT 1 FROM entry)",
            [],
            |row| row.get(0),
        )
        .map_err(read_failed)?;
    if filled {
        return Err(not_empty());
    }
    let mut inspector = Inspector::default();
    for item in items {
        let item = item?;
        let record = inspector.see(&item)?;
        put(&transaction, item, record.as_ref())?;
    }
    let (instance, counts) = inspector.finish()?;
    set_instance(&transaction, instance).map_err(write_failed)?;
    transaction.commit().map_err(write_failed)?;
    drop(connection);
    drop(hold);
    Ok(counts)
}

fn set_instance(connection: &Connection, instance: InstanceId) -> rusqlite::Result<()> {
    connection.execute("UPDATE installation SET instance = ?1", [instance.to_string()]).map(drop)
}

fn put(connection: &Connection, item: Item, record: Option<&Record>) -> Result<(), StoreError> {
    match item {
        Item::Store { .. } | Item::End(_) => Ok(()),
        Item::Lease(lease) => {
            let lease = lease.into_lease()?;
            lease_row::insert(connection, &lease, &Encoded::of(&lease)?).map_err(write_failed)
        }
        Item::Token(item) => token::add(connection, &item.into_token()?),
        Item::KnownServer { target, identity, since } => {
            let sql = "INSERT INTO known_server (target, identity, since) VALUES (?1, ?2, ?3)";
            let values = params![target.as_str(), identity, since.as_microsecond()];
            connection.execute(sql, values).map(drop).map_err(write_failed)
        }
        Item::AdministrationSecret(item) => {
            let (target, kept) = item.into_secret()?;
            secret::insert(connection, &target, &kept).map_err(write_failed)
        }
        Item::Entry(item) => {
            let entry = item.into_entry()?;
            entry::put(connection, &entry, entry.revision).map_err(write_failed)
        }
        Item::Record { chain, line } => {
            let Some(record) = record else { return Ok(()) };
            let (seq, hash) = (signed(record.seq), record.hash.0);
            let inserted = if chain == EMBEDDED {
                connection
                    .prepare_cached("INSERT INTO audit (seq, record, hash) VALUES (?1, ?2, ?3)")
                    .and_then(|mut statement| statement.execute(params![seq, line, hash]))
            } else {
                connection
                    .prepare_cached(
                        "INSERT INTO former_audit (replica, seq, record, hash) VALUES (?1, ?2, ?3, ?4)",
                    )
                    .and_then(|mut statement| statement.execute(params![chain, seq, line, hash]))
            };
            inserted.map(drop).map_err(write_failed)
        }
    }
}
