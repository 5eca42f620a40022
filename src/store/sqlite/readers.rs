//! A few read-only connections, used off the async threads and never behind the writer's queue.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{
    failure::{closed, read_failed},
    file,
};
use crate::store::{StoreError, StoreErrorKind};

/// The connections: opened when first needed, then kept.
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    size: u32,
}

impl Readers {
    /// At most `size` connections to the file at `path`.
    pub(super) fn new(path: PathBuf, size: u32) -> Self {
        let permits = Arc::new(Semaphore::new(size as usize));
        Self { path, idle: Arc::default(), permits, size }
    }

    /// Runs a query on one of them.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match kept {
                Some(connection) => connection,
                None => file::open_reader(&path)?,
            };
            let result = query(&connection).map_err(read_failed);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        });
        task.await.unwrap_or_else(|error| {
            Err(StoreError::new(StoreErrorKind::Other, "reading the store was interrupted").caused_by(error))
        })
    }

    /// Lets the queries under way finish, then closes the connections.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(self.size).await;
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(all);
    }
}
