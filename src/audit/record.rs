//! Audit records and how they are sealed.

use std::{collections::BTreeMap, net::IpAddr};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ChainHead;
use crate::domain::{Lease, PrincipalKind, PrincipalName, PrincipalRef};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// An authenticated principal.
    Principal {
        /// Its name.
        name: PrincipalName,
        /// Its kind.
        kind: PrincipalKind,
        /// Where the call came from.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        address: Option<IpAddr>,
    },
    /// A caller that did not prove who it is.
    Unauthenticated {
        /// Where the call came from.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        address: Option<IpAddr>,
    },
    /// Mayfly itself: the clock, recovery, start and stop.
    System,
}

impl Actor {
    /// A principal as actor.
    pub fn principal(principal: &PrincipalRef, address: Option<IpAddr>) -> Self {
        Actor::Principal { name: principal.name.clone(), kind: principal.kind, address }
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
    /// It was tried and did not work.
    Failed,
}

/// One thing that happened, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What, as `noun.participle`: `lease.issued`, `lease.renewed`, `token.created`, ….
    pub action: &'static str,
    /// On what, as a resource name: `leases/…`, `tokens/…`, `roles/…`.
    pub resource: String,
    /// How it went.
    pub outcome: AuditOutcome,
    /// Further facts. No secret.
    pub details: BTreeMap<&'static str, String>,
}

impl Draft {
    /// Something done by somebody to something.
    pub fn new(at: Timestamp, actor: Actor, action: &'static str, resource: impl Into<String>) -> Self {
        let details = BTreeMap::new();
        Self { at, actor, action, resource: resource.into(), outcome: AuditOutcome::Done, details }
    }

    /// Something done by somebody to a lease, with what the lease can be found by.
    pub fn of_lease(at: Timestamp, actor: Actor, action: &'static str, lease: &Lease) -> Self {
        let draft = Self::new(at, actor, action, lease.resource_name())
            .with("role", lease.role.as_str())
            .with("target", lease.target.as_str())
            .with("account", lease.account.name.as_str())
            .with("principal", lease.principal.name.as_str());
        match &lease.terms.grant {
            Some(grant) => draft.with("grant", grant.to_string()),
            None => draft,
        }
    }

    /// Marks it as refused, and why.
    #[must_use]
    pub fn refused(self, reason: impl Into<String>) -> Self {
        Self { outcome: AuditOutcome::Refused, ..self }.with("reason", reason)
    }

    /// Marks it as failed, and why.
    #[must_use]
    pub fn failed(self, reason: impl Into<String>) -> Self {
        Self { outcome: AuditOutcome::Failed, ..self }.with("reason", reason)
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, fact: &'static str, value: impl Into<String>) -> Self {
        self.details.insert(fact, value.into());
        self
    }
}

/// A SHA-256 digest, as 64 hexadecimal digits in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What the first record of a chain follows.
    pub const GENESIS: Digest = Digest([0; 32]);

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut value = [0; 32];
        value.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(value)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        HEXLOWER.encode(&digest.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| "not hexadecimal")?;
        bytes.try_into().map(Digest).map_err(|_| "not 32 bytes")
    }
}

/// One link of the chain. Its JSON form, with the fields in this order and without `hash`, is what `hash` is the digest of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Position, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: String,
    /// On what.
    pub resource: String,
    /// How it went.
    pub outcome: AuditOutcome,
    /// Further facts.
    pub details: BTreeMap<String, String>,
    /// The hash of the record before it.
    pub previous: Digest,
    /// The digest of all of the above.
    pub hash: Digest,
}

impl Record {
    /// Gives a draft its place in the chain, after a record with sequence number `seq - 1` and hash `previous`.
    pub fn seal(draft: Draft, seq: u64, previous: Digest) -> Self {
        let mut record = Record {
            seq,
            at: draft.at,
            actor: draft.actor,
            action: draft.action.to_owned(),
            resource: draft.resource,
            outcome: draft.outcome,
            details: draft.details.into_iter().map(|(fact, value)| (fact.to_owned(), value)).collect(),
            previous,
            hash: Digest::GENESIS,
        };
        record.hash = record.digest();
        record
    }

    /// As [`Record::seal`], for who only keeps its JSON form: the end of the chain with it, and that form. What the digest is taken of
    /// is most of it, and is written once.
    ///
    /// # Errors
    /// None: plain text and numbers have a JSON form.
    pub fn seal_as_json(
        draft: Draft,
        seq: u64,
        previous: Digest,
    ) -> Result<(ChainHead, String), serde_json::Error> {
        let Draft { at, actor, action, resource, outcome, details } = draft;
        let (actor, resource, details) = (&actor, resource.as_str(), &details);
        let content = Content { seq, at, actor, action, resource, outcome, details, previous };
        let mut json = serde_json::to_string(&content)?;
        let hash = Digest::of(json.as_bytes());
        // The hash is the last field of the same object.
        json.pop();
        json.push_str(",\"hash\":\"");
        HEXLOWER.encode_append(&hash.0, &mut json);
        json.push_str("\"}");
        Ok((ChainHead { seq, hash }, json))
    }

    /// The digest its content has; equal to `hash` unless somebody changed it.
    pub fn digest(&self) -> Digest {
        let content = Content {
            seq: self.seq,
            at: self.at,
            actor: &self.actor,
            action: &self.action,
            resource: &self.resource,
            outcome: self.outcome,
            details: &self.details,
            previous: self.previous,
        };
        // Serialising plain text and numbers into memory cannot fail; an empty digest would only ever fail to verify.
        Digest::of(&serde_json::to_vec(&content).unwrap_or_default())
    }
}

/// A record without its hash, as the hash is taken of it.
#[derive(Serialize)]
struct Content<'a, D> {
    seq: u64,
    at: Timestamp,
    actor: &'a Actor,
    action: &'a str,
    resource: &'a str,
    outcome: AuditOutcome,
    details: &'a D,
    previous: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_as_json_writes_what_sealing_does() {
        let name = "ann".parse().unwrap();
        let actor = Actor::Principal { name, kind: PrincipalKind::Human, address: "10.1.2.3".parse().ok() };
        let draft = Draft::new(Timestamp::UNIX_EPOCH, actor, "lease.issued", "leases/a")
            .with("purpose", "a \"quoted\" }, \u{7} and ünusual one")
            .with("account", "mf_a");
        for draft in
            [draft.clone(), draft.refused("no"), Draft::new(Timestamp::MAX, Actor::System, "a.b", "")]
        {
            let record = Record::seal(draft.clone(), 7, Digest([3; 32]));
            let (head, json) = Record::seal_as_json(draft, 7, Digest([3; 32])).unwrap();
            assert_eq!(json, serde_json::to_string(&record).unwrap());
            assert_eq!((head.seq, head.hash), (7, record.hash));
        }
    }
}
