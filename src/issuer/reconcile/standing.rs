//! Whose an account on a target is: pure.

use crate::domain::{FoundAccount, InstanceId, Lease, Mark, TargetName};

/// Whose an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// That of a lease of ours: the store knows its name, whether or not the mark is still on it.
    Of(&'a Lease),
    /// It has our mark, and there is no lease.
    Orphan(&'a Mark),
    /// Of a lease on another target, which leads to the same server.
    Elsewhere,
    /// It has the name of a lease of ours and another installation's mark.
    MarkedByAnother,
    /// It speaks of a lease of ours, whose account has another name.
    OtherName,
    /// Another installation's.
    Foreign,
    /// It has no mark, and no lease of ours.
    Unmarked,
}

/// Whose an account is that was found on a target, with the lease of its identifier, if there is one.
pub(super) fn standing<'a>(
    found: &'a FoundAccount,
    lease: Option<&'a Lease>,
    target: &TargetName,
    instance: InstanceId,
) -> Standing<'a> {
    // A mark that speaks of another lease than the name does was copied from elsewhere.
    let mark = found.mark.as_ref().filter(|mark| found.lease() == Some(mark.lease));
    let others = mark.is_some_and(|mark| mark.instance.is_some_and(|of| of != instance));
    match (lease, mark) {
        (Some(lease), _) if lease.target != *target => Standing::Elsewhere,
        (Some(_), _) if others => Standing::MarkedByAnother,
        (Some(lease), _) if lease.account.name == found.account.name => Standing::Of(lease),
        (Some(_), _) => Standing::OtherName,
        (None, Some(mark)) if mark.is_of(instance) => Standing::Orphan(mark),
        (None, _) if others => Standing::Foreign,
        (None, _) => Standing::Unmarked,
    }
}
