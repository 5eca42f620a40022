//! Entries within a transaction: which are locked, what the commands see of them, and what is written.
//!
//! A row is locked by itself. That there is none can only be kept by locking its name: whoever adds an entry locks it alone,
//! whoever requires that there be none shares the lock. So of two processes that add one entry, the second finds it there.

use std::collections::{BTreeMap, btree_map};

use futures_util::join;
use jiff::Timestamp;
use tokio_postgres::Client;

use super::{
    exchange::rows,
    ledger::{Ledger, Needs},
    migrate::lock_key,
    row::signed,
    settings::SchemaName,
    statements::Statements,
};
use crate::store::{Entry, EntryChange, EntryKind};

/// A kind and an identifier.
pub(super) type EntryName = (EntryKind, String);

/// How the name of an entry is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Absence {
    /// Not at all: the entry is there, or the change conflicts.
    Unlocked,
    /// Nobody else may add it.
    Shared,
    /// It is about to be added.
    Exclusive,
}

impl Absence {
    fn of(change: &EntryChange) -> Self {
        match change {
            EntryChange::Put(entry) if entry.revision == 0 => Absence::Exclusive,
            change if change.expects().2 == 0 => Absence::Shared,
            _ => Absence::Unlocked,
        }
    }
}

impl Needs {
    /// Asks for the entries that changes are about.
    pub(super) fn entries_of(&mut self, changes: &[EntryChange]) {
        for change in changes {
            let (kind, id, _) = change.expects();
            let absence = self.entries.entry((kind, id.to_owned())).or_insert(Absence::Unlocked);
            *absence = Absence::of(change).max(*absence);
        }
    }

    /// The advisory locks to be taken, in the order in which everybody takes them, with whether each may be shared.
    pub(super) fn locks(&self, schema: &SchemaName) -> (Vec<i32>, Vec<bool>) {
        let mut locks: BTreeMap<i32, bool> = BTreeMap::new();
        for (role, _) in &self.limited {
            locks.insert(lock_key(schema, role), false);
        }
        for ((kind, id), absence) in &self.entries {
            if *absence != Absence::Unlocked {
                let shared = *absence == Absence::Shared;
                let lock = locks.entry(lock_key(schema, &format!("{kind}/{id}"))).or_insert(shared);
                *lock &= shared;
            }
        }
        locks.into_iter().unzip()
    }
}

/// What becomes of an entry.
#[derive(Debug)]
pub(super) struct Fate {
    /// Whether it was there before the transaction.
    was_there: bool,
    /// What is there afterwards.
    becomes: Option<Entry>,
}

impl Ledger<'_> {
    /// Whether every entry still has the revision that the changes expect.
    pub(super) fn stand(&self, changes: &[EntryChange]) -> bool {
        changes.iter().all(|change| {
            let (kind, id, expected) = change.expects();
            self.facts.entries.get(&(kind, id.to_owned())).copied().unwrap_or(0) == expected
        })
    }

    /// Has changes written whose expectations stand.
    pub(super) fn change_entries(&mut self, changes: &[EntryChange]) {
        for change in changes {
            let becomes = match change {
                EntryChange::Put(entry) => {
                    let revision = entry.revision.saturating_add(1);
                    Some(Entry { revision, ..entry.clone() })
                }
                EntryChange::Remove { .. } => None,
                EntryChange::Require { .. } => continue,
            };
            let (kind, id, _) = change.expects();
            let name = (kind, id.to_owned());
            let before = match &becomes {
                Some(entry) => self.facts.entries.insert(name.clone(), entry.revision),
                None => self.facts.entries.remove(&name),
            };
            match self.changes.entries.entry(name.clone()) {
                btree_map::Entry::Occupied(mut fate) => fate.get_mut().becomes = becomes,
                btree_map::Entry::Vacant(place) => {
                    place.insert(Fate { was_there: before.is_some(), becomes });
                }
            }
            self.changes.announced_entries.push(name);
        }
    }
}

/// Entries by column.
#[derive(Default)]
pub(super) struct EntryColumns<'a> {
    pub(super) kinds: Vec<&'static str>,
    pub(super) ids: Vec<&'a str>,
    pub(super) revisions: Vec<i64>,
    pub(super) due_at: Vec<Option<i64>>,
    pub(super) bodies: Vec<&'a str>,
}

impl<'a> EntryColumns<'a> {
    pub(super) fn push(&mut self, entry: &'a Entry) {
        self.kinds.push(entry.kind.as_str());
        self.ids.push(&entry.id);
        self.revisions.push(signed(entry.revision));
        self.due_at.push(entry.due_at.map(Timestamp::as_microsecond));
        self.bodies.push(&entry.body);
    }
}

/// What entries are found by, by column.
#[derive(Default)]
pub(super) struct KeyColumns<'a> {
    pub(super) kinds: Vec<&'static str>,
    pub(super) names: Vec<&'a str>,
    pub(super) values: Vec<&'a str>,
    pub(super) ids: Vec<&'a str>,
}

impl<'a> KeyColumns<'a> {
    pub(super) fn push(&mut self, entry: &'a Entry) {
        for (name, value) in &entry.keys {
            self.kinds.push(entry.kind.as_str());
            self.names.push(name);
            self.values.push(value);
            self.ids.push(&entry.id);
        }
    }
}

/// Writes what becomes of entries. Everything is sent before anything is waited for.
pub(super) async fn write(
    client: &Client,
    statements: &Statements,
    entries: &BTreeMap<EntryName, Fate>,
) -> Result<(), tokio_postgres::Error> {
    let (mut added, mut replaced, mut keys) =
        (EntryColumns::default(), EntryColumns::default(), KeyColumns::default());
    let (mut gone_kinds, mut gone_ids) = (Vec::new(), Vec::new());
    let (mut changed_kinds, mut changed_ids) = (Vec::new(), Vec::new());
    for ((kind, id), fate) in entries {
        if fate.was_there {
            changed_kinds.push(kind.as_str());
            changed_ids.push(id.as_str());
        }
        match &fate.becomes {
            Some(entry) if fate.was_there => replaced.push(entry),
            Some(entry) => added.push(entry),
            None if fate.was_there => {
                gone_kinds.push(kind.as_str());
                gone_ids.push(id.as_str());
            }
            None => {}
        }
        fate.becomes.iter().for_each(|entry| keys.push(entry));
    }
    let EntryColumns { kinds, ids, revisions, due_at, bodies } = &added;
    let added =
        rows(client, !ids.is_empty(), &statements.add_entries, [kinds, ids, revisions, due_at, bodies]);
    let EntryColumns { kinds, ids, revisions, due_at, bodies } = &replaced;
    let replaced =
        rows(client, !ids.is_empty(), &statements.replace_entries, [kinds, ids, revisions, due_at, bodies]);
    let gone = rows(client, !gone_ids.is_empty(), &statements.remove_entries, [&gone_kinds, &gone_ids]);
    let KeyColumns { kinds, names, values, ids } = &keys;
    let forgotten = rows(
        client,
        !changed_ids.is_empty(),
        &statements.forget_keys,
        [&changed_kinds, &changed_ids, kinds, names, values, ids],
    );
    let found = rows(client, !ids.is_empty(), &statements.add_keys, [kinds, names, values, ids]);
    let (added, replaced, gone, forgotten, found) = join!(added, replaced, gone, forgotten, found);
    for outcome in [added, replaced, gone, forgotten, found] {
        outcome?;
    }
    Ok(())
}
