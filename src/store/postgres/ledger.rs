//! What the commands of one transaction need to know, what they see of it, and what they want written.
//!
//! A transaction has two exchanges with the server: everything is locked and read, then everything is written and committed.
//! What happens between them happens here, in memory, so that many commands cost no more than one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jiff::Timestamp;

use super::{
    entry_write::{Absence, EntryName, Fate},
    lease_row::{Encoded, due_at},
    row::to_json,
};
use crate::{
    audit::{ChainHead, Draft, Record},
    domain::{Lease, LeaseId, TargetName, TokenId},
    store::{KeptSecret, KnownServer, StoreError, StoreErrorKind, StoredToken, TokenHash},
};

/// A principal and an idempotency key of its own.
pub(super) type Key = (String, String);

/// A role and a principal.
pub(super) type Holder = (String, String);

/// What is due, to be claimed.
#[derive(Debug, Clone)]
pub(super) struct DueNeed {
    pub(super) target: TargetName,
    pub(super) now: Timestamp,
    pub(super) limit: u32,
}

/// What commands need locked and read.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) leases: BTreeSet<String>,
    pub(super) keys: BTreeSet<Key>,
    /// Roles whose limits matter, with who asks.
    pub(super) limited: BTreeSet<Holder>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) tokens: BTreeSet<String>,
    pub(super) new_tokens: Vec<(String, Vec<u8>)>,
    /// Entries, with how nobody else may add them meanwhile.
    pub(super) entries: BTreeMap<EntryName, Absence>,
    pub(super) due: Vec<DueNeed>,
    pub(super) hold: bool,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Leases, with who has claimed them.
    pub(super) leases: HashMap<LeaseId, (Lease, Option<String>)>,
    pub(super) keys: HashMap<Key, LeaseId>,
    pub(super) live_by_holder: HashMap<Holder, i64>,
    pub(super) live_by_role: HashMap<String, i64>,
    /// Revisions of what is kept for targets.
    pub(super) secrets: HashMap<TargetName, u64>,
    pub(super) tokens: HashMap<TokenId, StoredToken>,
    pub(super) taken_ids: HashSet<String>,
    pub(super) taken_hashes: HashSet<Vec<u8>>,
    /// Revisions of entries; those that are not here are not there.
    pub(super) entries: HashMap<EntryName, u64>,
    /// What was claimed, in the order it was asked for.
    pub(super) due: VecDeque<Vec<Lease>>,
}

/// How a lease changes.
#[derive(Debug)]
pub(super) struct LeaseChange {
    pub(super) lease: Lease,
    pub(super) standing: String,
    pub(super) forget_key: bool,
    pub(super) release: bool,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) inserted: BTreeMap<LeaseId, (Lease, Encoded)>,
    pub(super) updated: BTreeMap<LeaseId, LeaseChange>,
    /// Ended leases that go.
    pub(super) removed: Vec<LeaseId>,
    /// Up to which number archived records of this chain go.
    pub(super) archived: Option<u64>,
    pub(super) live_by_role: BTreeMap<String, i64>,
    pub(super) live_by_holder: BTreeMap<Holder, i64>,
    pub(super) live_by_target: BTreeMap<String, i64>,
    pub(super) tokens: Vec<(StoredToken, String, String)>,
    pub(super) revoked: BTreeMap<String, Timestamp>,
    pub(super) servers: BTreeMap<TargetName, KnownServer>,
    pub(super) secrets: BTreeMap<TargetName, KeptSecret>,
    pub(super) records: Vec<(Record, String)>,
    pub(super) entries: BTreeMap<EntryName, Fate>,
    /// Every change of a lease, in order.
    pub(super) announced: Vec<Lease>,
    /// Entries that changed, in order.
    pub(super) announced_entries: Vec<EntryName>,
}

/// What one command sees of the transaction it takes part in. A command that refuses has changed nothing here.
pub(super) struct Ledger<'a> {
    pub(super) facts: Facts,
    pub(super) changes: Changes,
    /// The end of this process's audit chain, with what this transaction appends.
    pub(super) head: ChainHead,
    /// This process's name.
    pub(super) replica: &'a str,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(facts: Facts, head: ChainHead, replica: &'a str) -> Self {
        Self { facts, changes: Changes::default(), head, replica }
    }

    /// The record that a draft becomes at the end of the chain, ready to be appended.
    pub(super) fn seal(&self, draft: Draft) -> Result<(Record, String), StoreError> {
        let record = Record::seal(draft, self.head.seq.saturating_add(1), self.head.hash);
        let json = to_json(&record)?;
        Ok((record, json))
    }

    /// Appends what was just sealed.
    pub(super) fn append(&mut self, sealed: (Record, String)) {
        self.head = ChainHead { seq: sealed.0.seq, hash: sealed.0.hash };
        self.changes.records.push(sealed);
    }

    /// A lease that was asked for, with who has claimed it.
    pub(super) fn lease(&self, id: LeaseId) -> Option<&(Lease, Option<String>)> {
        self.facts.leases.get(&id)
    }

    /// The lease that has a key, unless it failed.
    pub(super) fn by_key(&self, key: &Key) -> Option<&Lease> {
        let (lease, _) = self.facts.leases.get(self.facts.keys.get(key)?)?;
        (lease.state.name() != crate::domain::StateName::Failed).then_some(lease)
    }

    /// How many leases are live: of a holder, and in its role.
    pub(super) fn live(&self, holder: &Holder) -> (u32, u32) {
        let own = self.facts.live_by_holder.get(holder).copied().unwrap_or(0);
        let all = self.facts.live_by_role.get(&holder.0).copied().unwrap_or(0);
        (count(own), count(all))
    }

    /// Adds a lease.
    pub(super) fn insert(&mut self, lease: &Lease, encoded: Encoded) {
        if let Some(key) = &lease.idempotency_key {
            self.facts.keys.insert((lease.principal.name.as_str().to_owned(), key.clone()), lease.id);
        }
        self.count(lease, i64::from(due_at(&lease.state).is_some()));
        self.facts.leases.insert(lease.id, (lease.clone(), None));
        self.changes.inserted.insert(lease.id, (lease.clone(), encoded));
        self.changes.announced.push(lease.clone());
    }

    /// Writes where a lease stands now.
    pub(super) fn update(&mut self, before: &Lease, change: LeaseChange) {
        let after = change.lease.clone();
        let live = |lease: &Lease| i64::from(due_at(&lease.state).is_some());
        self.count(&after, live(&after) - live(before));
        let holder = self.facts.leases.get(&after.id).and_then(|(_, holder)| holder.clone());
        self.facts.leases.insert(after.id, (after.clone(), holder.filter(|_| !change.release)));
        if let Some((lease, encoded)) = self.changes.inserted.get_mut(&after.id) {
            *lease = after.clone();
            encoded.standing.clone_from(&change.standing);
        } else {
            let earlier = self.changes.updated.remove(&after.id);
            let (forgot, released) =
                earlier.map_or((false, false), |earlier| (earlier.forget_key, earlier.release));
            let (forget_key, release) = (change.forget_key || forgot, change.release || released);
            self.changes.updated.insert(after.id, LeaseChange { forget_key, release, ..change });
        }
        self.changes.announced.push(after);
    }

    /// Removes leases that have ended. Whatever else is asked of them in this transaction finds that they are gone.
    pub(super) fn remove(&mut self, going: Vec<LeaseId>) {
        for id in &going {
            self.facts.leases.remove(id);
            self.changes.updated.remove(id);
        }
        self.changes.removed.extend(going);
    }

    fn count(&mut self, lease: &Lease, by: i64) {
        if by == 0 {
            return;
        }
        let role = lease.role.as_str().to_owned();
        let holder = (role.clone(), lease.principal.name.as_str().to_owned());
        if let Some(live) = self.facts.live_by_holder.get_mut(&holder) {
            *live += by;
        }
        if let Some(live) = self.facts.live_by_role.get_mut(&role) {
            *live += by;
        }
        *self.changes.live_by_holder.entry(holder).or_default() += by;
        *self.changes.live_by_role.entry(role).or_default() += by;
        *self.changes.live_by_target.entry(lease.target.as_str().to_owned()).or_default() += by;
    }

    /// Adds a token, unless its identifier or digest is taken.
    pub(super) fn add_token(
        &mut self,
        token: &StoredToken,
        principal: &str,
        cidrs: &str,
    ) -> Result<(), StoreError> {
        let TokenHash(hash) = token.hash;
        let (id, hash) = (token.id.to_string(), hash.to_vec());
        if self.facts.taken_ids.contains(&id) || self.facts.taken_hashes.contains(&hash) {
            return Err(StoreError::new(StoreErrorKind::Other, "there is such a token already"));
        }
        self.facts.taken_ids.insert(id);
        self.facts.taken_hashes.insert(hash);
        self.facts.tokens.insert(token.id, token.clone());
        self.changes.tokens.push((token.clone(), principal.to_owned(), cidrs.to_owned()));
        Ok(())
    }

    /// Revokes a token.
    pub(super) fn revoke_token(&mut self, token: StoredToken, at: Timestamp) {
        self.changes.revoked.insert(token.id.to_string(), at);
        self.facts.tokens.insert(token.id, token);
    }
}

fn count(live: i64) -> u32 {
    u32::try_from(live.max(0)).unwrap_or(u32::MAX)
}
