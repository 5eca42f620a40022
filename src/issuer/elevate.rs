//! Elevating: an existing account is given groups for the period of a lease.
//!
//! ```text
//! look at the account ─▶ store: PROVISIONING, and the groups held for it ─▶ target: grant ─▶ store: ACTIVE ─▶ reply
//!                          (durable, in one transaction)
//! ```
//! Which groups an account had before is seen before intent is durable, and what is kept of the account must not have changed in
//! between. Whoever gives or takes has the account's turn in this process; others who share the store are told by the revision.

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    Issued, Issuer, Refusal, RefusalKind,
    begin::BeginFailed,
    issue::{Attempt, PREPARATION, after_waits, first_expiry},
    lock,
};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{
        Access, Elevation, ExistingAccount, Lease, LeaseEvent, LeaseId, LeaseState, Password, StateName,
    },
    store::{
        ApplyError, BeginError, Begun, Changes, Committed, Document, EntryKind, Kept, NewLease, StoreError,
        document,
    },
    target::{Elevated, Expiry, Pass, Target, TargetError, TargetErrorKind},
};

/// How often a change is decided anew that others came before.
const CONFLICTS: u32 = 10;

impl Document for Elevation {
    const KIND: EntryKind = EntryKind::Elevation;

    fn id(&self) -> String {
        match ExistingAccount::of(&self.account) {
            Some(account) => Elevation::id_of(&self.target, &account),
            None => format!("{}/", self.target),
        }
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("target", self.target.to_string())]
    }
}

/// What is kept of an account's groups, or a beginning of it.
///
/// # Errors
/// When the store fails.
pub async fn elevation_of(
    store: &dyn crate::store::Store,
    lease: &Lease,
    account: &ExistingAccount,
) -> Result<Kept<Elevation>, StoreError> {
    let kept = document::<Elevation>(store, &Elevation::id_of(&lease.target, account)).await?;
    let new = || Kept { revision: 0, document: Elevation::new(lease.target.clone(), account) };
    Ok(kept.unwrap_or_else(new))
}

impl Issuer {
    /// Makes intent durable, then gives the groups.
    pub(super) async fn provision_elevation(&self, attempt: &Attempt, pass: Pass) -> Result<Issued, Refusal> {
        let account = account_of(&attempt.lease)?;
        let _turn = self.turns.wait(&Elevation::id_of(&attempt.lease.target, &account)).await;
        let (begun, groups) = match self.begin_elevation(attempt, &account).await {
            Ok(begun) => begun,
            Err(failed) => return Err(self.not_begun(attempt, pass, failed).await),
        };
        let lease = match begun {
            Begun::Fresh(lease) => lease,
            Begun::Repeated(lease) => return self.repeat_elevation(attempt, pass, lease).await,
        };
        crash::here(Point::IssueBegun);
        if self.clock.now() > after_waits(lease.created_at, PREPARATION, SignedDuration::ZERO) {
            let message = "the request waited too long for its turn";
            let error = TargetError::new(TargetErrorKind::Busy, message);
            return Err(self.creation_failed(attempt, &lease, error).await);
        }
        let expires_at = first_expiry(&lease)?;
        crash::here(Point::IssueCreating);
        let ends_by_itself = matches!(attempt.role.access, Access::Elevation { ends_by_itself: true, .. });
        let expiry = if ends_by_itself { Expiry::Server } else { Expiry::Issuer };
        let elevated = Elevated { expires_at, expiry, ..of_lease(&lease, &account, &groups)? };
        let elevated = attempt.target.elevate(elevated).await;
        pass.went(self.clock.now(), elevated.as_ref().err());
        if let Err(error) = elevated {
            return Err(self.creation_failed(attempt, &lease, error).await);
        }
        crash::here(Point::IssueCreated);
        match self.activate(attempt, &lease, expires_at).await {
            Ok(lease) => Ok(attempt.issued(lease, Password::new(String::new()))),
            Err(refusal) => {
                self.take_back_elevation(&lease, &account, &groups).await;
                Err(refusal)
            }
        }
    }

    /// Begins the lease and holds its groups. Those to be given come with it: the account did not have them.
    async fn begin_elevation(
        &self,
        attempt: &Attempt,
        account: &ExistingAccount,
    ) -> Result<(Begun, Vec<String>), BeginFailed> {
        for _ in 0..CONFLICTS {
            // What is kept is read first: should somebody change it while the target is asked, that is a conflict.
            let kept = elevation_of(&*self.store, &attempt.lease, account).await?;
            let state = attempt.target.existing(account).await?;
            let Some(state) = state else {
                let refusal = Refusal::new(
                    RefusalKind::TargetRefused,
                    format!("the account {account} does not exist on the target {}", attempt.lease.target),
                );
                return Err(BeginFailed::Refused(self.begin_refused(attempt, refusal).await));
            };
            if let Some(why) = state.barred {
                let message = format!("the account {account} is not elevated: {why}");
                let refusal = Refusal::new(RefusalKind::TargetRefused, message);
                return Err(BeginFailed::Refused(self.begin_refused(attempt, refusal).await));
            }
            let Kept { revision, document: mut elevation } = kept;
            elevation.hold(attempt.lease.id, &attempt.role.member_of, &state.member_of);
            let groups = elevation.given_to(attempt.lease.id);
            let draft = attempt
                .draft(self.clock.now(), "lease.requested")
                .with("groups", attempt.role.member_of.join(", "));
            let new = NewLease {
                lease: attempt.lease.clone(),
                limits: attempt.role.limits,
                entries: Changes::new().replace(&elevation, revision)?.entries,
            };
            let bound = [lock::none_on(&attempt.lease), attempt.entries.clone()].concat();
            let new = NewLease { entries: [new.entries, bound].concat(), ..new };
            match self.store.begin(new, draft).await {
                Ok(begun) => return Ok((begun, groups)),
                Err(BeginError::Conflict) => {}
                Err(error) => {
                    return Err(BeginFailed::Refused(self.begin_refused(attempt, error.into()).await));
                }
            }
            if let Err(refusal) = self.check_lease(&attempt.caller, &attempt.lease).await {
                return Err(BeginFailed::Refused(self.begin_refused(attempt, refusal).await));
            }
            if !attempt.entries.is_empty() {
                // Its grant may have changed, or the caller's account: that is decided anew.
                return Err(BeginFailed::Refused(BeginError::Conflict.into()));
            }
        }
        let refusal = Refusal::from(BeginError::Conflict).retry_after(Duration::from_secs(1));
        Err(BeginFailed::Refused(self.begin_refused(attempt, refusal).await))
    }

    /// A repeated request: the same lease. There is no password that could be lost; the groups are given once more, in case.
    async fn repeat_elevation(&self, attempt: &Attempt, pass: Pass, lease: Lease) -> Result<Issued, Refusal> {
        self.check_repeatable(attempt, &lease)?;
        if let Err(refusal) = self.check_lease(&attempt.caller, &lease).await {
            return Err(self.begin_refused(attempt, refusal).await);
        }
        let account = account_of(&lease)?;
        let elevation = elevation_of(&*self.store, &lease, &account).await?.document;
        let groups = elevation.given_to(lease.id);
        let elevated = attempt.target.elevate(of_lease(&lease, &account, &groups)?).await;
        pass.went(self.clock.now(), elevated.as_ref().err());
        elevated.map_err(|error| Refusal::on_target(&lease.target, error))?;
        Ok(attempt.issued(lease, Password::new(String::new())))
    }

    /// A lease that was ended while its groups were still being given: its end may have been verified before they were. It is ended
    /// once more.
    async fn take_back_elevation(&self, lease: &Lease, account: &ExistingAccount, groups: &[String]) {
        if let Ok(Some(now)) = self.store.lease(lease.id).await
            && matches!(now.state.name(), StateName::Provisioning | StateName::Active)
        {
            return;
        }
        if let Err(error) = self.mark_stray(lease, account, groups).await {
            tracing::error!(
                lease = %lease.id, account = %account, target_name = %lease.target, ?groups,
                error = &error as &dyn std::error::Error,
                "groups that an account was given after the end of their lease could not be marked to be taken away"
            );
        }
    }

    async fn mark_stray(
        &self,
        lease: &Lease,
        account: &ExistingAccount,
        groups: &[String],
    ) -> Result<(), ApplyError> {
        for _ in 0..CONFLICTS {
            let Kept { revision, document: mut elevation } =
                elevation_of(&*self.store, lease, account).await.map_err(ApplyError::Store)?;
            elevation.note_stray(groups);
            let draft = Draft::new(self.clock.now(), Actor::System, "elevation.stray", lease.resource_name())
                .with("account", account.to_string())
                .with("target", lease.target.as_str())
                .with("groups", groups.join(", "));
            let changes =
                Changes::new().replace(&elevation, revision).map_err(ApplyError::Store)?.record(draft);
            if changes.commit(&*self.store).await.map_err(ApplyError::Store)? == Committed::Yes {
                break;
            }
        }
        let now = self.clock.now();
        let ended = self.store.lease(lease.id).await.map_err(ApplyError::Store)?;
        if ended.is_some_and(|ended| matches!(ended.state, LeaseState::Ended { .. })) {
            let draft = Draft::new(now, Actor::System, "lease.reappeared", lease.resource_name())
                .with("account", account.to_string())
                .with("target", lease.target.as_str())
                .with("reason", "its groups were given after its end");
            self.store.apply(lease.id, LeaseEvent::Reappeared { at: now }, now, Some(draft)).await?;
        }
        self.reaper.due(&lease.target, now);
        Ok(())
    }
}

/// Groups of a lease as it stands, to be given to its account again.
fn of_lease<'a>(
    lease: &Lease,
    account: &'a ExistingAccount,
    groups: &'a [String],
) -> Result<Elevated<'a>, Refusal> {
    let expires_at = match lease.state {
        LeaseState::Active { expires_at } => expires_at,
        _ => first_expiry(lease)?,
    };
    let ends_sessions = lease.end_plan.end_sessions;
    Ok(Elevated { account, lease: lease.id, groups, expires_at, ends_sessions, expiry: Expiry::Issuer })
}

/// Gives groups again that leases hold for an account, for each of those leases.
///
/// # Errors
/// When the store fails; within, when the target does.
pub async fn give_again(
    store: &dyn crate::store::Store,
    target: &dyn Target,
    (elevation, account): (&Elevation, &ExistingAccount),
    groups: &[String],
) -> Result<Result<(), TargetError>, StoreError> {
    let ids: Vec<LeaseId> = elevation.leases().into_iter().collect();
    for lease in store.leases(&ids).await? {
        let mut held = elevation.given_to(lease.id);
        held.retain(|group| groups.contains(group));
        let Ok(elevated) = of_lease(&lease, account, &held) else { continue };
        if held.is_empty() {
            continue;
        }
        if let Err(error) = target.elevate(elevated).await {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn account_of(lease: &Lease) -> Result<ExistingAccount, Refusal> {
    ExistingAccount::of(&lease.account)
        .ok_or_else(|| Refusal::internal("a lease on an existing account has the name of one of ours"))
}
