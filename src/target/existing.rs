//! What a target is asked about accounts that were there before Mayfly.

use std::collections::BTreeSet;

use jiff::Timestamp;

/// An existing account as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExistingState {
    /// The groups that it is a member of itself.
    pub member_of: BTreeSet<String>,
    /// Why Mayfly must not touch it: it may do anything, or is the administration account itself.
    pub barred: Option<String>,
    /// It is not locked. Whether its expiry has passed is another matter.
    pub may_log_in: bool,
    /// When the server refuses it, on Mayfly's clock; `None`: never. On MySQL and MariaDB only what Mayfly wrote down for an account that
    /// is checked out.
    pub expires_at: Option<Timestamp>,
}

/// What an examination says of an account that is to be handed out and can be used without that.
pub(super) fn standing_password(role: &str, account: &str) -> String {
    format!(
        "the account {account}, which the role {role} hands out, can still log in with a standing password: the first \
         checkout replaces it"
    )
}
