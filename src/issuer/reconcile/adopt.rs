//! The lease of an orphan: made up from its mark, and ending from its first moment.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::domain::{
    EndCause, EndPlan, EndReport, FoundAccount, Lease, LeaseKind, LeaseState, LeaseTerms, Mark, OwnedObjects,
    Role, RoleName, TargetName, Ttl, TtlError,
};

/// What the lease of an orphan says of its end.
pub(super) const REASON: &str = "an account with this installation's mark had no lease";

/// The lease an orphan would have had, ENDING.
pub(super) fn lease_of(
    found: &FoundAccount,
    mark: &Mark,
    target: &TargetName,
    roles: &BTreeMap<RoleName, Arc<Role>>,
    now: Timestamp,
) -> Result<Lease, TtlError> {
    Ok(Lease {
        id: mark.lease,
        kind: LeaseKind::Ephemeral,
        role: mark.role.clone(),
        target: target.clone(),
        principal: mark.requester.clone(),
        account: found.account.clone(),
        terms: LeaseTerms {
            // What was agreed is lost. Nothing is renewed any more, so the least there can be will do.
            ttl: Ttl::try_from(1)?,
            renewable_until: now,
            purpose: String::new(),
            allowed_by: "adopted: found on the target".to_owned(),
            grant: None,
        },
        end_plan: plan(mark, target, roles),
        idempotency_key: None,
        created_at: now,
        updated_at: now,
        state: LeaseState::Ending {
            cause: EndCause::Revoked { reason: REASON.to_owned() },
            since: now,
            attempts: 0,
            last_error: None,
            next_attempt_at: now,
            progress: EndReport::default(),
        },
    })
}

/// How to end an orphan: by its role's rules of today, if the role is still on this target. Else the rule that loses nothing: what it
/// owns stays, and so does the account then, disabled.
fn plan(mark: &Mark, target: &TargetName, roles: &BTreeMap<RoleName, Arc<Role>>) -> EndPlan {
    match roles.get(&mark.role) {
        Some(role) if role.target == *target => EndPlan::of(role),
        _ => EndPlan {
            owned_objects: OwnedObjects::Keep,
            member_of: Vec::new(),
            renew: Vec::new(),
            end: Vec::new(),
            end_sessions: true,
        },
    }
}
