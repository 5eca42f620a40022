//! Values as columns and back.

use std::{error::Error, str::FromStr};

use jiff::Timestamp;
use rusqlite::{Row, types::Type};
use serde::{Serialize, de::DeserializeOwned};

use crate::store::{StoreError, StoreErrorKind};

/// A moment as microseconds since the Unix epoch.
pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| foreign(column, error))
}

/// A moment that may be absent.
pub(super) fn moment_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?
        .map(|at| Timestamp::from_microsecond(at).map_err(|error| foreign(column, error)))
        .transpose()
}

/// A value with a text form.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    text(row, column)?.parse().map_err(|error| foreign(column, error))
}

/// A value with a JSON form.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(text(row, column)?).map_err(|error| foreign(column, error))
}

/// The JSON form of a value.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(no_json)
}

/// A value has no JSON form.
pub(super) fn no_json(error: serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Other, "a value has no JSON form").caused_by(error)
}

/// Text, without copying it.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|error| foreign(column, error))
}

/// A column's content that is not what this program writes there.
pub(super) fn foreign(
    column: usize,
    error: impl Into<Box<dyn Error + Send + Sync + 'static>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

/// A number that SQLite keeps signed.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|error| foreign(column, error))
}

/// A number as SQLite keeps it. None of ours comes near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
