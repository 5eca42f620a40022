//! From what PostgreSQL reports, or does not report in time, to what a caller can do about it.

use std::{error::Error, sync::Arc};

use tokio_postgres::error::SqlState;

use crate::store::{ApplyError, BeginError, StoreError, StoreErrorKind};

/// What came of an exchange that did not succeed. Cheap to tell to several callers: those whose writes shared a
/// transaction.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: StoreErrorKind,
    pub(super) message: String,
    cause: Option<Arc<dyn Error + Send + Sync>>,
    state: Option<SqlState>,
    /// The connection is of no more use.
    pub(super) is_lost: bool,
    /// It was given up because nothing came.
    pub(super) hung: bool,
}

/// Lets a shared cause stand in a chain of errors.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<dyn Error + Send + Sync>);

impl Failure {
    pub(super) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None, state: None, is_lost: false, hung: false }
    }

    fn caused_by(self, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(cause)), ..self }
    }

    /// The server did not answer in time.
    pub(super) fn timed_out(bound: std::time::Duration) -> Self {
        let message = format!("the store's database did not answer within {bound:?}");
        Self { is_lost: true, hung: true, ..Self::new(StoreErrorKind::Unavailable, message) }
    }

    /// The connection ended.
    pub(super) fn disconnected() -> Self {
        let message = "the connection to the store's database was lost";
        Self { is_lost: true, ..Self::new(StoreErrorKind::Unavailable, message) }
    }

    /// Another process serves under the same name.
    pub(super) fn fenced(replica: &str) -> Self {
        let message = format!(
            "another process serves under this replica's name ({replica}): this one may write no more"
        );
        Self::new(StoreErrorKind::Fenced, message)
    }

    /// Whether the same again may succeed: others stood in the way.
    pub(super) fn may_pass(&self) -> bool {
        let states = [
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::UNIQUE_VIOLATION,
            SqlState::LOCK_NOT_AVAILABLE,
        ];
        self.state.as_ref().is_some_and(|state| states.contains(state))
    }

    /// Whether something that one caller wants written is refused, which need not concern the others.
    pub(super) fn is_of_one(&self) -> bool {
        self.state.as_ref().is_some_and(|state| matches!(state.code().get(..2), Some("22" | "23")))
    }

    /// The SQL state, if the server gave one.
    pub(super) fn state(&self) -> Option<&SqlState> {
        self.state.as_ref()
    }

    /// Told to one of them.
    pub(super) fn to_error(&self) -> StoreError {
        let error = StoreError::new(self.kind, self.message.clone());
        match &self.cause {
            Some(cause) => error.caused_by(Shared(Arc::clone(cause))),
            None => error,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let state = error.code().cloned();
        let ended = error.is_closed() || error.as_db_error().is_none_or(|error| error.severity() == "FATAL");
        // An error of neither the server nor the wire: a value that is not what this program writes.
        let foreign = !error.is_closed()
            && error
                .source()
                .is_some_and(|cause| cause.is::<Foreign>() || cause.is::<tokio_postgres::types::WrongType>());
        let (kind, message) = match &state {
            _ if foreign => (StoreErrorKind::Corrupt, "the store holds something that cannot be understood"),
            None => (StoreErrorKind::Unavailable, "the connection to the store's database was lost"),
            Some(state) => describe(state, ended),
        };
        let failure = Failure { state, is_lost: ended && !foreign, ..Failure::new(kind, message) };
        failure.caused_by(error)
    }
}

fn describe(state: &SqlState, ended: bool) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind::{Busy, NotWritable, Other, Unavailable};
    match state.code() {
        "53100" => (NotWritable, "the disk of the store's database is full; nothing was changed"),
        "25006" => (NotWritable, "the store's database is read-only: it may have failed over"),
        "42501" => (NotWritable, "the store's account lacks a privilege: it must own the schema"),
        "28000" | "28P01" => (Unavailable, "the store's database refuses the account or its password"),
        "3D000" => (Unavailable, "the store's database does not exist"),
        "53300" => (Unavailable, "the store's database has no connection left"),
        "57P01" | "57P02" | "57P03" => (Unavailable, "the store's database is stopping or starting"),
        "40P01" | "40001" | "55P03" | "57014" => {
            (Busy, "others kept the store's database from this in time; try again")
        }
        _ if ended => (Unavailable, "the connection to the store's database was ended"),
        _ => (Other, "the store's database refused"),
    }
}

/// A column's content that is not what this program writes there.
#[derive(Debug, thiserror::Error)]
#[error("column {column} holds {what}")]
pub(super) struct Foreign {
    pub(super) column: usize,
    pub(super) what: Box<dyn Error + Send + Sync>,
}

impl From<Foreign> for Failure {
    fn from(foreign: Foreign) -> Self {
        Failure::new(StoreErrorKind::Corrupt, "the store holds something that cannot be understood")
            .caused_by(foreign)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Failure::new(error.kind, error.message);
        Failure { cause: error.source.map(Arc::from), ..failure }
    }
}

/// The store was closed.
pub(super) fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Closed, "the store is closed")
}

/// What a write can fail with: at least with the store's own failure.
pub(super) trait OperationError: From<StoreError> + Send + 'static {}

impl OperationError for StoreError {}
impl OperationError for BeginError {}
impl OperationError for ApplyError {}
