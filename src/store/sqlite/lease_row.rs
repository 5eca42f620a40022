//! A lease as a row.

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, named_params};

use super::row::{foreign, from_json, moment, parsed, text, to_json};
use crate::{
    domain::{Lease, LeaseId, LeaseKind, LeaseState, PrincipalRef},
    store::StoreError,
};

/// The columns that [`read`] expects, in its order.
macro_rules! lease_columns {
    () => {
        "id, kind, role, target, principal, principal_kind, created_at, updated_at, idempotency_key, \
         account, terms, end_plan, standing"
    };
}
pub(super) use lease_columns;

/// A lease's JSON columns. Made where there is time for it: on the caller's side of the queue.
pub(super) struct Encoded {
    account: String,
    terms: String,
    end_plan: String,
    standing: String,
}

impl Encoded {
    /// Encodes a lease.
    pub(super) fn of(lease: &Lease) -> Result<Self, StoreError> {
        Ok(Self {
            account: to_json(&lease.account)?,
            terms: to_json(&lease.terms)?,
            end_plan: to_json(&lease.end_plan)?,
            standing: to_json(&lease.state)?,
        })
    }
}

fn due_at(state: &LeaseState) -> Option<i64> {
    state.due_at().map(Timestamp::as_microsecond)
}

/// Adds a lease.
pub(super) fn insert(connection: &Connection, lease: &Lease, encoded: &Encoded) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO lease (id, kind, role, target, principal, principal_kind, state, due_at, created_at,
                   updated_at, idempotency_key, account, terms, end_plan, standing)
               VALUES (:id, :kind, :role, :target, :principal, :principal_kind, :state, :due_at, :created_at,
                   :updated_at, :idempotency_key, :account, :terms, :end_plan, :standing)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": lease.id.to_string(),
        ":kind": lease.kind.as_str(),
        ":role": lease.role.as_str(),
        ":target": lease.target.as_str(),
        ":principal": lease.principal.name.as_str(),
        ":principal_kind": lease.principal.kind.as_str(),
        ":state": lease.state.name().as_str(),
        ":due_at": due_at(&lease.state),
        ":created_at": lease.created_at.as_microsecond(),
        ":updated_at": lease.updated_at.as_microsecond(),
        ":idempotency_key": lease.idempotency_key,
        ":account": encoded.account,
        ":terms": encoded.terms,
        ":end_plan": encoded.end_plan,
        ":standing": encoded.standing,
    })?;
    Ok(())
}

/// Takes a lease's idempotency key away. Only one that is found again after its end loses it.
pub(super) fn forget_key(connection: &Connection, id: LeaseId) -> rusqlite::Result<()> {
    let sql = "UPDATE lease SET idempotency_key = NULL WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([id.to_string()])?;
    Ok(())
}

/// Writes where a lease stands now. Nothing else of it changes but its key (see [`forget_key`]).
pub(super) fn update(connection: &Connection, lease: &Lease, standing: &str) -> rusqlite::Result<()> {
    let sql =
        "UPDATE lease SET state = :state, due_at = :due_at, updated_at = :updated_at, standing = :standing
               WHERE id = :id";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":state": lease.state.name().as_str(),
        ":due_at": due_at(&lease.state),
        ":updated_at": lease.updated_at.as_microsecond(),
        ":standing": standing,
        ":id": lease.id.to_string(),
    })?;
    Ok(())
}

/// The lease in a row of `lease_columns`.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let kind = LeaseKind::named(text(row, 1)?).ok_or_else(|| foreign(1, "unknown kind of lease"))?;
    Ok(Lease {
        id: parsed(row, 0)?,
        kind,
        role: parsed(row, 2)?,
        target: parsed(row, 3)?,
        principal: PrincipalRef { name: parsed(row, 4)?, kind: parsed(row, 5)? },
        created_at: moment(row, 6)?,
        updated_at: moment(row, 7)?,
        idempotency_key: row.get(8)?,
        account: from_json(row, 9)?,
        terms: from_json(row, 10)?,
        end_plan: from_json(row, 11)?,
        state: from_json(row, 12)?,
    })
}

/// The lease with an identifier.
pub(super) fn by_id(connection: &Connection, id: LeaseId) -> rusqlite::Result<Option<Lease>> {
    let mut statement: CachedStatement<'_> =
        connection.prepare_cached(concat!("SELECT ", lease_columns!(), " FROM lease WHERE id = ?1"))?;
    statement.query_row([id.to_string()], read).optional()
}
