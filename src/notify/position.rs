//! How far an audit chain has been followed.

use serde::{Deserialize, Serialize};

use crate::store::{Document, EntryKind};

/// The name of the chain of a process that shares its store with nobody.
const OWN: &str = "own";

/// How far an audit chain has been followed. Moved in the same transaction that keeps the notices made of what was read, so that
/// nothing is told twice and nothing left out, whoever follows the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The replica whose chain it is; `None`: that of a process that shares its store with nobody.
    pub replica: Option<String>,
    /// The number of the last record that was read.
    pub seq: u64,
}

impl Position {
    /// The identity of the position in a chain.
    pub fn id_of(replica: Option<&str>) -> String {
        replica.map_or_else(|| OWN.to_owned(), |replica| format!("replica/{replica}"))
    }
}

impl Document for Position {
    const KIND: EntryKind = EntryKind::Position;

    fn id(&self) -> String {
        Self::id_of(self.replica.as_deref())
    }
}
