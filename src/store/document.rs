//! Entries with a type.

use serde::{Serialize, de::DeserializeOwned};

use super::{Committed, Entry, EntryChange, EntryKind, Store, StoreError, StoreErrorKind};
use crate::audit::Draft;
use jiff::Timestamp;

/// Something that is kept as an entry.
///
/// Its JSON form is read back by later versions: a field that is added has a default.
pub trait Document: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What kind of entry it is.
    const KIND: EntryKind;

    /// Identity within its kind.
    fn id(&self) -> String;

    /// What it can be found by.
    fn keys(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// When somebody has to look at it again.
    fn due_at(&self) -> Option<Timestamp> {
        None
    }
}

/// A document as it was read, with the revision it had then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<D> {
    /// Counts its changes, from 1.
    pub revision: u64,
    /// The document.
    pub document: D,
}

impl<D: Document> Kept<D> {
    /// Reads an entry's body.
    ///
    /// # Errors
    /// Kind [`StoreErrorKind::Corrupt`] when it is no such document.
    pub fn read(entry: &Entry) -> Result<Self, StoreError> {
        let document = serde_json::from_str(&entry.body).map_err(|error| {
            let message = format!("the entry {}/{} cannot be understood", entry.kind, entry.id);
            StoreError::new(StoreErrorKind::Corrupt, message).caused_by(error)
        })?;
        Ok(Self { revision: entry.revision, document })
    }
}

/// Which documents: those found by a name and a value, or all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
    /// Found by this.
    pub by: Option<(&'a str, &'a str)>,
    /// With an identifier below this one.
    pub before: Option<&'a str>,
    /// At most this many.
    pub limit: u32,
}

/// One document.
///
/// # Errors
/// When the store fails, or what is kept is no such document.
pub async fn document<D: Document>(store: &dyn Store, id: &str) -> Result<Option<Kept<D>>, StoreError> {
    store.entry(D::KIND, id).await?.as_ref().map(Kept::read).transpose()
}

/// Documents, in descending order of their identifiers.
///
/// # Errors
/// When the store fails, or what is kept is no such document.
pub async fn documents<D: Document>(
    store: &dyn Store,
    listing: Listing<'_>,
) -> Result<Vec<Kept<D>>, StoreError> {
    let entries = store.entries(D::KIND, listing.by, listing.before, listing.limit).await?;
    entries.iter().map(Kept::read).collect()
}

/// Documents that are due, the earliest first.
///
/// # Errors
/// When the store fails, or what is kept is no such document.
pub async fn due_documents<D: Document>(
    store: &dyn Store,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Kept<D>>, StoreError> {
    store.due_entries(D::KIND, now, limit).await?.iter().map(Kept::read).collect()
}

/// Changes that are made together, with what they are told by in the audit log.
#[derive(Debug, Default)]
#[must_use = "nothing is changed until it is committed"]
pub struct Changes {
    /// To entries.
    pub entries: Vec<EntryChange>,
    /// On record.
    pub audit: Vec<Draft>,
}

impl Changes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a document, of which there must be none.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn insert<D: Document>(self, document: &D) -> Result<Self, StoreError> {
        self.put(document, 0)
    }

    /// Puts a document in the place of the revision it was made from.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn replace<D: Document>(self, document: &D, revision: u64) -> Result<Self, StoreError> {
        self.put(document, revision)
    }

    /// Removes a document.
    pub fn remove<D: Document>(mut self, kept: &Kept<D>) -> Self {
        let (id, revision) = (kept.document.id(), kept.revision);
        self.entries.push(EntryChange::Remove { kind: D::KIND, id, revision });
        self
    }

    /// Goes through only if a document still has a revision; 0: if there is none.
    pub fn require<D: Document>(mut self, id: impl Into<String>, revision: u64) -> Self {
        self.entries.push(EntryChange::Require { kind: D::KIND, id: id.into(), revision });
        self
    }

    /// Adds an audit record.
    pub fn record(mut self, draft: Draft) -> Self {
        self.audit.push(draft);
        self
    }

    /// Carries them out.
    ///
    /// # Errors
    /// When the store fails; nothing is written then.
    pub async fn commit(self, store: &dyn Store) -> Result<Committed, StoreError> {
        store.change_entries(self.entries, self.audit).await
    }

    fn put<D: Document>(mut self, document: &D, revision: u64) -> Result<Self, StoreError> {
        let body = serde_json::to_string(document).map_err(|error| {
            StoreError::new(StoreErrorKind::Other, "a document has no JSON form").caused_by(error)
        })?;
        let keys = document.keys().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let entry =
            Entry { kind: D::KIND, id: document.id(), revision, keys, due_at: document.due_at(), body };
        self.entries.push(EntryChange::Put(entry));
        Ok(self)
    }
}
