//! From what SQLite reports to what a caller can do about it.

use std::sync::Arc;

use rusqlite::{Error, ErrorCode};

use crate::store::{ApplyError, BeginError, StoreError, StoreErrorKind};

/// A failure that several callers must be told of: those whose writes shared a transaction.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: StoreErrorKind,
    message: String,
    cause: Option<Arc<Error>>,
}

impl Failure {
    /// A write that SQLite refused.
    pub(super) fn of_write(cause: Error) -> Self {
        let (kind, message) = describe(&cause, "the store cannot be written");
        Self { kind, message: message.to_owned(), cause: Some(Arc::new(cause)) }
    }

    /// The failure of a neighbour in the same transaction, which undid that transaction.
    pub(super) fn shared(neighbour: &StoreError) -> Self {
        Self { kind: neighbour.kind, message: neighbour.message.clone(), cause: None }
    }

    /// A transaction that SQLite gave up by itself.
    pub(super) fn lost() -> Self {
        Self {
            kind: StoreErrorKind::Other,
            message: "the store lost its transaction".to_owned(),
            cause: None,
        }
    }

    /// Told to one of them.
    pub(super) fn to_error(&self) -> StoreError {
        let error = StoreError::new(self.kind, self.message.clone());
        match &self.cause {
            Some(cause) => error.caused_by(Arc::clone(cause)),
            None => error,
        }
    }
}

/// A write that SQLite refused.
pub(super) fn write_failed(cause: Error) -> StoreError {
    Failure::of_write(cause).to_error()
}

/// A query that SQLite refused.
pub(super) fn read_failed(cause: Error) -> StoreError {
    let (kind, message) = match describe(&cause, "the store cannot be read") {
        (StoreErrorKind::NotWritable, _) => (StoreErrorKind::Other, "the store cannot be read"),
        described => described,
    };
    StoreError::new(kind, message).caused_by(cause)
}

/// The store was closed.
pub(super) fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Closed, "the store is closed")
}

fn describe(cause: &Error, otherwise: &'static str) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind::{Corrupt, Held, NotWritable, Other};
    if matches!(cause, Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..)) {
        return (Corrupt, "the store holds something that cannot be understood");
    }
    match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            (NotWritable, "the disk that holds the store is full; nothing was changed: free some space")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (NotWritable, "the store may not be written: check the file's and its directory's permissions")
        }
        Some(ErrorCode::SystemIoFailure) => {
            (NotWritable, "the disk that holds the store reports an error; nothing was changed")
        }
        Some(ErrorCode::CannotOpen) => (NotWritable, "the store's files cannot be opened for writing"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (Corrupt, "the store's file is damaged: restore it from a backup")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Held, "another program holds the store's file")
        }
        _ => (Other, otherwise),
    }
}

/// What an operation of the writer can fail with: at least with the store's own failure.
pub(super) trait OperationError: From<StoreError> + Send + 'static {
    /// The store's own failure, when it is that.
    fn store_error(&self) -> Option<&StoreError>;
}

impl OperationError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl OperationError for BeginError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            BeginError::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl OperationError for ApplyError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            ApplyError::Store(error) => Some(error),
            _ => None,
        }
    }
}
