//! Storing entries: everything that is neither a lease nor a token nor a record, such as requests, grants, locks and users.
//!
//! A store knows of an entry what kind it is, what it can be found by and when somebody has to look at it again. Its body is
//! JSON that the store does not read; [`Document`](super::Document) is the typed view. Entries change together or not at all,
//! each only if it still is what the change was decided on: whoever decides reads first, and begins again on a conflict.

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{StoreError, StoreErrorKind};
use crate::audit::Draft;

/// Bytes an entry's identifier, and a value it is found by, may have.
pub const ENTRY_TEXT_LIMIT: usize = 500;

/// The most entries one question brings back.
pub const ENTRIES_LIMIT: u32 = 1_000;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),* $(,)?) => {
        /// What an entry is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EntryKind { $($(#[$doc])* $kind),* }

        impl EntryKind {
            /// All of them.
            pub const ALL: &'static [EntryKind] = &[$(EntryKind::$kind),*];

            /// As stored.
            pub fn as_str(self) -> &'static str {
                match self { $(EntryKind::$kind => $name),* }
            }
        }
    };
}

kinds! {
    /// A request for access, with its reviews.
    Request = "request",
    /// A grant, with the leases under it.
    Grant = "grant",
    /// An idempotency key that a request was made with.
    RequestKey = "request_key",
    /// A lock on a principal, a role or a target.
    Lock = "lock",
    /// Which group roles an existing account was given, by which leases.
    Elevation = "elevation",
    /// Who holds an existing account, and who waits for it.
    Checkout = "checkout",
    /// A local account of a person.
    User = "user",
    /// Somebody who is signed in.
    Session = "session",
    /// A sign-in that is under way.
    SignIn = "sign_in",
    /// Somebody who may sign in no longer, and is to be seen off.
    Departure = "departure",
    /// A one-time invitation.
    Invitation = "invitation",
    /// An assertion that was used and must not be used again.
    UsedAssertion = "used_assertion",
    /// That somebody looked at an access and found it right.
    Certification = "certification",
    /// A notification that is to be, or was, delivered.
    Notice = "notice",
    /// How far somebody follows an audit chain.
    Position = "position",
    /// What has left the store, because it was kept long enough.
    Retention = "retention",
}

/// The text names no kind of entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of entry")]
pub struct UnknownEntryKind;

impl FromStr for EntryKind {
    type Err = UnknownEntryKind;

    fn from_str(text: &str) -> Result<Self, UnknownEntryKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownEntryKind)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Identity within its kind: 1 to [`ENTRY_TEXT_LIMIT`] bytes.
    pub id: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// What it can be found by: names, each with a value; a name may occur more than once.
    pub keys: Vec<(String, String)>,
    /// When somebody has to look at it again; `None`: never by itself.
    pub due_at: Option<Timestamp>,
    /// The document, as JSON.
    pub body: String,
}

/// What is to happen to one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryChange {
    /// It is added with revision 1 (`entry.revision` is 0), or takes the place of revision `entry.revision` and gets the next.
    Put(Entry),
    /// It is removed, if it still has this revision.
    Remove {
        /// Kind.
        kind: EntryKind,
        /// Identity.
        id: String,
        /// The revision it must have.
        revision: u64,
    },
    /// It stays as it is, and must have this revision; 0: there must be none.
    Require {
        /// Kind.
        kind: EntryKind,
        /// Identity.
        id: String,
        /// The revision it must have.
        revision: u64,
    },
}

impl EntryChange {
    /// Which entry it is about, and the revision that entry must have; 0: there must be none.
    pub fn expects(&self) -> (EntryKind, &str, u64) {
        match self {
            EntryChange::Put(entry) => (entry.kind, &entry.id, entry.revision),
            EntryChange::Remove { kind, id, revision } | EntryChange::Require { kind, id, revision } => {
                (*kind, id, *revision)
            }
        }
    }
}

/// Sorts above every identifier.
pub(super) fn above_all() -> String {
    "\u{10FFFF}".repeat(ENTRY_TEXT_LIMIT / 4 + 1)
}

/// Refuses changes that no store can keep.
pub(super) fn check_changes(changes: &[EntryChange]) -> Result<(), StoreError> {
    changes.iter().try_for_each(|change| match change {
        EntryChange::Put(entry) => check_entry(entry),
        EntryChange::Remove { kind, id, .. } | EntryChange::Require { kind, id, .. } => check_id(*kind, id),
    })
}

/// Refuses an entry whose identifier, or something it is found by, is too long or is nothing that every store takes as text.
pub(super) fn check_entry(entry: &Entry) -> Result<(), StoreError> {
    check_id(entry.kind, &entry.id)?;
    entry.keys.iter().try_for_each(|(name, value)| {
        check_text(entry.kind, "the name of a key", name)?;
        check_text(entry.kind, "the value of a key", value)
    })
}

fn check_id(kind: EntryKind, id: &str) -> Result<(), StoreError> {
    if id.is_empty() {
        return Err(unfit(format!("the identifier of an entry of the kind {kind} is empty")));
    }
    check_text(kind, "the identifier", id)
}

fn check_text(kind: EntryKind, what: &str, text: &str) -> Result<(), StoreError> {
    if text.len() > ENTRY_TEXT_LIMIT {
        let length = text.len();
        return Err(unfit(format!(
            "{what} of an entry of the kind {kind} has {length} bytes; it may have {ENTRY_TEXT_LIMIT}"
        )));
    }
    if text.contains('\0') {
        return Err(unfit(format!("{what} of an entry of the kind {kind} contains a NUL")));
    }
    Ok(())
}

fn unfit(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Other, message)
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a conflict means that nothing was written"]
pub enum Committed {
    /// It is durable.
    Yes,
    /// An entry was not what the change expects any more. Nothing was written: read again, and decide again.
    Conflict,
}

/// Storing entries.
#[async_trait]
pub trait EntryStore: Send + Sync {
    /// One entry.
    ///
    /// # Errors
    /// When the store fails.
    async fn entry(&self, kind: EntryKind, id: &str) -> Result<Option<Entry>, StoreError>;

    /// Entries of a kind, in descending order of their identifiers: those found by a name and a value, or all; below
    /// `before`; at most `limit`, and never more than [`ENTRIES_LIMIT`].
    ///
    /// # Errors
    /// When the store fails.
    async fn entries(
        &self,
        kind: EntryKind,
        by: Option<(&str, &str)>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Entries of a kind that are due at `now`, the earliest first. Where several processes share the store, each is given
    /// them: that one entry changes once is up to their revisions.
    ///
    /// # Errors
    /// When the store fails.
    async fn due_entries(
        &self,
        kind: EntryKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// When the next entry of one of these kinds is due; `None`: never.
    ///
    /// # Errors
    /// When the store fails.
    async fn next_due_entry(&self, kinds: &[EntryKind]) -> Result<Option<Timestamp>, StoreError>;

    /// Carries out changes with their audit records in one transaction: all or nothing.
    ///
    /// # Errors
    /// When the store fails; nothing is written then.
    async fn change_entries(
        &self,
        changes: Vec<EntryChange>,
        audit: Vec<Draft>,
    ) -> Result<Committed, StoreError>;

    /// Which entries changed, from now on, after it is durable. A hint to look again: a receiver that falls behind is told so,
    /// and changes made by other processes that share the store come a moment later. An empty identifier: any entry of the
    /// kind may have changed, because word from the others was interrupted.
    fn entry_changes(&self) -> broadcast::Receiver<(EntryKind, String)>;
}
