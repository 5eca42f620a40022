//! Opening the store that the configuration names.

use std::{path::PathBuf, sync::Arc};

use super::StartError;
use crate::{
    clock::Clock,
    config::{SharedStore, StoreSettings},
    store::{
        Store, StoreClock, StoreError, StoreErrorKind,
        postgres::{PostgresOptions, PostgresSettings, PostgresStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
    target::{Surroundings, TargetError, postgres::tls::connector},
};

/// The store, and surroundings whose clock is the store's: processes that share one go by one clock.
pub(super) async fn open_store(
    settings: &StoreSettings,
    surroundings: Surroundings,
) -> Result<(Arc<dyn Store>, Surroundings), StartError> {
    let store: Arc<dyn Store> = match settings {
        StoreSettings::File(path) => open_file(path.clone()).await?,
        StoreSettings::Shared(shared) => {
            let settings = shared_store(shared).map_err(StartError::StoreTls)?;
            Arc::new(PostgresStore::open(settings, Arc::clone(&surroundings.clock)).await?)
        }
    };
    let clock = match store.clock_offset() {
        Some(offset) => Arc::new(StoreClock::new(surroundings.clock, offset)) as Arc<dyn Clock>,
        None => surroundings.clock,
    };
    Ok((store, Surroundings { clock, ..surroundings }))
}

/// How to reach a store as it is configured.
///
/// # Errors
/// When its TLS files cannot be used.
pub fn shared_store(shared: &SharedStore) -> Result<PostgresSettings, TargetError> {
    Ok(PostgresSettings {
        address: shared.address.clone(),
        password: shared.password.clone(),
        tls: connector(&shared.tls)?,
        schema: shared.schema.clone(),
        replica: shared.replica.clone(),
        options: PostgresOptions::default(),
    })
}

async fn open_file(path: PathBuf) -> Result<Arc<dyn Store>, StoreError> {
    let opened =
        tokio::task::spawn_blocking(move || SqliteStore::open(&path, SqliteOptions::default())).await;
    let gone =
        |error| StoreError::new(StoreErrorKind::Other, "the store could not be opened").caused_by(error);
    Ok(Arc::new(opened.map_err(gone)??))
}
