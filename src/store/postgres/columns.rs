//! What is written of leases, by column, as the statements take it.

use tokio_postgres::types::ToSql;

use super::{
    lease_row::{self, due_at},
    ledger::Changes,
};
use crate::domain::Lease;

/// Leases that change, by column, in the order of their identifiers.
#[derive(Default)]
pub(super) struct Updates<'a> {
    pub(super) ids: Vec<String>,
    states: Vec<&'static str>,
    due_at: Vec<Option<i64>>,
    updated_at: Vec<i64>,
    standings: Vec<&'a str>,
    forget_keys: Vec<bool>,
    releases: Vec<bool>,
}

impl<'a> Updates<'a> {
    pub(super) fn of(changes: &'a Changes) -> Self {
        let mut columns = Self::default();
        for (id, change) in &changes.updated {
            columns.ids.push(id.to_string());
            columns.states.push(change.lease.state.name().as_str());
            columns.due_at.push(due_at(&change.lease.state));
            columns.updated_at.push(change.lease.updated_at.as_microsecond());
            columns.standings.push(&change.standing);
            columns.forget_keys.push(change.forget_key);
            columns.releases.push(change.release);
        }
        columns
    }

    pub(super) fn values(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.ids,
            &self.states,
            &self.due_at,
            &self.updated_at,
            &self.standings,
            &self.forget_keys,
            &self.releases,
        ]
    }
}

/// New leases, by column, in the order of their keys: who waits for another's key holds none that the other waits for.
#[derive(Default)]
pub(super) struct Inserts<'a> {
    pub(super) ids: Vec<String>,
    texts: [Vec<&'a str>; 10],
    keys: Vec<Option<&'a str>>,
    due_at: Vec<Option<i64>>,
    created_at: Vec<i64>,
    updated_at: Vec<i64>,
}

impl<'a> Inserts<'a> {
    pub(super) fn of(changes: &'a Changes) -> Self {
        let mut new: Vec<_> = changes.inserted.values().collect();
        new.sort_by_key(|(lease, _)| (lease.principal.name.as_str(), lease.idempotency_key.as_deref()));
        Self::from_leases(new.into_iter().map(|(lease, encoded)| (lease, encoded)))
    }

    /// Leases to insert, in their order.
    pub(super) fn from_leases(leases: impl Iterator<Item = (&'a Lease, &'a lease_row::Encoded)>) -> Self {
        let mut columns = Self::default();
        for (lease, encoded) in leases {
            columns.ids.push(lease.id.to_string());
            let texts = [
                lease.kind.as_str(),
                lease.role.as_str(),
                lease.target.as_str(),
                lease.principal.name.as_str(),
                lease.principal.kind.as_str(),
                lease.state.name().as_str(),
                &encoded.account,
                &encoded.terms,
                &encoded.end_plan,
                &encoded.standing,
            ];
            for (column, text) in columns.texts.iter_mut().zip(texts) {
                column.push(text);
            }
            columns.keys.push(lease.idempotency_key.as_deref());
            columns.due_at.push(due_at(&lease.state));
            columns.created_at.push(lease.created_at.as_microsecond());
            columns.updated_at.push(lease.updated_at.as_microsecond());
        }
        columns
    }

    /// As the statement takes them.
    pub(super) fn values(&self) -> [&(dyn ToSql + Sync); 15] {
        let [
            kinds,
            roles,
            targets,
            principals,
            principal_kinds,
            states,
            accounts,
            terms,
            end_plans,
            standings,
        ] = &self.texts;
        [
            &self.ids,
            kinds,
            roles,
            targets,
            principals,
            principal_kinds,
            states,
            &self.due_at,
            &self.created_at,
            &self.updated_at,
            &self.keys,
            accounts,
            terms,
            end_plans,
            standings,
        ]
    }
}

/// By how much the numbers of live leases change.
#[derive(Default)]
pub(super) struct Counts<'a> {
    pub(super) roles: Vec<&'a str>,
    pub(super) by_role: Vec<i64>,
    pub(super) holder_roles: Vec<&'a str>,
    pub(super) holders: Vec<&'a str>,
    pub(super) by_holder: Vec<i64>,
    pub(super) targets: Vec<&'a str>,
    pub(super) by_target: Vec<i64>,
}

impl<'a> Counts<'a> {
    pub(super) fn of(changes: &'a Changes) -> Self {
        let mut counts = Self::default();
        for (role, by) in changes.live_by_role.iter().filter(|(_, by)| **by != 0) {
            counts.roles.push(role);
            counts.by_role.push(*by);
        }
        for ((role, holder), by) in changes.live_by_holder.iter().filter(|(_, by)| **by != 0) {
            counts.holder_roles.push(role);
            counts.holders.push(holder);
            counts.by_holder.push(*by);
        }
        for (target, by) in changes.live_by_target.iter().filter(|(_, by)| **by != 0) {
            counts.targets.push(target);
            counts.by_target.push(*by);
        }
        counts
    }
}
