//! A lease as a row.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    failure::Failure,
    row::{foreign, from_json, moment, parsed, plain, to_json},
};
use crate::{
    domain::{Lease, LeaseKind, LeaseState, PrincipalRef},
    store::StoreError,
};

/// The columns that [`read`] expects, in its order.
macro_rules! lease_columns {
    () => {
        "lease.id, lease.kind, lease.role, lease.target, lease.principal, lease.principal_kind, lease.created_at, \
         lease.updated_at, lease.idempotency_key, lease.account, lease.terms, lease.end_plan, lease.standing"
    };
}
pub(super) use lease_columns;

/// How many columns that are.
pub(super) const COLUMNS: usize = 13;

/// A lease's JSON columns. Made where there is time for it: on the caller's side of the queue.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) account: String,
    pub(super) terms: String,
    pub(super) end_plan: String,
    pub(super) standing: String,
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

/// When a state is due, as stored.
pub(super) fn due_at(state: &LeaseState) -> Option<i64> {
    state.due_at().map(Timestamp::as_microsecond)
}

/// The lease in a row of `lease_columns`.
pub(super) fn read(row: &Row) -> Result<Lease, Failure> {
    let kind =
        LeaseKind::named(plain::<&str>(row, 1)?).ok_or_else(|| foreign(1, "an unknown kind of lease"))?;
    Ok(Lease {
        id: parsed(row, 0)?,
        kind,
        role: parsed(row, 2)?,
        target: parsed(row, 3)?,
        principal: PrincipalRef { name: parsed(row, 4)?, kind: parsed(row, 5)? },
        created_at: moment(row, 6)?,
        updated_at: moment(row, 7)?,
        idempotency_key: plain(row, 8)?,
        account: from_json(row, 9)?,
        terms: from_json(row, 10)?,
        end_plan: from_json(row, 11)?,
        state: from_json(row, 12)?,
    })
}
