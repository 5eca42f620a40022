//! Ending many accounts together: what a target is asked, and what it answers of each.
//!
//! Most accounts have no session and own nothing when they end; then a few round trips serve a whole batch of them. The order
//! is that of a single end: disabled and committed, sessions ended and looked for again, dropped, verified. Whatever is out of
//! the ordinary about an account makes it [`Glance::Laden`], or the batch fail as a whole: such accounts are ended one by one, each
//! with an outcome of its own. So a step for many has no words for a failure of one.

use super::{LeasedAccount, TargetError, TargetErrorKind};

/// The most accounts in one batch: a server's lock table holds that many drops in one transaction many times over.
pub const TOGETHER: usize = 64;

/// What a target sees of one of many accounts right after it disabled them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// There is no such account.
    Absent,
    /// It has no session, and nothing that must be dealt with: all that is left to do is to remove it.
    Bare,
    /// It has sessions. Whether it has anything else will be seen when they have ended.
    InUse,
    /// It has something else, or nobody looked: it is to be ended on its own.
    Laden,
}

/// Refuses to touch what Mayfly did not make, and more accounts than a batch may have.
pub(super) fn insist_on_a_batch(accounts: &[LeasedAccount<'_>]) -> Result<(), TargetError> {
    if accounts.len() > TOGETHER {
        let message = format!("a batch has {} accounts; {TOGETHER} are allowed", accounts.len());
        return Err(TargetError::new(TargetErrorKind::Refused, message));
    }
    accounts.iter().try_for_each(LeasedAccount::insist_on_ours)
}
