//! Expiry on the server. Neither flavour lets an account expire at a moment: `PASSWORD EXPIRE` counts whole days, and only
//! asks for another password. Until the dead-man's switch is installed on the target (a schema `mayfly` with accounts and
//! expiries, and an event that locks what is due), expiry needs Mayfly to be running. This is where it will be told.

use jiff::Timestamp;

use super::{end, link::Link, template::Values};
use crate::target::{LeasedAccount, TargetError, TargetErrorKind};

/// Moves the expiry: sees that the account is there, then runs the role's own statements.
pub(super) async fn renew(
    link: &mut Link<'_>,
    leased: LeasedAccount<'_>,
    expires_at: Timestamp,
) -> Result<(), TargetError> {
    if end::hosts(link, leased.account).await?.is_empty() {
        return Err(TargetError::new(TargetErrorKind::Missing, "the account does not exist"));
    }
    let values = Values {
        account: leased.account,
        groups: &leased.plan.member_of,
        lease: leased.lease,
        role: leased.role,
        principal: leased.principal.name.as_str(),
        secret: None,
        expires_at: Some(expires_at),
    };
    values.run(link, &leased.plan.renew).await
}
