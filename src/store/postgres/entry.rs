//! [`EntryStore`] on PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::PostgresStore;
use crate::{
    audit::Draft,
    store::{Committed, Entry, EntryChange, EntryKind, EntryStore, StoreError, StoreErrorKind},
};

fn not_yet<T>() -> Result<T, StoreError> {
    Err(StoreError::new(StoreErrorKind::Other, "this store keeps no entries yet"))
}

#[async_trait]
impl EntryStore for PostgresStore {
    async fn entry(&self, _: EntryKind, _: &str) -> Result<Option<Entry>, StoreError> {
        not_yet()
    }

    async fn entries(
        &self,
        _: EntryKind,
        _: Option<(&str, &str)>,
        _: Option<&str>,
        _: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        not_yet()
    }

    async fn due_entries(&self, _: EntryKind, _: Timestamp, _: u32) -> Result<Vec<Entry>, StoreError> {
        not_yet()
    }

    async fn next_due_entry(&self, _: &[EntryKind]) -> Result<Option<Timestamp>, StoreError> {
        not_yet()
    }

    async fn change_entries(&self, _: Vec<EntryChange>, _: Vec<Draft>) -> Result<Committed, StoreError> {
        not_yet()
    }

    fn entry_changes(&self) -> broadcast::Receiver<(EntryKind, String)> {
        broadcast::Sender::new(1).subscribe()
    }
}
