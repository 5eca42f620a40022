//! (being written)
use super::{link::Link, quote};
use crate::{
    domain::{Account, ObjectCounts},
    target::{LeasedAccount, TargetError},
};
pub(super) const OBJECTS: &str = "the objects the account defines";
pub(super) fn question(account: &Account) -> Result<String, TargetError> {
    let name = quote::literal(account.name.as_str())?;
    let mine = format!("SUBSTRING_INDEX(DEFINER, '@', 1) = {name}");
    Ok(format!(
        "SELECT 'VIEW', TABLE_SCHEMA, TABLE_NAME, DEFINER FROM information_schema.VIEWS WHERE {mine} UNION ALL \
         SELECT ROUTINE_TYPE, ROUTINE_SCHEMA, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES WHERE {mine} UNION ALL \
         SELECT 'TRIGGER', TRIGGER_SCHEMA, TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS WHERE {mine} UNION ALL \
         SELECT 'EVENT', EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS WHERE {mine}"
    ))
}
pub(super) async fn settle(
    _link: &mut Link<'_>,
    _account: LeasedAccount<'_>,
) -> Result<ObjectCounts, TargetError> {
    Ok(ObjectCounts::default())
}
