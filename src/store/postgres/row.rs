//! Values as columns and back.

use std::{error::Error, str::FromStr};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio_postgres::{Row, types::FromSql};

use super::failure::{Failure, Foreign};
use crate::{
    audit::Digest,
    store::{StoreError, StoreErrorKind},
};

/// A column as it is.
pub(super) fn plain<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Failure> {
    row.try_get(column).map_err(|error| foreign(column, error))
}

/// A moment as microseconds since the Unix epoch.
pub(super) fn moment(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    Timestamp::from_microsecond(plain(row, column)?).map_err(|error| foreign(column, error))
}

/// A moment that may be absent.
pub(super) fn moment_or_none(row: &Row, column: usize) -> Result<Option<Timestamp>, Failure> {
    plain::<Option<i64>>(row, column)?
        .map(|at| Timestamp::from_microsecond(at).map_err(|error| foreign(column, error)))
        .transpose()
}

/// A value with a text form.
pub(super) fn parsed<T>(row: &Row, column: usize) -> Result<T, Failure>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    plain::<&str>(row, column)?.parse().map_err(|error| foreign(column, error))
}

/// A value with a JSON form.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, Failure> {
    serde_json::from_str(plain(row, column)?).map_err(|error| foreign(column, error))
}

/// A digest.
pub(super) fn digest(row: &Row, column: usize) -> Result<Digest, Failure> {
    plain::<&[u8]>(row, column)?.try_into().map(Digest).map_err(|error| foreign(column, error))
}

/// The JSON form of a value.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::new(StoreErrorKind::Other, "a value has no JSON form").caused_by(error))
}

/// A column's content that is not what this program writes there.
pub(super) fn foreign(column: usize, what: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Foreign { column, what: what.into() }.into()
}

/// A number that PostgreSQL keeps signed.
pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64, Failure> {
    u64::try_from(plain::<i64>(row, column)?).map_err(|error| foreign(column, error))
}

/// A number as PostgreSQL keeps it. None of ours comes near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
