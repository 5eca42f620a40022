//! What a target is asked about accounts that were there before Mayfly.

use std::collections::BTreeSet;

/// An existing account as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExistingState {
    /// The groups that it is a member of itself.
    pub member_of: BTreeSet<String>,
    /// Why Mayfly must not touch it: it may do anything, or is the administration account itself.
    pub barred: Option<String>,
}
