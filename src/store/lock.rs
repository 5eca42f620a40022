//! Locks as entries.

use jiff::Timestamp;

use super::{Document, EntryKind};
use crate::domain::Lock;

impl Document for Lock {
    const KIND: EntryKind = EntryKind::Lock;

    fn id(&self) -> String {
        self.subject.to_string()
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.due_at()
    }
}
