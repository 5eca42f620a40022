//! A whole store as a stream of items: how everything moves from one kind of store to another, nothing left out and nothing
//! added.
//!
//! On the outside it is JSON lines, in a fixed order: what the store is, leases, tokens, known servers, sealed passwords,
//! entries, the audit chains record by record, and how many of each there were. The same content makes the same lines.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Entry, KeptSecret, KnownServer, PendingSecret, RotationEnd, StoreError, StoreErrorKind, StoredToken,
    TokenHash, entry::check_entry,
};
use crate::{
    audit::{ChainVerifier, ChainsVerifier, Digest, Record},
    domain::{
        Account, EndPlan, InstanceId, Lease, LeaseKind, LeaseState, LeaseTerms, Principal, PrincipalRef,
        RoleName, TargetName,
    },
};

/// The version of the stream: with entries since 2. A reader refuses any that is newer.
const FORMAT: u32 = 2;

/// What the audit chain of an embedded store is called among others.
pub const EMBEDDED: &str = "embedded";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Item {
    /// The first: which installation this is.
    Store {
        /// The version of the stream.
        format: u32,
        /// The installation.
        instance: String,
    },
    /// A lease.
    Lease(Box<LeaseItem>),
    /// An API token; its digest only.
    Token(Box<TokenItem>),
    /// A server known to answer for a target.
    KnownServer {
        /// The target.
        target: TargetName,
        /// What the server calls itself.
        identity: String,
        /// Since when it is known.
        since: Timestamp,
    },
    /// A sealed password of an administration account.
    AdministrationSecret(Box<SecretItem>),
    /// An entry.
    Entry(Box<EntryItem>),
    /// An audit record, as it was sealed.
    Record {
        /// The chain.
        chain: String,
        /// The record's own line.
        line: String,
    },
    /// The last: how many there were.
    End(Counts),
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of a lease, by their names")]
pub struct LeaseItem {
    pub id: String,
    pub kind: LeaseKind,
    pub role: RoleName,
    pub target: TargetName,
    pub principal: PrincipalRef,
    pub account: Account,
    pub terms: LeaseTerms,
    pub end_plan: EndPlan,
    pub idempotency_key: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub standing: LeaseState,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of a token, by their names")]
pub struct TokenItem {
    pub id: String,
    pub sha256: Digest,
    pub principal: Principal,
    pub cidrs: Vec<IpNet>,
    pub description: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// What is kept of an administration account's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of a kept secret, by their names")]
pub struct SecretItem {
    pub target: TargetName,
    pub account: String,
    pub sealed: Option<String>,
    pub rotated_at: Option<Timestamp>,
    pub pending: Option<String>,
    pub pending_since: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub failure: Option<String>,
    pub revision: u64,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of an entry, by their names")]
pub struct EntryItem {
    pub kind: String,
    pub id: String,
    pub revision: u64,
    pub keys: Vec<(String, String)>,
    pub due_at: Option<Timestamp>,
    pub body: String,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Leases, ended ones too.
    pub leases: u64,
    /// Tokens, revoked ones too.
    pub tokens: u64,
    /// Known servers.
    pub known_servers: u64,
    /// Sealed passwords.
    pub administration_secrets: u64,
    /// Entries of all kinds.
    #[serde(default)]
    pub entries: u64,
    /// Audit records, of all chains.
    pub records: u64,
}

fn wrong(what: impl std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("what is to be imported is not whole: {what}"))
}

impl Item {
    /// The first item.
    pub(super) fn first(instance: InstanceId) -> Self {
        Item::Store { format: FORMAT, instance: instance.to_string() }
    }

    pub(super) fn of_lease(lease: Lease) -> Self {
        Item::Lease(Box::new(LeaseItem {
            id: lease.id.to_string(),
            kind: lease.kind,
            role: lease.role,
            target: lease.target,
            principal: lease.principal,
            account: lease.account,
            terms: lease.terms,
            end_plan: lease.end_plan,
            idempotency_key: lease.idempotency_key,
            created_at: lease.created_at,
            updated_at: lease.updated_at,
            standing: lease.state,
        }))
    }

    pub(super) fn of_token(token: StoredToken) -> Self {
        Item::Token(Box::new(TokenItem {
            id: token.id.to_string(),
            sha256: Digest(token.hash.0),
            principal: token.principal,
            cidrs: token.cidrs,
            description: token.description,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }))
    }

    pub(super) fn of_server(target: TargetName, server: KnownServer) -> Self {
        Item::KnownServer { target, identity: server.identity, since: server.since }
    }

    pub(super) fn of_secret(target: TargetName, secret: KeptSecret) -> Self {
        let (pending, ended) = (secret.pending, secret.ended);
        Item::AdministrationSecret(Box::new(SecretItem {
            target,
            account: secret.account,
            sealed: secret.current.map(|sealed| sealed.to_string()),
            rotated_at: secret.rotated_at,
            pending: pending.as_ref().map(|pending| pending.sealed.to_string()),
            pending_since: pending.map(|pending| pending.since),
            ended_at: ended.as_ref().map(|ended| ended.at),
            failure: ended.and_then(|ended| ended.failure),
            revision: secret.revision,
        }))
    }
}

impl Item {
    pub(super) fn of_entry(entry: Entry) -> Self {
        let Entry { kind, id, revision, keys, due_at, body } = entry;
        Item::Entry(Box::new(EntryItem { kind: kind.as_str().to_owned(), id, revision, keys, due_at, body }))
    }
}

impl EntryItem {
    pub(super) fn into_entry(self) -> Result<Entry, StoreError> {
        let kind = self.kind.parse().map_err(|_| wrong(format!("{:?} is no kind of entry", self.kind)))?;
        if self.revision == 0 {
            return Err(wrong("an entry has no revision"));
        }
        let Self { id, revision, keys, due_at, body, .. } = self;
        let entry = Entry { kind, id, revision, keys, due_at, body };
        check_entry(&entry).map_err(wrong)?;
        Ok(entry)
    }
}

impl LeaseItem {
    pub(super) fn into_lease(self) -> Result<Lease, StoreError> {
        Ok(Lease {
            id: self.id.parse().map_err(|error| wrong(format!("a lease's identifier is {error}")))?,
            kind: self.kind,
            role: self.role,
            target: self.target,
            principal: self.principal,
            account: self.account,
            terms: self.terms,
            end_plan: self.end_plan,
            idempotency_key: self.idempotency_key,
            created_at: self.created_at,
            updated_at: self.updated_at,
            state: self.standing,
        })
    }
}

impl TokenItem {
    pub(super) fn into_token(self) -> Result<StoredToken, StoreError> {
        Ok(StoredToken {
            id: self.id.parse().map_err(|error| wrong(format!("a token's identifier is {error}")))?,
            hash: TokenHash(self.sha256.0),
            principal: self.principal,
            cidrs: self.cidrs,
            description: self.description,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        })
    }
}

impl SecretItem {
    pub(super) fn into_secret(self) -> Result<(TargetName, KeptSecret), StoreError> {
        let sealed = |text: String| text.parse().map_err(|_| wrong("a sealed password is none"));
        let pending = match (self.pending, self.pending_since) {
            (Some(text), Some(since)) => Some(PendingSecret { sealed: sealed(text)?, since }),
            (None, None) => None,
            _ => return Err(wrong("a pending password has no moment")),
        };
        let failure = self.failure;
        let secret = KeptSecret {
            account: self.account,
            current: self.sealed.map(sealed).transpose()?,
            rotated_at: self.rotated_at,
            pending,
            ended: self.ended_at.map(|at| RotationEnd { at, failure }),
            revision: self.revision,
        };
        Ok((self.target, secret))
    }
}

/// Watches a stream go by: its order, its numbers, and its audit chains, each by itself and against the others.
#[derive(Debug, Default)]
pub(super) struct Inspector {
    instance: Option<InstanceId>,
    counts: Counts,
    chains: BTreeMap<String, ChainVerifier>,
    ended: bool,
}

impl Inspector {
    /// Takes the next item; a record's item comes back read.
    pub(super) fn see(&mut self, item: &Item) -> Result<Option<Record>, StoreError> {
        if self.ended {
            return Err(wrong("something follows its end"));
        }
        if let Item::Store { format, instance } = item {
            if !(1..=FORMAT).contains(format) {
                return Err(wrong(format!(
                    "it is of the format {format}, and this version knows those up to {FORMAT}"
                )));
            }
            let instance = instance.parse().map_err(|error| wrong(format!("the installation is {error}")))?;
            return match self.instance.replace(instance) {
                None => Ok(None),
                Some(_) => Err(wrong("it begins twice")),
            };
        }
        if self.instance.is_none() {
            return Err(wrong("it has no beginning"));
        }
        let counts = &mut self.counts;
        match item {
            Item::Store { .. } => {}
            Item::Lease(_) => counts.leases += 1,
            Item::Token(_) => counts.tokens += 1,
            Item::KnownServer { .. } => counts.known_servers += 1,
            Item::AdministrationSecret(_) => counts.administration_secrets += 1,
            Item::Entry(_) => counts.entries += 1,
            Item::Record { chain, line } => {
                counts.records += 1;
                let verifier = self
                    .chains
                    .entry(chain.clone())
                    .or_insert_with(|| ChainVerifier::new(Some(chain.clone())));
                return verifier.line(line).map(Some).map_err(wrong);
            }
            Item::End(expected) if *expected == *counts => self.ended = true,
            Item::End(_) => return Err(wrong("it has not as many items as it says")),
        }
        Ok(None)
    }

    /// What was seen, once the stream is over.
    pub(super) fn finish(self) -> Result<(InstanceId, Counts), StoreError> {
        let Some(instance) = self.instance.filter(|_| self.ended) else {
            return Err(wrong("its end is missing"));
        };
        let mut chains = ChainsVerifier::default();
        for chain in self.chains.into_values() {
            chains.add(chain).map_err(wrong)?;
        }
        chains.finish(true).map_err(wrong)?;
        Ok((instance, self.counts))
    }
}

/// Where a stream goes on its way out, counted.
pub(super) struct Outlet<'a> {
    out: &'a mut (dyn FnMut(Item) -> Result<(), StoreError> + Send),
    inspector: Inspector,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(out: &'a mut (dyn FnMut(Item) -> Result<(), StoreError> + Send)) -> Self {
        Self { out, inspector: Inspector::default() }
    }

    pub(super) fn put(&mut self, item: Item) -> Result<(), StoreError> {
        self.inspector.see(&item)?;
        (self.out)(item)
    }

    pub(super) fn end(mut self) -> Result<Counts, StoreError> {
        let counts = self.inspector.counts;
        self.put(Item::End(counts))?;
        self.inspector.finish().map(|_| counts)
    }
}

/// A stream on its way in, one item after the other.
pub type Items<'a> = &'a mut (dyn Iterator<Item = Result<Item, StoreError>> + Send);

/// The store to be filled holds something already.
pub(super) fn not_empty() -> StoreError {
    StoreError::new(
        StoreErrorKind::Held,
        "the store to import into is not empty: nothing was changed; import into a fresh one",
    )
}
